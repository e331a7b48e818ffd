"""Who must have vouched for an image before it is used: `Image.spec.verify`. Files alone are the keys.

What is in the files is read by whoever brings the image.
"""

from typing import Annotated, Any, Self

from pydantic import ConfigDict, model_validator

from schemas.faults import Fault, refuse
from schemas.field import Spec, part
from schemas.paths import FILE_PATH, FilePath, read_file_path
from schemas.plain_types import read_list, words
from schemas.spelling import INTO_BAG, SORTED, Spelling, exactly_one, not_together

Files = Annotated[tuple[str, ...], words(read_file_path, "list of path of the host", FILE_PATH), INTO_BAG, SORTED]


def _expand(value: Any) -> Any:
    return {"keys": read_list(value)} if isinstance(value, str | list | tuple) else value


class VerifySpec(Spec):
    """A signature by one of the keys, or a line of a list."""

    model_config = ConfigDict(
        json_schema_extra={**exactly_one("keys", "list"), "allOf": [*not_together("list_key", "keys")]}
    )

    keys: Annotated[Files, part("Public keys (PEM, P-256), of which one has signed it as cosign does.")] = ()
    list: Annotated[FilePath | None, part("File of digests, each with its code.")] = None
    list_key: Annotated[FilePath | None, part("File of the key that the codes are made with.")] = None

    @model_validator(mode="after")
    def _one_policy(self) -> Self:
        refuse("verify", verify_faults(self))
        return self


def verify_faults(spec: VerifySpec) -> list[Fault]:
    """Keys, or a list and its key."""
    if not spec.keys and spec.list is None:
        return [((), "trusts nobody; write one of keys, list")]
    faults: list[Fault] = []
    if spec.keys and spec.list is not None:
        faults.append((("list",), "cannot stand beside keys; keep one of them"))
    if spec.keys and spec.list_key is not None:
        faults.append((("list_key",), "belongs to list; leave it out"))
    if spec.list is not None and spec.list_key is None:
        faults.append((("list",), "has no key; write list_key: FILE"))
    return faults


Verify = Annotated[
    VerifySpec,
    Spelling(_expand, "verify", {"anyOf": [FILE_PATH, {"type": "array", "items": FILE_PATH}]}),
]
