"""`cache_to` and `cache_from`: what one machine has built, another takes, from a registry or a directory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from reconciler.build.wanted import Told
from reconciler.cli.image.build import Typed, _shown
from reconciler.registries import read_registries
from runtime.images.archive import REF_NAME
from runtime.images.blobs import BlobStore
from runtime.images.digests import digest_of
from runtime.images.ensure import ensure_image
from runtime.images.oci import OCI_LAYER, Descriptor
from runtime.images.progress import ignore
from runtime.images.step_cache import KeptStep, steps_of, write_directory
from runtime.images.store import damage
from runtime.images.to_registry import push_image
from runtime.images.wanted import ImageWanted
from schemas.build_cache import CachePlace
from schemas.errors import Refused
from schemas.reference import Reference
from tests.build.conftest import Builder
from tests.registry.hosting import engine, hosting

pytestmark = pytest.mark.kernel

STAGES = """\
FROM base AS one
COPY src/ /src/
WORKDIR /made
FROM base
COPY --from=one /src/a.txt /srv/a.txt
WORKDIR /srv/below
COPY b.txt /srv/b.txt
CMD ["cat", "/srv/a.txt"]
"""


def source(text: str) -> CachePlace:
    return CachePlace.parse(text, is_target=False)


def target(text: str) -> CachePlace:
    return CachePlace.parse(text, is_target=True)


def machine(directory: Path, context: Path) -> Builder:
    """One more machine: an engine that has nothing but the image to begin with."""
    layout = engine(directory)
    tree = directory / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    for path in (tree / "etc/passwd", tree / "etc", tree):
        path.chmod(0o755)
        os.utime(path, (1_000_000, 1_000_000))
    ensure_image(layout, ImageWanted("base", rootfs=tree))
    return Builder(layout, context)


@pytest.fixture
def one(tmp_path: Path) -> Builder:
    context = tmp_path / "context"
    context.mkdir()
    made = machine(tmp_path / "one", context)
    made.write({"src/a.txt": "a\n", "b.txt": "b\n"})
    return made


@pytest.fixture
def two(one: Builder, tmp_path: Path) -> Builder:
    return machine(tmp_path / "two", one.context)


@pytest.fixture
def registry(one: Builder, two: Builder, tmp_path: Path) -> Iterator[str]:
    """The engine's own, which both machines may talk to in plain HTTP."""
    with hosting(engine(tmp_path / "registry")) as host:
        for each in (one, two):
            (each.layout.root / "registries.yaml").write_text(
                f"registries: {{'{host.address.host}': {{insecure: true}}}}\n"
            )
        yield host.address.host


def notes(builder: Builder) -> str:
    return "\n".join(each.text for each in builder.told if each.what == "note")


def test_all_of_a_build_is_taken_from_a_directory(one: Builder, two: Builder, tmp_path: Path) -> None:
    made = one.build(STAGES, cache_to=(target(f"type=local,dest={tmp_path}/cache"),))
    again = two.build(STAGES, cache_from=(source(f"type=local,src={tmp_path}/cache"),))
    assert (again.done, again.record.digest) == (0, made.record.digest)
    assert damage(two.layout, again.record) is None
    assert two.read(again, "srv/b.txt") == "b\n"
    listed = json.loads((tmp_path / "cache/index.json").read_bytes())["manifests"]
    assert [each["annotations"]["org.opencontainers.image.ref.name"] for each in listed] == ["latest"]


def test_all_of_a_build_is_taken_from_a_registry(one: Builder, two: Builder, registry: str) -> None:
    name = f"{registry}/team/cache:main"
    made = one.build(STAGES, cache_to=(target(f"type=registry,ref={name},mode=max"),))
    again = two.build(STAGES, cache_from=(source(name),))
    assert (again.done, again.record.digest) == (0, made.record.digest)
    assert damage(two.layout, again.record) is None
    # what was needed is all that was fetched: the other stage's layers stay where they are
    assert len(list((two.layout.layers).iterdir())) == len(made.record.layers)


def test_mode_max_has_the_steps_of_other_stages_and_min_has_not(one: Builder, two: Builder, tmp_path: Path) -> None:
    changed = STAGES.replace("COPY --from=one /src/a.txt /srv/a.txt", "COPY --from=one /src/a.txt /elsewhere")
    for mode, done in (("min", ["COPY", "WORKDIR", "COPY", "WORKDIR", "COPY"]), ("max", ["COPY", "WORKDIR", "COPY"])):
        one.build(STAGES, cache_to=(target(f"type=local,dest={tmp_path}/{mode},mode={mode}"),))
        two.build(changed, cache_from=(source(f"type=local,src={tmp_path}/{mode}"),))
        for path in (two.layout.root / "build/cache").iterdir():
            path.unlink()
        assert sorted(two.done()) == sorted(done)


def test_what_a_build_did_not_need_stays_in_the_cache(one: Builder, two: Builder, tmp_path: Path) -> None:
    place, cache = source(f"type=local,src={tmp_path}/c"), target(f"type=local,dest={tmp_path}/c,mode=max")
    one.build(STAGES, cache_to=(cache,))
    before = (tmp_path / "c/index.json").read_bytes()
    two.build(STAGES, cache_from=(place,), cache_to=(cache,))
    assert (tmp_path / "c/index.json").read_bytes() == before


def test_a_cache_that_is_not_there_is_told_and_nothing_else(one: Builder, registry: str, tmp_path: Path) -> None:
    places = (source(f"{registry}/no/such:one"), source(f"type=local,src={tmp_path}/nothing"), source("127.0.0.1:1/x"))
    made = one.build(STAGES, cache_from=places)
    assert made.done == 5
    assert "no/such:one holds nothing" in notes(one)
    assert "127.0.0.1:1/x:latest cannot be read" in notes(one)
    assert one.build(STAGES, cache_from=places).done == 0
    assert notes(one) == "", "nobody is asked for what is here"


def test_a_cache_that_cannot_be_written_fails_the_build_unless_told(one: Builder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text = f"type=local,dest={tmp_path}/file/cache"
    with pytest.raises(Exception, match="Not a directory"):
        one.build(STAGES, cache_to=(target(text),))
    assert one.build(STAGES, cache_to=(target(f"{text},ignore-error=true"),)).done == 0
    assert "was not written" in notes(one)


def test_a_layer_that_is_not_what_the_cache_says_is_made_here(one: Builder, two: Builder, tmp_path: Path) -> None:
    one.build(STAGES, cache_to=(target(f"type=local,dest={tmp_path}/cache"),))
    blobs = tmp_path / "cache/blobs/sha256"
    manifest = json.loads(next(p for p in blobs.iterdir() if b'"artifactType"' in p.read_bytes()).read_bytes())
    for layer in manifest["layers"]:
        path = blobs / layer["digest"].partition(":")[2]
        path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    again = two.build(STAGES, cache_from=(source(f"type=local,src={tmp_path}/cache"),))
    assert again.done == 5
    assert "of no use" in notes(two)
    assert two.read(again, "srv/b.txt") == "b\n"
    assert damage(two.layout, again.record) is None


def test_a_layer_swapped_for_another_is_refused_by_its_diff_id(one: Builder, two: Builder, tmp_path: Path) -> None:
    one.build(STAGES, cache_to=(target(f"type=local,dest={tmp_path}/cache"),))
    blobs = tmp_path / "cache/blobs/sha256"

    def swap(config: dict[str, Any]) -> None:
        layers = [each["blob"] for each in config["steps"] if "blob" in each]
        for each in config["steps"]:
            if "blob" in each:
                each["blob"] = layers[(layers.index(each["blob"]) + 1) % len(layers)]

    _rewritten(blobs, swap)
    again = two.build(STAGES, cache_from=(source(f"type=local,src={tmp_path}/cache"),))
    assert again.done == 5
    assert two.read(again, "srv/b.txt") == "b\n"


KEY, DIFF_ID = "sha256:" + "0" * 64, "sha256:" + "1" * 64


@pytest.mark.parametrize(
    "spoiled",
    [
        {"version": 2},
        {"steps": [{"key": "../../etc/passwd", "created": "1"}]},
        {"steps": [{"key": KEY, "created": "1", "layer": "sha256:../../x", "blob": KEY}]},
        {"steps": [{"key": KEY, "created": "1", "layer": DIFF_ID, "blob": DIFF_ID}]},
        {"steps": [{"key": KEY, "created": "nan"}]},
        {"steps": [{"key": KEY, "created": "1e300"}]},
        {"steps": [{"key": KEY, "created": "1"}] * 5000},
        {"steps": "none"},
    ],
)
def test_an_unsound_config_is_refused_whole(spoiled: dict[str, object]) -> None:
    blob = Descriptor(f"{OCI_LAYER}+gzip", KEY, 10)
    sound = {"version": 1, "steps": [{"key": KEY, "created": "1.5", "layer": DIFF_ID, "blob": KEY}]}
    assert steps_of(json.dumps(sound).encode(), {KEY: blob}) == (KeptStep(KEY, DIFF_ID, 1.5, blob),)
    with pytest.raises(Refused):
        steps_of(json.dumps(sound | spoiled).encode(), {KEY: blob})


def test_an_unsound_cache_is_told_and_nothing_of_it_is_taken(one: Builder, two: Builder, tmp_path: Path) -> None:
    one.build(STAGES, cache_to=(target(f"type=local,dest={tmp_path}/cache"),))
    _rewritten(tmp_path / "cache/blobs/sha256", lambda config: config.update(version=2))
    assert two.build(STAGES, cache_from=(source(f"type=local,src={tmp_path}/cache"),)).done == 5
    assert "cannot be read" in notes(two)


def test_a_hostile_cache_decides_over_no_build_that_does_not_name_it(
    one: Builder, two: Builder, tmp_path: Path
) -> None:
    one.build(STAGES, cache_to=(target(f"type=local,dest={tmp_path}/cache"),))

    def lie(config: dict[str, Any]) -> None:
        made = [each for each in config["steps"] if "layer" in each]
        for each in config["steps"]:
            each.update(layer=made[0]["layer"], blob=made[0]["blob"])

    _rewritten(tmp_path / "cache/blobs/sha256", lie)
    place = source(f"type=local,src={tmp_path}/cache")
    taken = two.build(STAGES, cache_from=(place,))
    assert taken.done == 0
    two.build(STAGES + "WORKDIR /on/top\n", cache_from=(place,))
    honest = two.build(STAGES + "WORKDIR /on/top\n")
    assert honest.done == 6
    assert two.read(honest, "srv/a.txt") == "a\n"
    assert two.read(honest, "srv/b.txt") == "b\n"


def test_a_newer_base_is_taken_only_where_that_is_asked_for(one: Builder, two: Builder, registry: str) -> None:
    name, settings = Reference.parse(f"{registry}/team/base:1"), read_registries(one.layout)
    text = f"FROM {name}\nWORKDIR /more\n"
    for content in ("first", "second"):
        one.write({"f": content})
        push_image(one.layout, one.build("FROM scratch\nCOPY f /f\n").record, name, settings, ignore)
        assert two.read(two.build(text), "f") == "first"
    assert two.read(two.build(text, pull=True), "f") == "second"


def test_an_image_is_no_cache(one: Builder, registry: str) -> None:
    name = f"{registry}/team/app:1"
    push_image(one.layout, one.build(STAGES).record, Reference.parse(name), read_registries(one.layout), ignore)
    one.build(STAGES + "WORKDIR /more\n", cache_from=(source(name),))
    assert "is no cache of builds" in notes(one)


def test_builds_that_write_to_one_directory_at_once_keep_each_others_tags(one: Builder, tmp_path: Path) -> None:
    store, tags = BlobStore(one.layout), [f"t{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda tag: write_directory(store, tmp_path / "cache", tag, ()), tags))
    index = json.loads((tmp_path / "cache/index.json").read_bytes())
    assert sorted(each["annotations"][REF_NAME] for each in index["manifests"]) == sorted(tags)


def _rewritten(blobs: Path, spoil: Callable[[dict[str, Any]], object]) -> None:
    """The cache's config changed, and all digests above it right."""
    index_path = blobs.parent.parent / "index.json"
    index = json.loads(index_path.read_bytes())
    manifest = json.loads((blobs / index["manifests"][0]["digest"].partition(":")[2]).read_bytes())
    config = json.loads((blobs / manifest["config"]["digest"].partition(":")[2]).read_bytes())
    spoil(config)
    for document, held in ((config, manifest["config"]), (manifest, index["manifests"][0])):
        content = json.dumps(document).encode()
        held.update(digest=digest_of(content), size=len(content))
        (blobs / held["digest"].partition(":")[2]).write_bytes(content)
    index_path.write_text(json.dumps(index))


def test_what_a_cache_says_of_itself_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    _shown(Typed("."))(Told("note", 0, "the cache is \x1b[2Jof no use"))
    assert capsys.readouterr().err == "note: the cache is \N{REPLACEMENT CHARACTER}[2Jof no use\n"
