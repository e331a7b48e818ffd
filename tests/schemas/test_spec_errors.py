"""Problems of a spec: where, what, and what to do, whatever way pydantic took through the model."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from schemas.errors import Invalid
from schemas.load import Text, load_with
from schemas.names import Kind


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def refuse(value: str) -> str:
    raise ValueError(f"{value!r} is not a size; write bytes or 64m")


def long_form(value: object) -> object:
    return {"target": value.rpartition(":")[2]} if isinstance(value, str) else value


class Port(Strict):
    target: int
    published: int | None = None
    notes: list[int | str] | None = None


class Deploy(Strict):
    replicas: int = 1


class Spec(Strict):
    image: str
    restart: Literal["no", "always", "unless-stopped"] = "no"
    mem_limit: Annotated[str, AfterValidator(refuse)] | None = None
    ports: list[int | str | Port] = []
    expose: list[Annotated[Port, BeforeValidator(long_form)]] = []
    environment: dict[str, str | int | None] | list[str] = {}
    init: bool = False
    cpus: Annotated[float, Field(gt=0)] | None = None
    name: Annotated[str, Field(pattern="^[a-z]+$")] = "x"
    deploy: Deploy = Deploy()
    networks: dict[str, Deploy | None] = {}
    working_dir: str = "/"
    from_: int = Field(default=0, alias="from")


MODELS = dict.fromkeys(Kind, Spec)


def problems_of(spec: str, kind: str = "Container") -> list[str]:
    lines = "".join(f"  {line}\n" for line in spec.splitlines())
    text = f"apiVersion: trimtab/v1\nkind: {kind}\nmetadata: {{name: web}}\nspec:\n{lines}"
    with pytest.raises(Invalid) as refusal:
        load_with(MODELS, [Text("a.yaml", text)], {})
    return [str(problem).replace(f" {kind}/web", "", 1) for problem in refusal.value.problems]


CASES = [
    pytest.param("init: true", ["a.yaml:4:1 spec.image: is missing; add `image:`"], id="a required field is missing"),
    pytest.param(
        "image: a\nimages: b",
        ["a.yaml:6:3 spec.images: is not a field here; did you mean image?"],
        id="an unknown field with a near name",
    ),
    pytest.param(
        "image: a\nenv: {}",
        ["a.yaml:6:3 spec.env: is not a field here; did you mean environment?"],
        id="an unknown field that other tools know",
    ),
    pytest.param(
        "image: a\nworkingDir: /x",
        ["a.yaml:6:3 spec.workingDir: is not a field here; did you mean working_dir?"],
        id="another spelling of a field",
    ),
    pytest.param(
        "image: a\nform: 1",
        ["a.yaml:6:3 spec.form: is not a field here; did you mean from?"],
        id="the right name is the alias",
    ),
    pytest.param(
        "image: a\nreplicas: 2",
        ["a.yaml:6:3 spec.replicas: is not a field here; write it below deploy, as deploy.replicas"],
        id="a field of a deeper level",
    ),
    pytest.param(
        "image: a\ndeploy:\n  init: true",
        ["a.yaml:7:5 spec.deploy.init: is not a field here; indent it less: it is a field of the spec itself"],
        id="a field of a higher level",
    ),
    pytest.param(
        "imag: a",
        ["a.yaml:5:3 spec.imag: is not a field here; did you mean image?"],
        id="a misspelled required field is one problem",
    ),
    pytest.param(
        "image: a\nlabels: {}",
        ["a.yaml:6:3 spec.labels: is not a field here; write it below metadata, as metadata.labels"],
        id="a field of the metadata",
    ),
    pytest.param(
        "image: a\nqwerty: 1",
        ["a.yaml:6:3 spec.qwerty: is not a field here; `trimtab explain container` lists them"],
        id="an unknown field like no other, among many",
    ),
    pytest.param(
        "image: a\nnetworks: {front: {qwerty: 1}}",
        ["a.yaml:6:22 spec.networks.front.qwerty: is not a field here; known here: replicas"],
        id="an unknown field in a map of models",
    ),
    pytest.param(
        "image: a\nports:\n- {target: 1, publshed: 2}",
        ["a.yaml:7:17 spec.ports[0].publshed: is not a field here; did you mean published?"],
        id="an unknown field in a branch of a union",
    ),
    pytest.param(
        "image: a\nports:\n- {published: 2}",
        ["a.yaml:7:5 spec.ports[0].target: is missing; add `target:`"],
        id="a missing field in a branch of a union",
    ),
    pytest.param(
        "image: a\nports:\n- {target: x}",
        ["a.yaml:7:6 spec.ports[0].target: 'x' is not a whole number; write digits alone"],
        id="a wrong value in a branch of a union",
    ),
    pytest.param(
        "image: a\nports:\n- [1]",
        ["a.yaml:7:5 spec.ports[0]: is a list, not a whole number, text or a map; write a whole number, text or a map"],
        id="no branch of a union fits",
    ),
    pytest.param(
        "image: a\nports:\n- {target: 1, notes: [[], 2, {}]}",
        [
            "a.yaml:7:25 spec.ports[0].notes[0]: is a list, not a whole number or text; write a whole number or text",
            "a.yaml:7:32 spec.ports[0].notes[2]: is a map, not a whole number or text; write a whole number or text",
        ],
        id="a union within a union",
    ),
    pytest.param(
        "image: a\nenvironment: {A: [1]}",
        ["a.yaml:6:17 spec.environment.A: is a list, not text or a whole number; write text or a whole number"],
        id="a wrong value in a map of a union",
    ),
    pytest.param(
        "image: a\nenvironment: [A=1, 2]",
        ["a.yaml:6:22 spec.environment[1]: 2 is not text; write text, in quotes if it looks like a number"],
        id="a wrong item in a list of a union",
    ),
    pytest.param(
        "image: a\nenvironment: true",
        ["a.yaml:6:3 spec.environment: true is not a map or a list; write a map or a list"],
        id="neither map nor list",
    ),
    pytest.param(
        'image: a\nexpose: ["8080:web"]',
        ["a.yaml:6:12 spec.expose[0]: 'web' is not a whole number; write digits alone"],
        id="a short form whose part is wrong",
    ),
    pytest.param(
        "image: a\nrestart: alwais",
        ["a.yaml:6:3 spec.restart: 'alwais' is not known here; did you mean always?"],
        id="nearly one of the choices",
    ),
    pytest.param(
        "image: a\nrestart: qq",
        ["a.yaml:6:3 spec.restart: 'qq' is not known here; write no, always or unless-stopped"],
        id="none of the choices",
    ),
    pytest.param(
        "image: a\nmem_limit: lots",
        ["a.yaml:6:3 spec.mem_limit: 'lots' is not a size; write bytes or 64m"],
        id="what the model's own reader says",
    ),
    pytest.param(
        "image:",
        ["a.yaml:5:3 spec.image: has no value; write text, or remove the line"],
        id="a field without a value",
    ),
    pytest.param(
        "image: 3",
        ["a.yaml:5:3 spec.image: 3 is not text; write text, in quotes if it looks like a number"],
        id="a number where text belongs",
    ),
    pytest.param(
        "image: {name: a}",
        ["a.yaml:5:3 spec.image: is a map, not text; write text, in quotes if it looks like a number"],
        id="a map where text belongs",
    ),
    pytest.param(
        "image: a\ninit: perhaps",
        ["a.yaml:6:3 spec.init: 'perhaps' is not true or false; write true or false"],
        id="no boolean",
    ),
    pytest.param(
        "image: a\ncpus: -1",
        ["a.yaml:6:3 spec.cpus: -1 is out of range; it must be more than 0"],
        id="out of range",
    ),
    pytest.param(
        "image: a\nname: A1",
        ["a.yaml:6:3 spec.name: 'A1' has the wrong form; it must match ^[a-z]+$"],
        id="the wrong form",
    ),
    pytest.param(
        "init: 7\nqwertz: 1\ndeploy: 2",
        [
            "a.yaml:4:1 spec.image: is missing; add `image:`",
            "a.yaml:5:3 spec.init: 7 is not true or false; write true or false",
            "a.yaml:6:3 spec.qwertz: is not a field here; `trimtab explain container` lists them",
            "a.yaml:7:3 spec.deploy: 2 is not a map; write `name: value` lines below it",
        ],
        id="everything at once, in the order of the text",
    ),
]


@pytest.mark.parametrize(("spec", "problems"), CASES)
def test_it_is_refused_in_words(spec: str, problems: list[str]) -> None:
    assert problems_of(spec) == problems


def test_the_value_of_a_secret_is_never_repeated() -> None:
    (problem,) = problems_of("image: a\nmem_limit: hunter2", kind="Secret")
    assert problem == "a.yaml:6:3 spec.mem_limit: the value is not a size; write bytes or 64m"
