"""`trimtab-oci`: an OCI runtime's command line on the same code, for other engines and for test suites.

No launcher and no engine: `create` makes the container itself and returns, leaving a small monitor; init becomes the
child of whoever called us (or of its subreaper), as such callers expect. Flags follow runc, which others imitate too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from runtime.process import oci_exec, oci_make, oci_verbs
from runtime.process.failure import ProcessFailed
from runtime.process.sealing import ensure_sealed

DEFAULT_ROOT = "/run/trimtab-oci"
REFUSED_CODE = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Obey one command line; the exit code."""
    options = _parser().parse_args(arguments)
    if arguments is None and options.verb in {oci_make.create, oci_make.run, oci_exec.run_exec}:
        ensure_sealed([os.path.abspath(__file__), *sys.argv[1:]])
    try:
        if options.systemd_cgroup:
            raise ProcessFailed("systemd cgroups are not supported: use cgroupfs", step="--systemd-cgroup")
        code: int = options.verb(options)
        return code
    except ProcessFailed as failure:
        _tell(options, str(failure))
        return failure.exit_code or REFUSED_CODE
    except (OSError, ValueError, KeyError, TypeError) as error:
        _tell(options, f"{type(error).__name__}: {error}")
        return REFUSED_CODE


def _tell(options: argparse.Namespace, message: str) -> None:
    print(message, file=sys.stderr)
    if not options.log:
        return
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    entry = {"level": "error", "msg": message, "time": moment}
    line = (
        json.dumps(entry) if options.log_format == "json" else f'time="{moment}" level=error msg={json.dumps(message)}'
    )
    with open(options.log, "a") as log:
        log.write(line + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trimtab-oci", description="OCI container runtime")
    parser.add_argument("--root", default=DEFAULT_ROOT, help="directory of the containers' live state")
    parser.add_argument("--log", default="", help="file to append errors to")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--debug", action="store_true", help="accepted, without effect")
    parser.add_argument("--systemd-cgroup", action="store_true", help="refused: cgroupfs only")
    parser.add_argument("--rootless", default="auto", help="accepted, without effect")
    parser.add_argument("--version", "-v", action="version", version=oci_verbs.version_text())
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    _add_making(verbs)
    _add_living(verbs)
    _add_asking(verbs)
    return parser


def _add_making(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name, verb, text in (
        ("create", oci_make.create, "make a container; its process waits for start"),
        ("run", oci_make.run, "create, start, wait and delete"),
    ):
        parser = verbs.add_parser(name, help=text)
        parser.add_argument("id")
        parser.add_argument("--bundle", "-b", default=".")
        parser.add_argument("--console-socket", default="")
        parser.add_argument("--pid-file", default="")
        parser.add_argument("--preserve-fds", type=int, default=0)
        parser.add_argument("--no-pivot", action="store_true", help=argparse.SUPPRESS)
        parser.add_argument("--no-new-keyring", action="store_true", help=argparse.SUPPRESS)
        if name == "run":
            parser.add_argument("--detach", "-d", action="store_true")
            parser.add_argument("--keep", action="store_true", help="do not delete it at its end")
        parser.set_defaults(verb=verb)
    parser = verbs.add_parser("spec", help="write a config.json to start from")
    parser.add_argument("--bundle", "-b", default=".")
    parser.set_defaults(verb=oci_verbs.write_spec)


def _add_living(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name, verb, text in (
        ("start", oci_verbs.start, "let a created container run its process"),
        ("pause", oci_verbs.pause, "freeze a container"),
        ("resume", oci_verbs.resume, "let a frozen container go on"),
    ):
        parser = verbs.add_parser(name, help=text)
        parser.add_argument("id")
        parser.set_defaults(verb=verb)
    parser = verbs.add_parser("kill", help="signal a container")
    parser.add_argument("--all", "-a", action="store_true", help="every process of it")
    parser.add_argument("id")
    parser.add_argument("signal", nargs="?", default="TERM")
    parser.set_defaults(verb=oci_verbs.kill)
    parser = verbs.add_parser("delete", help="remove what a stopped container has left")
    parser.add_argument("--force", "-f", action="store_true", help="end it first")
    parser.add_argument("id")
    parser.set_defaults(verb=oci_verbs.delete)
    _add_exec(verbs.add_parser("exec", help="run one more process in a running container"))
    _add_update(verbs.add_parser("update", help="change a container's resource limits"))


def _add_exec(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--process", "-p", default="", help="file with an OCI process")
    parser.add_argument("--tty", "-t", action="store_true")
    parser.add_argument("--user", "-u", default="", help="uid[:gid]")
    parser.add_argument("--additional-gids", "-g", type=int, action="append", default=[])
    parser.add_argument("--env", "-e", action="append", default=[])
    parser.add_argument("--cwd", default="")
    parser.add_argument("--cap", "-c", action="append", default=[])
    parser.add_argument("--no-new-privs", action="store_true")
    parser.add_argument("--apparmor", default="")
    parser.add_argument("--detach", "-d", action="store_true")
    parser.add_argument("--pid-file", default="")
    parser.add_argument("--console-socket", default="")
    parser.add_argument("--preserve-fds", type=int, default=0)
    parser.add_argument("id")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    parser.set_defaults(verb=oci_exec.run_exec)


def _add_update(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--resources", "-r", default="", help="file with linux.resources, - for standard input")
    for flag in oci_verbs.UPDATE_FLAGS:
        parser.add_argument(f"--{flag}", default=None)
    parser.add_argument("id")
    parser.set_defaults(verb=oci_verbs.update)


def _add_asking(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser("state", help="a container's state as JSON")
    parser.add_argument("id")
    parser.set_defaults(verb=oci_verbs.state)
    parser = verbs.add_parser("list", help="every container of this root")
    parser.add_argument("--format", "-f", choices=("table", "json"), default="table")
    parser.add_argument("--quiet", "-q", action="store_true")
    parser.set_defaults(verb=oci_verbs.list_all)
    parser = verbs.add_parser("ps", help="a container's processes")
    parser.add_argument("--format", "-f", choices=("table", "json"), default="table")
    parser.add_argument("id")
    parser.set_defaults(verb=oci_verbs.processes)
    parser = verbs.add_parser("features", help="what this runtime can do, as JSON")
    parser.set_defaults(verb=oci_verbs.features)


if __name__ == "__main__":
    sys.exit(main())
