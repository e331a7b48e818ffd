"""The work of `trimtab exec`: a process like the container's own but for what is asked for, and running it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from reconciler.bundle.user import resolve_user
from reconciler.caller import caller
from reconciler.cli.targets import containers_of
from runtime.layout import Layout
from runtime.process import client
from runtime.process.asking import open_monitor, talk
from runtime.process.failure import NotRunning, ProcessFailed
from runtime.process.paths import ContainerPaths
from schemas.errors import Refused

CANNOT = 126


@dataclass(frozen=True, slots=True)
class Errand:
    """The command line. `tty` None: if our streams are terminals; `interactive` None: with a terminal."""

    arguments: tuple[str, ...]
    user: str | None = None
    environment: tuple[str, ...] = ()
    workdir: str | None = None
    interactive: bool | None = None
    tty: bool | None = None


def execute(layout: Layout, name: str, errand: Errand, *, detach: bool = False) -> int:
    """The exit code. Raises Refused for what is not there or does not run."""
    container = running_container(layout, name)
    terminal = not detach and _wants_terminal(errand)
    config = read_bundle(layout, container)
    process = process_of(config, errand, caller().environment, terminal=terminal)
    try:
        if detach:
            click.echo(start_detached(layout, container, process))
            return 0
        return _run(layout, container, process, errand, terminal=terminal)
    except NotRunning as error:
        raise Refused(str(error), object=f"Container/{container}", step="exec") from error
    except ProcessFailed as error:
        click.echo(f"trimtab: Container/{container} exec: {error}", err=True)
        return CANNOT if error.exit_code is None else error.exit_code


def running_container(layout: Layout, name: str) -> str:
    """The container meant, or the first replica that runs. Raises Refused."""
    return _running(layout, containers_of(layout, name))


def _running(layout: Layout, names: Sequence[str]) -> str:
    """The first that runs."""
    phases = {}
    for name in names:
        process = client.read_process(layout, name)
        if process is not None and process.phase.can_exec:
            return name
        phases[name] = process.phase.value if process is not None else "not there"
    told = ", ".join(f"Container/{name} is {phase}" for name, phase in phases.items())
    raise Refused(told, step="exec", hint=f"only a running container can be entered: {_remedy(names[0], phases)}")


def _remedy(name: str, phases: Mapping[str, str]) -> str:
    if phases[name] == "paused":
        return "take `state: paused` out of its manifest and `trimtab apply`"
    return f"`trimtab why container/{name}` and `trimtab logs {name}` say more"


def _wants_terminal(errand: Errand) -> bool:
    if errand.tty is None:
        return errand.interactive is not False and sys.stdin.isatty() and sys.stdout.isatty()
    if errand.tty and not sys.stdin.isatty():
        raise Refused("standard input is not a terminal", step="exec", hint="leave out -t")
    return errand.tty


def read_bundle(layout: Layout, name: str) -> Mapping[str, Any]:
    """The container's `config.json`. Raises Refused."""
    path = layout.container(name) / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Refused(f"cannot read its bundle: {error}", object=f"Container/{name}", path=str(path)) from error
    return config


def process_of(config: Mapping[str, Any], errand: Errand, ours: Mapping[str, str], *, terminal: bool) -> dict[str, Any]:
    """The container's own process with other arguments. Raises Refused for a user the image does not have."""
    own = config["process"]
    made = {
        **own,
        "args": list(errand.arguments),
        "terminal": terminal,
        "env": _environment(own, errand, ours, terminal),
    }
    made.pop("consoleSize", None)
    if errand.workdir is not None:
        made["cwd"] = errand.workdir
    if errand.user is not None:
        made |= _as_user(config, errand.user)
    return made


def _environment(own: Mapping[str, Any], errand: Errand, ours: Mapping[str, str], terminal: bool) -> list[str]:
    merged = dict(pair.split("=", 1) for pair in own["env"])
    if terminal:
        merged.setdefault("TERM", ours.get("TERM") or "xterm")
    for pair in errand.environment:
        name, equals, value = pair.partition("=")
        if not name:
            raise Refused(f"{pair!r} sets no variable", step="exec", hint="write -e NAME=VALUE")
        if equals:
            merged[name] = value
        elif name in ours:
            merged[name] = ours[name]
    return [f"{name}={value}" for name, value in merged.items()]


def _as_user(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Numbers by the container's accounts, what it changed of its image's first; root alone keeps capabilities."""
    rootfs = json.loads(config["annotations"]["trimtab/rootfs"])
    user = resolve_user([Path(rootfs["upper"]), *map(Path, rootfs["lower"])], name)
    bounding = config["process"].get("capabilities", {}).get("bounding", [])
    held = bounding if user.uid == 0 else []
    capabilities = {"bounding": bounding, "permitted": held, "effective": held, "inheritable": [], "ambient": []}
    return {
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "capabilities": capabilities,
    }


def _run(layout: Layout, container: str, process: dict[str, Any], errand: Errand, *, terminal: bool) -> int:
    passes_input = errand.interactive if errand.interactive is not None else terminal
    sys.stdout.flush()
    with Path(os.devnull).open("rb") as nothing:
        stdin = sys.stdin.fileno() if passes_input else nothing.fileno()
        return client.exec_(layout, container, process, stdin, sys.stdout.fileno(), sys.stderr.fileno(), terminal)


def start_detached(layout: Layout, container: str, process: dict[str, Any]) -> int:
    """Its pid, once its program runs; its streams lead nowhere."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        with open_monitor(ContainerPaths.of(layout, container), "exec") as channel:
            message, _ = talk(channel, container, {"verb": "exec", "process": process}, (nothing, nothing, nothing))
        return int(message["running"])
    finally:
        os.close(nothing)
