"""COPY and ADD: the instructions that bring files.

Called by `read_instruction`. Raises Fault.

Source: Dockerfile reference, "ADD", "COPY".
"""

from __future__ import annotations

import re

from schemas.dockerfile.chmod import read_chmod
from schemas.dockerfile.faults import Fault
from schemas.dockerfile.flags import Given, read_flags, switch_of, text_of, texts_of
from schemas.dockerfile.heredoc import read_mark
from schemas.dockerfile.instructions import Add, Copy, InlineFile, Instruction, Origin
from schemas.dockerfile.statement import Statement

_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}|[0-9a-f]{40}|[0-9a-f]{64}")


def read_copy(statement: Statement, origin: Origin) -> Instruction:
    given = read_flags("copy", statement.flags)
    sources, destination, files = _transferred(statement)
    from_ = text_of(given, "from")
    if "$" in from_.rstrip("$"):
        remedy = "name a stage: FROM $IMAGE AS name, then --from=name"
        raise Fault("variables do not count in --from", remedy, given["from"][0].offset)
    return Copy(
        origin,
        sources,
        destination,
        files,
        from_,
        text_of(given, "chown"),
        _chmod(given),
        bool(switch_of(given, "link")),
        bool(switch_of(given, "parents")),
        texts_of(given, "exclude"),
    )


def read_add(statement: Statement, origin: Origin) -> Instruction:
    given = read_flags("add", statement.flags)
    sources, destination, files = _transferred(statement)
    checksum = text_of(given, "checksum")
    if checksum and "$" not in checksum and not _CHECKSUM.fullmatch(checksum):
        remedy = "write sha256: and 64 hexadecimal digits, or a commit"
        raise Fault(f"{checksum!r} is no checksum", remedy, given["checksum"][0].offset)
    return Add(
        origin,
        sources,
        destination,
        files,
        text_of(given, "chown"),
        _chmod(given),
        bool(switch_of(given, "link")),
        texts_of(given, "exclude"),
        checksum,
        switch_of(given, "keep-git-dir"),
        switch_of(given, "unpack"),
    )


def _chmod(given: Given) -> str:
    text = text_of(given, "chmod")
    if text and "$" not in text:
        try:
            read_chmod(text)
        except ValueError as error:
            raise Fault(str(error), "", given["chmod"][0].offset) from None
    return text


def _transferred(statement: Statement) -> tuple[tuple[str, ...], str, tuple[InlineFile, ...]]:
    """The sources that are paths, the destination, and the sources that are heredocs."""
    word = statement.word.text.upper()
    if len(statement.words) < 2:
        raise Fault(f"{word} needs a source and a destination", _remedy(statement), statement.word.offset)
    destination = statement.words[-1]
    if not statement.is_json and read_mark(destination.text):
        raise Fault(f"{word} cannot write into a heredoc", f"write {word} <<EOF /PATH", destination.offset)
    sources: list[str] = []
    files: list[InlineFile] = []
    written = {heredoc.name: heredoc for heredoc in statement.heredocs}
    for source in statement.words[:-1]:
        mark = None if statement.is_json else read_mark(source.text)
        heredoc = written.get(mark.name) if mark else None
        if heredoc is None:
            sources.append(source.text)
        elif "/" in heredoc.name or heredoc.name in (".", ".."):
            raise Fault(f"{heredoc.name} cannot name a file", "write a name without slashes", source.offset)
        else:
            files.append(InlineFile(heredoc.name, heredoc.text, heredoc.expands))
    return tuple(sources), destination.text, tuple(files)


def _remedy(statement: Statement) -> str:
    word = statement.word.text.upper()
    return f"write {word} SOURCE… DESTINATION"
