"""An edit of one manifest among a thousand in a directory that is followed: from the last write on.

Until it is offered: read, validated and ready to be planned, in this process as in a daemon. And until its effect, of a
daemon that is a process of its own, as a user starts it: that plans the whole set first. Each file declares a Config,
whose effect is one small file: what is measured is the way there, not what an action takes. Beside ten manifests the
same again; 50 ms, for which a writer must have paused, are in all of it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

from benchmarks.engine import own_engine
from benchmarks.ground import Ground
from benchmarks.records import Row, Series, Target
from benchmarks.rows.daemon_commands import daemon
from benchmarks.timing import tell
from reconciler.sources.followed import Followed
from reconciler.sources.offer import make_offer
from reconciler.sources.revision import Revision
from reconciler.sources.sops import NO_KEYS
from reconciler.sources.watched import WatchedDirectory
from runtime.layout import Layout
from runtime.volumes.secrets import read_secret_content
from schemas.load_again import LoadAgain
from schemas.source import SourceSpec

FEW, MANY = 10, 1000
TARGET_MS = 100.0
LOOK_SECONDS, GIVE_UP_SECONDS = 0.0005, 120.0
BETWEEN_SECONDS = 0.6
"""Beyond the second look that follows each change."""


def measure(ground: Ground, rounds: int) -> list[Row]:
    offered, acted = [], []
    for number in (FEW, MANY):
        tell(f"  {number} manifests")
        directory = manifests(ground, number)
        label = f"beside {number} manifests"
        offered.append(Series(label, tuple(asyncio.run(offers(directory, number, 3 * rounds)))))
        acted.append(Series(label, tuple(effects(ground, directory, number, 3 * rounds))))
    title = "an edit in a followed directory, from the last write"
    target = Target(TARGET_MS, tool=offered[-1].tool)
    note = "50 ms of it a writer must have paused."
    return [
        Row("edits", f"{title}: read, validated, offered", "ms", tuple(offered), (target,), note),
        Row("edits", f"{title}: acted on, by a daemon", "ms", tuple(acted), (), "The whole set was planned before."),
    ]


def manifests(ground: Ground, number: int) -> Path:
    directory = ground.live / f"edits{number}"
    directory.mkdir()
    for count in range(number):
        write(directory, count, "first")
    return directory


async def offers(directory: Path, number: int, rounds: int) -> list[float]:
    """Milliseconds until each of so many edits is offered."""
    spec = SourceSpec.model_validate({"directory": str(directory)})
    followed, loader = Followed("edits", spec), LoadAgain()
    begun: list[float] = []
    taken: list[float] = []
    loop = asyncio.get_running_loop()

    def edit() -> None:
        begun.append(write(directory, number // 2, f"edit {len(begun)}"))

    async with asyncio.timeout(GIVE_UP_SECONDS), aclosing(WatchedDirectory(directory).revisions()) as revisions:
        async for found in revisions:
            if not isinstance(found, Revision):
                raise RuntimeError(found.message)
            await asyncio.to_thread(make_offer, followed, found, os.environ, NO_KEYS, loader)
            taken += [(time.perf_counter() - begun[-1]) * 1000] if begun else []
            if len(taken) > rounds:
                break
            loop.call_later(BETWEEN_SECONDS, edit)
    # the first meets what is imported for it
    return taken[1:]


def effects(ground: Ground, directory: Path, number: int, rounds: int) -> list[float]:
    """Milliseconds until each of so many edits has been acted on."""
    with own_engine(ground, f"e{number}") as ours, following(ours.layout, directory, number):
        taken = [acted_on(ours.layout, directory, number // 2, f"acted on {each}") for each in range(rounds + 1)]
    return taken[1:]


@contextmanager
def following(layout: Layout, directory: Path, number: int) -> Iterator[None]:
    """A daemon that has applied all of the directory."""
    with daemon(layout, "--source", str(directory)):
        until(layout, number - 1, "first")
        time.sleep(BETWEEN_SECONDS)
        yield


def acted_on(layout: Layout, directory: Path, count: int, text: str) -> float:
    begun = write(directory, count, text)
    until(layout, count, text)
    taken = (time.perf_counter() - begun) * 1000
    time.sleep(BETWEEN_SECONDS)
    return taken


def write(directory: Path, count: int, text: str) -> float:
    """In place, as the plainest editor does. The moment at which it was done."""
    manifest = f"apiVersion: trimtab/v1\nkind: Config\nmetadata: {{name: edited{count}}}\nspec: {{content: {text}}}\n"
    (directory / f"{count}.yaml").write_text(manifest)
    return time.perf_counter()


def until(layout: Layout, count: int, text: str) -> None:
    end = time.monotonic() + GIVE_UP_SECONDS
    while read_secret_content(layout, "Config", f"edited{count}") != text.encode():
        if time.monotonic() > end:
            raise RuntimeError(f"{text} was not acted on")
        time.sleep(LOOK_SECONDS)
