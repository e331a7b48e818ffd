"""A build from beginning to end: contexts opened, Dockerfile read, bases brought, steps solved, the image written.

The one call of this room for the command line and for `Image.spec.build`.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from reconciler.build.bases import Base, Bringing, configs_of
from reconciler.build.cache import files_path, trim
from reconciler.build.configure import variables
from reconciler.build.contexts import Context, open_context, read_ignore_of, read_inside
from reconciler.build.elsewhere import IMAGE_PREFIXES, local_directory
from reconciler.build.fetch import Fetching
from reconciler.build.graph import BuildGraph, HistoryLine, missing_images, plan_build
from reconciler.build.run_mounts import trim_mounts
from reconciler.build.select import Kind
from reconciler.build.sharing import write_caches
from reconciler.build.solve import Solver
from reconciler.build.steps import PREFIX, Start
from reconciler.build.wanted import BuildWanted, Tell, silent
from runtime.images.blobs import BlobStore, full_disk_is_retried
from runtime.images.config import ImageDocument
from runtime.images.found import add_image
from runtime.images.leases import Lease
from runtime.images.limits import Limits
from runtime.images.making import Making, record_of
from runtime.images.platforms import Platform
from runtime.images.progress import Report, ignore
from runtime.images.record import ImageRecord
from runtime.images.store import write_image
from runtime.images.wanted import ImageWanted
from runtime.layout import Layout
from schemas.dockerfile.checks import check, refuse_findings
from schemas.dockerfile.ignore import Ignore
from schemas.dockerfile.parse import Dockerfile, parse
from schemas.dockerfile.remote import remote_of
from schemas.dockerfile.rules import Finding
from schemas.errors import Refused
from schemas.reference import Reference

LARGEST_DOCKERFILE = 16 << 20


@dataclass(frozen=True, slots=True)
class Made:
    """The image, what the checks found, how many steps there were and how many of them had to be done.

    `files`: digests of the files of the build's own context, by path, as far as something took them; `bases`: of the
    images it began with, by reference.
    """

    record: ImageRecord
    findings: tuple[Finding, ...]
    steps: int
    done: int
    files: Mapping[str, str] = field(default_factory=dict)
    bases: Mapping[str, str] = field(default_factory=dict)


def build(layout: Layout, wanted: BuildWanted, tell: Tell = silent, progress: Report = ignore) -> Made:
    """Raises Invalid (with every place), Refused, RetryLater; a record that was there stays as it was then."""
    begun = time.time()
    _tidy(layout)
    with _prepared(layout, wanted, tell, progress) as prepared:
        solver = prepared.solver
        solver.solve()
        files = _files(solver.contexts.get(""))
        record = _write(wanted, solver, _identity(wanted, solver))
        write_files(layout, wanted.name, files)
        bases = {name: base.found.resolved or base.found.digest for name, base in solver.bases.items()}
        _attest(layout, wanted, record, bases, files, begun)
        if wanted.cache_to:
            write_caches(solver)
    trim(layout)
    trim_mounts(layout)
    return Made(record, prepared.findings, len(solver.graph.steps), solver.worked, files, bases)


def _attest(
    layout: Layout,
    wanted: BuildWanted,
    record: ImageRecord,
    bases: Mapping[str, str],
    files: Mapping[str, str],
    begun: float,
) -> None:
    """What is asked for, kept beside the image. Loaded only for it."""
    from reconciler.images.attesting import ensure_provenance, ensure_sbom

    if wanted.provenance:
        ensure_provenance(layout, wanted, record, bases, files, (begun, time.time()))
    if wanted.sbom:
        ensure_sbom(layout, record)


def _tidy(layout: Layout) -> None:
    """What makes containers is loaded only where a killed builder left one, or its network."""
    if any((layout.root / "containers").glob(f"{PREFIX}*")) or (layout.run / "build" / "network").exists():
        from reconciler.build import run

        run.tidy(layout)


def look(layout: Layout, wanted: BuildWanted) -> tuple[str, dict[str, str]]:
    """What a build would be made of, as a record's fingerprint; and the digests of the files of its context.

    Builds nothing and asks nobody: what is elsewhere counts as it was last seen. Raises as `build`.
    """
    with _prepared(layout, wanted, silent, ignore, offline=True) as prepared:
        prepared.solver.look()
        return _identity(wanted, prepared.solver), _files(prepared.solver.contexts.get(""))


@dataclass(frozen=True, slots=True)
class _Prepared:
    solver: Solver
    findings: tuple[Finding, ...]


@contextmanager
def _prepared(
    layout: Layout, wanted: BuildWanted, tell: Tell, progress: Report, *, offline: bool = False
) -> Iterator[_Prepared]:
    """Contexts open, bases here, steps known; nothing done yet."""
    with ExitStack() as held:
        lease = held.enter_context(Lease(layout))
        making = Making(layout, lease, ImageWanted(wanted.name, build=wanted.contexts[""]), progress, Limits())
        fetching = Fetching(layout, making.store, held, offline)
        bringing = Bringing(layout, lease, wanted, progress, offline)
        images = {
            name: bringing.bring(_reference(text))
            for name, text in wanted.contexts.items()
            if text.startswith(IMAGE_PREFIXES)
        }
        places = {
            name: local_directory(making, fetching, text)
            for name, text in wanted.contexts.items()
            if name not in images
        }
        dockerfile, ignored = _read(wanted, places[""])
        inputs = wanted.inputs()
        named = {name: text for name, text in wanted.contexts.items() if name}
        bases = bringing.all_of(dockerfile, inputs, named)
        findings = _check(dockerfile, wanted, bases, ignored)
        graph = plan_build(dockerfile, inputs, configs_of(bases), tuple(named), without_cache=wanted.without_cache)
        contexts = _open(layout, places, graph, ignored, held)
        try:
            yield _Prepared(
                Solver(making, wanted, dockerfile, graph, bases, contexts, images, fetching, tell), findings
            )
        finally:
            for context in contexts.values():
                context.remember()


def _identity(wanted: BuildWanted, solver: Solver) -> str:
    """Of everything that decides what the image will be; no outcome is needed."""
    built = solver.graph.result
    lines = [line.created_by for line in built.history]
    parts = [solver.early[built.tree], built.config.fields(), str(built.platform), built.author, lines]
    described = [*parts, sorted(wanted.labels.items()), sorted(wanted.tags), wanted.epoch]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def write_files(layout: Layout, name: str, files: Mapping[str, str]) -> None:
    """Which files the image was made of: only to tell later which one changed."""
    path = files_path(layout, name)
    temporary = path.with_suffix(f".{os.getpid()}.new")
    with full_disk_is_retried(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(files))
        temporary.rename(path)


def read_files(layout: Layout, name: str) -> dict[str, str]:
    """Nothing where that is not known."""
    try:
        return {str(path): str(digest) for path, digest in json.loads(files_path(layout, name).read_bytes()).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _reference(text: str) -> str:
    name = next(text.removeprefix(prefix) for prefix in IMAGE_PREFIXES if text.startswith(prefix))
    try:
        return str(Reference.parse(name))
    except ValueError as error:
        raise Refused(str(error), step="read reference") from error


def read_named(wanted: BuildWanted) -> frozenset[str]:
    """References of the images that the Dockerfile and the contexts name; of a Dockerfile elsewhere nothing is known.

    Raises Invalid, Refused.
    """
    named = {_reference(text) for text in wanted.contexts.values() if text.startswith(IMAGE_PREFIXES)}
    place = wanted.contexts[""]
    if wanted.text is None and (remote_of(place) is not None or not Path(place).is_dir()):
        return frozenset(named)
    text = wanted.text if wanted.text is not None else _dockerfile_of(wanted, Path(place))
    others = tuple(name for name in wanted.contexts if name)
    return frozenset(named | set(missing_images(parse(text, wanted.dockerfile), wanted.inputs(), {}, others)))


def _read(wanted: BuildWanted, context: Path) -> tuple[Dockerfile, Ignore | None]:
    """Raises Invalid, Refused."""
    if wanted.text is not None:
        return parse(wanted.text, wanted.dockerfile), read_ignore_of(context, "")
    own = "" if Path(wanted.dockerfile).is_absolute() else wanted.dockerfile
    return parse(_dockerfile_of(wanted, context), wanted.dockerfile), read_ignore_of(context, own)


def _dockerfile_of(wanted: BuildWanted, context: Path) -> str:
    """Raises Refused."""
    path = Path(wanted.dockerfile)
    if path.is_absolute():
        content = read_inside(path.parent, path.name, LARGEST_DOCKERFILE)
    else:
        content = read_inside(context, wanted.dockerfile, LARGEST_DOCKERFILE)
        if content is None and wanted.dockerfile == "Dockerfile":
            content = read_inside(context, "Containerfile", LARGEST_DOCKERFILE)
    if content is None:
        raise Refused(
            "there is no such Dockerfile", step="build", path=str(context / path), hint="name it with -f FILE"
        )
    return content.decode(errors="surrogateescape")


def _check(
    dockerfile: Dockerfile, wanted: BuildWanted, bases: Mapping[str, Base], ignored: Ignore | None
) -> tuple[Finding, ...]:
    inputs = wanted.inputs()
    environments = {name: variables(base.found.document.config) for name, base in bases.items()}
    contexts = tuple(name for name in wanted.contexts if name)
    found = check(dockerfile, inputs, contexts=contexts, environments=environments, ignore=ignored, only_needed=True)
    refuse_findings(dockerfile, found, inputs)
    return found


def _open(
    layout: Layout, places: Mapping[str, Path], graph: BuildGraph, ignored: Ignore | None, held: ExitStack
) -> dict[str, Context]:
    """Only contexts that a step takes from are walked."""
    used = {each.context for step in graph.steps for each in step.inputs if hasattr(each, "context")}
    used |= {step.work.context for step in graph.steps if isinstance(step.work, Start) and step.work.context}
    return {
        name: held.enter_context(open_context(layout, name, path, ignored if not name else read_ignore_of(path, "")))
        for name, path in places.items()
        if name in used
    }


def _files(context: Context | None) -> dict[str, str]:
    if context is None:
        return {}
    entries = context.listing.entries
    return {path: entry.content for path, entry in entries.items() if entry.kind is Kind.FILE and entry.content}


def _write(wanted: BuildWanted, solver: Solver, fingerprint: str) -> ImageRecord:
    """Config, manifest and record. Equal outcomes make an equal image."""
    built, making = solver.graph.result, solver.making
    base = solver.bases[built.base] if built.base else None
    below = base.layers if base is not None else ()
    layers = solver.layers(built.tree)
    blobs = (*(base.blobs if base is not None else ()), *layers[len(below) :])
    created, history = _history(solver, base, built.history, built.author)
    config = replace(built.config, labels={**built.config.labels, **wanted.labels})
    platform = Platform.parse(str(built.platform))
    document = ImageDocument(config, platform, layers, created, history)
    tags = wanted.tags or _own_tag(wanted.name)
    store: BlobStore = making.store
    record = record_of(making, add_image(store, document, blobs, tags), fingerprint)
    write_image(making.layout, record)
    return record


def _history(
    solver: Solver, base: Base | None, lines: tuple[HistoryLine, ...], author: str
) -> tuple[str, tuple[Mapping[str, object], ...]]:
    """When the image was made, and its history: each line's time is that of the last layer so far."""
    epoch = solver.wanted.epoch
    document = base.found.document if base is not None else None
    history: list[Mapping[str, object]] = list(document.history if document is not None else ())
    created = _time(epoch) if epoch is not None else (document.created if document is not None else "")
    created = created or _time(0)
    for line in lines:
        layer = solver.outcomes[line.step].layer if line.step is not None else ""
        if line.step is not None and epoch is None:
            created = max(created, _time(solver.outcomes[line.step].created))
        row: dict[str, object] = {"created": created, "created_by": line.created_by}
        row |= {"author": author} if author else {}
        history.append(row if layer else row | {"empty_layer": True})
    return created, tuple(history)


def _time(seconds: float) -> str:
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds" if seconds % 1 else "seconds")
    return text.replace("+00:00", "Z")


def _own_tag(name: str) -> tuple[str, ...]:
    """What a manifest may say: `image: NAME`."""
    try:
        return (str(Reference.parse(name)),)
    except ValueError:
        return ()
