"""The fields of a container that say what runs in it: image, command, environment, user, name.

Mixed into containers and services. A field that makes it another program, or another view of its files, replaces the
container; what the kernel is told at the start only restarts it.

Source: Compose Specification, services.
"""

import shlex
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationInfo

from schemas.addresses import Hostname
from schemas.faults import collect
from schemas.field import Spec, live, part, replace, restart
from schemas.image_words import ImageName, Platform, PullPolicy
from schemas.paths import ContainerPath, FilePath
from schemas.plain_types import Flag, Labels, list_of, one_of, read_line, read_list, read_pairs, read_text, words
from schemas.spelling import INTO_BAG, SORTED, Spelling


def read_command(value: Any) -> tuple[str, ...]:
    """Text is split as a shell would, without variables; a list is taken as it is. Empty is no command at all."""
    if isinstance(value, str):
        try:
            return tuple(shlex.split(read_text(value)))
        except ValueError:
            raise ValueError(f"{value!r} has an open quote; close it, or write a list") from None
    if not isinstance(value, list | tuple):
        raise ValueError("is neither text nor a list; write a command as in [sleep, infinity]")
    return tuple(read_text(word) for word in value)


def take_from_environment(value: dict[str, str | None], info: ValidationInfo) -> dict[str, str | None]:
    """Variables named without a value, filled in from the environment of whoever applies; unset there, unset here.

    That environment is the validation context's `environment`. Without one they stay None.
    """
    if info.context is None or None not in value.values():
        return value
    around: Mapping[str, str] = info.context["environment"]
    filled = {name: around.get(name) if text is None else text for name, text in value.items()}
    return {name: text for name, text in filled.items() if text is not None}


def read_user(value: Any) -> str:
    """`USER[:GROUP]`, by name or number. Raises ValueError."""
    text = read_line(value)
    user, colon, group = text.partition(":")
    for name in (user, group) if colon else (user,):
        if not name or any(character in name for character in ": /\\\t") or len(name) > 256:
            raise ValueError(f"{text!r} is no user; write USER or USER:GROUP, by name or number")
        if name.isdecimal() and int(name[:20]) > 2**32 - 2:
            raise ValueError(f"{name} is no user or group number; write one from 0 to 4294967294")
    return text


def read_group(value: Any) -> str:
    """A name or number, without `:`. Raises ValueError with the remedy."""
    return read_user(value).partition(":")[0]


class EnvFile(Spec):
    """A file of `KEY=VALUE` lines."""

    path: Annotated[FilePath, part("The file, relative to the manifest.")]
    required: Annotated[Flag, part("The file must be there.")] = True
    format: Annotated[
        Annotated[str, one_of("compose", "raw")], part("`raw` takes values as they are, quotes and $ included.")
    ] = "compose"


def read_env_files(value: Any) -> list[Any]:
    """`env_file`: a path or several, in the long form. Raises ValueError with every fault."""
    items = [value] if isinstance(value, Mapping | EnvFile) else read_list(value)
    if not isinstance(items, list | tuple):
        raise ValueError("is no list of files; write - and a path on each line")
    return collect("env_file", items, lambda item: item if isinstance(item, Mapping | EnvFile) else {"path": item})


COMMAND = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "number", "boolean"]}}],
}
Command = Annotated[tuple[str, ...], Spelling(read_command, "command", COMMAND, final=True)]
Environment = Annotated[
    dict[str, str | None],
    Spelling(
        read_pairs,
        "map of string",
        {
            "anyOf": [
                {
                    "type": "object",
                    "propertyNames": {"pattern": "^[^=]+$"},
                    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
                },
                list_of({"type": "string", "pattern": "^[^=]+"}),
            ]
        },
        final=True,
    ),
    AfterValidator(take_from_environment),
]
User = Annotated[str, Spelling(read_user, "user", {"type": ["string", "integer"]}, final=True)]
Groups = Annotated[
    tuple[str, ...], words(read_group, "list of group", {"type": ["string", "integer"]}), INTO_BAG, SORTED
]
EnvFiles = Annotated[
    tuple[EnvFile, ...],
    Spelling(read_env_files, "list of file", {"type": ["string", "object"]}, items={"type": "string"}),
]


class ProcessFields(Spec):
    """The fields of a container that say what runs in it."""

    image: Annotated[ImageName, replace("Name of an Image manifest, or a reference as nginx:1.27.")]
    pull_policy: Annotated[
        PullPolicy | None, live("When a reference is asked for again at its registry.", default="missing")
    ] = None
    platform: Annotated[Platform | None, replace("Platform to take of a reference.", default="the host's")] = None
    command: Annotated[
        Command | None, replace("Arguments of the entrypoint; empty for none.", default="the image's")
    ] = None
    entrypoint: Annotated[
        Command | None, replace("What is run; the image's command is then ignored.", default="the image's")
    ] = None
    environment: Annotated[Environment, replace("Variables, over those of the image and of env_file.")] = {}
    env_file: Annotated[EnvFiles, replace("Files of variables; the last one wins.")] = ()
    working_dir: Annotated[ContainerPath | None, replace("Directory it starts in.", default="the image's")] = None
    user: Annotated[
        User | None, replace("User, and group after a colon, by name or number.", default="the image's, or 0")
    ] = None
    group_add: Annotated[Groups, replace("Further groups, by name or number.")] = ()
    hostname: Annotated[Hostname | None, restart("Host name it sees.", default="the container's name")] = None
    domainname: Annotated[Hostname | None, restart("Domain name it sees.", default="none")] = None
    labels: Annotated[Labels, live("Notes for people and tools; nothing acts on them.")] = {}
    annotations: Annotated[Labels, live("Notes for the OCI runtime's hooks and tools.")] = {}
    init: Annotated[Flag, restart("Process 1 is an init that forwards signals and reaps orphans.")] = False
    tty: Annotated[Flag, restart("It gets a terminal.")] = False
    stdin_open: Annotated[Flag, restart("Its standard input stays open.")] = False
