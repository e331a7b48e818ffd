"""The command face's `exec`: joins a container from this process, so that the new one is a child of ours."""

from __future__ import annotations

import argparse
import json
import os
import socket
from typing import Any

from runtime.process import handover, oci_terminal, protocol
from runtime.process.bundle import check_process, open_bundle
from runtime.process.creation import give_console
from runtime.process.exec_join import Errand, join_and_run
from runtime.process.failure import NotRunning, ProcessFailed, step
from runtime.process.handover import Facts, Handover
from runtime.process.lifecycle import read_process
from runtime.process.oci_make import write_pid
from runtime.process.oci_paths import existing
from runtime.process.records import Phase


def run_exec(options: argparse.Namespace) -> int:
    """`exec`: the process's exit code, or 0 at once with `--detach`."""
    paths, _ = existing(options.root, options.id)
    record = read_process(paths)
    if record is None or not record.phase.can_exec:
        raise NotRunning(f"cannot exec: it is {record.phase.value if record else Phase.EXITED.value}", step="exec")
    spec, config = open_bundle(paths.bundle)
    process = _process(options, spec)
    pidfd = os.pidfd_open(record.pid)
    facts = Facts(paths, record.pid, record.start_time)
    what = Handover([(handover.PIDFD, pidfd), (handover.BUNDLE, config)], facts.to_text())
    streams = () if process.get("terminal") else (0, 1, 2, *range(3, 3 + options.preserve_fds))
    pid, master = _enter(Errand(process, streams, what))
    if options.pid_file:
        write_pid(options.pid_file, pid)
    if master >= 0 and options.console_socket:
        give_console(options.console_socket, master)
        os.close(master)
        master = -1
    if options.detach:
        return 0
    entered = os.pidfd_open(pid)
    oci_terminal.copy_until_end(entered, master)
    return oci_terminal.exit_code(entered)


def _enter(errand: Errand) -> tuple[int, int]:
    """Start the process; its pid, and its terminal's master or -1."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    joiner = os.fork()
    if joiner == 0:
        ours.close()
        join_and_run(theirs, errand)
    theirs.close()
    pid, master = 0, -1
    with ours:
        while received := protocol.receive(ours):
            message, descriptors = received
            if "failed" in message:
                raise ProcessFailed.from_message(message["failed"])
            pid = message.get("pid", pid)
            master = descriptors[0] if "console" in message else master
    os.waitpid(joiner, 0)
    if not pid:
        raise ProcessFailed("it ended before its program ran", step="exec")
    return pid, master


def _process(options: argparse.Namespace, spec: dict[str, Any]) -> dict[str, Any]:
    """The OCI process: from the file given, or the container's own with what the flags change."""
    if options.process:
        with step("process", options.process), open(options.process) as file:
            process: dict[str, Any] = json.load(file)
    else:
        process = _from_flags(options, dict(spec["process"]))
    check_process(process)
    return process


def _from_flags(options: argparse.Namespace, process: dict[str, Any]) -> dict[str, Any]:
    process["args"] = [part for part in options.command if part != "--" or options.command[0] != "--"]
    process["terminal"] = options.tty
    process["env"] = [*(process.get("env") or ()), *options.env]
    process["cwd"] = options.cwd or process["cwd"]
    if options.user:
        uid, _, gid = options.user.partition(":")
        process["user"] = {"uid": int(uid), "gid": int(gid or 0)}
    if options.additional_gids:
        process["user"] = {**process["user"], "additionalGids": options.additional_gids}
    if options.no_new_privs:
        process["noNewPrivileges"] = True
    if options.apparmor:
        process["apparmorProfile"] = options.apparmor
    if options.cap:
        sets = process.get("capabilities") or {}
        process["capabilities"] = {
            kind: sorted({*(sets.get(kind) or ()), *options.cap})
            for kind in ("bounding", "permitted", "effective", "inheritable")
        }
    return process
