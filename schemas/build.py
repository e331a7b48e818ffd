"""How an image is built: `Image.spec.build`, with Compose's fields. A text alone is the context.

That files exist, and what the Dockerfile says, is the builder's business.

Source: Compose Specification, build.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import model_validator

from schemas.addresses import ExtraHosts
from schemas.build_cache import CacheSources, CacheTargets
from schemas.faults import Fault, refuse
from schemas.field import Spec, part
from schemas.image_verify import Verify
from schemas.image_words import ImageReference, Platform
from schemas.paths import read_file_path
from schemas.plain_types import TEXT, Bytes, Flag, Labels, Line, Names, one_of, read_line, read_text, words
from schemas.process_fields import Environment
from schemas.spelling import INTO_BAG, SORTED, Spelling

REMOTE = ("http://", "https://", "git://", "ssh://", "git@", "docker-image://")


def read_place(value: Any) -> str:
    """A directory or tar of this machine, a URL, a repository, or an image. Raises ValueError."""
    text = read_line(value)
    return text if is_remote(text) else read_file_path(text)


def is_remote(text: str) -> bool:
    """Whether a context lies elsewhere than in the manifest's own file system."""
    return text.startswith(REMOTE)


def _read_places(value: Any) -> dict[str, str]:
    pairs = value.items() if isinstance(value, Mapping) else _pairs(value)
    return {read_line(name): read_place(place) for name, place in pairs}


def _pairs(value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) and "=" in each for each in value):
        raise ValueError("is no map of places; write NAME: PLACE on each line")
    return [(name, place) for name, _, place in (each.partition("=") for each in value)]


def _read_agent(value: Any) -> str:
    name, equals, path = read_line(value).partition("=")
    if not name or (equals and not path):
        raise ValueError(f"{value!r} is no agent; write default, or ID=SOCKET")
    return f"{name}={path}" if equals else name


def _expand(value: Any) -> Any:
    return {"context": value} if isinstance(value, str) else value


Place = Annotated[str, Spelling(read_place, "path of the host, URL or repository", TEXT, final=True)]
Places = Annotated[
    dict[str, str],
    Spelling(
        _read_places,
        "map of path of the host, URL or repository",
        {"anyOf": [{"type": "object", "additionalProperties": TEXT}, {"type": "array", "items": TEXT}]},
        final=True,
    ),
]
Text = Annotated[str, Spelling(read_text, "string", {"type": "string", "minLength": 1}, final=True)]
Agents = Annotated[tuple[str, ...], words(_read_agent, "list of agent", TEXT), INTO_BAG, SORTED]
References = Annotated[tuple[ImageReference, ...], INTO_BAG, SORTED]
Platforms = Annotated[tuple[Platform, ...], INTO_BAG, SORTED]


class BuildSpec(Spec):
    """A Dockerfile, and what it is built with."""

    context: Annotated[Place, part("Directory or tar of this machine, URL of a tar, or git repository.")]
    dockerfile: Annotated[Line, part("Path of the Dockerfile in the context.")] = "Dockerfile"
    dockerfile_inline: Annotated[Text | None, part("The Dockerfile itself.")] = None
    target: Annotated[Line | None, part("Stage to build.", default="the last")] = None
    args: Annotated[Environment, part("Values for ARG.")] = {}
    additional_contexts: Annotated[Places, part("Further contexts, by the names that FROM and --from use.")] = {}
    labels: Annotated[Labels, part("Labels of the image.")] = {}
    tags: Annotated[References, part("References it is known by, besides its name.")] = ()
    secrets: Annotated[Names, part("Secrets that RUN --mount=type=secret may ask for.")] = ()
    ssh: Annotated[Agents, part("Agents for RUN --mount=type=ssh: default, or ID=SOCKET.")] = ()
    shm_size: Annotated[Bytes | None, part("Size of each RUN's /dev/shm.", unit="bytes", default="64m")] = None
    network: Annotated[
        Annotated[str, one_of("default", "host", "none")], part("Network of each RUN that names none.")
    ] = "default"
    extra_hosts: Annotated[ExtraHosts, part("Names that each RUN knows.")] = {}
    no_cache: Annotated[Flag, part("Every step is done anew at each build.")] = False
    cache_from: Annotated[
        CacheSources, part("Caches to read: type=registry,ref=REFERENCE or type=local,src=DIRECTORY.")
    ] = ()
    cache_to: Annotated[
        CacheTargets,
        part("Caches to write: type=registry,ref=REFERENCE or type=local,dest=DIRECTORY, and mode=min|max."),
    ] = ()
    verify: Annotated[Verify | None, part("Who must have vouched for what it begins with.", default="nobody")] = None
    pull: Annotated[Flag, part("Registries are asked for newer base images at each build.")] = False
    privileged: Annotated[Flag, part("RUN --security=insecure is allowed.")] = False
    sbom: Annotated[Flag, part("A list of its packages is made and pushed with it.")] = False
    provenance: Annotated[Flag, part("How it was built is noted and pushed with it.")] = True
    platforms: Annotated[Platforms, part("Platforms to build for: only this machine's can be.")] = ()

    @model_validator(mode="after")
    def _one_dockerfile(self) -> "BuildSpec":
        refuse("build", build_faults(self))
        return self


def build_faults(spec: BuildSpec) -> list[Fault]:
    """There is one Dockerfile."""
    if spec.dockerfile_inline is not None and spec.dockerfile != "Dockerfile":
        return [(("dockerfile_inline",), "cannot stand beside dockerfile; keep one of them")]
    return []


Build = Annotated[BuildSpec, Spelling(_expand, "build", TEXT)]
