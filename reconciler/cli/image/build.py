"""The work of `trimtab image build`: what was typed as a `BuildWanted`, its progress shown, its warnings told."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import click

from reconciler.build.build import Made, build
from reconciler.build.wanted import BuildWanted, Tell, Told
from reconciler.cli.image.names import reference_of, refuse_declared
from reconciler.cli.live import display
from reconciler.cli.table import printable
from reconciler.wanted.builds import refuse_other_platforms
from runtime.layout import Layout
from schemas.build_cache import LOCAL, CachePlace
from schemas.dockerfile.checks import check
from schemas.dockerfile.evaluate import PROXIES
from schemas.dockerfile.parse import parse
from schemas.dockerfile.remote import remote_of
from schemas.dockerfile.rules import DESCRIPTIONS, Finding
from schemas.errors import Refused
from schemas.names import NAME_PATTERN
from schemas.reference import Reference
from schemas.units import read_bytes


@dataclass(frozen=True, slots=True)
class Typed:
    """The options as they were typed."""

    context: str
    tags: tuple[str, ...] = ()
    file: str = ""
    target: str = ""
    arguments: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    network: str = ""
    shm_size: str = ""
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    sbom: bool = False
    provenance: bool = True
    platforms: tuple[str, ...] = ()
    pull: bool = False
    allow: tuple[str, ...] = ()
    progress: str = "auto"
    quiet: bool = False
    extra: Mapping[str, str] = field(default_factory=dict)


def build_typed(layout: Layout, typed: Typed) -> Made:
    """Raises Invalid, Refused, RetryLater."""
    with _spooled(layout, typed) as context:
        wanted = wanted_of(replace(typed, context=context), os.environ)
        refuse_declared(layout, wanted.name, Reference.parse(wanted.tags[0]))
        shown = _shown(typed)
        with display(quiet=typed.quiet or typed.progress == "json") as pulls:
            made = build(layout, wanted, shown, pulls.report)
    if not typed.quiet:
        tell_findings(made.findings, as_json=typed.progress == "json")
    return made


def check_typed(layout: Layout, typed: Typed) -> tuple[Finding, ...]:
    """What the checks find, nothing built. Raises Invalid, Refused."""
    wanted = wanted_of(typed, os.environ)
    path = Path(wanted.contexts[""]) / wanted.dockerfile
    try:
        text = wanted.text if wanted.text is not None else path.read_text(errors="surrogateescape")
    except OSError as error:
        raise Refused(error.strerror or str(error), step="check", path=str(path), errno=error.errno) from error
    return check(parse(text, wanted.dockerfile), wanted.inputs(), contexts=tuple(wanted.contexts))


def wanted_of(typed: Typed, environment: Mapping[str, str]) -> BuildWanted:
    """Raises Refused for what cannot be read."""
    refuse_other_platforms(each for text in typed.platforms for each in text.split(","))
    names = typed.tags or (_name_of_directory(typed.context),)
    text, file = None, typed.file or "Dockerfile"
    if typed.file == "-":
        text, file = sys.stdin.read(), "-"
    elif typed.file:
        file = _dockerfile(typed.file, typed.context)
    return BuildWanted(
        name=names[0] if re.fullmatch(NAME_PATTERN, names[0]) else _implicit(names[0]),
        contexts={"": _context(typed.context)} | {name: _context(path) for name, path in _pairs(typed.contexts)},
        dockerfile=file,
        text=text,
        arguments=_arguments(typed.arguments, environment),
        target=typed.target,
        labels=dict(_pairs(typed.labels)),
        tags=tuple(str(reference_of(name)) for name in names),
        without_cache=("*",)
        if typed.no_cache
        else tuple(name for each in typed.no_cache_filter for name in each.split(",")),
        cache_from=tuple(_cache(each, is_target=False) for each in typed.cache_from),
        cache_to=tuple(_cache(each, is_target=True) for each in typed.cache_to),
        pull=typed.pull,
        sbom=typed.sbom,
        provenance=typed.provenance,
        secrets=dict(_secret(each, environment) for each in typed.secrets),
        agents=dict(_agent(each, environment) for each in typed.agents),
        network=typed.network,
        extra_hosts=_hosts(typed.hosts),
        shm_size=read_bytes(typed.shm_size) if typed.shm_size else None,
        allow_insecure="security.insecure" in typed.allow,
    )


def _cache(text: str, *, is_target: bool) -> CachePlace:
    try:
        read = CachePlace.parse(text, is_target=is_target)
    except ValueError as error:
        raise Refused(str(error), step="read options") from error
    return read.at(str(Path(read.place).absolute())) if read.type == LOCAL else read


@contextmanager
def _spooled(layout: Layout, typed: Typed) -> Iterator[str]:
    """A context that comes by standard input is a tar, or a Dockerfile alone."""
    if typed.context != "-":
        yield typed.context
        return
    layout.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=layout.root, prefix=".context-") as directory:
        path = Path(directory) / "context"
        with path.open("wb") as file:
            while piece := sys.stdin.buffer.read(1 << 20):
                file.write(piece)
        from reconciler.build.archives import is_archive

        if is_archive(lambda: path.open("rb")):
            yield str(path)
            return
        path.rename(path.with_name("Dockerfile"))
        yield directory


def _context(text: str) -> str:
    if text.startswith(("docker-image://", "image:")) or remote_of(text) is not None:
        return text
    return str(Path(text).absolute())


def _dockerfile(file: str, context: str) -> str:
    """Docker's `-f` counts from where it is typed; one inside the context is named from its top."""
    if remote_of(context) is not None:
        return file
    path, top = Path(file).absolute(), Path(context).absolute()
    try:
        return str(path.relative_to(top))
    except ValueError:
        return str(path)


def _name_of_directory(context: str) -> str:
    name = re.sub(r"[^a-z0-9_.-]+", "-", Path(context).absolute().name.lower()).strip("-._")[:63]
    if remote_of(context) is not None or context == "-" or not name:
        raise Refused("the image has no name", hint="give it one with -t NAME")
    return name


def _implicit(text: str) -> str:
    from reconciler.resolve.expand import implicit_name

    try:
        return implicit_name(text)
    except ValueError as error:
        raise Refused(str(error), step="read reference") from error


def _pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    for text in texts:
        if "=" not in text:
            raise Refused(f"{text!r} has no value", hint="write NAME=VALUE")
    return [(name, value) for name, _, value in (text.partition("=") for text in texts)]


def _arguments(texts: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """A name without a value takes that of the environment; proxies and SOURCE_DATE_EPOCH are taken in any case."""
    taken = ("SOURCE_DATE_EPOCH", *PROXIES, *(name.lower() for name in PROXIES))
    found = {name: environment[name] for name in taken if environment.get(name)}
    for text in texts:
        name, equals, value = text.partition("=")
        if equals:
            found[name] = value
        elif name in environment:
            found[name] = environment[name]
    if not re.fullmatch(r"\d*", found.get("SOURCE_DATE_EPOCH", "")):
        raise Refused("SOURCE_DATE_EPOCH is no whole number of seconds", step="read arguments")
    return found


def _options(text: str) -> dict[str, str]:
    return {name.strip().lower(): value for name, _, value in (part.partition("=") for part in text.split(","))}


def _secret(text: str, environment: Mapping[str, str]) -> tuple[str, bytes]:
    """`id=NAME[,src=FILE|,env=VARIABLE]`."""
    options = _options(text)
    name, path = options.get("id", ""), options.get("src") or options.get("source") or ""
    if not name:
        raise Refused(f"the secret {text!r} has no id", hint="write id=NAME,src=FILE")
    variable = options.get("env") or (name if not path else "")
    if variable:
        if variable in environment:
            return name, environment[variable].encode(errors="surrogateescape")
        if options.get("env") or not Path(name).is_file():
            raise Refused(f"there is no variable {variable}", object=f"secret {name}", step="read")
        path = name
    try:
        return name, Path(path).read_bytes()
    except OSError as error:
        raise Refused(
            error.strerror or str(error), object=f"secret {name}", step="read", path=path, errno=error.errno
        ) from error


def _agent(text: str, environment: Mapping[str, str]) -> tuple[str, Path]:
    """`default`, or `ID=SOCKET`."""
    name, _, path = text.partition("=")
    found = path or environment.get("SSH_AUTH_SOCK", "")
    if not found or not Path(found).is_socket():
        raise Refused(f"there is no agent's socket for {name}", hint="start ssh-agent, or write ID=SOCKET")
    return name, Path(found)


def _hosts(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, _, address = text.partition("=" if "=" in text else ":")
        found[name] = (*found.get(name, ()), address.strip("[]"))
    return found


def tell_findings(findings: Sequence[Finding], *, as_json: bool = False) -> None:
    for finding in findings:
        if as_json:
            place = {"file": finding.place.file, "line": finding.place.line, "column": finding.place.column}
            rule, about = str(finding.rule), DESCRIPTIONS.get(finding.rule, "")
            row = {"event": "warning", "rule": rule, "message": finding.message, "about": about, **place}
            click.echo(json.dumps(row))
        else:
            click.echo(f"{finding.place}: warning: {finding.message} ({finding.rule})", err=True)


def _shown(typed: Typed) -> Tell:
    if typed.quiet:
        return lambda told: None
    return _Json() if typed.progress == "json" else _Plain()


class _Json:
    """One object a line, on standard output."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()

    def __call__(self, told: Told) -> None:
        row: dict[str, object] = {"event": told.what, "step": told.number, "text": told.text}
        if told.seconds:
            row["seconds"] = round(told.seconds, 3)
        if told.stream:
            row["stream"] = told.stream
        if told.place is not None:
            row |= {"file": told.place.file, "line": told.place.line}
        with self._one_at_a_time:
            click.echo(json.dumps(row))


class _Plain:
    """`#3 [build 2/5] RUN make`, then each line of its output with the step's number before it."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()

    def __call__(self, told: Told) -> None:
        text = {
            "begun": f"#{told.number} {told.text}",
            "cached": f"#{told.number} {told.text}  cached",
            "done": f"#{told.number} done in {told.seconds:.2f} s",
            "failed": f"#{told.number} failed after {told.seconds:.2f} s",
            "output": f"#{told.number}   {told.text}",
            "note": f"note: {printable(told.text)}",
        }[told.what]
        with self._one_at_a_time:
            click.echo(text, err=True)
