"""RUN: a container of the builder's own over the trees below, whose upper directory becomes the layer.

As isolated as any container: a user namespace of its own, id-mapped layers, the default seccomp profile and limits.
Its bundle is called `.build-…`, which no manifest can say, and is locked while its builder lives, so that whoever
comes next removes what a killed one left. Called by the solver.

Source: Dockerfile reference, "RUN --network", "RUN --security".
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

from reconciler.build.steps import PREFIX, Execute
from reconciler.build.trees import empty_tree
from reconciler.build.wire import Wire, wire
from reconciler.build.wire import tidy as tidy_wire
from reconciler.bundle.config import Materials, config
from reconciler.bundle.linux import IDS
from reconciler.bundle.mounts import Sources
from reconciler.bundle.user import resolve_user
from reconciler.kinds.limits import resources
from reconciler.perform.bundles import write_config
from reconciler.perform.devices import make_nodes
from reconciler.perform.etc import host_words
from runtime.images.changes import Change, read_changes
from runtime.images.config import ImageConfig
from runtime.images.locks import is_same_file, lock
from runtime.kernel import apparmor
from runtime.layout import Layout
from runtime.process import client
from runtime.process.logs import LogLine, read_logs
from runtime.process.records import ExitRecord
from schemas.container import ContainerSpec
from schemas.errors import Refused, RetryLater

HOSTNAME = "build"
FIRST_ID, ID_RANGES = 0x6000_0000, 4096
"""Host ids of builds: above those that containers are allotted."""
LARGEST_LOG = 64 << 20
ETC = ("hosts", "resolv.conf", "hostname")

Listen = Any
Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RunWanted:
    """`layers`: trees below it, highest first; `entries`: OCI mounts of its own; `environment`: what it gets and the
    image does not, as proxies and secrets."""

    work: Execute
    layers: tuple[Path, ...]
    entries: tuple[Entry, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    network: str = "default"
    extra_hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shm_size: int | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """One RUN's bundle, and the first host id of its user namespace."""

    name: str
    bundle: Path
    live: Path
    id_base: int


@contextmanager
def room(layout: Layout) -> Iterator[Room]:
    """A bundle of one's own, gone afterwards with whatever still ran in it."""
    name = f"{PREFIX}{secrets.token_hex(6)}"
    bundle, live = layout.container(name), layout.run / "build" / name
    bundle.mkdir(parents=True, mode=0o700)
    fd = os.open(bundle, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not lock(fd) or not is_same_file(fd, bundle):
            raise RetryLater("somebody tidied the bundle away before it was locked", step="run")
        bundle.chmod(0o755)
        live.mkdir(parents=True, mode=0o711)
        yield Room(name, bundle, live, FIRST_ID + secrets.randbelow(ID_RANGES) * IDS)
    finally:
        try:
            _remove(layout, name)
        finally:
            os.close(fd)


def tidy(layout: Layout) -> None:
    """Remove the bundles of builders that live no more, with what still runs in them, and the network."""
    for bundle in (layout.root / "containers").glob(f"{PREFIX}*"):
        with suppress(FileNotFoundError, NotADirectoryError):
            fd = os.open(bundle, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if lock(fd):
                    _remove(layout, bundle.name)
            finally:
                os.close(fd)
    tidy_wire(layout)


def _remove(layout: Layout, name: str) -> None:
    client.delete(layout, name, force=True)
    shutil.rmtree(layout.run / "build" / name, ignore_errors=True)
    shutil.rmtree(layout.container(name), ignore_errors=True)


def run(layout: Layout, room: Room, wanted: RunWanted, listen: Listen) -> ExitRecord:
    """Until the program has ended; each line that it writes is told to `listen` (a LogLine). Raises Refused,
    ProcessFailed for what could not be started."""
    with ExitStack() as held:
        place = held.enter_context(wire(layout, _resolvers())) if wanted.network == "default" else None
        _make_bundle(layout, room, wanted, place)
        made = client.create(layout, room.name)
        if place is not None:
            place.plug(layout, room.name, made.pid, made.start_time)
        return _run(layout, room, listen)


def _run(layout: Layout, room: Room, listen: Listen) -> ExitRecord:
    reader = Thread(target=_read, args=(room.bundle / "log", listen), daemon=True)
    client.start(layout, room.name)
    reader.start()
    ended = client.wait(layout, room.name)
    reader.join(10.0)
    return ended


def changes(room: Room, wanted: RunWanted) -> tuple[Change, ...]:
    """What the program has changed, without what only stood there to mount something on."""
    targets = [str(entry["destination"]) for entry in wanted.entries]
    targets += ["/proc", "/sys", "/dev", *(f"/etc/{name}" for name in ETC)]
    standing = {above.encode() for target in targets for above in _with_parents(target.strip("/"))}
    return read_changes(room.bundle / "upper", wanted.layers, standing)


def _with_parents(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]


def _read(directory: Path, listen: Listen) -> None:
    for line in read_logs(directory, follow=True):
        listen(line)


def _make_bundle(layout: Layout, room: Room, wanted: RunWanted, place: Wire | None) -> None:
    work, bundle = wanted.work, room.bundle
    layers = wanted.layers or (empty_tree(layout),)
    for name in ("work", "rootfs", "log", "etc"):
        (bundle / name).mkdir(mode=0o755)
    _make_upper(bundle / "upper", layers[0])
    spec = _spec(wanted)
    user = resolve_user(layers, work.user)
    files = _etc_files(bundle / "etc", wanted, place)
    materials = Materials(
        name=HOSTNAME,
        bundle=bundle,
        cgroup=layout.cgroup(room.name),
        image=ImageConfig(env=tuple(f"{name}={value}" for name, value in work.environment)),
        image_digest="",
        layers=layers,
        environment=wanted.environment,
        user=user,
        sources=Sources(
            by_target={},
            files=files,
            secrets={},
            devices=make_nodes(spec, bundle, room.id_base),
        ),
        limits=resources(spec, {}),
        apparmor=_profile(spec),
        id_base=room.id_base,
    )
    document = config(spec, materials)
    mounts = [*document["mounts"], *wanted.entries, *_script(work, bundle)]
    write_config(bundle, document | {"mounts": mounts})


def _spec(wanted: RunWanted) -> ContainerSpec:
    work = wanted.work
    return ContainerSpec.model_validate(
        {
            "image": "build",
            "entrypoint": list(work.arguments),
            "command": [],
            "working_dir": work.working_dir,
            "network_mode": "host" if wanted.network == "host" else "none",
            "hostname": HOSTNAME,
            "privileged": work.security == "insecure",
            "shm_size": wanted.shm_size,
        }
    )


def _profile(spec: ContainerSpec) -> str | None:
    if spec.privileged or not apparmor.is_available():
        return None
    return apparmor.ensure_default_profile()


def _make_upper(upper: Path, layer: Path) -> None:
    """Overlay shows its own owner and mode at `/`: they are those of the highest layer."""
    upper.mkdir()
    status = layer.stat()
    os.chown(upper, status.st_uid, status.st_gid)
    upper.chmod(status.st_mode & 0o7777)


def _etc_files(directory: Path, wanted: RunWanted, place: Wire | None) -> dict[str, Path]:
    """Names and resolvers of its own: nothing of the host's other names."""
    given = "".join(f"{address}\t{name}\n" for name, found in wanted.extra_hosts.items() for address in found)
    local = f"127.0.0.1\tlocalhost {HOSTNAME}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    texts = {"hosts": local + given, "resolv.conf": _resolv(wanted, place), "hostname": f"{HOSTNAME}\n"}
    for name, text in texts.items():
        (directory / name).write_text(text)
    return {f"/etc/{name}": directory / name for name in texts}


def _resolv(wanted: RunWanted, place: Wire | None) -> str:
    if place is not None:
        search = host_words("search")
        lines = [f"nameserver {server}\n" for server in place.resolvers]
        return "".join([*lines, *([f"search {' '.join(search)}\n"] if search else [])])
    if wanted.network == "none":
        return ""
    try:
        return Path("/etc/resolv.conf").read_text(errors="replace")
    except OSError:
        return ""


def _resolvers() -> list[str]:
    """The host's, as far as another network namespace reaches them: by IPv4, and not on its loopback interface."""
    return [server for server in host_words("nameserver") if ":" not in server and not server.startswith("127.")]


def _script(work: Execute, bundle: Path) -> Sequence[Entry]:
    """The file that a heredoc with `#!` becomes."""
    if not work.script_path:
        return ()
    path = bundle / "script"
    path.write_bytes(work.script.encode(errors="surrogateescape"))
    path.chmod(0o755)
    options = ["bind", "rprivate", "ro", "nosuid", "nodev", "idmap"]
    return ({"destination": work.script_path, "type": "bind", "source": str(path), "options": options},)


__all__ = ["LogLine", "Room", "RunWanted", "changes", "room", "run", "tidy"]


def require_success(ended: ExitRecord, work: Execute) -> None:
    """Raises Refused for a program that did not end with 0."""
    if ended.exit_code == 0 and not ended.signal:
        return
    why = f"ended with {ended.exit_code}"
    if ended.oom_killed:
        why = "was ended because memory ran out"
    elif ended.error:
        why = ended.error
    raise Refused(f"{' '.join(work.arguments)!r} {why}", step="run")
