"""Requests in any order against a model of what was asked: the two never disagree, and nothing is a fault."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.api.conftest import Asking

pytestmark = pytest.mark.kernel

NAMES = st.sampled_from(["ant", "bee", "cow"])
SETS = st.sampled_from(["one", "two"])
CONTENTS = st.text("abc\n é", max_size=8)


class Requests(RuleBasedStateMachine):
    """`asked`: the content of each Config, and its set."""

    api: Asking

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, tuple[str, str]] = {}
        self.version = 0

    def manifests(self, contents: dict[str, str]) -> list[dict[str, Any]]:
        return [{"name": f"{name}.yaml", "text": config(name, content)} for name, content in contents.items()]

    @rule(set_name=SETS, contents=st.dictionaries(NAMES, CONTENTS, min_size=1), prune=st.booleans())
    def apply(self, set_name: str, contents: dict[str, str], prune: bool) -> None:
        body = {"manifests": self.manifests(contents), "set": set_name, "prune": prune}
        claimed = [name for name in contents if self.asked.get(name, ("", set_name))[1] != set_name]
        if claimed:
            self.api.problem("POST", "/v1/apply", body, 422)
            return
        self.api.ask("POST", "/v1/apply", body)
        if prune:
            self.asked = {name: found for name, found in self.asked.items() if found[1] != set_name}
        self.asked |= {name: (content, set_name) for name, content in contents.items()}

    @rule(set_name=SETS, contents=st.dictionaries(NAMES, CONTENTS, min_size=1))
    def diff_changes_nothing(self, set_name: str, contents: dict[str, str]) -> None:
        body = {"manifests": self.manifests(contents), "set": set_name}
        status, _, _ = self.api.raw("POST", "/v1/diff", body)
        assert status in (200, 422)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        status, _, _ = self.api.raw("DELETE", f"/v1/objects/config/{name}")
        assert status == (200 if self.asked.pop(name, None) is not None else 404)

    @rule(name=NAMES)
    def look_at_one(self, name: str) -> None:
        status, _, _ = self.api.raw("GET", f"/v1/objects/config/{name}")
        assert status == (200 if name in self.asked else 404)

    @rule(body=st.binary(max_size=64), path=st.sampled_from(["/v1/apply", "/v1/diff", "/v1/validate", "/v1/commands"]))
    def garbage(self, body: bytes, path: str) -> None:
        status, _, _ = self.api.raw("POST", path, body)
        assert 400 <= status < 500

    @invariant()
    def what_is_listed_is_what_was_asked(self) -> None:
        listed = self.api.ask("GET", "/v1/objects?kind=configs")
        assert {item["name"]: item["set"] for item in listed["items"]} == {
            name: set_name for name, (_, set_name) in self.asked.items()
        }
        assert int(listed["resourceVersion"]) >= self.version, "changes are counted upwards"
        self.version = int(listed["resourceVersion"])

    def teardown(self) -> None:
        for name in list(self.asked):
            self.delete(name)


def config(name: str, content: str) -> str:
    import json

    return json.dumps(
        {"apiVersion": "trimtab/v1", "kind": "Config", "metadata": {"name": name}, "spec": {"content": content}}
    )


def test_the_api_does_what_is_asked_in_any_order(api: Asking) -> None:
    chosen = settings(
        max_examples=4,
        stateful_step_count=12,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(type("Requests", (Requests,), {"api": api}), settings=chosen)
    assert '"fault"' not in api.daemon.running.so_far().err
