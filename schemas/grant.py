"""A Secret or Config given to a container as a file.

Short and long form become one grant whose target is an absolute path. That the object exists is `check`'s business.

Source: Compose Specification, services, secrets and configs.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from schemas.faults import collect
from schemas.field import Spec, part
from schemas.mount import Id
from schemas.paths import read_target
from schemas.plain_types import NAME, Mode, Name, read_name
from schemas.spelling import INTO_BAG, SORTED, Spelling

WRITE_BITS = 0o222
SECRETS = "/run/secrets/"
GrantMode = Annotated[Mode, AfterValidator(lambda mode: mode & ~WRITE_BITS)]


GrantTarget = Annotated[
    str, Spelling(read_target, "path in the container", {"type": "string", "minLength": 1}, final=True)
]


class Grant(Spec):
    """One file on tmpfs in the container."""

    source: Annotated[Name, part("Name of the Secret or Config.")]
    target: Annotated[
        GrantTarget, part("Path of the file.", default="/run/secrets/NAME for a secret, /NAME for a config")
    ] = ""
    uid: Annotated[Id | None, part("Owner, a number inside the container.", default="0")] = None
    gid: Annotated[Id | None, part("Group, a number inside the container.", default="0")] = None
    mode: Annotated[GrantMode, part("Permissions; write bits are ignored.", default="0444")] = 0o444


def _reader(title: str, directory: str) -> Spelling:
    def expand(item: Any) -> Any:
        if isinstance(item, Grant):
            return item
        if not isinstance(item, Mapping):
            item = {"source": read_name(item)}
        target = item.get("target") or item.get("source")
        return {**item, "target": _absolute(target, directory)} if isinstance(target, str) else item

    def read(value: Any) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"is no list; write - and the name of a {title.removesuffix('s')} on each line")
        return collect(title, value, expand)

    return Spelling(read, "list of grant", items=NAME)


def _absolute(target: str, directory: str) -> str:
    return read_target(target if target.startswith("/") else directory + target)


SecretGrants = Annotated[tuple[Grant, ...], INTO_BAG, SORTED, _reader("secrets", SECRETS)]
ConfigGrants = Annotated[tuple[Grant, ...], INTO_BAG, SORTED, _reader("configs", "/")]
