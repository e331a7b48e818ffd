"""The envelope: apiVersion, kind, metadata, lists, and what of them is refused."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pydantic import BaseModel, ConfigDict

from schemas.envelope import Declared, Origin
from schemas.errors import Invalid
from schemas.load import Text, load_with
from schemas.names import Kind


class Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str = ""


MODELS = dict.fromkeys(Kind, Spec)


def load_texts(*texts: str | bytes, environment: Sequence[tuple[str, str]] = ()) -> tuple[Declared, ...]:
    sources = [Text(f"{chr(97 + index)}.yaml", text) for index, text in enumerate(texts)]
    return load_with(MODELS, sources, dict(environment))


def problems_of(*texts: str | bytes) -> list[str]:
    with pytest.raises(Invalid) as refusal:
        load_texts(*texts)
    return [str(problem) for problem in refusal.value.problems]


def manifest(name: str = "web", kind: str = "Container", more: str = "") -> str:
    return f"apiVersion: trimtab/v1\nkind: {kind}\nmetadata: {{name: {name}}}\n{more}"


def keys_of(*texts: str | bytes) -> list[str]:
    return [str(declared.key) for declared in load_texts(*texts)]


LOADED = [
    pytest.param([""], [], id="nothing at all"),
    pytest.param(["---\n---\n# nothing\n"], [], id="empty documents"),
    pytest.param([manifest()], ["Container/web"], id="a manifest without a spec"),
    pytest.param([manifest(more="spec:\n")], ["Container/web"], id="an empty spec"),
    pytest.param([manifest(more="x-notes: [1]\n")], ["Container/web"], id="an extension beside the spec"),
    pytest.param([manifest("a") + "---\n" + manifest("b")], ["Container/a", "Container/b"], id="two documents"),
    pytest.param([manifest("b"), manifest("a")], ["Container/b", "Container/a"], id="two files, in their order"),
    pytest.param([manifest("a", kind.value) for kind in Kind], [f"{kind}/a" for kind in Kind], id="every kind"),
    pytest.param(
        ['{"apiVersion": "trimtab/v1", "kind": "Volume", "metadata": {"name": "v"}}'], ["Volume/v"], id="JSON"
    ),
    pytest.param([manifest("1234")], ["Container/1234"], id="a name of digits"),
    pytest.param([manifest("0777")], ["Container/0777"], id="a name of digits that begins with 0, as written"),
    pytest.param([manifest("no")], ["Container/no"], id="a name that YAML 1.1 takes for false"),
    pytest.param([manifest("a" * 63)], ["Container/" + "a" * 63], id="the longest name"),
    pytest.param(
        [
            """\
apiVersion: v1
kind: List
metadata: {}
items:
- {apiVersion: trimtab/v1, kind: Volume, metadata: {name: a}}
- {apiVersion: trimtab/v1, kind: Volume, metadata: {name: b}}
"""
        ],
        ["Volume/a", "Volume/b"],
        id="a List, as kubectl writes it",
    ),
    pytest.param(["apiVersion: trimtab/v1\nkind: List\nitems: []\n"], [], id="an empty List"),
]


@pytest.mark.parametrize(("texts", "keys"), LOADED)
def test_the_input_declares(texts: list[str], keys: list[str]) -> None:
    assert keys_of(*texts) == keys


REFUSED = [
    pytest.param(
        "kind: Container\nmetadata: {name: web}\n",
        ["a.yaml:1:1 Container/web: apiVersion is missing; write `apiVersion: trimtab/v1`"],
        id="no apiVersion",
    ),
    pytest.param(
        "apiVersion: v1\nkind: Container\nmetadata: {name: web}\n",
        ["a.yaml:1:1 Container/web apiVersion: 'v1' is not known here; write `apiVersion: trimtab/v1`"],
        id="another apiVersion",
    ),
    pytest.param(
        "apiVersion: trimtab/v1\nmetadata: {name: web}\n",
        ["a.yaml:1:1: kind is missing; write `kind:` and one of Image, Container, Volume, Network,"],
        id="no kind",
    ),
    pytest.param(
        manifest(kind="Contaner"), ["a.yaml:2:1 kind: 'Contaner' is not a kind; did you mean Container?"], id="a typo"
    ),
    pytest.param(
        manifest(kind="pod"), ["a.yaml:2:1 kind: 'pod' is not a kind; known kinds: Image,"], id="a strange kind"
    ),
    pytest.param(
        manifest(kind="[a]"), ["a.yaml:2:1 kind: a list is not a kind; known kinds: "], id="a kind that is no text"
    ),
    pytest.param(
        "apiVersion: trimtab/v1\nkind: Volume\n",
        ["a.yaml:1:1: metadata is missing; write `metadata:` and below it `name:`"],
        id="no metadata",
    ),
    pytest.param(
        "apiVersion: trimtab/v1\nkind: Volume\nmetadata: {labels: {a: b}}\n",
        ["a.yaml:3:1 metadata: the name is missing; write `name:` below metadata"],
        id="no name",
    ),
    pytest.param(manifest("Web_1"), ["a.yaml:3:12 metadata.name: 'Web_1' is not a name; write web_1"], id="capitals"),
    pytest.param(manifest("my web"), ["'my web' is not a name; write my-web"], id="a name with a space"),
    pytest.param(manifest("-"), ["'-' is not a name; write at most 63 of a-z, 0-9, - _ . and"], id="a name of a dash"),
    pytest.param(manifest("../../etc"), ["'../../etc' is not a name; write etc"], id="a name that climbs"),
    pytest.param(manifest("a" * 64), ["is not a name; write at most 63"], id="a name too long"),
    pytest.param(manifest("'web\\n'").replace("'", '"'), ["'web\\n' is not a name"], id="a name with a line end"),
    pytest.param(manifest("true"), ["true is not a name; write it in quotes"], id="a name that is a boolean"),
    pytest.param(manifest("{a: b}"), ["a map is not a name"], id="a name that is a map"),
    pytest.param(
        manifest(more="image: nginx\n"),
        ["a.yaml:4:1 Container/web image: is not a field here; known here: apiVersion, kind, metadata, spec; what"],
        id="a field of the spec outside it",
    ),
    pytest.param(
        manifest(more="Spec: {}\n"),
        ["a.yaml:4:1 Container/web Spec: is not a field here; did you mean spec?"],
        id="Spec",
    ),
    pytest.param(
        "apiVersion: trimtab/v1\nkind: Volume\nmetadata: {name: a, namespace: b}\n",
        ["a.yaml:3:21 Volume/a metadata.namespace: is not a field here; known here: name, labels, annotations"],
        id="a namespace",
    ),
    pytest.param(
        "apiVersion: trimtab/v1\nkind: Volume\nmetadata: {name: a, labels: [a=b]}\n",
        ["a.yaml:3:21 Volume/a metadata.labels: is a list, not a map; write `name: text` lines below it"],
        id="labels as a list",
    ),
    pytest.param(
        "apiVersion: trimtab/v1\nkind: Volume\nmetadata: {name: a, labels: {x.y/z: [1]}}\n",
        ['a.yaml:3:30 Volume/a metadata.labels["x.y/z"]: is not text; write one value'],
        id="a label that is a list",
    ),
    pytest.param(
        manifest(more="spec: [a]\n"), ["a.yaml:4:1 Container/web spec: is a list, not a map"], id="a list as spec"
    ),
    pytest.param("- a\n", ["a.yaml:1:1: is not a manifest; begin with `apiVersion: trimtab/v1`"], id="a list"),
    pytest.param("hello\n", ["a.yaml:1:1: is not a manifest"], id="a text"),
    pytest.param(
        "apiVersion: v1\nkind: List\n", ["a.yaml:1:1 items: a List needs its manifests"], id="a List of nothing"
    ),
    pytest.param(
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: trimtab/v1, kind: Volume, metadata: {name: A}}\n- 3\n",
        ["a.yaml:4:53 metadata.name: 'A' is not a name", "a.yaml:5:3: is not a manifest"],
        id="broken items of a List",
    ),
    pytest.param(
        "kind: Container\nimages: x\nmetadata: {nam: y}\nspec: {a: 1, a: 2}\n---\nfoo\n",
        [
            "a.yaml:1:1: apiVersion is missing",
            "a.yaml:2:1 images: is not a field here",
            "a.yaml:3:1 metadata: the name is missing",
            "a.yaml:3:12 metadata.nam: is not a field here; did you mean name?",
            "a.yaml:4:14 spec.a: the key a was already given at a.yaml:4:8",
            "a.yaml:6:1: is not a manifest",
        ],
        id="everything at once, in the order of the text",
    ),
]


@pytest.mark.parametrize(("text", "problems"), REFUSED)
def test_it_is_refused(text: str, problems: list[str]) -> None:
    found = problems_of(text)
    assert len(found) == len(problems), found
    for each, wanted in zip(found, problems, strict=True):
        assert wanted in each


def test_labels_hold_text_as_it_was_written() -> None:
    text = "apiVersion: trimtab/v1\nkind: Volume\nmetadata: {name: a, labels: {v: 1.10, on: true, no: no, e: }}\n"
    (volume,) = load_texts(text)
    assert volume.metadata.labels == {"v": "1.10", "on": "true", "no": "no", "e": ""}


ANNOTATIONS = [
    ("trimtab/prune: disabled", ""),
    ("trimtab/reconcile: disabled", ""),
    ("trimtab/prune: enabled", ""),
    ("example.org/prune: whatever", ""),
    ("trimtab/prune: yes", "cannot be 'yes'; write disabled or enabled"),
    ("trimtab/prun: disabled", "is not an annotation of trimtab; did you mean trimtab/prune?"),
    ("trimtab/qqqqqqqqqqqq: x", "is not an annotation of trimtab; known: trimtab/prune, trimtab/reconcile"),
]


@pytest.mark.parametrize(("annotation", "problem"), ANNOTATIONS, ids=[annotation for annotation, _ in ANNOTATIONS])
def test_annotations_of_trimtab_are_checked(annotation: str, problem: str) -> None:
    text = f"apiVersion: trimtab/v1\nkind: Volume\nmetadata:\n  name: a\n  annotations:\n    {annotation}\n"
    if not problem:
        assert keys_of(text) == ["Volume/a"]
        return
    (found,) = problems_of(text)
    assert found.startswith("a.yaml:6:5 Volume/a metadata.annotations[")
    assert problem in found


def test_problems_of_all_files_are_told_in_the_order_of_files_and_lines() -> None:
    broken = manifest("A") + "---\n" + manifest("B")
    found = problems_of(broken, "[", broken)
    assert [problem.split()[0].rstrip(":") for problem in found] == [
        "a.yaml:3:12",
        "a.yaml:7:12",
        "b.yaml:1:2",
        "c.yaml:3:12",
        "c.yaml:7:12",
    ]


def test_an_object_knows_where_it_came_from() -> None:
    sources = [Text("shop/db.yaml", "---\n" + manifest("db"))]
    (database,) = load_with(MODELS, sources, {}, set="shop", commit="a1b2c3d")
    assert database.origin == Origin("shop/db.yaml", 2, "shop", "a1b2c3d")
    assert str(database.origin) == "shop/db.yaml:2"


def test_a_problem_that_follows_from_another_is_not_told() -> None:
    found = problems_of(manifest(more="spec: {image: !x {a: 1}}\n"))
    assert len(found) == 1
    assert "the tag !x" in found[0]


def test_one_broken_manifest_does_not_hide_the_problems_of_the_next() -> None:
    found = problems_of(manifest(more="spec: {imag: a}\n") + "---\n" + manifest(more="spec: {imge: b}\n"))
    assert len(found) == 2
