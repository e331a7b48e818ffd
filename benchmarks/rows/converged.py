"""`trimtab apply` of objects that are as declared: a cold process that changes nothing.

The mix: half running containers on networks, the rest volumes, Configs and networks. A
hundred and 250 objects are measured too: time must grow no faster than the objects do.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.commands import trimtab
from benchmarks.engine import Ours, container, network, own_engine
from benchmarks.ground import Ground
from benchmarks.records import Row, Target
from benchmarks.timing import Sample, milliseconds, take_turns, tell
from runtime.layout import Layout

SIZES = (100, 250, 500)
PER_NETWORK = 50
"""Objects to one network."""
COMMAND = ("sleep", "1000000")


def measure(ground: Ground, rounds: int) -> list[Row]:
    with own_engine(ground) as ours:
        files = {size: converged(ours, ground, size) for size in SIZES}
        samples = {label(size): sample(ours.layout, size, files[size]) for size in SIZES}
        series = take_turns(samples, max(1, rounds // 2))
    largest, half = label(SIZES[-1]), label(SIZES[-2])
    return [
        Row(
            "converged",
            f"apply of {SIZES[-1]} converged objects, one cold process",
            "ms",
            tuple(series),
            (Target(1500, tool=largest), Target(SIZES[-1] / SIZES[-2] * 1.1, half, tool=largest)),
            "The second target is linearity: at most 1.1 times as much per object as with half of them.",
        )
    ]


def label(size: int) -> str:
    return f"trimtab apply, {size} objects"


def converged(ours: Ours, ground: Ground, size: int) -> Path:
    """The manifests of `size` objects that are as they say, as one file; a set of their own."""
    tell(f"  making {size} objects")
    text = "".join(objects(size))
    assert text.count("\nkind: ") == size
    file = ground.live / f"s{size}.yaml"
    file.write_text(text)
    ours.apply(text, f"s{size}")
    return file


def objects(size: int) -> Iterator[str]:
    """Networks first; then of every four objects two containers, a volume and a Config."""
    networks = max(1, size // PER_NETWORK)
    for number in range(networks):
        yield network(f"n{size}-{number}")
    for number in range(size - networks):
        name = f"o{size}-{number}"
        if number % 4 == 0:
            yield f"---\napiVersion: trimtab/v1\nkind: Volume\nmetadata: {{name: {name}}}\nspec: {{}}\n"
        elif number % 4 == 1:
            yield f"---\napiVersion: trimtab/v1\nkind: Config\nmetadata: {{name: {name}}}\nspec: {{content: {name}}}\n"
        else:
            yield container(name, COMMAND, f"networks: [n{size}-{number % networks}]", "stop_signal: SIGKILL")


def sample(layout: Layout, size: int, file: Path) -> Sample:
    return lambda: milliseconds(lambda: nothing_to_do(layout, size, file))


def nothing_to_do(layout: Layout, size: int, file: Path) -> None:
    told = trimtab(layout, "apply", "--set", f"s{size}", str(file))
    assert "Nothing to do" in told, told
