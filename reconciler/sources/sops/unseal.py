"""Decrypt what SOPS has encrypted: manifests, and the files that manifests point at. In memory alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from reconciler.sources.sealed import MARK, is_sealed
from reconciler.sources.sops.cipher import NotSealed, Value, counted, is_authentic, open_value
from reconciler.sources.sops.document import Document, Leaf, read_document, rewrite
from reconciler.sources.sops.keys import Keys, open_data_key
from reconciler.sources.sops.metadata import STEP, Metadata, read_metadata, unflatten
from schemas.errors import Invalid, Place, Problem, Refused
from schemas.source_text import Text, Unreadable, decode

_FLAT_NOTE = "sops_"
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff]")


def unseal_texts(texts: Sequence[Text], keys: Keys) -> tuple[tuple[Text, ...], frozenset[str]]:
    """The texts, decrypted where SOPS has encrypted them, and the names of those.

    Raises Invalid with every value that is changed or not encrypted, Refused where no key fits.
    """
    opened: list[Text] = []
    sealed: set[str] = set()
    for text in texts:
        if is_sealed(text.text if isinstance(text.text, bytes) else text.text.encode()):
            opened.append(Text(text.name, unseal_document(text.name, text.text, keys)))
            sealed.add(text.name)
        else:
            opened.append(text)
    return tuple(opened), frozenset(sealed)


def unseal_file(name: str, content: bytes, keys: Keys) -> bytes:
    """The content of a file in any of SOPS's forms. Raises Invalid, Refused."""
    opened = _unseal(name, content, keys)
    if any(MARK in line and not line.lstrip().startswith("#") for line in opened.decode(errors="replace").splitlines()):
        message = "holds encrypted values, but not all of SOPS's notes"
        raise Refused(message, step=STEP, path=name, hint="encrypt the file with sops")
    return opened


def _unseal(name: str, content: bytes, keys: Keys) -> bytes:
    if re.search(rb"(?m)^sops_mac=", content):
        return _unseal_dotenv(name, content, keys)
    text = _decode(name, content)
    document = read_document(text, name)
    if [leaf.path for leaf in document.leaves] == [("data",)] and text.lstrip().startswith("{"):
        # SOPS's form for any file: its bytes as the one value of a JSON object
        return _open(name, text, document, keys)[document.leaves[0]].text.encode()
    return unseal_document(name, content, keys).encode()


def unseal_document(name: str, content: str | bytes, keys: Keys) -> str:
    """YAML or JSON, every line where it was."""
    text = _decode(name, content)
    document = read_document(text, name)
    if document.notes is None:
        _refuse_strays(name, text, document)
        return text
    values = _open(name, text, document, keys)
    spans = {(leaf.start, leaf.end): written(value) for leaf, value in values.items()}
    return rewrite(text, spans, document.blank)


def _decode(name: str, content: str | bytes) -> str:
    try:
        return decode(content)
    except Unreadable as error:
        place = Place(name, error.line, error.column)
        raise Invalid([Problem(place, "", "", error.message, error.remedy)]) from error


def _refuse_strays(name: str, text: str, document: Document) -> None:
    """An encrypted value that was copied into a plain file would be taken for the value itself."""
    problems = [
        Problem(
            _place(name, text, leaf.start),
            "",
            ".".join(leaf.path),
            "is encrypted, but the file has no notes of SOPS",
            "encrypt the file with sops",
        )
        for leaf in document.leaves
        if leaf.text.startswith(MARK)
    ]
    if problems:
        raise Invalid(problems)


def _open(name: str, text: str, document: Document, keys: Keys) -> dict[Leaf, Value]:
    """Every encrypted value, decrypted; the MAC is verified."""
    metadata = read_metadata(document.notes or {}, name)
    key = open_data_key(metadata.copies, keys, name)
    values: dict[Leaf, Value] = {}
    problems: list[Problem] = []
    for leaf in document.leaves:
        if not metadata.is_encrypted(leaf.path) or leaf.type == "null":
            continue
        try:
            values[leaf] = open_value(_sealed(leaf), key, leaf.path)
        except NotSealed as error:
            place = _place(name, text, leaf.start)
            problems.append(Problem(place, "", ".".join(leaf.path), str(error), "encrypt it with sops"))
    if problems:
        raise Invalid(problems)
    _verify(name, document.leaves, values, metadata, key)
    return values


def _sealed(leaf: Leaf) -> str:
    if leaf.type != "str":
        raise NotSealed("is not encrypted, though it should be")
    return leaf.text


def _verify(name: str, leaves: Iterable[Leaf], values: dict[Leaf, Value], metadata: Metadata, key: bytes) -> None:
    covered = [
        values[leaf].counted if leaf in values else counted(leaf.text, leaf.type)
        for leaf in leaves
        if leaf.type != "null" and (leaf in values or not metadata.only_encrypted)
    ]
    if not is_authentic(covered, metadata.mac, metadata.modified, key, only_encrypted=metadata.only_encrypted):
        message = "was changed after SOPS encrypted it: its MAC does not fit"
        raise Refused(message, step=STEP, path=name, hint="edit it with sops")


def _place(name: str, text: str, index: int) -> Place:
    before = text[:index]
    return Place(name, before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1)


def written(value: Value) -> str:
    """A value as YAML, on one line."""
    if value.type in ("int", "float"):
        return value.text
    if value.type == "bool":
        return value.text.lower()
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value.text, ensure_ascii=False))


def _unseal_dotenv(name: str, content: bytes, keys: Keys) -> bytes:
    """`KEY=value` lines; SOPS's notes are lines too, of names that begin with `sops_`."""
    lines = _decode(name, content).splitlines()
    pairs = [line.partition("=")[::2] for line in lines if line and not line.startswith("#")]
    notes = {key.removeprefix(_FLAT_NOTE): value for key, value in pairs if key.startswith(_FLAT_NOTE)}
    metadata = read_metadata(unflatten(notes, name), name)
    key = open_data_key(metadata.copies, keys, name)
    leaves = [
        Leaf((variable,), value.replace("\\n", "\n"), "str", number, number)
        for number, (variable, value) in enumerate(pairs)
        if not variable.startswith(_FLAT_NOTE)
    ]
    try:
        values = {leaf: open_value(leaf.text, key, leaf.path) for leaf in leaves if metadata.is_encrypted(leaf.path)}
    except NotSealed as error:
        raise Refused(f"holds a value that {error}", step=STEP, path=name, hint="encrypt it with sops") from error
    _verify(name, leaves, values, metadata, key)
    plain = [(leaf.path[0], values[leaf].text if leaf in values else leaf.text) for leaf in leaves]
    escaped = [(variable, value.replace("\n", "\\n")) for variable, value in plain]
    return "".join(f"{variable}={value}\n" for variable, value in escaped).encode()
