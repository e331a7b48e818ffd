"""One instruction with its variables replaced and its quotes taken away.

Which instructions take variables, and where, is the Dockerfile's own rule: ADD, COPY, ENV, EXPOSE, LABEL, STOPSIGNAL,
USER, VOLUME, WORKDIR and the options of RUN's mounts do; the commands of RUN, CMD, ENTRYPOINT and HEALTHCHECK do not,
being the shell's business. Called by `evaluate`. Raises Unexpandable, or Fault for what a value makes wrong.

Source: Dockerfile reference, "Environment replacement".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from schemas.dockerfile.chmod import read_chmod
from schemas.dockerfile.faults import Fault
from schemas.dockerfile.instructions import (
    Add,
    Copy,
    Env,
    Expose,
    InlineFile,
    Instruction,
    Label,
    Pair,
    Run,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from schemas.dockerfile.ports import read_port
from schemas.dockerfile.remote import require_sources
from schemas.dockerfile.run_mount import Mount, read_mount
from schemas.dockerfile.shell_words import Keep, expand
from schemas.dockerfile.stop_signal import read_stop_signal

_HEREDOC = Keep(quotes_are_plain=True)


@dataclass(frozen=True, slots=True)
class _Expander:
    """Replaces variables in texts, and gathers those that were not set."""

    variables: Mapping[str, str]
    escape: str
    unset: set[str] = field(default_factory=set)

    def text(self, word: str) -> str:
        expansion = expand(word, self.variables, self.escape)
        self.unset.update(expansion.unset)
        return expansion.text

    def texts(self, words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self.text(word) for word in words)

    def words(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """Each word may become several, or none."""
        found: list[str] = []
        for word in words:
            expansion = expand(word, self.variables, self.escape)
            self.unset.update(expansion.unset)
            found += expansion.words
        return tuple(found)

    def pairs(self, pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
        return tuple(replace(pair, name=self.text(pair.name), value=self.text(pair.value)) for pair in pairs)

    def file(self, file: InlineFile) -> InlineFile:
        """A heredoc knows no quotes, and the backslash alone as escape, whatever the file's escape is."""
        if not file.expands:
            return file
        expansion = expand(file.content, self.variables, "\\", _HEREDOC)
        self.unset.update(expansion.unset)
        return replace(file, content=expansion.text)


def expand_instruction(
    instruction: Instruction, variables: Mapping[str, str], escape: str
) -> tuple[Instruction, set[str]]:
    """The instruction with its variables replaced, and the names of those that were not set."""
    expander = _Expander(variables, escape)
    return _expanded(instruction, expander), expander.unset


def expand_mounts(run: Run, variables: Mapping[str, str], escape: str) -> tuple[tuple[Mount, ...], set[str]]:
    """RUN's mounts, read with their variables replaced, and the names of those that were not set."""
    expander = _Expander(variables, escape)
    return tuple(read_mount(text, expander.text) for text in run.mounts), expander.unset


def _expanded(instruction: Instruction, expander: _Expander) -> Instruction:
    match instruction:
        case Copy() | Add():
            return _transferred(instruction, expander)
        case Env() | Label():
            return replace(instruction, pairs=expander.pairs(instruction.pairs))
        case Expose():
            return _exposed(instruction, expander)
        case StopSignal():
            return replace(instruction, signal=read_stop_signal(expander.text(instruction.signal)))
        case User():
            return replace(instruction, user=expander.text(instruction.user))
        case Volume():
            return replace(instruction, paths=_filled(expander.texts(instruction.paths)))
        case Workdir():
            return replace(instruction, path=expander.text(instruction.path))
        case _:
            return instruction


def _transferred(instruction: Copy | Add, expander: _Expander) -> Instruction:
    if isinstance(instruction, Add):
        instruction = replace(instruction, checksum=expander.text(instruction.checksum))
    expanded = replace(
        instruction,
        sources=expander.texts(instruction.sources),
        destination=expander.text(instruction.destination),
        files=tuple(expander.file(file) for file in instruction.files),
        chown=expander.text(instruction.chown),
        chmod=expander.text(instruction.chmod),
    )
    require_sources(expanded)
    try:
        if expanded.chmod:
            read_chmod(expanded.chmod)
    except ValueError as error:
        raise Fault(str(error)) from None
    return expanded


def _exposed(instruction: Expose, expander: _Expander) -> Instruction:
    ports = expander.words(instruction.ports)
    for port in ports:
        try:
            read_port(port)
        except ValueError as error:
            raise Fault(str(error)) from None
    return replace(instruction, ports=ports)


def _filled(paths: tuple[str, ...]) -> tuple[str, ...]:
    """The paths of VOLUME, none of which may have become empty."""
    if "" in paths:
        raise Fault("a path of VOLUME is empty once its variables are replaced", "set the variable, or write the path")
    return paths
