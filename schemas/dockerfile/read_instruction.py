"""From a statement to a typed instruction: what each takes, and what it must not be without.

Called by `parse`, once for every statement. Raises Fault, whose offset is that of the word at fault.

Source: Dockerfile reference, the section of each instruction.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from schemas.dockerfile import instructions as typed
from schemas.dockerfile.faults import Fault
from schemas.dockerfile.flags import read_flags, text_of
from schemas.dockerfile.instructions import Instruction, Origin
from schemas.dockerfile.platform import Platform
from schemas.dockerfile.ports import read_port
from schemas.dockerfile.read_command import read_cmd, read_entrypoint, read_healthcheck, read_run
from schemas.dockerfile.read_transfer import read_add, read_copy
from schemas.dockerfile.statement import KNOWN, Statement
from schemas.dockerfile.stop_signal import read_stop_signal
from schemas.nearest import suggest

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")
_NOT_TRIGGERS = ("onbuild", "from", "maintainer")


def read_instruction(statement: Statement, file: str) -> Instruction:
    """The typed instruction. Raises Fault."""
    reader = _READERS.get(statement.name)
    if reader is None:
        word = statement.word.text
        remedy = suggest(word, [name.upper() for name in KNOWN], otherwise="begin the line with an instruction")
        raise Fault(f"{word} is no instruction" if word else "nothing is continued", remedy, statement.word.offset)
    if statement.name not in ("healthcheck", "run", "copy", "add", "from"):
        read_flags(statement.name, statement.flags)
    line = statement.line
    place = line.place(file, statement.word.offset)
    return reader(statement, Origin(statement.word.text, line.text.strip(), place, line.last, statement.comments))


def _one(statement: Statement, example: str) -> str:
    if not statement.words:
        word = statement.word
        raise Fault(f"{word.text.upper()} needs an argument", f"write {example}", word.offset)
    return statement.words[0].text


def _read_from(statement: Statement, origin: Origin) -> Instruction:
    given = read_flags("from", statement.flags)
    words = statement.words
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].text.lower() != "as"):
        raise Fault("FROM takes an image, or an image AS a name", "write FROM IMAGE [AS NAME]", statement.word.offset)
    platform = text_of(given, "platform")
    if platform and "$" not in platform:
        try:
            Platform.parse(platform)
        except ValueError as error:
            raise Fault(str(error), "", given["platform"][0].offset) from None
    if len(words) == 1:
        return typed.From(origin, words[0].text, platform)
    name = words[2].text
    if not _STAGE_NAME.fullmatch(name.lower()):
        remedy = "begin with a letter, go on with letters, digits, and . _ -"
        raise Fault(f"{name!r} cannot name a stage", remedy, words[2].offset)
    return typed.From(origin, words[0].text, platform, name.lower(), name, words[1].text)


def _read_arg(statement: Statement, origin: Origin) -> Instruction:
    _one(statement, "ARG NAME[=DEFAULT]")
    arguments = []
    for word in statement.words:
        name, equals, default = word.text.partition("=")
        if not name:
            raise Fault(f"{word.text} has no name", "write NAME=DEFAULT", word.offset)
        arguments.append(typed.Argument(name, default if equals else None))
    return typed.Arg(origin, tuple(arguments))


def _read_env(statement: Statement, origin: Origin) -> Instruction:
    return typed.Env(origin, _pairs(statement))


def _read_label(statement: Statement, origin: Origin) -> Instruction:
    return typed.Label(origin, _pairs(statement))


def _pairs(statement: Statement) -> tuple[typed.Pair, ...]:
    if not statement.pairs:
        word = statement.word
        raise Fault(f"{word.text.upper()} needs an argument", f"write {word.text} NAME=VALUE", word.offset)
    return tuple(typed.Pair(pair.name, pair.value, pair.legacy) for pair in statement.pairs)


def _read_maintainer(statement: Statement, origin: Origin) -> Instruction:
    return typed.Maintainer(origin, _one(statement, 'LABEL org.opencontainers.image.authors="NAME"'))


def _read_workdir(statement: Statement, origin: Origin) -> Instruction:
    return typed.Workdir(origin, _one(statement, "WORKDIR /PATH"))


def _read_user(statement: Statement, origin: Origin) -> Instruction:
    return typed.User(origin, _one(statement, "USER NAME[:GROUP]"))


def _read_stop_signal(statement: Statement, origin: Origin) -> Instruction:
    signal = _one(statement, "STOPSIGNAL SIGTERM")
    if "$" not in signal:
        read_stop_signal(signal, statement.words[0].offset)
    return typed.StopSignal(origin, signal)


def _read_shell(statement: Statement, origin: Origin) -> Instruction:
    if not statement.is_json or not statement.words:
        remedy = 'write SHELL ["/bin/bash", "-c"]'
        raise Fault("SHELL takes a JSON array of strings, and not an empty one", remedy, statement.word.offset)
    return typed.Shell(origin, tuple(word.text for word in statement.words))


def _read_volume(statement: Statement, origin: Origin) -> Instruction:
    _one(statement, "VOLUME /PATH")
    paths = [word.text.strip() for word in statement.words]
    if "" in paths:
        raise Fault("VOLUME holds an empty path", "write VOLUME /PATH", statement.words[paths.index("")].offset)
    return typed.Volume(origin, tuple(paths))


def _read_expose(statement: Statement, origin: Origin) -> Instruction:
    _one(statement, "EXPOSE 80")
    for word in statement.words:
        if not set("$\\`'\"") & set(word.text):
            try:
                read_port(word.text)
            except ValueError as error:
                raise Fault(str(error), "", word.offset) from None
    return typed.Expose(origin, tuple(word.text for word in statement.words))


def _read_onbuild(statement: Statement, origin: Origin) -> Instruction:
    trigger = statement.trigger
    if trigger is None:
        raise Fault("ONBUILD needs an instruction", "write ONBUILD RUN …", statement.word.offset)
    at = statement.line.text.rstrip().rfind(trigger.line.text)
    if trigger.name in _NOT_TRIGGERS:
        raise Fault(f"{trigger.word.text.upper()} cannot be a trigger of ONBUILD", "leave it out", at)
    try:
        instruction = read_instruction(trigger, origin.place.file)
    except Fault as fault:
        raise Fault(fault.message, fault.remedy, at + fault.offset) from None
    bodies = "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in trigger.heredocs)
    return typed.OnBuild(origin, instruction, trigger.line.text + bodies)


_READERS: dict[str, Callable[[Statement, Origin], Instruction]] = {
    "add": read_add,
    "arg": _read_arg,
    "cmd": read_cmd,
    "copy": read_copy,
    "entrypoint": read_entrypoint,
    "env": _read_env,
    "expose": _read_expose,
    "from": _read_from,
    "healthcheck": read_healthcheck,
    "label": _read_label,
    "maintainer": _read_maintainer,
    "onbuild": _read_onbuild,
    "run": read_run,
    "shell": _read_shell,
    "stopsignal": _read_stop_signal,
    "user": _read_user,
    "volume": _read_volume,
    "workdir": _read_workdir,
}
