"""What SOPS notes beside the values it encrypts: for whom, which of them, and the MAC. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.errors import Refused

STEP = "decrypt"
RULES = ("unencrypted_suffix", "encrypted_suffix", "unencrypted_regex", "encrypted_regex")
BY_COMMENT = ("unencrypted_comment_regex", "encrypted_comment_regex")
DEFAULT_SUFFIX = "_unencrypted"
_FLAT = re.compile(r"__(map|list)_")


@dataclass(frozen=True, slots=True)
class Metadata:
    """`copies`: the data key, encrypted for each age recipient. `rule` and `text` say which values are encrypted."""

    copies: tuple[str, ...]
    mac: str
    modified: str
    rule: str
    text: str
    only_encrypted: bool = False

    def is_encrypted(self, path: Sequence[str]) -> bool:
        """Whether a value at `path` (keys only; places in lists do not count) was encrypted."""
        inverted = self.rule.startswith("unencrypted")
        if self.rule.endswith("suffix"):
            found = any(part.endswith(self.text) for part in path)
        else:
            found = any(re.search(self.text, part) for part in path)
        return not found if inverted else found


def read_metadata(fields: Mapping[str, Any], name: str) -> Metadata:
    """Raises Refused for what cannot be read here, as keys that are kept elsewhere."""
    rules = [rule for rule in (*RULES, *BY_COMMENT) if fields.get(rule)]
    if len(rules) > 1 or any(rule in BY_COMMENT for rule in rules):
        hint = f"use one of {', '.join(RULES)}"
        raise Refused(f"says what is encrypted by {', '.join(rules)}", step=STEP, path=name, hint=hint)
    groups = [group for group in fields.get("key_groups") or () if isinstance(group, Mapping)]
    if len(groups) > 1:
        raise Refused("needs keys of several groups", step=STEP, path=name, hint="use one group of age keys")
    entries = [*(fields.get("age") or ()), *(groups[0].get("age") or () if groups else ())]
    copies = tuple(str(entry["enc"]) for entry in entries if isinstance(entry, Mapping) and "enc" in entry)
    if not copies:
        hint = "encrypt it for an age key: sops --age RECIPIENT"
        raise Refused("is encrypted with SOPS, but for no age key", step=STEP, path=name, hint=hint)
    if "mac" not in fields or "lastmodified" not in fields:
        raise Refused("has no MAC of SOPS", step=STEP, path=name, hint="encrypt it anew")
    rule = rules[0] if rules else "unencrypted_suffix"
    text = str(fields[rule]) if rules else DEFAULT_SUFFIX
    if rule.endswith("regex"):
        _compile(text, name)
    return Metadata(
        copies,
        str(fields["mac"]),
        str(fields["lastmodified"]),
        rule,
        text,
        str(fields.get("mac_only_encrypted", "")).lower() == "true",
    )


def _compile(text: str, name: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise Refused(f"has a pattern that cannot be read: {error}", step=STEP, path=name) from error


def unflatten(flat: Mapping[str, str], name: str) -> dict[str, Any]:
    """Metadata of a file that knows no nesting: `age__list_0__map_enc` is `enc` of the first of `age`.

    Raises Refused for what contradicts itself.
    """
    try:
        return _unflatten(flat)
    except (ValueError, TypeError, AttributeError) as error:
        raise Refused("has notes of SOPS that cannot be read", step=STEP, path=name) from error


def _unflatten(flat: Mapping[str, str]) -> dict[str, Any]:
    nested: dict[str | int, Any] = {}
    for name, value in flat.items():
        steps = list(_steps(name))
        at = nested
        for step in steps[:-1]:
            at = at.setdefault(step, {})
        at[steps[-1]] = value.replace("\\n", "\n")
    return {str(name): _listed(value) for name, value in nested.items()}


def _steps(name: str) -> Iterator[str | int]:
    parts = _FLAT.split(name)
    yield parts[0]
    for kind, part in zip(parts[1::2], parts[2::2], strict=True):
        yield int(part) if kind == "list" else part


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(isinstance(key, int) for key in value):
        return [_listed(value[key]) for key in sorted(value)]
    return {key: _listed(item) for key, item in value.items()}
