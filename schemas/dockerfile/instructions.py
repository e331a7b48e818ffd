"""The instructions of a Dockerfile, typed. Values only: read by `read_instruction`, changed by nobody.

Texts in which variables may stand are kept as they were written, quotes and all, until `evaluate` replaces them. What
an instruction does not say is the empty text, None or an empty tuple; no default is filled in.

Source: Dockerfile reference, one section for each.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.dockerfile.heredoc import Heredoc
from schemas.errors import Place


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an instruction comes from: its word as written, its joined line, its place, the comments right above."""

    word: str
    text: str
    place: Place
    last_line: int
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Instruction:
    """What all have in common."""

    origin: Origin

    @property
    def name(self) -> str:
        """`COPY`, however it was written."""
        return self.origin.word.upper()


@dataclass(frozen=True, slots=True)
class Pair:
    """`name=value`; `legacy` if written with a space between."""

    name: str
    value: str
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class Argument:
    """One of ARG's names, and its default if it has one."""

    name: str
    default: str | None


@dataclass(frozen=True, slots=True)
class Command:
    """What RUN, CMD or ENTRYPOINT runs: one text for the shell, or a program and its arguments."""

    words: tuple[str, ...]
    is_shell: bool


@dataclass(frozen=True, slots=True)
class InlineFile:
    """A file written in the Dockerfile itself. Variables in its content count if `expands`."""

    name: str
    content: str
    expands: bool


@dataclass(frozen=True, slots=True)
class From(Instruction):
    image: str
    platform: str = ""
    stage: str = ""
    """The stage's name in lower case; empty if it has none."""
    written_stage: str = ""
    as_word: str = ""


@dataclass(frozen=True, slots=True)
class Arg(Instruction):
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Env(Instruction):
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Label(Instruction):
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Maintainer(Instruction):
    maintainer: str


@dataclass(frozen=True, slots=True)
class Run(Instruction):
    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[str, ...] = ()
    """`type=cache,target=/x` each, as written; `run_mount.read_mount` reads one when its variables are known."""
    network: str = "default"
    """default, none or host."""
    security: str = "sandbox"
    """sandbox or insecure."""


@dataclass(frozen=True, slots=True)
class Copy(Instruction):
    sources: tuple[str, ...]
    destination: str
    """A variable may make it empty: the working directory. An empty source is the whole of what is taken from."""
    files: tuple[InlineFile, ...] = ()
    from_: str = ""
    """A stage's name or number, an image, or a named context; empty for the build context."""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Add(Instruction):
    sources: tuple[str, ...]
    destination: str
    files: tuple[InlineFile, ...] = ()
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()
    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


@dataclass(frozen=True, slots=True)
class Cmd(Instruction):
    command: Command


@dataclass(frozen=True, slots=True)
class Entrypoint(Instruction):
    command: Command


@dataclass(frozen=True, slots=True)
class Shell(Instruction):
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Healthcheck(Instruction):
    """`test` is `("NONE",)`, `("CMD", program, …)` or `("CMD-SHELL", text)`. Times in seconds; None: not said."""

    test: tuple[str, ...]
    interval: float | None = None
    timeout: float | None = None
    start_period: float | None = None
    start_interval: float | None = None
    retries: int | None = None


@dataclass(frozen=True, slots=True)
class Expose(Instruction):
    ports: tuple[str, ...]
    """As written; `ports.read_port` reads one when its variables are known."""


@dataclass(frozen=True, slots=True)
class Volume(Instruction):
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Workdir(Instruction):
    path: str


@dataclass(frozen=True, slots=True)
class User(Instruction):
    user: str


@dataclass(frozen=True, slots=True)
class StopSignal(Instruction):
    signal: str


@dataclass(frozen=True, slots=True)
class OnBuild(Instruction):
    """`expression` is what the image's config keeps: the trigger's line, with its heredocs below it."""

    trigger: Instruction
    expression: str


@dataclass(frozen=True, slots=True)
class Stage:
    """One FROM and what follows it, up to the next. `number` counts from 0."""

    number: int
    start: From
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        """Its name in lower case, or its number."""
        return self.start.stage or str(self.number)
