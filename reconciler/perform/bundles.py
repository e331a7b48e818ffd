"""Make a container's bundle: directories, generated files, mounts found, `config.json` written last."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reconciler.bundle.config import Materials, config
from reconciler.bundle.mounts import Sources
from reconciler.bundle.user import resolve_user
from reconciler.desired import Desired
from reconciler.perform.context import Context
from reconciler.perform.etc import etc_files
from reconciler.perform.grants import project_grants
from reconciler.perform.hooks import departure_hooks
from reconciler.resolve.containers import joined
from runtime.images.record import ImageRecord
from runtime.images.store import layer_directories, read_image
from runtime.layout import Layout
from runtime.process import client
from runtime.volumes.populate import populate
from runtime.volumes.records import VolumeWanted
from runtime.volumes.subpath import resolve_subpath
from runtime.volumes.volume import ensure_volume, volume_path
from schemas.container import ContainerSpec
from schemas.errors import Refused, RetryLater
from schemas.mount import Mount
from schemas.names import Key, Kind
from schemas.service import ServiceSpec


def declared_spec(context: Context, want: Desired) -> ContainerSpec:
    """The container's spec: its manifest's own, or what its Service makes of each replica."""
    assert want.declared is not None
    spec = want.declared.spec
    if isinstance(spec, ServiceSpec):
        return spec.replica()
    assert isinstance(spec, ContainerSpec)
    return spec


def _declared_key(want: Desired) -> Key:
    return want.declared.key if want.declared is not None else want.key


def make_bundle(context: Context, want: Desired) -> None:
    """Raises Refused for what only shows now: no such user, device, path."""
    layout, name = context.engine.layout, want.key.name
    spec = declared_spec(context, want)
    image = _image(context, want)
    layers = layer_directories(layout, image)
    bundle = layout.container(name)
    for directory in ("work", "rootfs", "log"):
        (bundle / directory).mkdir(mode=0o755, parents=True, exist_ok=True)
    _make_upper(bundle / "upper", layers[0])
    spec = spec.model_copy(update={"volumes": (*spec.volumes, *_image_volumes(spec, image))})
    user = resolve_user(layers, spec.user or image.config.user, spec.group_add)
    sources = Sources(
        by_target=dict(_mount_sources(context, name, spec, layers)),
        files=etc_files(context, want, spec),
        secrets=project_grants(context, want, spec),
    )
    materials = Materials(
        name=name,
        bundle=bundle,
        cgroup=layout.cgroup(name),
        image=image.config,
        layers=layers,
        environment=context.environments.get(_declared_key(want), {}),
        user=user,
        sources=sources,
        id_base=want.facts.get("user_namespace"),
        joined=_joined(context, want, spec),
        hooks=departure_hooks(context, want),
    )
    _write(bundle / "config.json", config(spec, materials))


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


def _image(context: Context, want: Desired) -> ImageRecord:
    key = next(need for need in want.needs if need.kind is Kind.IMAGE)
    image = read_image(context.engine.layout, key.name)
    if image is None:
        raise RetryLater(f"{key} is not there", object=str(want.key), step="find the image")
    return image


def _image_volumes(spec: ContainerSpec, image: ImageRecord) -> Iterator[Mount]:
    """Unnamed volumes for the paths the image declares and the manifest does not mount (image-spec, Volumes)."""
    taken = {os.path.normpath(mount.target) for mount in spec.mounts}
    for path in image.config.volumes:
        if os.path.normpath(path) not in taken:
            yield Mount(type="volume", target=path)


def _mount_sources(
    context: Context, name: str, spec: ContainerSpec, layers: tuple[Path, ...]
) -> Iterator[tuple[str, Path]]:
    for mount in spec.volumes:
        if mount.type == "volume":
            yield mount.target, _volume_source(context.engine.layout, name, mount, layers)
        elif mount.type == "bind":
            yield mount.target, _bind_source(mount)
        elif mount.type == "image":
            raise Refused(
                "mounting an image is not there yet", object=f"Container/{name}", step="mount", path=mount.target
            )


def _volume_source(layout: Layout, container: str, mount: Mount, layers: tuple[Path, ...]) -> Path:
    """A volume's directory, filled at first use from what the image holds at the target, as Docker does."""
    volume = mount.source or unnamed_volume(container, mount.target)
    if mount.source is None:
        ensure_volume(layout, VolumeWanted(name=volume))
    options = mount.volume
    if options is None or not options.nocopy:
        populate(layout, volume, layers, mount.target)
    if options is not None and options.subpath:
        return resolve_subpath(layout, volume, options.subpath)
    return volume_path(layout, volume)


def unnamed_volume(container: str, target: str) -> str:
    """The same each time, so that a replaced container finds its data again, as with Compose."""
    return f"{container[:40]}-{hashlib.sha256(f'{container}:{target}'.encode()).hexdigest()[:12]}"


def _bind_source(mount: Mount) -> Path:
    path = Path(mount.source or "")
    if not path.exists():
        if mount.bind is not None and not mount.bind.create_host_path:
            raise Refused("the path to mount is not there", step="mount", path=str(path), hint="create it")
        path.mkdir(parents=True, exist_ok=True)
    return path


def _joined(context: Context, want: Desired, spec: ContainerSpec) -> Mapping[str, Path]:
    """Namespaces of other containers to enter, and their user namespace, which owns them."""
    found: dict[str, Path] = {}
    for field, namespace in (("network_mode", "network"), ("pid", "pid"), ("ipc", "ipc")):
        peer = joined(getattr(spec, field))
        if peer is None:
            continue
        pid = _pid_of(context, want, peer)
        found[namespace] = Path(f"/proc/{pid}/ns/{ {'network': 'net'}.get(namespace, namespace) }")
        if "user_namespace" in context.desired[peer].facts:
            found["user"] = Path(f"/proc/{pid}/ns/user")
    return found


def _pid_of(context: Context, want: Desired, peer: Key) -> int:
    process = client.read_process(context.engine.layout, peer.name)
    if process is None or not process.phase.can_kill:
        raise RetryLater(f"{peer} does not run", object=str(want.key), step="join its namespaces")
    return process.pid


def _write(path: Path, document: Mapping[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(document))
    temporary.rename(path)
