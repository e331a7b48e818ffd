"""The safety rules of pruning and of sets: what may go, what never does, who may claim what."""

from __future__ import annotations

import pytest

from reconciler.claims import declared_elsewhere, refuse_claimed
from reconciler.prune import PROTECTION, Pruned, Pruning, kept_notes, orphans, orphans_told, prune
from reconciler.store.inventory import Entry
from reconciler.store.records import Record
from schemas.errors import Invalid, Refused
from schemas.load import Text, load
from schemas.names import Key, Kind

WEB, DB = Key(Kind.CONTAINER, "web"), Key(Kind.CONTAINER, "db")
FRONT = Key(Kind.NETWORK, "front")
EVERYTHING = Pruning(enabled=True, allow_empty=True)


def record(key: Key, set_name: str = "shop", needs: tuple[Key, ...] = (), owner: Key | None = None) -> Record:
    return Record(key, {}, {}, needs, owner, set_name)


def entry(key: Key, set_name: str = "shop", annotations: dict[str, str] | None = None) -> Entry:
    metadata = {"name": key.name, "annotations": annotations or {}}
    manifest = {"apiVersion": "trimtab/v1", "kind": key.kind.value, "metadata": metadata, "spec": {}}
    return Entry(key, set_name, "shop.yaml", 12, "", manifest)


def test_without_prune_nothing_is_deleted() -> None:
    assert prune({}, {WEB: record(WEB)}, {}, "shop", Pruning()) == Pruned()


def test_what_the_set_owns_and_no_longer_declares_goes() -> None:
    assert prune({}, {WEB: record(WEB)}, {}, "shop", EVERYTHING).delete == {WEB: "no longer in the manifests"}


def test_another_sets_objects_stay() -> None:
    assert prune({}, {WEB: record(WEB, "other")}, {}, "shop", EVERYTHING).delete == {}


def test_a_protected_object_stays() -> None:
    inventory = {WEB: entry(WEB, annotations={"trimtab/prune": "disabled"})}
    assert prune({}, {WEB: record(WEB)}, inventory, "shop", EVERYTHING).delete == {}


def test_a_replica_of_a_protected_service_stays() -> None:
    service = Key(Kind.SERVICE, "web")
    inventory = {service: entry(service, annotations={"trimtab/prune": "disabled"})}
    replica = record(Key(Kind.CONTAINER, "web-1"), owner=service)
    assert prune({}, {replica.key: replica}, inventory, "shop", EVERYTHING).delete == {}


def test_empty_manifests_delete_everything_only_when_told_so() -> None:
    with pytest.raises(Refused, match="the manifests are empty: all 1 objects of the set shop"):
        prune({}, {WEB: record(WEB)}, {}, "shop", Pruning(enabled=True))


def test_what_another_sets_container_needs_stays() -> None:
    records = {FRONT: record(FRONT), WEB: record(WEB, "other", needs=(FRONT,))}
    pruned = prune({}, records, {FRONT: entry(FRONT)}, "shop", EVERYTHING)
    assert pruned == Pruned(kept={FRONT: WEB})
    (note,) = kept_notes(pruned, records, "shop")
    assert (note.key, note.text) == (FRONT, "stays: Container/web of the set other needs it")


def test_what_was_only_implied_and_another_set_needs_is_that_sets_from_then_on() -> None:
    default = Key(Kind.NETWORK, "default")
    records = {default: record(default), WEB: record(WEB, "other", needs=(default,))}
    written = entry(default)
    implied = Entry(default, "shop", "shop.yaml", 12, "", {**written.manifest, "metadata": {"name": "default"}})
    pruned = prune({}, records, {default: implied}, "shop", EVERYTHING)
    assert pruned == Pruned(kept={default: WEB}, handed={default: WEB})
    (note,) = kept_notes(pruned, records, "shop")
    assert note.text == "stays: Container/web of the set other needs it, which owns it from now on"


def test_what_was_declared_and_never_made_is_forgotten() -> None:
    inventory = {WEB: entry(WEB), DB: entry(DB, "other")}
    assert prune({}, {}, inventory, "shop", EVERYTHING) == Pruned(forgotten=frozenset({WEB}))


def test_what_only_goes_with_its_users_goes_with_them() -> None:
    records = {FRONT: record(FRONT), WEB: record(WEB, needs=(FRONT,))}
    assert set(prune({}, records, {}, "shop", EVERYTHING).delete) == {FRONT, WEB}


def test_deleting_one_object_leaves_the_rest_of_its_set() -> None:
    records = {WEB: record(WEB), DB: record(DB)}
    assert set(prune({}, records, {}, "shop", Pruning(only=frozenset({WEB}))).delete) == {WEB}


WEB_MANIFEST = "apiVersion: trimtab/v1\nkind: Container\nmetadata: {name: web}\nspec: {image: nginx:1}\n"


def test_a_second_claim_is_refused_naming_the_first_set_and_its_line() -> None:
    declared = load([Text("mine.yaml", WEB_MANIFEST)], {})
    with pytest.raises(
        Invalid, match=r"mine.yaml:1:1 Container/web: belongs to the set shop \(shop.yaml:12\); give it another"
    ):
        refuse_claimed(declared, {WEB: entry(WEB)}, "mine")


def test_a_source_that_claims_is_told_how_it_would_feed_that_set() -> None:
    declared = load([Text("mine.yaml", WEB_MANIFEST)], {})
    with pytest.raises(Invalid) as refused:
        refuse_claimed(declared, {WEB: entry(WEB)}, "mine", by_source=True)
    (problem,) = refused.value.problems
    assert "spec.set of the Source is to be shop, or the name of the directory" in problem.remedy
    assert "--set" not in problem.remedy


def test_the_owner_may_claim_again() -> None:
    refuse_claimed(load([Text("shop.yaml", WEB_MANIFEST)], {}), {WEB: entry(WEB)}, "shop")


def test_other_sets_objects_are_known_with_where_they_came_from() -> None:
    known = declared_elsewhere({FRONT: entry(FRONT)}, "mine")
    assert known[FRONT].origin.file == "shop.yaml" and known[FRONT].origin.set == "shop"
    assert str(known[FRONT].place(("spec", "ports", 0))) == "shop.yaml:12:1"


def test_without_prune_what_somebody_wrote_once_is_an_orphan() -> None:
    records = {WEB: record(WEB), DB: record(DB, "other"), FRONT: record(FRONT)}
    inventory = {WEB: entry(WEB), DB: entry(DB, "other"), FRONT: entry(FRONT, annotations={PROTECTION: "disabled"})}
    assert orphans({}, records, inventory, "shop", Pruning()) == (WEB,)
    assert orphans({}, records, inventory, "shop", EVERYTHING) == ()


def test_neither_replicas_nor_what_was_only_implied_are_orphans() -> None:
    service, default = Key(Kind.SERVICE, "web"), Key(Kind.NETWORK, "default")
    replica = record(Key(Kind.CONTAINER, "web-1"), owner=service)
    implied = Entry(default, "shop", "shop.yaml", 12, "", {"metadata": {"name": "default"}, "spec": {}})
    records = {service: record(service), replica.key: replica, default: record(default)}
    assert orphans({}, records, {service: entry(service), default: implied}, "shop", Pruning()) == (service,)


def test_orphans_are_told_in_one_line_with_the_remedy() -> None:
    assert orphans_told([WEB], "shop") == (
        "Container/web of the set shop stays, no longer in the manifests; --prune deletes it"
    )
    many = [Key(Kind.CONTAINER, f"web-{number}") for number in range(7)]
    assert orphans_told(many, "shop").endswith(
        "Container/web-4 and 2 more of the set shop stay, no longer in the manifests; --prune deletes them"
    )
