"""What is stored and not acted on yet says so where it is looked up and where it is used."""

from __future__ import annotations

import pytest

from reconciler.unheeded import notes_on_rollouts
from schemas.deploy import NOT_ACTED_ON
from schemas.field import fields_of
from schemas.load import Text, load
from schemas.service import ServiceSpec

SERVICE = "apiVersion: trimtab/v1\nkind: Service\nmetadata: {name: web}\nspec: {image: nginx:1, deploy: %s}\n"


@pytest.mark.parametrize(
    ("deploy", "fields"),
    [
        ("{replicas: 2}", []),
        ("{update_config: {parallelism: 2}}", ["spec.deploy.update_config"]),
        ("{rollback_config: {}}", ["spec.deploy.rollback_config"]),
        (
            "{update_config: {order: start-first}, rollback_config: {parallelism: 1}}",
            ["spec.deploy.update_config and spec.deploy.rollback_config"],
        ),
    ],
)
def test_one_note_tells_of_a_rollout_that_nothing_follows(deploy: str, fields: list[str]) -> None:
    notes = notes_on_rollouts(load([Text("web.yaml", SERVICE % deploy)], {}))
    assert [note.describe() for note in notes] == [f"Service/web {each}: {NOT_ACTED_ON}" for each in fields]


def test_each_field_of_a_rollout_says_that_it_is_stored_alone() -> None:
    rollout = ("deploy.update_config", "deploy.rollback_config")
    told = {path: info.description for path, info in fields_of(ServiceSpec).items() if path.startswith(rollout)}
    assert len(told) == 14
    assert [path for path, text in told.items() if NOT_ACTED_ON not in text.lower()] == []
