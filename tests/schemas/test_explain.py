"""`trimtab explain`: what it prints, and what it says of a name it does not know."""

from __future__ import annotations

import pytest

from schemas.errors import Refused
from schemas.explain import explain
from schemas.field import fields_of
from schemas.names import Kind
from schemas.spec_models import SPEC_MODELS


def test_a_field_is_explained() -> None:
    assert explain("container.mem_limit") == "\n".join(
        [
            "KIND:      Container",
            "FIELD:     spec.mem_limit <size>",
            "DEFAULT:   no limit",
            "UNIT:      bytes",
            "CHANGE:    live: changed in place, nothing stops",
            "",
            "DESCRIPTION:",
            "    Memory it may use; 0 is no limit.",
        ]
    )


def test_a_field_with_parts_lists_them() -> None:
    text = explain("container.ports")
    assert "FIELD:     spec.ports <list of port>" in text
    assert "  target <port> -required-\n      Port inside the container." in text
    assert "Default: tcp." in text


def test_a_part_that_differs_from_its_whole_says_so() -> None:
    assert "  driver <one of local, json-file, none> restart" in explain("container.logging")


@pytest.mark.parametrize("path", ["container", "Container", "containers", "CONTAINER.spec"])
def test_a_kind_lists_its_fields(path: str) -> None:
    text = explain(path)
    assert "KIND:      Container" in text
    assert "  image <image's name or reference> -required- replace" in text


def test_the_spec_may_be_named_or_not() -> None:
    assert explain("services.spec.deploy.replicas") == explain("service.deploy.replicas")


@pytest.mark.parametrize("kind", list(Kind))
def test_every_field_of_every_kind_is_explained(kind: Kind) -> None:
    for path in fields_of(SPEC_MODELS[kind]):
        assert f"spec.{path} <" in explain(f"{kind.value}.{path}")
    assert all(len(line) <= 160 for line in explain(kind.value).splitlines())


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("contaner", "'contaner' is not a kind; did you mean container?"),
        ("container.prots", "container has no field 'prots'; did you mean container.ports?"),
        ("container.ports.targt", "container.ports has no field 'targt'; did you mean container.ports.target?"),
        ("service.replicas", "service has no field 'replicas'; did you mean service.deploy.replicas?"),
        (
            "container.image.name",
            "container.image has no fields below it; `trimtab explain container.image` explains it",
        ),
        ("container.zzz", "container has no field 'zzz'; `trimtab explain container` lists them"),
        ("container.ports.target.x.y", "container.ports.target has no fields below it"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(path: str, said: str) -> None:
    with pytest.raises(Refused) as refusal:
        explain(path)
    assert str(refusal.value).startswith(said)


def test_an_unlike_kind_lists_the_kinds() -> None:
    with pytest.raises(Refused, match="known: image, container"):
        explain("zzz")
