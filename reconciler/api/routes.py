"""Every path of the API. Adding one here is all it takes: router, checks and OpenAPI follow."""

from __future__ import annotations

from functools import partial

from reconciler.api import commands, exec_stream, following, images, metrics, objects, sets, sources
from reconciler.api.declared import LINES, Route
from reconciler.api.models import (
    ApplyBody,
    Created,
    DiffBody,
    Document,
    EventsQuery,
    ExecBody,
    Health,
    LoadQuery,
    LogsQuery,
    Made,
    ObjectDescription,
    ObjectList,
    ObjectsQuery,
    OutcomeDocument,
    PlanDocument,
    PullBody,
    SaveQuery,
    SetQuery,
    SourceDocument,
    Status,
    Texts,
    Validated,
    WatchQuery,
)
from reconciler.api.shares import Use
from reconciler.api.visitor import CommandRequest
from reconciler.client.frames import MEDIA_TYPE as FRAMES

Get = partial(Route, "GET")
Post = partial(Route, "POST")
Delete = partial(Route, "DELETE")

TAR = "application/x-tar"

ROUTES: tuple[Route, ...] = (
    Get("/v1/health", "Whether the daemon answers.", objects.health, Health, tag="system", use=Use.ALWAYS),
    Post("/v1/validate", "Check manifests; touch nothing.", sets.validate, Validated, body=Texts, tag="sets"),
    Post("/v1/diff", "What applying would change, and why.", sets.diff, PlanDocument, body=DiffBody, tag="sets"),
    Post("/v1/apply", "Make the machine so.", sets.apply, OutcomeDocument, body=ApplyBody, tag="sets", use=Use.WRITE),
    Get("/v1/objects", "Objects and how they stand.", objects.list_objects, ObjectList, query=ObjectsQuery),
    Get("/v1/objects/{kind}/{name}", "All of one object.", objects.describe, ObjectDescription),
    Delete(
        "/v1/objects/{kind}/{name}", "Take one away, and its replicas.", sets.delete, OutcomeDocument, use=Use.WRITE
    ),
    Get(
        "/v1/watch", "Changes of objects, as they come.", following.watch, query=WatchQuery, media=LINES, use=Use.FOLLOW
    ),
    Get("/v1/events", "What happened.", following.events, query=EventsQuery, media=LINES, use=Use.FOLLOW),
    Get("/v1/history", "Revisions of sets.", objects.history, Document, query=SetQuery, tag="sets"),
    Get("/v1/status", "What the daemon follows and does.", sources.status, Status, tag="system"),
    Get("/v1/sources/{name}", "One source that is followed.", sources.one, SourceDocument, tag="sources"),
    Post("/v1/sources/{name}/fetch", "Look at a source at once.", sources.fetch, status=202, tag="sources"),
    Post("/v1/sources/{name}/retry", "Try again what failed; leave a pin.", sources.retry, status=202, tag="sources"),
    Post("/hooks/{name}", "A webhook: look at a source at once.", sources.hook, status=202, raw=True, tag="sources"),
    Get(
        "/v1/containers/{name}/logs",
        "Lines that a container, or each replica of a Service, has written.",
        following.logs,
        query=LogsQuery,
        media=LINES,
        tag="containers",
        use=Use.FOLLOW,
    ),
    Post(
        "/v1/containers/{name}/exec",
        "Prepare one more process in a container; it starts with its stream.",
        exec_stream.prepare,
        Created,
        body=ExecBody,
        status=201,
        tag="containers",
    ),
    Post(
        "/v1/exec/{id}",
        "Start a prepared process; `Upgrade: tcp` makes the connection its streams.",
        exec_stream.start,
        status=101,
        media=FRAMES,
        tag="containers",
        use=Use.FOLLOW,
    ),
    Post(
        "/v1/commands",
        "Carry out a command line; the answer is what it says, in frames, and its exit code.",
        commands.run_command,
        body=CommandRequest,
        media=FRAMES,
        tag="commands",
        by_itself=True,
    ),
    Delete(
        "/v1/commands/{id}",
        "Let a command under way begin nothing more.",
        commands.stop_command,
        status=204,
        tag="commands",
        use=Use.ALWAYS,
    ),
    Get("/v1/images", "Images on this machine.", images.list_images, Document, tag="images"),
    Post("/v1/images/pull", "Pull an image.", images.pull, Made, body=PullBody, tag="images", use=Use.FOLLOW),
    Post(
        "/v1/images/load",
        "Load an archive.",
        images.load,
        Made,
        query=LoadQuery,
        raw=True,
        tag="images",
        use=Use.FOLLOW,
    ),
    Get("/v1/images/{name}", "All of one image.", images.inspect, Document, tag="images"),
    Delete("/v1/images/{name}", "Take an image away.", images.remove, status=204, tag="images", use=Use.WRITE),
    Get(
        "/v1/images/{name}/archive",
        "An image as an archive.",
        images.save,
        query=SaveQuery,
        media=TAR,
        tag="images",
        use=Use.FOLLOW,
    ),
    Get("/v1/system/info", "The engine.", objects.info, Document, tag="system"),
    Get("/v1/system/check", "What kernel and machine lack.", objects.check, Document, tag="system"),
    Get("/metrics", "For Prometheus.", metrics.metrics, media=metrics.MEDIA, tag="system", use=Use.ALWAYS),
    Get("/v1/system/df", "What is taken of the disk.", objects.usage, Document, tag="system"),
)
