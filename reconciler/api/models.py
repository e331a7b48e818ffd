"""Bodies, parameters and documents of the API. The documents are those of `-o json`; what is certain is declared."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from reconciler.api.declared import Taken

NAME = r"^[A-Za-z0-9][A-Za-z0-9_./:@-]{0,254}$"


class Document(BaseModel):
    """Has more fields than are named here."""

    model_config = ConfigDict(extra="allow")


class Texts(Taken):
    """Manifests, and what they are interpolated and completed with."""

    manifests: list[ManifestText] = Field(min_length=1, max_length=10_000)
    set: str = Field("default", pattern=r"^[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?$", description="Their name together.")
    commit: str = Field("", max_length=64, description="The commit that they stand at.")
    directory: str = Field("/", pattern="^/", max_length=4096, description="Where relative paths count from.")
    environment: dict[str, str] = Field({}, description="Variables for ${...}, and for contents from the environment.")
    files: dict[str, str] = Field({}, description="Contents of files that the manifests name, by absolute path.")


class ManifestText(Taken):
    name: str = Field(max_length=4096, description="How errors and origins name it.")
    text: str = Field(description="YAML or JSON; one manifest or several.")


class DiffBody(Texts):
    prune: bool = False
    allow_empty: bool = False


class ApplyBody(DiffBody):
    parallel: int = Field(4, ge=1, le=64, description="Actions at once.")
    timeout: float | None = Field(None, gt=0, allow_inf_nan=False, description="Seconds; no action begins after.")
    wait: bool = Field(True, description="Look whether what was started goes on running.")


class ExecBody(Taken):
    arguments: list[str] = Field(min_length=1, max_length=10_000)
    user: str | None = Field(None, max_length=255)
    environment: list[str] = Field([], max_length=10_000, description="NAME=VALUE")
    workdir: str | None = Field(None, max_length=4096)
    terminal: bool = False
    rows: int = Field(24, ge=1, le=10_000)
    columns: int = Field(80, ge=1, le=10_000)
    detach: bool = Field(False, description="Start it at once, its streams lead nowhere; the answer has its pid.")
    root: str | None = Field(None, description="The engine that is meant, where the caller did not choose a host.")


class PullBody(Taken):
    reference: str = Field(min_length=1, max_length=1024)
    platform: str | None = Field(None, max_length=255)


class ObjectsQuery(Taken):
    kind: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    set: str | None = None


class EventsQuery(Taken):
    object: str | None = Field(None, description="KIND/NAME")
    since: str | None = Field(None, description="10m (ago), or a moment")
    type: Literal["Normal", "Warning"] | None = None
    last: int = Field(1000, ge=0, le=10_000)
    follow: bool = False


class LogsQuery(Taken):
    follow: bool = False
    tail: int | None = Field(None, ge=0)
    since: str | None = None
    until: str | None = None
    stream: Literal["stdout", "stderr"] | None = None


class SetQuery(Taken):
    set: str | None = None


class WatchQuery(Taken):
    resourceVersion: int | None = Field(  # noqa: N815 - a name on the wire
        None, ge=0, le=2**53, description="Tell of changes after this one; without it, from now on."
    )
    kind: tuple[str, ...] = ()


class LoadQuery(Taken):
    name: str | None = Field(None, max_length=255)


class SaveQuery(Taken):
    format: Literal["docker-archive", "oci-archive"] = "docker-archive"


class Health(BaseModel):
    status: Literal["ok", "stopping"]
    version: str
    pid: int


class ObjectList(Document):
    apiVersion: str  # noqa: N815
    kind: Literal["ObjectList"]
    resourceVersion: int = Field(description="Watch from here.")  # noqa: N815
    items: list[dict[str, Any]]


class ObjectDescription(Document):
    apiVersion: str  # noqa: N815
    kind: Literal["ObjectDescription"]
    item: dict[str, Any]
    events: list[dict[str, Any]]


class PlanDocument(Document):
    apiVersion: str  # noqa: N815
    kind: Literal["Plan"]
    set: str
    actions: list[dict[str, Any]]
    summary: dict[str, int]


class OutcomeDocument(Document):
    apiVersion: str  # noqa: N815
    kind: Literal["Outcome"]
    set: str
    outcomes: list[dict[str, Any]]


class SourceProblem(Document):
    """One thing wrong with what a source offers."""

    file: str
    line: int
    column: int
    object: str
    field: str
    message: str
    remedy: str


class SourceFailure(Document):
    reason: str
    message: str
    revision: str
    commit: str | None
    problems: list[SourceProblem]


class SourceDocument(Document):
    """Times in seconds since the epoch, 0 where there is none."""

    name: str
    set: str
    where: str
    state: str
    reason: str = Field(description="The state's, in one word: Applied, Invalid, Failed, TimedOut, NotFetched...")
    message: str
    revision: str = Field(description="What it offers.")
    commit: str
    fetched_at: float
    applied: str = Field(description="The revision applied last.")
    applied_commit: str
    applied_at: float
    next_fetch: float = Field(description="When it is looked at without any event.")
    suspended: bool
    conditions: list[ConditionDocument]
    generation: int
    observed_generation: int
    sync: Literal["Synced", "OutOfSync", "Unknown"]
    health: Literal["Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"]
    failure: SourceFailure | None = Field(description="Why it is not well; null while it is.")


class ConditionDocument(Document):
    type: Literal["Ready", "Reconciling", "Stalled", "Healthy"]
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str
    since: float


class TogetherDocument(Document):
    """The worst of sync and health of `objects`, of which `ready` are ready."""

    objects: int
    ready: int
    sync: str
    health: str


class SetDocument(TogetherDocument):
    set: str


class Status(Document):
    daemon: dict[str, Any]
    engine: TogetherDocument
    sets: list[SetDocument]
    sources: list[SourceDocument]


class Validated(BaseModel):
    objects: int


class Made(BaseModel):
    names: list[str]


class Created(BaseModel):
    """`id`: what its stream is asked for by; `pid`: of one that was started detached."""

    id: str | None = None
    pid: int | None = None
