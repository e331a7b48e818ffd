"""The API's paths: what they give, and what they say no to."""

from __future__ import annotations

import json
import threading
from typing import Any, cast

import pytest

from reconciler.api.application import application
from reconciler.api.openapi import openapi
from reconciler.api.routes import ROUTES
from reconciler.api.served import Served
from tests.api.conftest import Asking, Connection
from tests.api.followers import followers

pytestmark = pytest.mark.kernel

EXTRA = """\
apiVersion: trimtab/v1
kind: Container
metadata: {name: extra}
spec: {image: busybox, command: [sleep, "100000"], environment: {WHO: "${WHO}"}, env_file: [more.env],
  stop_grace_period: 0s}
"""


def body(text: str = EXTRA, **more: Any) -> dict[str, Any]:
    made = {"manifests": [{"name": "extra.yaml", "text": text}], "set": "extra", "directory": "/srv"}
    return {**made, "environment": {"WHO": "me"}, "files": {"/srv/more.env": "COLOUR=red\n"}, **more}


def test_health_names_the_process(api: Asking) -> None:
    assert api.ask("GET", "/v1/health")["pid"] == api.daemon.pid


def test_objects_are_listed_chosen_and_described(api: Asking) -> None:
    everything = api.ask("GET", "/v1/objects")
    assert everything["resourceVersion"] > 0
    names = {item["object"] for item in everything["items"]}
    assert {"Container/db", "Service/web", "Secret/password"} <= names
    containers = api.ask("GET", "/v1/objects?kind=containers&label=app=shop,tier=back")["items"]
    assert [item["object"] for item in containers] == ["Container/db"]
    assert api.ask("GET", "/v1/objects?set=nothing")["items"] == []
    described = api.ask("GET", "/v1/objects/container/db")
    assert described["item"]["status"].startswith("running")
    assert "xyzzy" not in json.dumps(everything)


def test_what_is_not_there_is_not_found(api: Asking) -> None:
    for method, path in (
        ("GET", "/v1/objects/container/nobody"),
        ("GET", "/v1/objects/nothing/db"),
        ("DELETE", "/v1/objects/container/nobody"),
        ("GET", "/v1/images/nobody"),
        ("GET", "/v1/containers/nobody/logs"),
        ("GET", "/v1/history?set=nobody"),
        ("GET", "/v1/nothing"),
        ("DELETE", "/v1/commands/nothing"),
    ):
        api.problem(method, path, status=404)


def test_manifests_are_validated_compared_applied_and_taken_away(api: Asking) -> None:
    assert api.ask("POST", "/v1/validate", body()) == {"objects": 1}
    plan = api.ask("POST", "/v1/diff", body())
    assert "Container/extra" in [each["object"] for each in plan["actions"] if each["action"] == "create"]
    outcome = api.ask("POST", "/v1/apply", body())
    assert ("Container/extra", "created") in [(each["object"], each["result"]) for each in outcome["outcomes"]]
    assert api.ask("POST", "/v1/diff", body())["summary"]["create"] == 0
    assert api.ask("POST", "/v1/diff", body(environment={"WHO": "you"}))["summary"]["replace"] == 1
    assert [each["set"] for each in api.ask("GET", "/v1/history?set=extra")["revisions"]] == ["extra"]
    gone = api.ask("DELETE", "/v1/objects/container/extra")
    assert ("Container/extra", "deleted") in [(each["object"], each["result"]) for each in gone["outcomes"]]
    causes = [each["cause"] for each in api.ask("GET", "/v1/history?set=extra")["revisions"]]
    assert causes == ["apply by root", "delete by root"]


def test_a_manifest_that_is_wrong_is_told_with_file_line_and_field(api: Asking) -> None:
    problem = api.problem("POST", "/v1/apply", body(EXTRA.replace("command", "comand")), status=422)
    (fault,) = problem["errors"]
    assert (fault["file"], fault["line"], fault["object"]) == ("extra.yaml", 4, "Container/extra")
    assert "command" in json.dumps(fault)


def test_a_file_that_was_not_sent_is_never_read_here(api: Asking) -> None:
    problem = api.problem("POST", "/v1/diff", body(files={}), status=409)
    assert "/srv/more.env" in problem["detail"]
    stolen = EXTRA.replace("more.env", "/etc/hostname")
    assert "/etc/hostname" in api.problem("POST", "/v1/validate", body(stolen), status=409)["detail"]


@pytest.mark.parametrize(
    ("made", "field"),
    [
        ({}, "manifests"),
        (body(set="../x"), "set"),
        (body(parallel=0), "parallel"),
        (body(unknown=1), "unknown"),
        (body(timeout=-1), "timeout"),
        ([], ""),
        (b"{", ""),
        (b"\xff\xfe", ""),
    ],
    ids=str,
)
def test_a_body_that_is_wrong_is_told_by_field(api: Asking, made: Any, field: str) -> None:
    problem = api.problem("POST", "/v1/apply", made)
    assert any(field in (each.get("field") or "") for each in problem["errors"])


def test_parameters_are_checked(api: Asking) -> None:
    api.problem("GET", "/v1/events?last=-1")
    api.problem("GET", "/v1/events?nothing=1")
    api.problem("GET", "/v1/watch?resourceVersion=x")
    api.problem("GET", "/v1/objects?kind=contaner", status=409)
    api.problem("POST", "/v1/health", status=405)


def test_logs_and_events_are_lines_of_json(api: Asking) -> None:
    _, kind, text = api.raw("GET", "/v1/containers/db/logs?tail=10")
    lines = [json.loads(line) for line in text.splitlines()]
    assert kind == "application/x-ndjson"
    assert {(line["stream"], line["text"]) for line in lines} >= {("stdout", "hello"), ("stderr", "oops")}
    events = [json.loads(line) for line in api.raw("GET", "/v1/events?object=container/db")[2].splitlines()]
    assert events[0]["reason"] == "Created"


def test_changes_are_told_from_a_version_on_while_they_come(api: Asking) -> None:
    version = api.ask("GET", "/v1/objects")["resourceVersion"]
    connection = Connection(api.daemon.socket)
    connection.request("GET", f"/v1/watch?resourceVersion={version}&kind=containers")
    answer = connection.getresponse()
    assert answer.status == 200
    told: list[dict[str, Any]] = []

    def hear() -> None:
        while not told or told[-1]["type"] != "DELETED":
            told.append(json.loads(answer.readline()))

    hearing = threading.Thread(target=hear, daemon=True)
    hearing.start()
    api.ask("POST", "/v1/apply", body())
    api.engine.ok("-H", "none", "delete", "--set", "extra")
    hearing.join(20)
    assert not hearing.is_alive(), told
    connection.close()
    assert {each["object"] for each in told} == {"Container/extra"}
    assert told[0]["type"] == "ADDED"
    versions = [each["resourceVersion"] for each in told]
    assert versions == sorted(versions) and versions[0] > version


def test_images_are_listed_saved_loaded_and_removed(api: Asking) -> None:
    assert [item["name"] for item in api.ask("GET", "/v1/images")["items"]] == ["busybox"]
    assert api.ask("GET", "/v1/images/busybox")["usedBy"]
    status, kind, archive = api.raw("GET", "/v1/images/busybox/archive?format=oci-archive")
    assert (status, kind) == (200, "application/x-tar")
    assert api.ask("POST", "/v1/images/load?name=again", archive) == {"names": ["again"]}
    api.problem("DELETE", "/v1/images/busybox", status=409)
    assert api.raw("DELETE", "/v1/images/again")[0] == 204
    api.problem("POST", "/v1/images/load", b"no archive at all", status=409)
    assert not list(api.engine.layout.root.glob(".load-*"))


def test_the_engine_tells_of_itself(api: Asking) -> None:
    assert api.ask("GET", "/v1/system/info")["engine"]["root"] == str(api.engine.layout.root)
    assert api.ask("GET", "/v1/system/df")["kind"] == "DiskUsage"
    assert api.ask("GET", "/v1/system/check")["kind"] == "SystemCheck"


def test_the_openapi_document_names_every_path_and_is_served(api: Asking) -> None:
    served = api.ask("GET", "/v1/openapi.json")
    assert served == json.loads(json.dumps(openapi(ROUTES)))
    assert served["openapi"] == "3.1.0"
    told = {(method.upper(), path) for path, methods in served["paths"].items() for method in methods}
    assert told == {(route.method, route.path) for route in ROUTES}
    heard = {
        (route.method, route.resource.canonical)
        for route in application(cast(Served, None)).router.routes()
        if route.resource
    }
    assert heard - {("GET", "/v1/openapi.json"), ("HEAD", "/v1/openapi.json")} == told, "all that is heard, no more"
    text = json.dumps(served)
    for reference in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert reference in served["components"]["schemas"]


def test_followers_that_leave_make_room_for_others(api: Asking) -> None:
    """More than one client may have at once, one after the other: each is answered, and none is left."""
    for _ in range(5):
        with followers(
            api, "/v1/events?follow=true", "/v1/watch", "/v1/containers/db/logs?follow=true", count=60
        ) as statuses:
            assert statuses == [200] * 60
