"""trimtab moving images in a process of its own, warm as its daemon is: told by lines of JSON what to do, until EOF.

    python -m benchmarks.mover < orders      {"do": "pull" | "load" | "push", "directory": …, …}

Answers a line for each order once it is done. A process of its own, so that its memory can be told from the bench's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.commands import TREE, environment


@dataclass(frozen=True, slots=True)
class Mover:
    """The process, and how to speak to it."""

    pid: int
    orders: IO[str]
    answers: IO[str]

    def pull(self, directory: Path, reference: str) -> None:
        self.order(do="pull", directory=str(directory), reference=reference)

    def load(self, directory: Path, archive: Path) -> None:
        self.order(do="load", directory=str(directory), archive=str(archive))

    def push(self, directory: Path, reference: str) -> None:
        self.order(do="push", directory=str(directory), reference=reference)

    def order(self, **order: str) -> None:
        """Returns when it is done. Raises RuntimeError."""
        self.orders.write(json.dumps(order) + "\n")
        self.orders.flush()
        if self.answers.readline() != "done\n":
            raise RuntimeError(f"{order['do']} failed: see above")


@contextmanager
def mover() -> Iterator[Mover]:
    """Ended by its end of input."""
    command = (sys.executable, "-m", "benchmarks.mover")
    with subprocess.Popen(
        command, env=environment(), cwd=TREE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin and child.stdout
        yield Mover(child.pid, child.stdin, child.stdout)


def main() -> int:
    from runtime.images.ensure import ensure_image
    from runtime.images.load import load_archive
    from runtime.images.registry.settings import HostSettings, RegistrySettings
    from runtime.images.store import list_images
    from runtime.images.to_registry import push_image
    from runtime.images.wanted import ImageWanted
    from runtime.layout import Layout
    from schemas.reference import Reference

    def pull(layout: Layout, order: Mapping[str, str]) -> None:
        ensure_image(layout, ImageWanted("bench", ref=order["reference"]), settings(order["reference"]))

    def load(layout: Layout, order: Mapping[str, str]) -> None:
        load_archive(layout, Path(order["archive"]), "bench")

    def push(layout: Layout, order: Mapping[str, str]) -> None:
        (image,) = list_images(layout)
        push_image(layout, image, Reference.parse(order["reference"]), settings(order["reference"]), lambda _: None)

    def settings(reference: str) -> RegistrySettings:
        return RegistrySettings(registries={reference.partition("/")[0]: HostSettings(insecure=True)})

    does = {"pull": pull, "load": load, "push": push}
    for line in sys.stdin:
        order = json.loads(line)
        directory = Path(order["directory"])
        does[order["do"]](Layout(directory / "root", directory / "run"), order)
        print("done", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
