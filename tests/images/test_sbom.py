"""Packages of an image as CycloneDX, how it was built as an in-toto statement; kept beside it and pushed with it."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.image.sbom import print_document
from reconciler.registries import read_registries
from runtime.images.artifact import read_parts
from runtime.images.attached import MEDIA_TYPES, PROVENANCE, SBOM, read_attached
from runtime.images.sbom.cyclonedx import document_of
from runtime.images.sbom.packages import Package, Packages, read_packages
from runtime.images.sbom.provenance import PREDICATE
from runtime.images.sbom.rpm import BadDatabase, read_header
from runtime.images.store import read_image
from schemas.errors import Missing
from schemas.reference import Reference
from tests.images.shop import Shop, image_shop
from tests.machine.probe import document

DPKG = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u9
Description: GNU C Library
 more of it

Package: gone
Status: deinstall ok config-files
Version: 1
"""
FILES = {
    "usr/lib/os-release": 'ID=debian\nVERSION_ID="12"\n',
    "var/lib/dpkg/status": DPKG,
    "var/lib/dpkg/status.d/tzdata": "Package: tzdata\nVersion: 2024a\nArchitecture: all\n",
    "lib/apk/db/installed": "C:Q1x=\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\n\nP:busybox\nV:1.36.1-r29\n",
    "usr/lib/python3/dist-packages/c.dist-info/METADATA": "Name: click\nVersion: 8.1.7\nLicense: BSD\n\nName: no\n",
    "usr/lib/python3/dist-packages/old.egg-info": "Name: old\nVersion: 0.1\n",
    "app/node_modules/left-pad/package.json": '{"name": "left-pad", "version": "1.3.0", "license": "WTFPL"}',
    "app/node_modules/left-pad/test/package.json": '{"name": "not-a-module", "version": "1"}',
    "app/node_modules/@scope/thing/package.json": '{"name": "@scope/thing", "version": "2.0.0"}',
    "app/node_modules/broken/package.json": "{",
    "app/package.json": '{"name": "app"}',
}
FOUND = [
    ("apk", "busybox", "1.36.1-r29"),
    ("apk", "musl", "1.2.5-r0"),
    ("deb", "libc6", "2.36-9+deb12u9"),
    ("deb", "tzdata", "2024a"),
    ("npm", "@scope/thing", "2.0.0"),
    ("npm", "left-pad", "1.3.0"),
    ("pypi", "click", "8.1.7"),
    ("pypi", "old", "0.1"),
    ("rpm", "bash", "1:5.2-3.fc40"),
]


def header(**tags: object) -> bytes:
    """An rpm header blob."""
    numbers = {"name": 1000, "version": 1001, "release": 1002, "epoch": 1003, "license": 1014, "arch": 1022}
    entries, data = b"", b""
    for name, value in tags.items():
        kind = 4 if isinstance(value, int) else 6
        entries += struct.pack(">iIiI", numbers[name], kind, len(data), 1)
        data += struct.pack(">I", value) if isinstance(value, int) else str(value).encode() + b"\0"
    return struct.pack(">II", len(tags), len(data)) + entries + data


def write(top: Path) -> Path:
    for name, text in FILES.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    database = top / "usr/lib/sysimage/rpm/rpmdb.sqlite"
    database.parent.mkdir(parents=True)
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)")
        bash = header(name="bash", version="5.2", release="3.fc40", epoch=1, license="GPL-3.0", arch="x86_64")
        rows = [(bash,), (header(name="gpg-pubkey", version="1"),)]
        connection.executemany("INSERT INTO Packages (blob) VALUES (?)", rows)
    connection.close()
    return top


def packages_of(top: Path) -> Packages:
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return read_packages(fd)
    finally:
        os.close(fd)


def test_every_manager_and_language_is_read(tmp_path: Path) -> None:
    found = packages_of(write(tmp_path / "tree"))
    assert [(each.type, each.name, each.version) for each in found.packages] == FOUND
    assert (found.distribution, found.release, found.gaps) == ("debian", "12", ())
    musl = next(each for each in found.packages if each.name == "musl")
    assert (musl.architecture, musl.license) == ("x86_64", "MIT")


def test_links_lead_nowhere_outside_and_pipes_and_damage_end_nothing(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write(outside)
    tree = tmp_path / "tree"
    for name in ("var/lib/dpkg", "etc", "var/lib/rpm", "usr/lib", "app/node_modules/x"):
        (tree / name).mkdir(parents=True)
    (tree / "var/lib/dpkg/status").symlink_to(outside / "var/lib/dpkg/status")
    (tree / "lib").symlink_to("../../../../../../../../../../" + str(outside / "lib"))
    (tree / "app/node_modules/y").symlink_to(outside / "app/node_modules/left-pad")
    os.mkfifo(tree / "etc/os-release")
    os.mkfifo(tree / "app/node_modules/x/package.json")
    (tree / "var/lib/rpm/rpmdb.sqlite").write_bytes(b"SQLite format 3\0" + bytes(200))
    (tree / "var/lib/rpm/Packages").write_bytes(b"bdb")
    found = packages_of(tree)
    assert found.packages == () and found.distribution == ""
    assert [gap.partition(":")[0] for gap in found.gaps] == ["/var/lib/rpm/rpmdb.sqlite", "/var/lib/rpm/Packages"]


@pytest.mark.parametrize(
    "blob", [b"", b"\xff" * 8, struct.pack(">II", 1, 4) + struct.pack(">iIiI", 1000, 6, 99, 1) + b"abcd"]
)
def test_a_damaged_header_is_told(blob: bytes) -> None:
    with pytest.raises(BadDatabase):
        read_header(blob)


def test_a_database_without_an_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.images.sbom.rpm.MOST_STEPS", 2)
    database = tmp_path / "usr/lib/sysimage/rpm/rpmdb.sqlite"
    database.parent.mkdir(parents=True)
    with closing(sqlite3.connect(database)) as made:
        made.execute(
            "CREATE VIEW Packages AS WITH RECURSIVE again (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM again)"
            " SELECT x'' AS blob FROM again WHERE n < 0"
        )
    assert packages_of(tmp_path).gaps == ("/usr/lib/sysimage/rpm/rpmdb.sqlite: interrupted",)


def test_a_document_is_the_same_twice_and_names_packages_by_url() -> None:
    found = Packages(
        (Package("deb", "libc6", "2.36", "amd64", place="var/lib/dpkg/status"), Package("npm", "@scope/thing", "2")),
        "debian",
        "12",
        ("/var/lib/rpm/Packages: not read",),
    )
    digest = f"sha256:{'a' * 64}"
    first = document_of(found, "app", digest, 1000.0)
    assert first == document_of(found, "app", digest, 1000.0)
    said = json.loads(first)
    assert (said["bomFormat"], said["specVersion"]) == ("CycloneDX", "1.6")
    urls = {each.get("purl") for each in said["components"]}
    assert {"pkg:deb/debian/libc6@2.36?arch=amd64", "pkg:npm/%40scope/thing@2"} <= urls
    assert said["metadata"]["component"]["version"] == digest
    assert {"name": "trimtab:gap", "value": "/var/lib/rpm/Packages: not read"} in said["metadata"]["properties"]


@pytest.fixture(scope="module")
def shop(busybox_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with image_shop(busybox_tree, tmp_path_factory.mktemp("registry")) as made:
        yield made


def built(shop: Shop, directory: Path, **build: Any) -> str:
    write(directory / "tree")
    spec = {"context": str(directory), "dockerfile_inline": "FROM scratch\nARG TOKEN\nCOPY tree /\n", **build}
    return document("Image", "app", build=spec, push=[shop.ref("app")])


@pytest.mark.kernel
def test_a_build_keeps_both_and_they_are_pushed_about_the_image_as_it_was_pushed(
    shop: Shop, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    layout = shop.machine.layout
    shop.machine.converge(built(shop, tmp_path / "context", sbom=True, args={"TOKEN": "very-secret"}))
    record, pushed = read_image(layout, "app"), shop.manifest("app")
    assert record is not None and pushed is not None
    reference, settings = Reference.parse(shop.ref("app")), read_registries(layout)
    documents = {}
    for kind in (SBOM, PROVENANCE):
        (part,) = read_parts(reference, pushed["digest"], MEDIA_TYPES[kind], settings)
        documents[kind] = json.loads(part.content)
        print_document(layout, "app", provenance=kind == PROVENANCE)
        assert capsysbinary.readouterr().out == read_attached(layout, record.digest, kind)
    assert {each.get("name") for each in documents[SBOM]["components"]} >= {name for _, name, _ in FOUND}
    statement = documents[PROVENANCE]
    assert statement["subject"] == [{"name": "app", "digest": {"sha256": pushed["digest"].partition(":")[2]}}]
    assert statement["predicateType"] == PREDICATE
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["arguments"] == ["TOKEN"] and "very-secret" not in json.dumps(statement)
    assert [each["uri"] for each in definition["resolvedDependencies"]] == [f"context://{tmp_path}/context"]

    shop.machine.delete()
    assert read_attached(layout, record.digest, SBOM) is None
    print_document(layout, shop.ref("app"), provenance=False)
    assert json.loads(capsysbinary.readouterr().out) == documents[SBOM]


@pytest.mark.kernel
def test_an_image_without_a_list_gets_one_when_it_is_asked_for(
    shop: Shop, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    layout = shop.machine.layout
    shop.machine.converge(built(shop, tmp_path / "context", provenance=False))
    pushed = shop.manifest("app")
    assert pushed is not None
    settings = read_registries(layout)
    assert read_parts(Reference.parse(shop.ref("app")), pushed["digest"], MEDIA_TYPES[PROVENANCE], settings) == ()
    print_document(layout, "app", provenance=False)
    said = json.loads(capsysbinary.readouterr().out)
    assert {each["name"] for each in said["components"]} >= {"libc6", "click"}
    with pytest.raises(Missing, match="no provenance"):
        print_document(layout, "app", provenance=True)
    shop.machine.delete()
