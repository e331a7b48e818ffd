"""What the machine shows of an object beyond the facts that the planner compares: usage, mounts, the image's content.

Read for `describe` only. What vanishes meanwhile is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from reconciler.cli.quantities import size_text, time_text
from reconciler.cli.seen import Seen
from reconciler.images.report import told_of_follower
from reconciler.store.database import Database
from runtime.images.record import ImageRecord
from runtime.images.store import read_image
from runtime.kernel import cgroup
from runtime.kernel.cgroup.usage import read_usage
from runtime.kernel.mountinfo import read_mountinfo
from runtime.layout import Layout
from schemas.image import ImageSpec
from schemas.names import Key, Kind

NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time")
NANOSECONDS = 1_000_000_000


def details(layout: Layout, seen: Seen) -> dict[str, Any]:
    """By kind; empty for those whose facts say everything."""
    of_kind: Mapping[Kind, Callable[[Layout, Seen], dict[str, Any]]] = {
        Kind.CONTAINER: _container,
        Kind.IMAGE: _image,
        Kind.VOLUME: _volume,
    }
    make = of_kind.get(seen.key.kind)
    return make(layout, seen) if make is not None else {}


def _container(layout: Layout, seen: Seen) -> dict[str, Any]:
    files = {"bundle": str(layout.container(seen.key.name)), "log": str(layout.container_log(seen.key.name))}
    found: dict[str, Any] = {"image": _image_of(layout, seen), "files": files}
    process = seen.process
    if process is None or process.phase.value == "exited":
        return found
    with suppress(OSError):
        found["limits"] = _limits(layout.cgroup(seen.key.name))
        found["usage"] = _usage(layout.cgroup(seen.key.name))
    with suppress(OSError):
        found["mounts"] = _mounts(process.pid)
    with suppress(OSError):
        found["namespaces"] = {name: str(Path(f"/proc/{process.pid}/ns/{name}").readlink()) for name in NAMESPACES}
    return found


def _limits(path: str) -> dict[str, Any]:
    """What the cgroup's files say, lists of nothing left out; device rules in the kernel's own words."""
    found = cgroup.read_limits(path)
    devices = found.pop("devices", [])
    told = {section: _some(fields) for section, fields in found.items()}
    return {section: fields for section, fields in told.items() if fields} | {"devices": list(map(_device, devices))}


def _some(fields: Any) -> Any:
    """A section without its empty lists; of huge pages the section is one itself."""
    return {name: value for name, value in fields.items() if value != []} if isinstance(fields, dict) else fields


def _device(rule: Mapping[str, Any]) -> str:
    numbers = f"{rule.get('major', '*')}:{rule.get('minor', '*')}"
    return f"{'allow' if rule['allow'] else 'deny'} {rule.get('type', 'a')} {numbers} {rule['access']}"


def _usage(path: str) -> dict[str, Any]:
    used = read_usage(path)
    return {
        "memory": size_text(used.memory) if used.memory is not None else None,
        "cache": size_text(used.cache) if used.cache is not None else None,
        "cpu": f"{used.cpu / NANOSECONDS:.3f} s" if used.cpu is not None else None,
        "tasks": used.tasks,
        "oom_kills": used.oom_kills,
    }


def _mounts(pid: int) -> dict[str, str]:
    """Mount point -> what is there, as the process sees it; those of /proc and /sys that hide files left out."""
    return {
        mount.point: f"{mount.fstype} {mount.source if mount.root == '/' else mount.root} {mount.options}"
        for mount in read_mountinfo(pid)
        if not mount.point.startswith(("/proc/", "/sys/"))
    }


def _image_of(layout: Layout, seen: Seen) -> dict[str, Any] | None:
    key: Key | None = next((need for need in seen.needs if need.kind is Kind.IMAGE), None)
    image = read_image(layout, key.name) if key is not None else None
    return {"name": image.name, "reference": image.reference, "digest": image.digest} if image is not None else None


def _image(layout: Layout, seen: Seen) -> dict[str, Any]:
    found = {"following": _following(layout, seen)}
    if seen.image is not None:
        found["content"] = image_facts(seen.image)
    return {name: value for name, value in found.items() if value}


def _following(layout: Layout, seen: Seen) -> dict[str, Any]:
    """What an image that follows a repository has chosen, what there is, and when it was looked for."""
    if seen.entry is None or "follow" not in seen.entry.manifest["spec"]:
        return {}
    spec = ImageSpec.model_validate(seen.entry.manifest["spec"])
    with closing(Database(layout.store)) as database:
        told = told_of_follower(database, seen.key.name, spec)
    looked = told.pop("checked_at")
    return told | {"checked": time_text(looked) if looked else None}


def image_facts(image: ImageRecord) -> dict[str, Any]:
    """What an image is: for `describe` and `image inspect`."""
    return {
        "reference": image.reference,
        "origin": image.origin.value,
        "digest": image.digest,
        "resolved": image.resolved or None,
        "tags": list(image.tags),
        "platform": str(image.platform),
        "media_type": image.media_type,
        "size": image.size,
        "made_at": time_text(image.made_at) if image.made_at else None,
        "config": dict(image.config.fields()),
        "layers": [
            {"diff_id": diff_id, "blob": blob.digest, "blob_size": blob.size, "media_type": blob.media_type}
            for diff_id, blob in zip(image.layers, image.blobs, strict=True)
        ],
    }


def _volume(layout: Layout, seen: Seen) -> dict[str, Any]:
    volume = seen.volume
    if volume is None:
        return {}
    return {
        "volume": {
            "path": str(volume.path),
            "deletion policy": volume.deletion_policy,
            "filled from the image": volume.populated,
            "wanted by a manifest": volume.registered,
        }
    }
