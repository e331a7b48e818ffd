"""Golden cases of the planner: what was applied, what changed since, and the plan, word for word and in its order.

One file per case in `golden/`. `manifests` (a file of `golden/manifests/`, `shop.yaml` where not said) was applied and
converged, then came
  edit      {old text: new text} in the manifests that are applied now
  from      `nothing`: an empty machine instead
  machine   {object: facts that are found instead}; null for what is not there
  lost      objects whose record is lost
  later     {set: manifests} of other sets that were applied after this one, which is `shop`
  prune     true: with --prune; or objects, as `delete` names them
`plan` is the last key: a line per action, what it waits for below it (`after`: must have succeeded, `behind`: must have
ended), notes and what other sets own from then on at the end.

    GOLDEN_WRITE=1 python -m pytest tests/reconciler/test_golden.py

writes every plan anew. Read the difference before it is committed: each line of it is a change of what users get.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import yaml

from reconciler.actions import Plan, Step, Verb
from reconciler.claims import declared_elsewhere, refuse_claimed
from reconciler.desired import Observed
from reconciler.plan import plan
from reconciler.prune import NO_PRUNING, Pruned, Pruning, kept_notes, prune
from reconciler.resolve import resolve
from reconciler.resolve.world import Resolved, World
from reconciler.store.inventory import Entry
from reconciler.store.records import Record
from reconciler.wanted.manifests import manifest_of
from schemas.check import check
from schemas.envelope import Declared
from schemas.load import Text, load
from schemas.names import Key, Kind
from tests.reconciler.worlds import WORLD, converged

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(GOLDEN.glob("*.yaml"))
SHOP = "shop"


@dataclass
class Machine:
    """What earlier applies left: records, inventory and leases in the store, and what is observed."""

    records: dict[Key, Record]
    inventory: dict[Key, Entry]
    observed: dict[Key, Observed]
    leases: Mapping[str, Mapping[str, str]]

    def apply(self, text: str, set_name: str) -> None:
        """Everything succeeded and stands as wanted."""
        made = resolved(text, self, set_name)
        for key, item in made.declared.items():
            self.inventory[key] = Entry(key, set_name, item.origin.file, item.origin.line, "", manifest_of(item))
        for key, want in made.desired.items():
            self.records[key] = Record(key, want.fields, want.facts, want.needs, want.owner, set_name)
            self.observed[key] = converged(want)
        self.leases = made.leases


def resolved(text: str, machine: Machine, set_name: str) -> Resolved:
    declared = {item.key: item for item in load([Text(f"{set_name}.yaml", text)], {}, set=set_name)}
    others = declared_elsewhere(machine.inventory, set_name)
    assert check(list(declared.values()), others.keys(), list(others.values())) == []
    refuse_claimed(list(declared.values()), machine.inventory, set_name)
    return resolve(declared, _world(declared, others, machine))


def _world(declared: Mapping[Key, Declared], others: Mapping[Key, Declared], machine: Machine) -> World:
    names = {key.name for key in machine.records}
    return replace(
        WORLD,
        others=others,
        leases=machine.leases,
        living=frozenset(names | {f"service:{name}" for name in names}),
        contents={
            key: f"digest-{crc32(str(manifest_of(item)['spec']).encode()):x}"
            for key, item in declared.items()
            if key.kind in (Kind.SECRET, Kind.CONFIG)
        },
    )


def planned(case: Mapping[str, Any]) -> str:
    text = (GOLDEN / "manifests" / case.get("manifests", "shop.yaml")).read_text()
    machine = Machine({}, {}, {}, {})
    if case.get("from") != "nothing":
        machine.apply(text, SHOP)
    for set_name, manifests in case.get("later", {}).items():
        machine.apply(manifests, set_name)
    for object, facts in case.get("machine", {}).items():
        find(machine, Key.parse(object), facts)
    for object in case.get("lost", ()):
        key = Key.parse(object)
        machine.observed[key] = replace(machine.observed[key], fields=None)
    for old, new in case.get("edit", {}).items():
        assert old in text, old
        text = text.replace(old, new)
    return told(machine, text, pruning(case.get("prune", False)))


def find(machine: Machine, key: Key, facts: Mapping[str, Any] | None) -> None:
    if facts is None:
        del machine.observed[key], machine.records[key]
    else:
        have = machine.observed[key]
        machine.observed[key] = replace(have, facts=merged(have.facts, facts))


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        name: merged(old[name], value) if isinstance(value, dict) and isinstance(old.get(name), dict) else value
        for name, value in new.items()
    }
    return {**old, **both}


def pruning(asked: bool | list[str]) -> Pruning:
    if isinstance(asked, list):
        return Pruning(only=frozenset(map(Key.parse, asked)))
    return Pruning(enabled=True) if asked else NO_PRUNING


def told(machine: Machine, text: str, asked: Pruning) -> str:
    deletes = asked.only is not None
    want = {} if deletes else resolved(text, machine, SHOP).desired
    pruned = prune(want, machine.records, machine.inventory, SHOP, asked)
    made = plan(want, machine.observed, pruned.delete)
    return "\n".join(lines(made, pruned, machine)) + "\n"


def lines(made: Plan, pruned: Pruned, machine: Machine) -> Iterator[str]:
    doing = {action.step for action in made.effective}
    for action in made.effective:
        half = f" ({action.verb})" if action.replaces else ""
        yield f"{action.describe()}{half}"
        yield from edges("after", action.after, doing)
        yield from edges("behind", action.behind, doing)
    for note in (*made.notes, *kept_notes(pruned, machine.records, SHOP)):
        yield f"note {note.describe()}"
    for key, user in sorted(pruned.handed.items()):
        yield f"handed {key} to the set {machine.records[user].set}"
    if made.empty:
        yield "nothing to do"


def edges(word: str, steps: tuple[Step, ...], doing: set[Step]) -> Iterator[str]:
    waited = [f"{'make' if step.verb is Verb.CREATE else step.verb} {step.key}" for step in steps if step in doing]
    if waited:
        yield f"    {word} {', '.join(waited)}"


@pytest.mark.parametrize("path", CASES, ids=[path.stem for path in CASES])
def test_golden(path: Path) -> None:
    written = path.read_text()
    case = yaml.safe_load(written)
    found = planned(case)
    if os.environ.get("GOLDEN_WRITE") == "1":
        head, _, _ = written.partition("\nplan:")
        path.write_text(f"{head.rstrip()}\nplan: |\n" + "".join(f"  {line}\n" for line in found.splitlines()))
        return
    assert found == case["plan"], case["says"]


def test_every_case_says_what_it_shows_and_no_two_the_same() -> None:
    said = [yaml.safe_load(path.read_text())["says"] for path in CASES]
    assert len(said) >= 25
    assert len(set(said)) == len(said)


def test_a_plan_that_differs_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOLDEN_WRITE", raising=False)
    case = yaml.safe_load(CASES[0].read_text())
    assert planned(case) == case["plan"] != planned({**case, "from": "shop", "edit": {}, "machine": {}})
