"""What the collector makes of the registry: what its repositories need stays, what they let go of is freed."""

from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from reconciler.cli.disk_usage import read_usage
from reconciler.cli.registry_command import command
from reconciler.cli.system.df import print_usage
from reconciler.cli.system.fsck import print_fsck
from runtime.images.blobs import BlobStore
from runtime.images.collect import collect, disk_usage, unneeded
from runtime.images.hosted.catalog import Catalog
from runtime.images.hosted.database import opened
from runtime.images.hosted.keeping import find_blob
from runtime.images.hosted.sweeping import bound, expire_links, sweep
from runtime.images.oci import OCI_MANIFEST
from runtime.layout import Layout
from tests.registry.hosting import digest_of, engine, hosting
from tests.registry.samples import Sample, descriptor, image, index, layer_tar, noise

SAMPLE = image(layer_tar({"file": noise(5000, seed=1)}))
DAY = 24 * 3600.0


def digests(layout: Layout) -> set[str]:
    return set(BlobStore(layout).digests())


def everything(sample: Sample) -> set[str]:
    below = (everything(part) for part in sample.manifests)
    return {sample.digest, *sample.blobs}.union(*below)


def age(layout: Layout, seconds: float = 2 * DAY) -> None:
    """As if all of it had been used so long ago."""
    with opened(layout) as database, database.writing() as db:
        for table in ("blobs", "manifests"):
            db.execute(f"UPDATE {table} SET used_at = used_at - ?", (seconds,))


def test_what_tags_name_stays(tmp_path: Path) -> None:
    layout = engine(tmp_path)
    several = index({"linux/amd64": SAMPLE, "linux/arm64": image(layer_tar({"b": b"b"}), architecture="arm64")})
    with hosting(layout) as host:
        host.push("team/app", "one", several)
        BlobStore(layout).add(b"nobody's")
        age(layout)
        assert [part.digest for part in unneeded(layout, ())] == [digest_of(b"nobody's")]
        assert disk_usage(layout, ()).reclaimable == len(b"nobody's")
        assert collect(layout, ()).blobs == (digest_of(b"nobody's"),)
        assert digests(layout) == everything(several)
        assert host.ask("GET", "/v2/team/app/manifests/one").body == several.content


def test_what_is_deleted_is_freed(tmp_path: Path) -> None:
    layout = engine(tmp_path)
    with hosting(layout) as host:
        host.push("team/app", "one", SAMPLE)
        host.push("team/other", "one", SAMPLE)
        age(layout)
        for name in ("team/app", "team/other"):
            collect(layout, ())
            assert digests(layout) == everything(SAMPLE)
            host.ask("DELETE", f"/v2/{name}/manifests/{SAMPLE.digest}")
        collect(layout, ())
    assert digests(layout) == set()


def test_a_blob_waits_a_day_for_its_manifest(tmp_path: Path) -> None:
    layout = engine(tmp_path)
    with hosting(layout) as host:
        digest = host.push_blob("team/app", b"early")
        collect(layout, ())
        age(layout, DAY / 2)
        collect(layout, ())
        assert host.ask("HEAD", f"/v2/team/app/blobs/{digest}").status == 200
        age(layout)
        # whoever asks for it is about to name it
        assert host.ask("HEAD", f"/v2/team/app/blobs/{digest}").status == 200
        collect(layout, ())
        assert digests(layout) == {digest}
        age(layout)
        collect(layout, ())
        assert digests(layout) == set()
        assert host.ask("HEAD", f"/v2/team/app/blobs/{digest}").status == 404
        assert host.push("team/app", "one", SAMPLE).status == 201


def test_a_manifest_whose_blob_was_lost_is_refused_until_it_is_pushed_again(tmp_path: Path) -> None:
    layout = engine(tmp_path)
    with hosting(layout) as host:
        host.push("team/app", "one", SAMPLE)
        BlobStore(layout).delete(SAMPLE.layers[0])
        assert host.ask("HEAD", f"/v2/team/app/blobs/{SAMPLE.layers[0]}").status == 404
        said = host.ask("PUT", "/v2/team/app/manifests/two", SAMPLE.content, Content_Type=SAMPLE.media_type)
        assert (said.status, said.code) == (400, "MANIFEST_BLOB_UNKNOWN")
        assert host.push("team/app", "two", SAMPLE).status == 201


def test_the_registry_sweeps_what_it_let_go_of_and_nothing_else(tmp_path: Path) -> None:
    layout = engine(tmp_path)
    with hosting(layout) as host:
        host.push("team/app", "one", SAMPLE)
        other = host.push_blob("team/app", b"never named")
    stranger = BlobStore(layout).add(b"nobody's, and not the registry's to sweep")
    with opened(layout) as database:
        catalog = Catalog(database)
        assert sweep(layout, catalog) == 0
        assert expire_links(catalog) == 0
        age(layout)
        assert expire_links(catalog) == 1
        assert sweep(layout, catalog) == len(b"never named")
        assert digests(layout) == {*everything(SAMPLE), stranger}
        assert find_blob(layout, catalog, "team/app", other) is None
        catalog.remove_manifest("team/app", SAMPLE.digest)
        expire_links(catalog)
        assert sweep(layout, catalog) > 5000
    assert digests(layout) == {stranger}


def test_a_mirror_is_bounded_and_the_longest_unused_goes_first(tmp_path: Path) -> None:
    layout = engine(tmp_path)
    store = BlobStore(layout)
    with opened(layout) as database:
        mirror, own = Catalog(database, "https://registry.example"), Catalog(database)
        kept = [store.add(noise(1000, seed)) for seed in range(5)]
        for digest in kept:
            mirror.add_blob("library/app", digest, 1000)
            own_digest = store.add(b"pushed")
        own.add_blob("team/app", own_digest, 6)
        for number, digest in enumerate(kept):
            values = (time.time() - DAY * (9 - number), digest)
            with database.writing() as db:
                db.execute("UPDATE blobs SET used_at = ? WHERE digest = ?", values)
        collect(layout, ())
        assert digests(layout) == {*kept, own_digest}  # however old
        assert bound(mirror, 5000) == 0
        assert bound(mirror, 2500) == 3000
        sweep(layout, mirror)
    assert digests(layout) == {*kept[3:], own_digest}


def test_df_tells_what_repositories_take(tmp_path: Path) -> None:
    layout = engine(tmp_path)
    with hosting(layout) as host:
        host.push("team/app", "one", SAMPLE)
        host.push("team/other", "one", SAMPLE)
        host.push_blob("team/other", noise(9000, seed=3))
    usage = read_usage(layout)
    assert {part.digest for part in usage.blobs} == {*everything(SAMPLE), digest_of(noise(9000, seed=3))}
    assert not any(part.is_reclaimable for part in usage.blobs)
    whole, shared, alone = usage.of_repository("team/other")
    assert whole == shared + alone and shared == usage.of_repository("team/app")[0] and alone >= 9000
    said = CliRunner().invoke(click.command()(lambda: print_usage(layout, "table")))
    assert "REPOSITORY" in said.output and "team/app" in said.output


def test_fsck_tells_whose_a_damaged_blob_is_and_a_push_mends_it(tmp_path: Path) -> None:
    layout = engine(tmp_path)
    layer = SAMPLE.layers[0]

    def fsck(*, repair: bool) -> tuple[int, str]:
        codes: list[int] = []
        run = click.command()(lambda: codes.append(print_fsck(layout, "table", repair=repair)))
        return (CliRunner().invoke(run).output, *codes)[::-1]  # type: ignore[return-value]

    with hosting(layout) as host:
        host.push("team/app", "one", SAMPLE)
        BlobStore(layout).path(layer).write_bytes(SAMPLE.blobs[layer][:-1] + b"!")
        code, said = fsck(repair=False)
        assert code == 1 and f"blob {layer}" in said and "(needed by repository team/app)" in said
        code, said = fsck(repair=True)
        assert code == 1 and f"! repository team/app cannot be mended: push {layer} again" in said
        assert host.ask("HEAD", f"/v2/team/app/blobs/{layer}").status == 404
        host.push("team/app", "one", SAMPLE)
    assert fsck(repair=False)[0] == 0


def test_a_collector_that_races_a_push_never_takes_what_was_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blobs wait for nobody here: a push may be refused for what was swept, but what it accepts is whole."""
    monkeypatch.setattr("runtime.images.hosted.kept.PUSH_SECONDS", 0.0)
    layout = engine(tmp_path)
    samples = [image(layer_tar({"file": noise(50, seed)})) for seed in range(15)]
    with hosting(layout) as host:
        for seed, sample in enumerate(samples):
            collector = threading.Timer(random.Random(seed).random() * 0.02, collect, (layout, ()))
            collector.start()
            said = host.push("team/app", f"t{seed}", sample)
            collector.join()
            if said.status != 201:
                assert said.code == "MANIFEST_BLOB_UNKNOWN"
                assert host.push("team/app", f"t{seed}", sample).status == 201
        for sample in samples:
            for digest, content in sample.blobs.items():
                assert host.ask("GET", f"/v2/team/app/blobs/{digest}").body == content
    collect(layout, ())
    assert digests(layout) == set().union(*map(everything, samples))


def test_what_no_tag_leads_to_is_freed_when_that_is_asked(tmp_path: Path) -> None:
    layout = engine(tmp_path)
    several = index({"linux/amd64": image(layer_tar({"a": b"a"}))})
    about = json.dumps(
        {
            "schemaVersion": 2,
            "config": descriptor("application/x", b"{}"),
            "layers": [],
            "subject": descriptor(several.media_type, several.content),
        }
    ).encode()
    signature = Sample(about, OCI_MANIFEST, {digest_of(b"{}"): b"{}"})
    with hosting(layout) as host:
        host.push("team/app", "moved", SAMPLE)
        host.push("team/app", "moved", several)
        host.push("team/app", signature.digest, signature)

        def said(*words: str) -> str:
            done = CliRunner().invoke(command, ["prune", *words], obj=layout, catch_exceptions=False)
            assert done.exit_code == 0
            return done.stdout

        assert said() == "Nothing to free.\n"  # it was pushed today
        assert said("--unused", "0s", "--dry-run") == f"- team/app@{SAMPLE.digest}\n"
        assert host.ask("GET", f"/v2/team/app/manifests/{SAMPLE.digest}").status == 200
        freed = said("--unused", "0s")
        assert freed.startswith(f"- team/app@{SAMPLE.digest}\n") and freed.endswith(" freed.\n")
        assert digests(layout) == everything(several) | everything(signature)
        assert host.ask("HEAD", f"/v2/team/app/blobs/{SAMPLE.layers[0]}").status == 404
        assert host.ask("GET", "/v2/team/app/manifests/moved").body == several.content
