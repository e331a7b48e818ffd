"""Manifest lists made in registries, and what refers to an image listed: with and without the registry's help."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from reconciler.cli.image_command import command
from runtime.images.blobs import BlobStore
from runtime.images.oci import DOCKER_LIST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from runtime.images.progress import ignore
from runtime.images.registry.lists import ListWanted, create_list, read_list
from runtime.images.registry.push import PushWanted, copy, push
from runtime.images.registry.referrers import Told, list_referrers, referrers_tag
from runtime.images.registry.settings import RegistrySettings
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.reference import Reference
from tests.registry.conftest import insecure
from tests.registry.fake import Fake, status
from tests.registry.hosting import Host, digest_of, engine, hosting
from tests.registry.samples import Address, Sample, descriptor, docker_image, image, layer_tar
from tests.registry.samples import push as push_by_hand

AMD64 = image(layer_tar({"for": b"amd64"}))
ARM64 = image(layer_tar({"for": b"arm64"}), architecture="arm64")
NEWER = image(layer_tar({"for": b"newer arm64"}), architecture="arm64")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with hosting(engine(tmp_path_factory.mktemp("host"))) as made:
        for pin, sample in (("amd64", AMD64), ("arm64", ARM64), ("newer", NEWER)):
            made.push("team/app", pin, sample)
            made.push("team/elsewhere", pin, sample)
        yield made


@pytest.fixture
def reached(settings: RegistrySettings, host: Host) -> RegistrySettings:
    return insecure(settings, host.address.host)


def named(host: Host, name: str) -> Reference:
    return Reference.parse(f"{host.address.host}/{name}")


def platforms(content: bytes) -> dict[str, str]:
    """Architecture and digest of each entry."""
    entries = json.loads(content)["manifests"]
    return {entry["platform"]["architecture"]: entry["digest"] for entry in entries}


def about(subject: Sample, artifact_type: str, media_type: str = OCI_CONFIG) -> Sample:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": descriptor(media_type, b"{}"),
        "layers": [descriptor("application/x", b"note")],
        "subject": descriptor(subject.media_type, subject.content),
        "annotations": {"by": "alice"},
    }
    blobs = {digest_of(content): content for content in (b"{}", b"note")}
    return Sample(json.dumps(document).encode(), OCI_MANIFEST, blobs)


def attested(sample: Sample) -> Sample:
    """An index as BuildKit makes it: the image, and its provenance as an image for nothing."""
    statement = b'{"predicateType": "x"}'
    kind = {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
    layer = descriptor("application/vnd.in-toto+json", statement) | {"annotations": kind}
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, b"{}"),
        "layers": [layer],
    }
    blobs = {digest_of(content): content for content in (b"{}", statement)}
    provenance = Sample(json.dumps(document).encode(), OCI_MANIFEST, blobs)
    marks = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": sample.digest,
    }
    entries = [
        descriptor(sample.media_type, sample.content) | {"platform": {"os": "linux", "architecture": "amd64"}},
        descriptor(OCI_MANIFEST, provenance.content)
        | {"platform": {"os": "unknown", "architecture": "unknown"}, "annotations": marks},
    ]
    content = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    return Sample(content, OCI_INDEX, {}, (sample, provenance))


def test_images_of_one_repository_become_a_list(host: Host, reached: RegistrySettings, store: BlobStore) -> None:
    sources = (named(host, "team/app:amd64"), named(host, f"team/app@{ARM64.digest}"))
    wanted = ListWanted(named(host, "team/app:both"), sources)
    made = create_list(store, wanted, settings=reached)
    said = host.ask("GET", "/v2/team/app/manifests/both")
    assert said.body == made.content and said.headers["Docker-Content-Digest"] == made.digest
    assert said.headers["Content-Type"] == OCI_INDEX
    assert platforms(said.body) == {"amd64": AMD64.digest, "arm64": ARM64.digest}
    assert made == create_list(store, wanted, settings=reached)
    assert read_list(named(host, "team/app:both"), reached).content == made.content
    # layers stay where they are
    assert not any(store.has(digest) for digest in (*AMD64.layers, *ARM64.layers))


def test_what_the_target_lacks_is_brought_there(host: Host, reached: RegistrySettings, store: BlobStore) -> None:
    sources = (named(host, "team/elsewhere:amd64"), named(host, "team/elsewhere:arm64"))
    create_list(store, ListWanted(named(host, "team/brought:both"), sources), settings=reached)
    for sample in (AMD64, ARM64):
        assert host.ask("GET", f"/v2/team/brought/manifests/{sample.digest}").body == sample.content
        for digest in sample.blobs:
            assert host.ask("HEAD", f"/v2/team/brought/blobs/{digest}").status == 200


def test_an_image_is_added_in_place_of_that_for_its_platform(
    host: Host, reached: RegistrySettings, store: BlobStore
) -> None:
    target = named(host, "team/app:grown")
    create_list(store, ListWanted(target, (named(host, "team/app:amd64"),), is_added=True), settings=reached)
    create_list(store, ListWanted(target, (named(host, "team/app:arm64"),), is_added=True), settings=reached)
    made = create_list(store, ListWanted(target, (named(host, "team/app:newer"),), is_added=True), settings=reached)
    assert platforms(made.content) == {"amd64": AMD64.digest, "arm64": NEWER.digest}
    with pytest.raises(Refused, match="is an image, not a list"):
        one = ListWanted(named(host, "team/app:amd64"), (named(host, "team/app:arm64"),), is_added=True)
        create_list(store, one, settings=reached)


def test_lists_are_joined_and_their_entries_kept_as_they_are(
    host: Host, reached: RegistrySettings, store: BlobStore
) -> None:
    host.push("team/app", "attested", attested(AMD64))
    sources = (named(host, "team/app:attested"), named(host, "team/app:arm64"))
    annotations = {"org.opencontainers.image.version": "1"}
    made = create_list(
        store, ListWanted(named(host, "team/app:joined"), sources, annotations=annotations), settings=reached
    )
    document = json.loads(made.content)
    assert document["manifests"][:2] == json.loads(attested(AMD64).content)["manifests"]
    assert document["annotations"] == annotations and len(document["manifests"]) == 3


def test_docker_images_make_a_docker_list(host: Host, reached: RegistrySettings, store: BlobStore) -> None:
    host.push("team/docker", "amd64", docker_image())
    wanted = ListWanted(named(host, "team/docker:list"), (named(host, "team/docker:amd64"),))
    create_list(store, wanted, settings=reached)
    assert host.ask("GET", "/v2/team/docker/manifests/list").headers["Content-Type"] == DOCKER_LIST


def test_a_list_that_is_only_shown_changes_nothing(host: Host, reached: RegistrySettings, store: BlobStore) -> None:
    wanted = ListWanted(named(host, "team/shown:list"), (named(host, "team/app:amd64"),))
    made = create_list(store, wanted, settings=reached, is_pushed=False)
    assert platforms(made.content) == {"amd64": AMD64.digest}
    assert host.ask("GET", "/v2/team/shown/tags/list").status == 404


def test_what_is_no_image_and_what_is_not_there_is_refused(
    host: Host, reached: RegistrySettings, store: BlobStore
) -> None:
    artifact = about(AMD64, "application/x.note", "application/x.config")
    host.push("team/app", "artifact", artifact)
    for source in ("team/app:artifact", "team/app:none"):
        with pytest.raises(Refused):
            create_list(store, ListWanted(named(host, "team/app:wrong"), (named(host, source),)), settings=reached)
    assert host.ask("GET", "/v2/team/app/manifests/wrong").status == 404


def test_an_image_is_copied_with_its_attestations(host: Host, reached: RegistrySettings, store: BlobStore) -> None:
    several = attested(ARM64)
    host.push("team/app", "copied", several)
    digest = copy(store, named(host, "team/app:copied"), named(host, "team/copy:1"), settings=reached, progress=ignore)
    assert digest == several.digest
    for part in several.manifests:
        assert host.ask("GET", f"/v2/team/copy/manifests/{part.digest}").body == part.content
        for blob in part.blobs:
            assert host.ask("HEAD", f"/v2/team/copy/blobs/{blob}").status == 200


def test_referrers_are_listed_and_picked_by_type(host: Host, reached: RegistrySettings) -> None:
    host.push("team/referred", "1", AMD64)
    signature, sbom = about(AMD64, "application/x.signature"), about(AMD64, "application/x.sbom")
    for each in (signature, sbom):
        host.push("team/referred", each.digest, each)
    digest, found = list_referrers(named(host, "team/referred:1"), reached)
    assert digest == AMD64.digest
    assert {each.digest: each.artifact_type for each in found} == {
        signature.digest: "application/x.signature",
        sbom.digest: "application/x.sbom",
    }
    assert {(each.told, each.subject, each.annotations["by"]) for each in found} == {(Told.API, AMD64.digest, "alice")}
    _, found = list_referrers(named(host, "team/referred:1"), reached, "application/x.sbom")
    assert [each.digest for each in found] == [sbom.digest]


def test_a_long_list_is_read_to_its_end(host: Host, reached: RegistrySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.registry.lists.MOST_REFERRERS", 2)
    host.push("team/many", "1", AMD64)
    made = [about(AMD64, f"application/x.{number}") for number in range(5)]
    for each in made:
        host.push("team/many", each.digest, each)
    _, found = list_referrers(named(host, "team/many:1"), reached)
    assert {each.digest for each in found} == {each.digest for each in made}


def test_attestations_within_an_index_are_listed(host: Host, reached: RegistrySettings) -> None:
    several = attested(AMD64)
    host.push("team/attested", "1", several)
    _, found = list_referrers(named(host, "team/attested:1"), reached)
    (one,) = found
    assert (one.digest, one.subject, one.told) == (several.manifests[1].digest, AMD64.digest, Told.INDEX)
    assert one.artifact_type == "https://slsa.dev/provenance/v0.2"


def test_without_the_api_the_tag_is_read(fake: Fake, settings: RegistrySettings) -> None:
    fake.hold(AMD64, "1")
    signature = about(AMD64, "application/x.signature")
    entry = descriptor(OCI_MANIFEST, signature.content) | {"artifactType": "application/x.signature"}
    content = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    fake.manifests[referrers_tag(AMD64.digest)] = (content, OCI_INDEX)
    reference = Reference.parse(f"{fake.host}/app:1")
    _, found = list_referrers(reference, insecure(settings, fake.host))
    assert [(each.digest, each.told) for each in found] == [(signature.digest, Told.TAG)]
    assert list_referrers(reference, insecure(settings, fake.host), "application/x.sbom")[1] == ()
    fake.manifests[referrers_tag(AMD64.digest)] = (AMD64.content, OCI_MANIFEST)
    assert list_referrers(reference, insecure(settings, fake.host))[1] == ()


def test_a_list_that_goes_on_at_another_host_is_refused(fake: Fake, other: Fake, settings: RegistrySettings) -> None:
    fake.hold(AMD64, "1")
    content = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
    link = f'<http://{other.host}/v2/app/referrers/x>; rel="next"'
    fake.script(f"referrers/{AMD64.digest}", status(200, content, Content_Type=OCI_INDEX, Link=link))
    with pytest.raises(Refused, match="another host"):
        list_referrers(Reference.parse(f"{fake.host}/app:1"), insecure(settings, fake.host))
    assert other.seen == []


@pytest.mark.parametrize(
    ("digest", "tag"),
    [
        ("sha256:" + "a" * 64, "sha256-" + "a" * 64),
        ("sha512:" + "a" * 128, "sha512-" + "a" * 64),
        (
            (
                "test+algorithm+using+algorithm+separators+and+lots+of+characters+to+excercise+overall+truncation:alsoSome="
                "InTheEncodedSectionToShowHyphenReplacementAndLotsAndLotsOfCharactersToExcerciseEncodedTruncation"
            ),
            "test-algorithm-using-algorithm-s-alsoSome-InTheEncodedSectionToShowHyphenReplacementAndLotsAndLot",
        ),
    ],
)
def test_the_tag_that_stands_in_for_the_list(digest: str, tag: str) -> None:
    """The spec's own table."""
    assert referrers_tag(digest) == tag


def test_what_refers_is_pushed_and_a_registry_without_the_api_gets_the_list(
    registry: Address, host: Host, settings: RegistrySettings, store: BlobStore
) -> None:
    """Debian's docker-registry has no referrers API."""
    signatures = [about(AMD64, f"application/x.{number}") for number in range(2)]
    for address, told in ((registry.host, Told.TAG), (host.address.host, Told.API)):
        push_by_hand(replace(registry, host=address), "referred", "1", AMD64)
        for each in signatures:
            for content in (*each.blobs.values(), each.content):
                store.add(content)
            target = Reference.parse(f"{address}/referred@{each.digest}")
            for _ in range(2):
                wanted = PushWanted(target, each.digest)
                push(store, wanted, settings=insecure(settings, address), progress=ignore)
        _, found = list_referrers(Reference.parse(f"{address}/referred:1"), insecure(settings, address))
        assert {each.digest for each in found} == {each.digest for each in signatures}
        assert {each.told for each in found} == {told} and len(found) == 2
        assert {each.annotations["by"] for each in found} == {"alice"}


def test_the_commands_print_lists_and_referrers(
    host: Host, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (layout.root / "registries.yaml").write_text(json.dumps({"registries": {host.address.host: {"insecure": True}}}))
    signature = about(AMD64, "application/x.signature")
    host.push("team/typed", "1", AMD64)
    host.push("team/typed", signature.digest, signature)

    def said(*words: str) -> str:
        done = CliRunner().invoke(command, list(words), obj=layout, catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    name = f"{host.address.host}/team/typed"
    shown = json.loads(said("manifest", "create", "--dry-run", f"{name}:all", f"{name}:1"))
    made = said("manifest", "create", "-q", "--annotation", "a=b", f"{name}:all", f"{name}:1").strip()
    found = json.loads(said("manifest", "inspect", f"{name}:all"))
    assert found == shown | {"annotations": {"a": "b"}}
    assert made.startswith(f"{name}:all@sha256:")
    assert json.loads(said("manifest", "inspect", f"{name}@{made.partition('@')[2]}")) == found
    table = said("referrers", f"{name}:1").splitlines()
    assert table[0].split() == ["TYPE", "DIGEST", "SIZE", "ABOUT"]
    assert table[1].split()[:2] == ["application/x.signature", signature.digest]
    document = json.loads(said("referrers", "-o", "json", f"{name}:1"))
    assert [each["digest"] for each in document["referrers"]] == [signature.digest]
    assert document["digest"] == AMD64.digest
    assert "Nothing refers" in said("referrers", "--artifact-type", "application/x.other", f"{name}:1")
    for words in (
        ("manifest", "create", f"{name}@{AMD64.digest}", f"{name}:1"),
        ("manifest", "create", "--annotation", "x", f"{name}:x", f"{name}:1"),
        ("manifest", "inspect", f"{name}:none"),
        ("referrers", "A"),
    ):
        with pytest.raises(Refused):
            said(*words)
