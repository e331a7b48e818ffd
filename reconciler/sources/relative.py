"""Paths in a manifest are relative to its own file, as in Compose: here they are made absolute. Standard input counts
from the current directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from reconciler.caller import caller
from reconciler.sources.directory import is_stream
from schemas.build import BuildSpec, is_remote
from schemas.build_cache import LOCAL, CachePlace
from schemas.container import ContainerTemplate
from schemas.envelope import Declared
from schemas.image import ImageSpec
from schemas.image_verify import VerifySpec
from schemas.secret import ContentSpec
from schemas.source import GitSource, Held, SourceSpec

SECCOMP = "seccomp="
Base = Callable[[], Path]
"""What relative paths of a manifest count from; asked for only where there is one, which few objects have."""


def locate(item: Declared, directory: Path = Path()) -> Declared:
    """The same object with absolute paths; those of its file and of standard input count from `directory`."""
    updates = _updates(item.spec, partial(_base, item.origin.file, directory))
    return replace(item, spec=item.spec.model_copy(update=updates)) if updates else item


def _base(file: str, directory: Path) -> Path:
    return (directory if is_stream(file) else directory / Path(file).parent).absolute()


def _updates(spec: object, base: Base) -> Mapping[str, Any]:
    match spec:
        case ImageSpec():
            updates: dict[str, Any] = {
                name: _join(base, path) for name in ("archive", "rootfs") if (path := getattr(spec, name))
            }
            if spec.verify is not None:
                updates |= {"verify": _located_verify(spec.verify, base)}
            return updates | ({"build": _located_build(spec.build, base)} if spec.build is not None else {})
        case ContentSpec():
            return {"file": _join(base, spec.file)} if spec.file else {}
        case SourceSpec():
            return _source_updates(spec, base)
        case ContainerTemplate():
            return _container_updates(spec, base)
        case _:
            return {}


def _located_verify(verify: VerifySpec, base: Base) -> VerifySpec:
    files = {name: _join(base, path) for name in ("list", "list_key") if (path := getattr(verify, name))}
    keys = type(verify.keys)(_join(base, path) for path in verify.keys)
    return verify.model_copy(update={**files, "keys": keys})


def _located_build(build: BuildSpec, base: Base) -> BuildSpec:
    """The Dockerfile counts from the context, which is a directory here or lies elsewhere."""
    places = {name: _place(base, place) for name, place in build.additional_contexts.items()}
    caches = {
        "cache_from": _located_caches(build.cache_from, base, is_target=False),
        "cache_to": _located_caches(build.cache_to, base, is_target=True),
    }
    trust = {"verify": _located_verify(build.verify, base)} if build.verify is not None else {}
    located = {"context": _place(base, build.context), "additional_contexts": places}
    return build.model_copy(update={**located, **caches, **trust})


def _located_caches(caches: tuple[str, ...], base: Base, *, is_target: bool) -> tuple[str, ...]:
    """As the manifest has them, directories absolute."""
    read = [CachePlace.parse(text, is_target=is_target) for text in caches]
    return type(caches)(str(each.at(_join(base, each.place)) if each.type == LOCAL else each) for each in read)


def _place(base: Base, place: str) -> str:
    return place if is_remote(place) else _join(base, place)


def _source_updates(spec: SourceSpec, base: Base) -> Mapping[str, Any]:
    updates: dict[str, Any] = {"directory": _join(base, spec.directory)} if spec.directory else {}
    for name in ("decrypt", "webhook"):
        held: Held | None = getattr(spec, name)
        if held is not None and held.file is not None:
            updates[name] = held.model_copy(update={"file": _join(base, held.file)})
    if spec.git is not None:
        updates["git"] = spec.git.model_copy(update=_git_updates(spec.git, base))
    return updates


def _git_updates(git: GitSource, base: Base) -> Mapping[str, Any]:
    names = ("credentials", "known_hosts", "ca")
    updates: dict[str, Any] = {name: _join(base, path) for name in names if (path := getattr(git, name))}
    if git.url.startswith(("./", "../")):
        updates["url"] = _join(base, git.url)
    if git.verify is not None:
        signers = _join(base, git.verify.allowed_signers)
        updates["verify"] = git.verify.model_copy(update={"allowed_signers": signers})
    return updates


def _container_updates(spec: ContainerTemplate, base: Base) -> Mapping[str, Any]:
    updates: dict[str, Any] = {}
    if spec.env_file:
        updates["env_file"] = tuple(f.model_copy(update={"path": _join(base, f.path)}) for f in spec.env_file)
    if any(option.startswith(SECCOMP) for option in spec.security_opt):
        updates["security_opt"] = type(spec.security_opt)(_seccomp(base, option) for option in spec.security_opt)
    if any(mount.type == "bind" for mount in spec.volumes):
        updates["volumes"] = type(spec.volumes)(
            mount.model_copy(update={"source": _join(base, mount.source or "")}) if mount.type == "bind" else mount
            for mount in spec.volumes
        )
    return updates


def _seccomp(base: Base, option: str) -> str:
    """A profile's path; `unconfined` and `default` are words."""
    profile = option.removeprefix(SECCOMP)
    if not option.startswith(SECCOMP) or profile in ("unconfined", "default"):
        return option
    return SECCOMP + _join(base, profile)


def _join(base: Base, path: str) -> str:
    if path.startswith("/"):
        return path
    if path == "~" or path.startswith("~/"):
        # the caller's, who may not be who this process runs as
        return str((Path(caller().environment.get("HOME") or "/root") / path[2:]).resolve(strict=False))
    return str((base() / path).resolve(strict=False))
