"""What the builder is asked for, from an Image's manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from reconciler.build.wanted import BuildWanted
from reconciler.images.trusting import read_policy
from runtime.images.platforms import Platform, machine_platform
from runtime.images.trust.policy import Policy
from schemas.build import BuildSpec
from schemas.build_cache import CachePlace
from schemas.envelope import Declared
from schemas.errors import Refused
from schemas.image import ImageSpec


def build_wanted(
    name: str, spec: BuildSpec, environment: Mapping[str, str], secrets: Mapping[str, bytes] | None = None
) -> BuildWanted:
    """An argument without a value takes that of the environment. Raises Refused for another machine's platform."""
    refuse_other_platforms(spec.platforms)
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
        policy=read_policy(spec.verify) if spec.verify is not None else None,
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


def refuse_other_platforms(platforms: Iterable[str]) -> None:
    """Raises Refused for one that this machine is not."""
    here = machine_platform().canonical()
    for text in platforms:
        if Platform.parse(text) != here:
            raise Refused(
                f"cannot build for {text} on this machine, which is {here}",
                step="build",
                hint="build there, push both, and put them under one name with `trimtab image manifest create`",
            )


def with_bases_of(wanted: BuildWanted, declared: Iterable[Declared]) -> BuildWanted:
    """What manifests say of images that it may begin with: who must have vouched for them. Raises Refused."""
    from reconciler.build.bases import own_reference

    policies: dict[str, Policy] = {}
    names: set[str] = set()
    for item in declared:
        if not isinstance(item.spec, ImageSpec) or item.key.name == wanted.name:
            continue
        names.add(own_reference(item.key.name))
        if item.spec.verify is not None:
            policies[own_reference(item.key.name)] = read_policy(item.spec.verify)
            policies.setdefault(item.spec.ref or "", policies[own_reference(item.key.name)])
    return replace(wanted, policies=policies, declared=frozenset(names))


def _tags(name: str, spec: BuildSpec) -> tuple[str, ...]:
    """Its own name first, then those of the manifest."""
    from schemas.reference import Reference

    return tuple(dict.fromkeys((str(Reference.parse(name)), *sorted(spec.tags))))


def _agent(text: str, environment: Mapping[str, str]) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    return name, Path(path or environment.get("SSH_AUTH_SOCK", "/nonexistent"))
