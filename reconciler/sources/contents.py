"""What manifests only point at: env_file texts, and the contents of Secrets and Configs. Read before planning, so that
a file that is missing is told before anything is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path as FilePath

from reconciler.caller import caller
from reconciler.sources.sealed import is_sealed
from schemas.container import ContainerTemplate
from schemas.env_file import read_env_file, read_raw_env_file
from schemas.envelope import Declared
from schemas.errors import Invalid, Problem
from schemas.field_path import Path as FieldPath
from schemas.field_path import format_path
from schemas.names import Key, Kind
from schemas.secret import ContentSpec


def files_named(declared: Iterable[Declared]) -> list[str]:
    """The files that are read for these objects, in the order of the objects."""
    named: list[str] = []
    for item in declared:
        if isinstance(item.spec, ContentSpec) and item.spec.content is None and item.spec.environment is None:
            named.append(item.spec.file or "")
        elif isinstance(item.spec, ContainerTemplate):
            named += [file.path for file in item.spec.env_file]
    return named


Read = Callable[[str], bytes]
"""The content of a file. Raises OSError."""


def read_sent(path: str) -> bytes:
    """A file that whoever gave the command names."""
    return caller().read_bytes(path)


def read_here(path: str) -> bytes:
    """A file that what was accepted before names: the engine's own machine has it, whoever asks now."""
    return FilePath(path).read_bytes()


SEALED = "is encrypted with SOPS"
UNSEAL = "give the source that it comes from decrypt:, with its age keys"


def read_contents(
    declared: Iterable[Declared], environment: Mapping[str, str], read: Read = read_sent
) -> dict[Key, bytes]:
    """Contents of every Secret and Config. Raises Invalid with each that cannot be read."""
    found: dict[Key, bytes] = {}
    problems: list[Problem] = []
    for item in declared:
        if isinstance(item.spec, ContentSpec):
            outcome = _opened(item, _content(item, item.spec, environment, read))
            if isinstance(outcome, Problem):
                problems.append(outcome)
            else:
                found[item.key] = outcome
    if problems:
        raise Invalid(problems)
    return found


def _content(item: Declared, spec: ContentSpec, environment: Mapping[str, str], read: Read) -> bytes | Problem:
    if spec.content is not None:
        return spec.content.encode()
    if spec.environment is not None:
        if spec.environment not in environment:
            return _problem(item, ("spec", "environment"), f"the variable {spec.environment} is not set", "set it")
        return environment[spec.environment].encode()
    try:
        return read(spec.file or "")
    except OSError as error:
        return _problem(item, ("spec", "file"), f"cannot read {spec.file}: {error.strerror}", "mend the path")


def _opened(item: Declared, content: bytes | Problem) -> bytes | Problem:
    """A Secret is what it says, not what SOPS made of it. A Config may be meant for who decrypts it."""
    if isinstance(content, Problem) or item.key.kind is not Kind.SECRET or not is_sealed(content):
        return content
    return _problem(item, ("spec",), SEALED, UNSEAL)


def read_environments(
    declared: Iterable[Declared], environment: Mapping[str, str], read: Read = read_sent
) -> dict[Key, Mapping[str, str]]:
    """Each container's or service's variables: its env_files in order, then its own. Raises Invalid."""
    found: dict[Key, Mapping[str, str]] = {}
    problems: list[Problem] = []
    for item in declared:
        if isinstance(item.spec, ContainerTemplate):
            merged: dict[str, str] = {}
            for index, file in enumerate(item.spec.env_file):
                try:
                    parsed = read_raw_env_file if file.format == "raw" else read_env_file
                    content = read(file.path)
                    if is_sealed(content):
                        problems.append(_problem(item, ("spec", "env_file", index), SEALED, UNSEAL))
                        continue
                    merged |= parsed(file.path, content, environment)
                except FileNotFoundError:
                    if file.required:
                        place = ("spec", "env_file", index)
                        problems.append(_problem(item, place, f"no file {file.path}", "mend the path"))
                except OSError as error:
                    place = ("spec", "env_file", index)
                    problems.append(_problem(item, place, f"cannot read {file.path}: {error.strerror}", ""))
            own = {n: v if v is not None else environment.get(n) for n, v in item.spec.environment.items()}
            found[item.key] = merged | {name: value for name, value in own.items() if value is not None}
    if problems:
        raise Invalid(problems)
    return found


def _problem(item: Declared, path: FieldPath, message: str, remedy: str) -> Problem:
    return Problem(item.place(path), str(item.key), format_path(path), message, remedy)
