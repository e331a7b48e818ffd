"""What RUN does: the program, its environment, its mounts with their targets absolute. Pure.

Called by `graph`, with the mounts' variables replaced. Proxies and secrets are not here: they are handed to the process
when it runs, and change nothing about which step it is.

Source: Dockerfile reference, "RUN".
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from reconciler.build.steps import BoundMount, Execute, Input
from reconciler.build.transfer import Take, source_path
from runtime.images.config import ImageConfig
from schemas.dockerfile.faults import Fault
from schemas.dockerfile.instructions import Run
from schemas.dockerfile.run_mount import Mount
from schemas.dockerfile.run_script import DEFAULT_SHELL, run_script

SECRETS = "/run/secrets"
AGENTS = "/run/buildkit"
"""Where a forwarded agent's socket is when the mount does not say: `ssh_agent.0`, and so on."""


def execute(
    run: Run,
    mounts: Sequence[Mount],
    takes: Sequence[Take | None],
    config: ImageConfig,
    variables: Mapping[str, str],
) -> tuple[Execute, tuple[Input, ...]]:
    """The work, and what its mounts show. `takes` has one for each mount; None: the mount shows nothing.

    Raises Fault for a mount over everything.
    """
    script = run_script(run, config.shell or DEFAULT_SHELL)
    bound: list[BoundMount] = []
    inputs: list[Input] = []
    agents = 0
    for mount, take in zip(mounts, takes, strict=True):
        target = _target(mount, config.working_dir, agents)
        agents += mount.type == "ssh"
        if take is None:
            bound.append(BoundMount(mount, target, None))
            continue
        bound.append(BoundMount(mount, target, len(inputs)))
        inputs.append(take((source_path(mount.source),), ()))
    work = Execute(
        arguments=script.arguments,
        environment=tuple(sorted(variables.items())),
        working_dir=config.working_dir or "/",
        user=config.user,
        mounts=tuple(bound),
        network=run.network,
        security=run.security,
        script_path=script.path,
        script=script.content,
    )
    return work, tuple(inputs)


def shows_files(mount: Mount) -> bool:
    """Whether the mount shows files of a source: a bind always, a cache if it is filled from one."""
    return mount.type == "bind" or (mount.type == "cache" and bool(mount.from_))


def _target(mount: Mount, working_dir: str, agents: int) -> str:
    """Where the mount is; empty for a secret that is only a variable."""
    if mount.type == "secret" and not mount.target:
        name = mount.id or posixpath.basename(mount.source)
        return "" if mount.env is not None else f"{SECRETS}/{name}"
    if mount.type == "ssh" and not mount.target:
        return f"{AGENTS}/ssh_agent.{agents}"
    target = posixpath.normpath(posixpath.join("/", working_dir, mount.target))
    if target.strip("/") == "":
        raise Fault(f"a mount on {mount.target!r} would hide everything", "write target=/PATH")
    return target
