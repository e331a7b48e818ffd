"""What SOPS has encrypted, when stored manifests are asked for again: decrypted with the keys of the source that feeds
the set, as at its apply, in memory alone. Refused where the key is gone. Called by `as_applied` and `intent`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.claims import declared_of
from reconciler.sources.followed import followed_of
from reconciler.sources.held import held_content
from reconciler.sources.sealed import is_sealed
from reconciler.store.attempts import read_attempts
from reconciler.store.database import Database
from reconciler.store.inventory import read_inventory
from reconciler.store.revisions import BY_SOURCE, read_revisions
from reconciler.store.sealed import Sealed
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.load import Text, load
from schemas.names import Key, Kind
from schemas.secret import ContentSpec

if TYPE_CHECKING:
    from reconciler.sources.sops import Keys

STEP = "decrypt"


class Unsealing:
    """Of one set. Its keys are read when something encrypted is met, and not before."""

    def __init__(self, layout: Layout, database: Database, set_name: str, environment: Mapping[str, str]) -> None:
        self._layout = layout
        self._database = database
        self._set = set_name
        self._environment = environment
        self._keys: Keys | None = None

    def read(self, path: str) -> bytes:
        """A file of this machine that stored manifests name. Raises OSError, Refused."""
        content = Path(path).read_bytes()
        if not is_sealed(content):
            return content
        keys = self._found()
        if not keys:
            return content
        from reconciler.sources.sops import unseal_file

        return unseal_file(path, content, keys)

    def content(self, key: Key, sealed: Sealed) -> bytes:
        """The content of a Secret or Config that stood encrypted in its manifest. Raises Refused."""
        from reconciler.sources.sops.unseal import unseal_document

        text = unseal_document(sealed.name, sealed.document, self._found())
        for item in load([Text(sealed.name, text)], self._environment, set=self._set):
            if item.key == key and isinstance(item.spec, ContentSpec) and item.spec.content is not None:
                return item.spec.content.encode()
        raise Refused("its encrypted form does not hold it", object=str(key), step=STEP)

    def _found(self) -> Keys:
        if self._keys is None:
            self._keys = self._read_keys()
        return self._keys

    def _read_keys(self) -> Keys:
        """None of a source that decrypts nothing. Raises Refused where the source, or its key, is gone."""
        from reconciler.sources.sops import NO_KEYS, read_keys

        inventory = read_inventory(self._database)
        declared = [declared_of(entry) for key, entry in inventory.items() if key.kind is Kind.SOURCE]
        source = next((each for each in followed_of(declared) if each.set == self._set), None)
        if source is not None and source.spec.decrypt is not None:
            return read_keys(held_content(self._layout, self._database, source.spec.decrypt, self._environment))
        fed = any(each.cause.startswith(BY_SOURCE) for each in read_revisions(self._database, self._set))
        known = {memory.last.set for memory in read_attempts(self._database).values() if memory.last is not None}
        if source is None and fed and self._set not in known:
            raise Refused(
                f"it was encrypted with SOPS, and no Source with its key feeds the set {self._set} any more",
                step=STEP,
                hint="apply the Source again, with decrypt:",
            )
        return NO_KEYS
