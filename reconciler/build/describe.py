"""What a line of an image's history says it was created by. Pure; called by `graph`.

Source: OCI image-spec 1.1, config.md, "history"; the wording is Docker's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from schemas.dockerfile.instructions import (
    Add,
    Arg,
    Copy,
    Env,
    Expose,
    Instruction,
    Label,
    Pair,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)


def created_by(instruction: Instruction, arguments: Mapping[str, str], command: Sequence[str] = ()) -> str:
    """`RUN |1 A=b /bin/sh -c make`, `COPY a /b`: the instruction with its variables replaced.

    `arguments` are the ARGs with a value; `command` what RUN, CMD or ENTRYPOINT came to.
    """
    match instruction:
        case Run():
            given = [f"{name}={value}" for name, value in arguments.items()]
            return " ".join(["RUN", *([f"|{len(given)}", *given] if given else []), *command])
        case Copy() | Add():
            return " ".join([instruction.name, *_flags(instruction), *_sources(instruction), instruction.destination])
        case Env() | Label():
            return " ".join([instruction.name, *_pairs(instruction.pairs)])
        case Arg():
            known = [(each.name, arguments.get(each.name)) for each in instruction.arguments]
            return " ".join(["ARG", *(name if value is None else f"{name}={value}" for name, value in known)])
        case Workdir(path=text) | User(user=text) | StopSignal(signal=text):
            return f"{instruction.name} {text}"
        case Expose(ports=words) | Volume(paths=words) | Shell(words=words):
            return f"{instruction.name} [{' '.join(words)}]"
        case _:
            return f"{instruction.name} {json.dumps(list(command))}" if command else instruction.origin.text


def _pairs(pairs: Iterable[Pair]) -> list[str]:
    return [f"{pair.name}={pair.value}" for pair in pairs]


def _flags(instruction: Copy | Add) -> list[str]:
    flags = ["--parents"] if isinstance(instruction, Copy) and instruction.parents else []
    flags += [f"--chown={instruction.chown}"] if instruction.chown else []
    return flags + ([f"--chmod={instruction.chmod}"] if instruction.chmod else [])


def _sources(instruction: Copy | Add) -> list[str]:
    return [*instruction.sources, *(f"<<{file.name}" for file in instruction.files)]
