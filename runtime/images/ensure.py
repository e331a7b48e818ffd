"""Make an image real: the one call of this room that the reconciler needs to create.

Decides whether what is on disk is still what is wanted; if not, has the blobs brought (from a registry, an archive, a
root file system), the layers unpacked, and writes the record last. Called again it finds nothing to do. What a kill
leaves half-done is taken up by the next call. A damaged image is healed to what it was, not to what its tag names
today.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from runtime.images.archive import bring_archive
from runtime.images.found import Found, add_image, one_layer, read_found
from runtime.images.from_registry import pull_image, resolve_image
from runtime.images.leases import Lease
from runtime.images.limits import Limits
from runtime.images.making import Making, record_of
from runtime.images.progress import Progress, Report, Step, ignore
from runtime.images.record import ImageRecord, Origin
from runtime.images.rootfs import add_rootfs, source_fingerprint
from runtime.images.store import damage, find_image, missing_blob, read_image, write_image
from runtime.images.trust.policy import policy_of
from runtime.images.wanted import ImageWanted
from runtime.layout import Layout
from schemas.errors import Refused, TrimtabError

if TYPE_CHECKING:
    from runtime.images.registry.settings import RegistrySettings

__all__ = ["ImageWanted", "ensure_image", "read_fingerprint"]


def ensure_image(
    layout: Layout,
    wanted: ImageWanted,
    settings: RegistrySettings | None = None,
    progress: Report = ignore,
    limits: Limits | None = None,
) -> ImageRecord:
    """The image `wanted`, whole on disk. Raises Refused, RetryLater; a record that was there stays as it was then.

    Idempotent. `progress` may be called from several threads.
    """
    try:
        with Lease(layout) as lease:
            return _ensure(Making(layout, lease, wanted, progress, limits or Limits()), settings)
    except TrimtabError as error:
        error.object = f"Image/{wanted.name}" + (f" {error.object}" if error.object else "")
        raise


def read_fingerprint(wanted: ImageWanted) -> str:
    """Of the path that the image is made from; "" for a registry's. Costs one lstat(2) per file. Raises Refused."""
    return source_fingerprint(wanted.path) if wanted.path is not None else ""


def _ensure(making: Making, settings: RegistrySettings | None) -> ImageRecord:
    layout, wanted = making.layout, making.wanted
    fingerprint = read_fingerprint(wanted)
    have = read_image(layout, wanted.name)
    if have is not None and not (_is_same_wish(have, wanted, fingerprint) and _is_current(have, wanted, settings)):
        have = None
    if have is not None and damage(layout, have) is None:
        return have
    record = record_of(making, _found(making, have, settings), fingerprint)
    write_image(layout, record)
    making.progress(Progress(wanted.name, Step.DONE, record.digest, record.size, record.size))
    return record


def _is_same_wish(have: ImageRecord, wanted: ImageWanted, fingerprint: str) -> bool:
    return have.wanted == wanted.digest() and have.fingerprint == fingerprint


def _is_current(have: ImageRecord, wanted: ImageWanted, settings: RegistrySettings | None) -> bool:
    """With `always`: whether the registry's tag still names what was pulled."""
    if wanted.origin is not Origin.REF or wanted.pull_policy != "always":
        return True
    return resolve_image(wanted.reference(), settings) == have.resolved


def _found(making: Making, damaged: ImageRecord | None, settings: RegistrySettings | None) -> Found:
    """The image's blobs, all in the store; those of an image that only lost layers need not be brought."""
    if damaged is not None and missing_blob(making.store, damaged) is None:
        return read_found(making.store, damaged.digest, damaged.resolved, damaged.tags)
    wanted = making.wanted
    match wanted.origin:
        case Origin.REF:
            return _from_registry(making, damaged, settings)
        case Origin.ARCHIVE:
            assert wanted.archive is not None
            report = making.stepped(Step.READ)
            return bring_archive(making.store, wanted.archive, wanted.for_platform, making.limits, report)
        case Origin.ROOTFS:
            return _from_rootfs(making)
        case Origin.CONTAINER:
            raise Refused(
                f"the image {wanted.name} was made of the container {wanted.container} and is damaged",
                step="find image",
                hint="commit the container again",
            )
        case Origin.BUILD:
            raise Refused(f"the image {wanted.name} is damaged", step="find image", hint="build it again")


def _from_rootfs(making: Making) -> Found:
    path = making.wanted.rootfs
    assert path is not None
    report = making.stepped(Step.READ)
    blob = add_rootfs(making.layout, making.store, path, lambda done: report(str(path), done, 0))
    (layer,) = making.ensure_layers([making.layer(blob, None)])
    document = one_layer(making.wanted.config, making.wanted.for_platform, layer.diff_id)
    return add_image(making.store, document, (blob,))


def _from_registry(making: Making, damaged: ImageRecord | None, settings: RegistrySettings | None) -> Found:
    wanted = making.wanted
    reference = wanted.reference()
    local = find_image(making.layout, reference, wanted.for_platform)
    if local is not None and wanted.pull_policy != "always" and _is_usable(wanted, local, settings):
        return read_found(making.store, local.digest, local.resolved, local.tags)
    if wanted.pull_policy == "never":
        raise Refused(
            f"{reference} is not on this machine, and `pull_policy` is never",
            step="find image",
            hint="load it with `trimtab image load`, or set `pull_policy: missing`",
        )
    if damaged is not None:
        reference = replace(reference, digest=damaged.resolved)
    return pull_image(making, reference, settings)


def _is_usable(wanted: ImageWanted, local: ImageRecord, settings: RegistrySettings | None) -> bool:
    """Whether what is here may stand for what is wanted: nobody vouches for an image as it was built, before its layers
    were compressed to be pushed. Raises Refused where nothing else will do, RetryLater."""
    policy = policy_of(wanted.policy, wanted.reference(), settings)
    if policy is None:
        return True
    from runtime.images.trust.verify import require_trusted

    try:
        require_trusted(policy, wanted.reference(), (local.resolved, local.digest), settings or _plain())
    except Refused:
        if wanted.pull_policy == "never":
            raise
        return False
    return True


def _plain() -> RegistrySettings:
    from runtime.images.registry.settings import RegistrySettings

    return RegistrySettings()
