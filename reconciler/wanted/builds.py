"""What the builder is asked for, from an Image's manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reconciler.build.wanted import BuildWanted
from runtime.images.platforms import Platform, machine_platform
from schemas.build import BuildSpec
from schemas.build_cache import CachePlace
from schemas.errors import Refused


def build_wanted(
    name: str, spec: BuildSpec, environment: Mapping[str, str], secrets: Mapping[str, bytes] | None = None
) -> BuildWanted:
    """An argument without a value takes that of the environment. Raises Refused for another machine's platform."""
    here = machine_platform().canonical()
    for text in spec.platforms:
        if Platform.parse(text) != here:
            raise Refused(f"cannot build for {text} on this machine, which is {here}", hint="leave platforms out")
    given = {key: environment.get(key) if value is None else value for key, value in spec.args.items()}
    return BuildWanted(
        name=name,
        contexts={"": spec.context, **spec.additional_contexts},
        dockerfile=spec.dockerfile,
        text=spec.dockerfile_inline,
        arguments={key: value for key, value in given.items() if value is not None},
        target=spec.target or "",
        labels=dict(spec.labels),
        tags=_tags(name, spec),
        without_cache=("*",) if spec.no_cache else (),
        cache_from=tuple(CachePlace.parse(each, is_target=False) for each in sorted(spec.cache_from)),
        cache_to=tuple(CachePlace.parse(each, is_target=True) for each in sorted(spec.cache_to)),
        pull=spec.pull,
        secrets=secrets or {},
        agents=dict(_agent(each, environment) for each in spec.ssh),
        network="" if spec.network == "default" else spec.network,
        extra_hosts=spec.extra_hosts,
        shm_size=spec.shm_size,
        allow_insecure=spec.privileged,
        sbom=spec.sbom,
        provenance=spec.provenance,
    )


def _tags(name: str, spec: BuildSpec) -> tuple[str, ...]:
    """Its own name first, then those of the manifest."""
    from schemas.reference import Reference

    return tuple(dict.fromkeys((str(Reference.parse(name)), *sorted(spec.tags))))


def _agent(text: str, environment: Mapping[str, str]) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    return name, Path(path or environment.get("SSH_AUTH_SOCK", "/nonexistent"))
