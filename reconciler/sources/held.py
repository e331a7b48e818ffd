"""What a Source names that is secret, in a Secret or a file: a credential, a key. Nothing of it is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reconciler.claims import declared_of
from reconciler.sources.contents import read_contents
from reconciler.store.database import Database
from reconciler.store.inventory import Entry, read_inventory
from runtime.layout import Layout
from runtime.volumes.secrets import MAX_CONTENT, read_secret_content
from schemas.errors import Refused, TrimtabError
from schemas.names import Key, Kind
from schemas.source import Held

STEP = "read a secret"


def held_content(layout: Layout, database: Database, held: Held, environment: Mapping[str, str]) -> bytes:
    """Blocks. Raises Refused."""
    if held.file is not None:
        return _read_file(Path(held.file))
    name = held.secret or ""
    content = read_secret_content(layout, Kind.SECRET.value, name)
    if content is not None:
        return content
    entry = read_inventory(database).get(Key(Kind.SECRET, name))
    if entry is None:
        raise Refused(f"there is no Secret {name}", step=STEP, hint="apply it first")
    return _declared_content(entry, environment)


def _declared_content(entry: Entry, environment: Mapping[str, str]) -> bytes:
    """Where the tmpfs has lost it, as after a reboot."""
    try:
        return read_contents([declared_of(entry)], environment)[entry.key]
    except TrimtabError as error:
        raise Refused(f"the content of {entry.key} is not there", step=STEP, hint="apply it again") from error


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_CONTENT)
    except OSError as error:
        raise Refused(error.strerror or str(error), step=STEP, path=str(path), errno=error.errno) from error
