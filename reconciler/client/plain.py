"""Plain command lines of the commands that are repeated most, for a daemon that is there: understood without click.

Whatever is not in these tables, an option that click would have to judge, a request for help, another command, no
daemon, is left to `reconciler.cli.commands`. A test holds the tables to what the commands declare.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from reconciler.client.host import find_host
from runtime.defaults import ROOT, RUN

GLOBAL = ("--root", "--run", "--host", "-H")
FLAGS = {
    "apply": ("--prune", "--allow-empty", "--dry-run", "--wait", "--no-wait"),
    "diff": ("--prune", "--allow-empty"),
    "get": ("--show-origin", "--show-secrets"),
    "validate": (),
}
"""Options that stand alone, by command."""
VALUED = {
    "apply": ("--set", "--env-file", "--timeout", "--lock-timeout", "--parallel", "-o"),
    "diff": ("--set", "--env-file", "-o"),
    "get": ("--set", "-l", "-o"),
    "validate": ("--env-file",),
}
"""Options that a value follows."""
ON_TEXTS = frozenset({"apply", "diff", "validate"})
"""Commands whose arguments are paths of manifests: at least one."""


def carried_out(line: Sequence[str]) -> int | None:
    """The exit code of a command line that a daemon has carried out; None where that is not for here to do.

    Raises Refused for manifests that cannot be read.
    """
    given, words = _divided(line)
    name = words[0] if words else ""
    parameters = _parameters(name, words[1:]) if name in FLAGS else None
    if parameters is None:
        return None
    root, run = places(given.get("--root"), given.get("--run"))
    try:
        host = find_host(given.get("--host", given.get("-H")), run)
    except ValueError:
        return None
    if host is None:
        return None
    from reconciler.client.through import Elsewhere, through

    try:
        return through(host, words, parameters, root)
    except Elsewhere:
        return None


def places(root: str | None, run: str | None) -> tuple[str, str]:
    """Root and run directory of the engine that is meant, as absolute paths."""
    found = root or os.environ.get("TRIMTAB_ROOT") or ROOT, run or os.environ.get("TRIMTAB_RUN") or RUN
    return os.path.abspath(found[0]), os.path.abspath(found[1])


def _divided(line: Sequence[str]) -> tuple[dict[str, str], Sequence[str]]:
    """What is said of the engine, and the words from the command on."""
    given: dict[str, str] = {}
    at = 0
    while at + 1 < len(line) and line[at] in GLOBAL:
        given[line[at]] = line[at + 1]
        at += 2
    return given, list(line[at:])


def _parameters(name: str, words: Sequence[str]) -> dict[str, object] | None:
    """The files that a command's words name, as click has them; None for words that it has to judge."""
    paths: list[str] = []
    env_files: list[str] = []
    left = iter(words)
    for word in left:
        if word in VALUED[name]:
            value = next(left, "-")
            if value.startswith("-"):
                return None
            env_files += [value] if word == "--env-file" else []
        elif word == "-" or not word.startswith("-"):
            paths.append(word)
        elif word not in FLAGS[name]:
            return None
    if name not in ON_TEXTS:
        return {}
    return {"paths": tuple(paths), "env_files": tuple(env_files)} if paths else None
