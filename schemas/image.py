"""What an Image manifest may say: where an image comes from, and which one of several.

Exactly one of `ref`, `archive`, `rootfs`, `build`, `commit`.

Source: Compose Specification, services, image, platform, pull_policy; image-spec, config.
"""

from typing import Annotated, Self

from pydantic import ConfigDict, model_validator

from schemas.build import Build
from schemas.faults import Fault, refuse
from schemas.field import Spec, live, part, replace
from schemas.healthcheck import Healthcheck
from schemas.image_commit import CommitSpec
from schemas.image_follow import Follow
from schemas.image_push import Push
from schemas.image_verify import Verify
from schemas.image_words import ImageReference, Platform, PullPolicy
from schemas.kernel_words import Signal
from schemas.paths import ContainerPath, FilePath, read_target
from schemas.plain_types import Labels, words
from schemas.port import ExposedPorts
from schemas.process_fields import Command, Environment, User
from schemas.spelling import INTO_BAG, SORTED, exactly_one, not_together

ORIGINS = ("ref", "archive", "rootfs", "build", "commit")
Targets = Annotated[
    tuple[str, ...], words(read_target, "list of path in the container", {"type": "string"}), INTO_BAG, SORTED
]


class ImageConfig(Spec):
    """What a container of this image runs, unless it says otherwise."""

    cmd: Annotated[Command, part("Arguments of the entrypoint, or the command.")] = ()
    entrypoint: Annotated[Command, part("What is run.")] = ()
    env: Annotated[Environment, part("Variables.")] = {}
    user: Annotated[User | None, part("User, and group after a colon.", default="0")] = None
    working_dir: Annotated[ContainerPath | None, part("Directory it starts in.", default="/")] = None
    exposed_ports: Annotated[ExposedPorts, part("Ports it listens on.")] = ()
    volumes: Annotated[Targets, part("Paths that get an unnamed volume.")] = ()
    labels: Annotated[Labels, part("Notes for people and tools.")] = {}
    stop_signal: Annotated[Signal | None, part("Signal that asks it to stop.", default="SIGTERM")] = None
    healthcheck: Annotated[Healthcheck | None, part("How its health is asked for.")] = None


class ImageSpec(Spec):
    """One image in the engine's store."""

    model_config = ConfigDict(
        json_schema_extra={
            **exactly_one(*ORIGINS),
            "allOf": [
                *not_together("config", "ref", "archive", "build", "commit"),
                *not_together("pull_policy", "archive", "rootfs", "build", "commit"),
                *not_together("platform", "commit"),
                *not_together("follow", "archive", "rootfs", "build", "commit"),
                *not_together("verify", "archive", "rootfs", "build", "commit"),
            ],
        }
    )

    ref: Annotated[ImageReference | None, replace("Reference in a registry, as nginx:1.27 or NAME@sha256:….")] = None
    archive: Annotated[
        FilePath | None, replace("File of `docker save`, OCI archive, or directory of an OCI layout.")
    ] = None
    rootfs: Annotated[FilePath | None, replace("Directory, or tar file, of a root file system.")] = None
    build: Annotated[Build | None, replace("A Dockerfile, and what it is built with.")] = None
    commit: Annotated[CommitSpec | None, replace("A container whose changes become an image.")] = None
    config: Annotated[ImageConfig | None, replace("With rootfs: what its containers run.")] = None
    pull_policy: Annotated[PullPolicy | None, live("With ref: when to ask the registry again.", default="missing")] = (
        None
    )
    platform: Annotated[Platform | None, replace("Which image of several platforms.", default="the host's")] = None
    follow: Annotated[Follow | None, live("With ref: which image of its repository is taken, again and again.")] = None
    verify: Annotated[Verify | None, live("With ref: who must have vouched for it.", default="nobody")] = None
    push: Annotated[Push | None, live("References it is pushed as once it is made.")] = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        refuse("image", image_faults(self))
        return self


def image_faults(spec: ImageSpec) -> list[Fault]:
    """An image comes from one place, and its options belong to that place."""
    given = [origin for origin in ORIGINS if getattr(spec, origin) is not None]
    faults: list[Fault] = []
    if not given:
        faults.append(((), "does not say where it comes from; write one of ref, archive, rootfs, build, commit"))
    faults += [((origin,), f"cannot stand beside {given[0]}; keep one of them") for origin in given[1:]]
    if spec.config is not None and spec.rootfs is None:
        faults.append((("config",), "belongs to rootfs; other images bring their own, leave it out"))
    if spec.pull_policy is not None and spec.ref is None:
        faults.append((("pull_policy",), "belongs to ref; leave it out"))
    if spec.ref is None:
        given_of_ref = (name for name in ("follow", "verify") if getattr(spec, name) is not None)
        faults += [((name,), "belongs to ref; leave it out") for name in given_of_ref]
    if spec.platform is not None and spec.commit is not None:
        faults.append((("platform",), "is the container's; leave it out"))
    return faults
