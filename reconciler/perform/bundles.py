"""Make a container's bundle: directories, generated files, mounts found, `config.json` written last."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from reconciler.bundle.config import Materials, config
from reconciler.bundle.mounts import Sources
from reconciler.bundle.user import User, resolve_user
from reconciler.desired import Desired
from reconciler.perform.context import Context
from reconciler.perform.devices import make_nodes
from reconciler.perform.etc import etc_files
from reconciler.perform.grants import project_grants
from reconciler.perform.hooks import departure_hooks, departure_words, new_incarnation
from reconciler.perform.mount_sources import image_of, image_volumes, mount_sources
from reconciler.perform.namespaces import entered
from reconciler.perform.placing import about, written
from reconciler.perform.shared_memory import shared_memory
from reconciler.resolve.expand import container_spec, image_key
from runtime.images.record import ImageRecord
from runtime.images.store import layer_directories
from runtime.kernel import apparmor
from schemas.container import ContainerSpec
from schemas.errors import Refused
from schemas.names import Key

HOST_QUEUES = Path("/dev/mqueue")


def declared_spec(context: Context, want: Desired) -> ContainerSpec:
    """The container's spec: its manifest's own, or what its Service makes of each replica."""
    assert want.declared is not None
    return container_spec(want.declared, context.declared)


def _declared_key(want: Desired) -> Key:
    return want.declared.key if want.declared is not None else want.key


def make_bundle(context: Context, want: Desired) -> None:
    """Raises Refused for what only shows now: no such user, device, path. RetryLater when something beneath is gone."""
    layout, name = context.engine.layout, want.key.name
    spec = declared_spec(context, want)
    image = image_of(context, want, image_key(spec.image, spec, context.declared))
    layers = layer_directories(layout, image)
    bundle = layout.container(name)
    for directory in ("work", "rootfs", "log"):
        (bundle / directory).mkdir(mode=0o755, parents=True, exist_ok=True)
    _make_upper(bundle / "upper", layers[0])
    spec = spec.model_copy(update={"volumes": (*spec.volumes, *image_volumes(spec, image))})
    joined = entered(context, want, spec)
    id_base = want.facts.get("user_namespace", joined.id_base)
    sources = Sources(
        by_target=mount_sources(context, want, spec, layers, id_base or 0),
        files=etc_files(context, want, spec),
        secrets=project_grants(context, want, spec, id_base or 0),
        devices=make_nodes(spec, bundle, id_base) if id_base is not None else {},
        shared_memory=shared_memory(context, want, spec, id_base or 0),
        host_queues=HOST_QUEUES if HOST_QUEUES.is_dir() else None,
    )
    token = new_incarnation(layout, name)
    materials = Materials(
        name=name,
        bundle=bundle,
        cgroup=layout.cgroup(name),
        image=image.config,
        image_digest=image.digest,
        layers=layers,
        environment=context.environments.get(_declared_key(want), {}),
        user=_user(want, spec, image, layers),
        sources=sources,
        limits=want.facts["limits"],
        apparmor=_profile(want, spec),
        id_base=id_base,
        joined=joined.paths,
        hooks=departure_hooks(context, want, token),
        farewell=departure_words(context, want, token),
    )
    write_config(bundle, config(spec, materials))


def look_up_user(context: Context, want: Desired) -> None:
    """Raises Refused where the image, as it is now, has no such user or group; RetryLater where it is not there."""
    spec = declared_spec(context, want)
    image = image_of(context, want, image_key(spec.image, spec, context.declared))
    layers = layer_directories(context.engine.layout, image)
    _user(want, spec, image, layers)


def _user(want: Desired, spec: ContainerSpec, image: ImageRecord, layers: tuple[Path, ...]) -> User:
    """Raises Refused for a name that the image does not know."""
    with about(*written(want, "user", "image")):
        return resolve_user(layers, spec.user or image.config.user, spec.group_add)


def _make_upper(upper: Path, layer: Path) -> None:
    """The writable layer. Overlay shows its own owner and mode at `/`: they are those of the image's highest layer."""
    if upper.exists():
        return
    new = upper.with_suffix(".new")
    new.mkdir(exist_ok=True)
    status = layer.stat()
    os.chown(new, status.st_uid, status.st_gid)
    new.chmod(status.st_mode & 0o7777)
    new.rename(upper)


def _profile(want: Desired, spec: ContainerSpec) -> str | None:
    """The AppArmor profile to run in, where the kernel has AppArmor. Raises Refused for one that it has not."""
    chosen = spec.security.apparmor
    if chosen == apparmor.UNCONFINED or (chosen is None and spec.privileged):
        return None
    if chosen is None:
        return _default_profile()
    if not apparmor.is_available() or chosen not in apparmor.loaded_profiles():
        why = "is not loaded" if apparmor.is_available() else "cannot be entered: AppArmor is not enabled here"
        raise Refused(
            f"the profile {chosen} {why}",
            object=str(want.key),
            step="spec.security_opt apparmor",
            field=("spec", "security_opt"),
            hint="load it with apparmor_parser, or leave it out",
        )
    return chosen


@cache
def _default_profile() -> str | None:
    """Loaded at the first container of an apply. A machine with AppArmor and without its parser is told so."""
    if not apparmor.is_available():
        return None
    try:
        return apparmor.ensure_default_profile()
    except OSError as error:
        raise Refused(
            error.strerror or str(error),
            step="apparmor",
            hint="or write security_opt: [apparmor=unconfined]",
            field=("spec", "security_opt"),
        ) from error


def read_config(bundle: Path) -> dict[str, Any] | None:
    """The bundle's `config.json`; None where there is none that can be read."""
    try:
        made: dict[str, Any] = json.loads((bundle / "config.json").read_bytes())
    except (OSError, ValueError):
        return None
    return made


def write_config(bundle: Path, document: Mapping[str, Any]) -> None:
    """The OCI config, by one rename."""
    temporary = bundle / "config.tmp"
    temporary.write_text(json.dumps(document))
    temporary.rename(bundle / "config.json")
