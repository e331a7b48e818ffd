"""Loading: from text to declared objects, or to every problem at once."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import BaseModel, ConfigDict

from schemas.envelope import Declared
from schemas.errors import Invalid, Place
from schemas.load import Text, load_with
from schemas.names import Key, Kind


class Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str = ""
    replicas: int = 1
    ports: tuple[int, ...] = ()


MODELS = dict.fromkeys(Kind, Spec)


def load_text(text: str, **environment: str) -> tuple[Declared, ...]:
    return load_with(MODELS, [Text("web.yaml", text)], environment)


WEB = """\
apiVersion: trimtab/v1
kind: Container
metadata:
  name: web
  labels: {app: shop}
spec:
  image: nginx
  replicas: ${N}
  ports:
    - 80
    - 443
"""


def test_a_manifest_becomes_a_declared_object() -> None:
    (web,) = load_text(WEB, N="3")
    assert web.key == Key(Kind.CONTAINER, "web")
    assert web.metadata.labels == {"app": "shop"}
    assert web.spec == Spec(image="nginx", replicas=3, ports=(80, 443))


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        pytest.param((), 1, 1, id="the object itself"),
        pytest.param(("spec", "image"), 7, 3, id="a field"),
        pytest.param(("spec", "ports", 1), 11, 7, id="an item of a list"),
        pytest.param(("spec", "image", "nothing"), 7, 3, id="below what was written: the nearest parent"),
        pytest.param(("spec", "ports", 7), 9, 3, id="an item that is not there: the list"),
    ],
)
def test_every_field_has_its_place(path: tuple[str | int, ...], line: int, column: int) -> None:
    (web,) = load_text(WEB, N="3")
    assert web.place(path) == Place("web.yaml", line, column)


def test_an_unset_variable_is_refused_with_its_place() -> None:
    with pytest.raises(Invalid) as refusal:
        load_text(WEB)
    problem = refusal.value.problems[0]
    assert (problem.place, problem.object, problem.field) == (
        Place("web.yaml", 8, 13),
        "Container/web",
        "spec.replicas",
    )


def test_loading_is_imported_without_what_it_may_not_need() -> None:
    code = "import schemas.load, sys; print([name for name in ('pydantic', 'asyncio') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
