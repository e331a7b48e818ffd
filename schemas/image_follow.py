"""What of a registry an image follows: `Image.spec.follow`. `digest` or `newest-by-time` alone is the policy.

Only described and checked here; the daemon follows it (`reconciler.images`).
"""

import fnmatch
from typing import Annotated, Any, Self

from pydantic import ConfigDict, model_validator

from schemas.faults import Fault, refuse
from schemas.field import Spec, part
from schemas.plain_types import Line, Seconds, one_of
from schemas.source import Semver, Windows
from schemas.spelling import Spelling, exactly_one, not_together

POLICIES = ("digest", "newest-by-time")
LEAST_INTERVAL = 1.0
"""Seconds: a registry is asked no oftener."""


def _expand(value: Any) -> Any:
    return {"policy": value} if isinstance(value, str) else value


class FollowSpec(Spec):
    """Which image of the repository is the right one, when it may come, and when it counts as good."""

    model_config = ConfigDict(
        json_schema_extra={
            **exactly_one("semver", "policy"),
            "allOf": [*not_together("tags", "semver")],
        }
    )

    semver: Annotated[Semver | None, part("Range of versions: the newest tag in it is taken.")] = None
    policy: Annotated[
        Annotated[str, one_of(*POLICIES)] | None, part("What the tag names today, or the image made last.")
    ] = None
    tags: Annotated[Line | None, part("With newest-by-time: pattern of the tags, as in main-*.", default="*")] = None
    interval: Annotated[Seconds, part("Time between two looks.", unit="seconds")] = 300.0
    window: Annotated[Windows | None, part("When a newer one may roll out, at local time.", default="always")] = None
    settle: Annotated[
        Seconds, part("How long what runs it must be well, before it counts as good.", unit="seconds")
    ] = 30.0
    write_back: Annotated[
        Annotated[str, one_of("git")] | None,
        part("Where a good one is written to: the branch that the manifest is from.", default="nowhere"),
    ] = None

    @model_validator(mode="after")
    def _one_policy(self) -> Self:
        refuse("follow", follow_faults(self))
        return self

    def is_of_pattern(self, tag: str) -> bool:
        """Whether a tag is one of those that newest-by-time chooses from."""
        return fnmatch.fnmatchcase(tag, self.tags or "*")


def follow_faults(spec: FollowSpec) -> list[Fault]:
    """There is one policy, and its options belong to it."""
    faults: list[Fault] = []
    if spec.semver is None and spec.policy is None:
        faults.append(((), "names no policy; write one as in semver: '>=1.4 <2', digest, newest-by-time"))
    if spec.semver is not None and spec.policy is not None:
        faults.append((("policy",), "cannot stand beside semver; keep one of them"))
    if spec.tags is not None and spec.policy != "newest-by-time":
        faults.append((("tags",), "belongs to newest-by-time; leave it out"))
    if spec.interval < LEAST_INTERVAL:
        faults.append((("interval",), "is too short; write at least 1s"))
    return faults


Follow = Annotated[
    FollowSpec,
    Spelling(_expand, "follow", {"anyOf": [{"enum": [*POLICIES]}]}),
]
