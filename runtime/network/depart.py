"""A container's farewell to the firewall, as an OCI poststop hook; also `python -m runtime.network.depart`.

Run by the container's monitor when its process has ended, also when no process of the engine runs: withdraws its
published ports, takes it out of the balancing of Services, and forgets connections to it. All it needs is in the
firewall itself. The incarnation keeps the farewell of one start from touching the next. One process per container's
end, so it imports next to nothing and works on nft's text.
"""

from __future__ import annotations

import os
import re
import sys

from runtime.kernel import nftables
from runtime.network.conntrack import forget_connections
from runtime.network.firewall.text import blocks, elements, lock, rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runtime.layout import Layout

    Parts = tuple[tuple[str, ...], str, tuple[str, ...]]
    """Key, comment and value of an element."""

_PUBLISHED = ("ports4", "ports6", "hosts4", "hosts6")
_REPLICAS = re.compile(r"^replicas/([^/]+)/[^/]*/([46])$")
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from runtime.network.depart import main; "
    "sys.exit(main(sys.argv[1:]))"
)
_USAGE = "usage: depart --table=NAME --run=DIRECTORY --container=NAME [--incarnation=TOKEN]"


def hook(layout: Layout, container: str, incarnation: str = "") -> dict[str, object]:
    """The `poststop` hook of runtime-spec (config.md, POSIX-platform hooks) for a bundle's configuration."""
    root = __file__.removesuffix("/runtime/network/depart.py")
    arguments = [sys.executable, "-S", "-I", "-c", _PROGRAM, root, f"--table={layout.nft_table}", f"--run={layout.run}"]
    arguments += [f"--container={container}", f"--incarnation={incarnation}"]
    return {"path": sys.executable, "args": arguments, "timeout": 10}


def depart(table: str, run: str, container: str, incarnation: str = "", *, lives: bool = False) -> set[str]:
    """Take a container out of the nftables table; the addresses it had there. An empty incarnation means any.

    `run` is the engine's run directory, where the firewall's lock is. `lives`: connections to it stay, and no new one
    reaches it. Raises OSError.
    """
    descriptor = lock(run)
    try:
        held, chains = _read(table)
        addresses: set[str] = set()
        commands: list[str] = []
        for name in _PUBLISHED:
            for key, _, value in _of(held.get(name, []), container, incarnation):
                commands.append(f"delete element inet {table} {name} {{ {' . '.join(key)} }}")
                addresses.add(value[0])
        for name, replicas in held.items():
            match = _REPLICAS.match(name)
            gone = [value[0] for _, _, value in _of(replicas, container, incarnation)] if match else []
            if match and gone:
                left = [one for one in replicas if one[2][0] not in gone]
                commands += _without(table, name, left, chains)
                commands += [f"delete element inet {table} mirrors{match[2]} {{ {one} . {one} }}" for one in gone]
                addresses.update(gone)
        if commands:
            nftables.run("\n".join(commands))
    finally:
        os.close(descriptor)
    if not lives:
        forget_connections(sorted(addresses))
    return addresses


def main(arguments: Sequence[str]) -> int:
    """The program. Returns its exit status."""
    given = dict(argument.removeprefix("--").partition("=")[::2] for argument in arguments)
    incarnation = given.pop("incarnation", "")
    if set(given) != {"table", "run", "container"}:
        print(_USAGE, file=sys.stderr)
        return 2
    try:
        depart(given["table"], given["run"], given["container"], incarnation)
    except OSError as error:
        print(f"depart: {given['container']}: {error}", file=sys.stderr)
        return 1
    return 0


def _read(table: str) -> tuple[dict[str, list[Parts]], dict[str, tuple[str, ...]]]:
    """Elements by set or map, and rules by chain, of the `inet` table; nothing where there is none."""
    held: dict[str, list[Parts]] = {}
    chains: dict[str, tuple[str, ...]] = {}
    try:
        text = nftables.run(f"list table inet {table}")
    except FileNotFoundError:
        return held, chains
    for kind, name, lines in blocks(text):
        if kind == "chain":
            chains[name] = rules(lines)
        elif name in _PUBLISHED or _REPLICAS.match(name):
            held[name] = list(elements(lines))
    return held, chains


def _of(found: Iterable[Parts], container: str, incarnation: str) -> list[Parts]:
    """Those marked as the container's: its name, and behind it the incarnation."""
    return [
        one for one in found if one[1].partition(" ")[0] == container and incarnation in ("", one[1].partition(" ")[2])
    ]


def _without(table: str, name: str, left: list[Parts], chains: dict[str, tuple[str, ...]]) -> list[str]:
    """Commands that leave `left` in the map of replicas `name`, and turn its rules over as many; `chains` follow."""
    commands = [f"flush map inet {table} {name}"]
    for turn, (_, comment, value) in enumerate(left):
        commands.append(f'add element inet {table} {name} {{ {turn} comment "{comment}" : {value[0]} }}')
    use = re.compile(rf"\bmod \d+( offset 0)? map @{re.escape(name)}(?![\w/.-])")
    for chain, old in chains.items():
        if any(use.search(rule) for rule in old):
            kept = [rule for rule in old if left or not use.search(rule)]
            chains[chain] = tuple(use.sub(f"mod {len(left)} map @{name}", rule) for rule in kept)
            commands.append(f"flush chain inet {table} {chain}")
            commands += [f"add rule inet {table} {chain} {rule}" for rule in chains[chain]]
    return commands


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
