"""distribution-spec 1.1, section by section, against trimtab's own registry: what the spec's suite asks, and more."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from runtime.images.oci import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from tests.registry.hosting import OCTETS, Host, digest_of, engine, hosting
from tests.registry.samples import Sample, descriptor, image, index, layer_tar, noise

CONTENT = noise(3000, seed=1)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with hosting(engine(tmp_path_factory.mktemp("host"))) as made:
        yield made


def small(seed: int) -> Sample:
    return image(layer_tar({"file": noise(100, seed)}))


def about(subject: Sample, artifact_type: str = "", note: str = "x", config: str = OCI_CONFIG) -> Sample:
    """An artifact that refers to `subject`."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, b"{}"),
        "layers": [],
        "subject": descriptor(subject.media_type, subject.content),
        "annotations": {"note": note},
    } | ({"artifactType": artifact_type} if artifact_type else {})
    return Sample(json.dumps(document).encode(), OCI_MANIFEST, {digest_of(b"{}"): b"{}"})


@pytest.fixture(scope="module")
def digest(host: Host) -> str:
    """A blob of `pull/blob`."""
    return host.push_blob("pull/blob", CONTENT)


@pytest.fixture(scope="module")
def tags(host: Host) -> list[str]:
    """Those of `tags/some`."""
    made = sorted(["latest", "1.0", "Zeta", "alpha", "beta", "_x"])
    for tag in made:
        host.push("tags/some", tag, small(7))
    return made


class TestDeterminingSupport:
    def test_the_version_is_told(self, host: Host) -> None:
        said = host.ask("GET", "/v2/")
        assert said.status == 200 and said.headers["Docker-Distribution-Api-Version"] == "registry/2.0"

    @pytest.mark.parametrize("path", ["/", "/v1/", "/v2/a/b", "/v2/a/manifests/", "/v2//blobs/x", "/v2/a/tags"])
    def test_other_paths_are_nothing(self, host: Host, path: str) -> None:
        said = host.ask("GET", path)
        assert said.status in (400, 404) and said.document["errors"]

    def test_other_methods_are_refused(self, host: Host) -> None:
        said = host.ask("PUT", "/v2/a/tags/list")
        assert (said.status, said.code) == (405, "UNSUPPORTED")


class TestPullingManifests:
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_by_tag_and_by_digest(self, host: Host, method: str) -> None:
        sample = small(1)
        assert host.push("pull/manifest", "one", sample).status == 201
        for pin in ("one", sample.digest):
            said = host.ask(method, f"/v2/pull/manifest/manifests/{pin}")
            assert said.status == 200
            assert said.headers["Docker-Content-Digest"] == sample.digest
            assert said.headers["Content-Type"] == OCI_MANIFEST
            assert said.headers["Content-Length"] == str(len(sample.content))
            assert said.body == (sample.content if method == "GET" else b"")

    @pytest.mark.parametrize("pin", ["missing", digest_of(b"missing")])
    @pytest.mark.parametrize("name", ["pull/none", "pull/manifest"])
    def test_what_is_not_there_is_unknown(self, host: Host, name: str, pin: str) -> None:
        said = host.ask("GET", f"/v2/{name}/manifests/{pin}")
        assert (said.status, said.code) == (404, "MANIFEST_UNKNOWN")

    @pytest.mark.parametrize("pin", ["sha256:short", "md5:" + "0" * 32, "sha256:" + "Z" * 64])
    def test_what_is_no_digest_is_refused(self, host: Host, pin: str) -> None:
        said = host.ask("GET", f"/v2/a/manifests/{pin}")
        assert (said.status, said.code) == (400, "DIGEST_INVALID")


class TestPullingBlobs:
    def test_whole(self, host: Host, digest: str) -> None:
        said = host.ask("GET", f"/v2/pull/blob/blobs/{digest}")
        assert said.status == 200 and said.body == CONTENT
        assert said.headers["Docker-Content-Digest"] == digest

    def test_again_and_again_by_one_connection(self, host: Host, digest: str) -> None:
        host.ask("GET", "/v2/")
        opened = host.connection.sock
        assert opened is not None
        for path in [f"/v2/pull/blob/blobs/{digest}"] * 3 + ["/v2/", f"/v2/pull/blob/blobs/{digest_of(b'x')}"]:
            host.ask("GET", path)
            host.ask("HEAD", path)
            assert host.connection.sock is opened

    def test_asked_for(self, host: Host, digest: str) -> None:
        said = host.ask("HEAD", f"/v2/pull/blob/blobs/{digest}")
        assert (said.status, said.headers["Content-Length"]) == (200, str(len(CONTENT)))

    @pytest.mark.parametrize(
        ("asked", "begin", "end"),
        [("500-1499", 500, 1500), ("500-", 500, 3000), ("-500", 2500, 3000), ("2900-9999", 2900, 3000)],
    )
    def test_in_part(self, host: Host, digest: str, asked: str, begin: int, end: int) -> None:
        said = host.ask("GET", f"/v2/pull/blob/blobs/{digest}", Range=f"bytes={asked}")
        assert said.status == 206 and said.body == CONTENT[begin:end]
        assert said.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{len(CONTENT)}"

    @pytest.mark.parametrize("asked", ["500-0", "3000-", "5000-10000", "x-y"])
    def test_a_range_that_is_none_is_refused(self, host: Host, digest: str, asked: str) -> None:
        assert host.ask("GET", f"/v2/pull/blob/blobs/{digest}", Range=f"bytes={asked}").status == 416

    def test_only_through_a_repository_that_has_it(self, host: Host, digest: str) -> None:
        for method in ("GET", "HEAD", "DELETE"):
            assert host.ask(method, f"/v2/pull/other/blobs/{digest}").status == 404
        assert host.ask("GET", f"/v2/pull/other/blobs/{digest}").code == "BLOB_UNKNOWN"

    def test_a_manifest_is_no_blob(self, host: Host) -> None:
        sample = small(2)
        host.push("pull/blob", "one", sample)
        assert host.ask("GET", f"/v2/pull/blob/blobs/{sample.digest}").status == 404

    def test_a_blob_of_the_engine_is_nobodys(self, host: Host) -> None:
        """What images of the engine hold is not for those who pull from its registry."""
        from runtime.images.blobs import BlobStore

        digest = BlobStore(host.layout).add(b"private")
        assert host.ask("GET", f"/v2/pull/blob/blobs/{digest}").status == 404
        said = host.ask("POST", f"/v2/pull/blob/blobs/uploads/?mount={digest}")
        assert said.status == 202


class TestPushingBlobs:
    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    def test_by_post_and_put(self, host: Host, algorithm: str) -> None:
        digest = digest_of(CONTENT, algorithm)
        said = host.ask("PUT", f"{host.begin('push/two')}?digest={digest}", CONTENT, Content_Type=OCTETS)
        assert said.status == 201 and said.headers["Docker-Content-Digest"] == digest
        assert host.ask("GET", said.location).body == CONTENT

    @pytest.mark.parametrize("content", [CONTENT, b"", b"{}"])
    def test_by_one_post(self, host: Host, content: bytes) -> None:
        digest = digest_of(content)
        said = host.ask("POST", f"/v2/push/one/blobs/uploads/?digest={digest}", content, Content_Type=OCTETS)
        assert said.status == 201 and host.ask("GET", said.location).body == content

    @pytest.mark.parametrize("is_last_put", [False, True])
    def test_in_chunks(self, host: Host, is_last_put: bool) -> None:
        place = host.begin("push/chunks")
        for begin in (0, 1000):
            said = host.ask("PATCH", place, CONTENT[begin : begin + 1000], Content_Range=f"{begin}-{begin + 999}")
            assert (said.status, said.headers["Range"]) == (202, f"0-{begin + 999}")
            place = said.location
        if is_last_put:
            last = {"body": CONTENT[2000:], "Content_Range": "2000-2999"}
        else:
            assert host.ask("PATCH", place, CONTENT[2000:], Content_Range="2000-2999").status == 202
            last = {}
        said = host.ask("PUT", f"{place}?digest={digest_of(CONTENT)}", **last)  # type: ignore[arg-type]
        assert said.status == 201 and host.ask("GET", said.location).body == CONTENT

    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    def test_a_chunk_out_of_order_is_refused_and_the_place_told(self, host: Host, method: str) -> None:
        place = host.begin("push/order")
        assert host.ask("PATCH", place, CONTENT[:1000], Content_Range="0-999").status == 202
        query = f"?digest={digest_of(CONTENT)}" if method == "PUT" else ""
        said = host.ask(method, place + query, CONTENT[2000:], Content_Range="2000-2999")
        assert (said.status, said.headers["Range"]) == (416, "0-999")
        said = host.ask("GET", place)
        assert (said.status, said.headers["Range"], said.location) == (204, "0-999", place)
        assert host.ask("PATCH", place, CONTENT[1000:], Content_Range="1000-2999").status == 202
        assert host.ask("PUT", f"{place}?digest={digest_of(CONTENT)}").status == 201

    def test_a_first_chunk_begins_at_nothing(self, host: Host) -> None:
        assert host.ask("PATCH", host.begin("push/order"), b"abc", Content_Range="1-3").status == 416

    @pytest.mark.parametrize("text", ["0-1", "2-0", "x", "0-99999999999999999999"])
    def test_a_range_that_is_not_the_chunks_is_refused(self, host: Host, text: str) -> None:
        said = host.ask("PATCH", host.begin("push/order"), b"abc", Content_Range=text)
        assert said.status in (400, 416) and said.code in ("SIZE_INVALID", "BLOB_UPLOAD_INVALID")

    def test_as_a_stream(self, host: Host) -> None:
        place = host.begin("push/stream")
        host.connection.request("PATCH", place, iter((CONTENT[:1], CONTENT[1:])), encode_chunked=True)
        with host.connection.getresponse() as response:
            response.read()
            assert (response.status, response.headers["Range"]) == (202, "0-2999")
        assert host.ask("PUT", f"{place}?digest={digest_of(CONTENT)}").status == 201

    @pytest.mark.parametrize("way", ["post", "put", "patch"])
    def test_what_has_another_digest_is_refused(self, host: Host, way: str) -> None:
        wrong = digest_of(b"something else")
        if way == "post":
            said = host.ask("POST", f"/v2/push/wrong/blobs/uploads/?digest={wrong}", CONTENT)
        else:
            place = host.begin("push/wrong")
            if way == "patch":
                host.ask("PATCH", place, CONTENT)
            said = host.ask("PUT", f"{place}?digest={wrong}", CONTENT if way == "put" else b"")
        assert (said.status, said.code) == (400, "DIGEST_INVALID")
        assert host.ask("HEAD", f"/v2/push/wrong/blobs/{wrong}").status == 404
        assert host.ask("HEAD", f"/v2/push/wrong/blobs/{digest_of(CONTENT)}").status == 404

    @pytest.mark.parametrize("digest", ["md5:" + "0" * 32, "sha256:0", "../../x"])
    def test_what_is_no_digest_is_refused(self, host: Host, digest: str) -> None:
        for said in (
            host.ask("POST", f"/v2/push/wrong/blobs/uploads/?digest={digest}", CONTENT),
            host.ask("PUT", f"{host.begin('push/wrong')}?digest={digest}", CONTENT),
            host.ask("PUT", host.begin("push/wrong"), CONTENT),
        ):
            assert (said.status, said.code) == (400, "DIGEST_INVALID")
        assert host.ask("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5").status == 400

    def test_an_upload_that_is_given_up_is_gone(self, host: Host) -> None:
        place = host.begin("push/cancel")
        assert host.ask("DELETE", place).status == 204
        for method in ("GET", "PATCH", "PUT", "DELETE"):
            said = host.ask(method, f"{place}?digest={digest_of(b'')}")
            assert said.status == 404
        assert host.ask("PATCH", place).code == "BLOB_UPLOAD_UNKNOWN"

    def test_an_upload_is_of_its_repository_alone(self, host: Host) -> None:
        place = host.begin("push/mine")
        assert host.ask("PATCH", place.replace("/mine/", "/yours/"), b"abc").status == 404


class TestMountingABlob:
    def test_from_a_repository_that_has_it(self, host: Host) -> None:
        digest = host.push_blob("mount/from", CONTENT)
        said = host.ask("POST", f"/v2/mount/to/blobs/uploads/?mount={digest}&from=mount/from")
        assert said.status == 201 and host.ask("GET", said.location).body == CONTENT

    def test_from_any_repository_where_none_is_named(self, host: Host) -> None:
        digest = host.push_blob("mount/from", CONTENT)
        assert host.ask("POST", f"/v2/mount/too/blobs/uploads/?mount={digest}").status == 201

    @pytest.mark.parametrize("source", ["mount/none", "../x", "mount/empty"])
    def test_else_an_upload_begins(self, host: Host, source: str) -> None:
        digest = digest_of(noise(50, seed=99))
        said = host.ask("POST", f"/v2/mount/to/blobs/uploads/?mount={digest}&from={source}")
        assert said.status == 202
        assert host.ask("GET", said.location).status == 204


class TestPushingManifests:
    def test_the_answer_says_where_it_is(self, host: Host) -> None:
        sample = small(3)
        said = host.push("manifest/put", "one", sample)
        assert said.status == 201 and said.headers["Docker-Content-Digest"] == sample.digest
        assert host.ask("GET", said.location).body == sample.content

    def test_by_digest_with_tags(self, host: Host) -> None:
        sample = small(3)
        host.push("manifest/tags", sample.digest, sample)
        path = f"/v2/manifest/tags/manifests/{sample.digest}?tag=1&tag=1.2&tag=latest"
        said = host.ask("PUT", path, sample.content, Content_Type=OCI_MANIFEST)
        assert (said.status, said.headers["OCI-Tag"]) == (201, "1, 1.2, latest")
        assert host.ask("GET", "/v2/manifest/tags/tags/list").document["tags"] == ["1", "1.2", "latest"]
        assert host.ask("PUT", f"{path}&tag=..%2f", sample.content).status == 400
        assert host.ask("PUT", path + "".join(f"&tag=t{n}" for n in range(101)), sample.content).status == 414

    def test_by_sha512(self, host: Host) -> None:
        sample = small(3)
        digest = digest_of(sample.content, "sha512")
        assert host.push("manifest/sha512", digest, sample).headers["Docker-Content-Digest"] == digest
        assert host.ask("GET", f"/v2/manifest/sha512/manifests/{digest}").body == sample.content

    def test_of_another_digest_is_refused(self, host: Host) -> None:
        said = host.push("manifest/put", digest_of(b"x"), small(3))
        assert (said.status, said.code) == (400, "DIGEST_INVALID")

    def test_of_blobs_that_are_not_there_is_refused_naming_each(self, host: Host) -> None:
        sample = small(4)
        said = host.ask("PUT", "/v2/manifest/lacking/manifests/one", sample.content, Content_Type=OCI_MANIFEST)
        assert said.status == 400
        assert {error["code"] for error in said.document["errors"]} == {"MANIFEST_BLOB_UNKNOWN"}
        assert {error["detail"] for error in said.document["errors"]} == set(sample.blobs)
        assert host.ask("GET", "/v2/manifest/lacking/tags/list").status == 404

    def test_of_an_index_whose_images_are_not_there_is_refused(self, host: Host) -> None:
        sample = index({"linux/amd64": small(5)})
        said = host.ask("PUT", "/v2/manifest/lacking/manifests/one", sample.content, Content_Type=OCI_INDEX)
        assert (said.status, said.code) == (400, "MANIFEST_BLOB_UNKNOWN")
        assert host.push("manifest/index", "one", sample).status == 201

    def test_foreign_layers_are_kept_elsewhere(self, host: Host) -> None:
        layer = {
            "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "digest": digest_of(b"elsewhere"),
            "size": 9,
        }
        document = {"schemaVersion": 2, "config": descriptor(OCI_CONFIG, b"{}"), "layers": [layer]}
        sample = Sample(json.dumps(document).encode(), OCI_MANIFEST, {digest_of(b"{}"): b"{}"})
        assert host.push("manifest/foreign", "one", sample).status == 201

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"[]",
            b"\xff",
            b'{"schemaVersion": 1}',
            b'{"schemaVersion": 2}',
            b'{"schemaVersion": 2, "schemaVersion": 2, "manifests": []}',
            b'{"schemaVersion": 2, "manifests": [], "layers": []}',
            b'{"schemaVersion": 2, "manifests": [{"digest": "../../etc", "size": 1, "mediaType": "x"}]}',
            b'{"schemaVersion": 2, "mediaType": "text/plain", "manifests": []}',
            b"[" * 100_000,
        ],
    )
    def test_what_is_no_manifest_is_refused(self, host: Host, content: bytes) -> None:
        said = host.ask("PUT", "/v2/manifest/bad/manifests/one", content)
        assert (said.status, said.code) == (400, "MANIFEST_INVALID")

    def test_a_media_type_that_contradicts_itself_is_refused(self, host: Host) -> None:
        sample = small(3)
        said = host.ask("PUT", "/v2/manifest/bad/manifests/one", sample.content, Content_Type=OCI_INDEX)
        assert (said.status, said.code) == (400, "MANIFEST_INVALID")

    def test_four_mebibytes_are_taken_and_no_more(self, host: Host) -> None:
        config = descriptor(OCI_CONFIG, b"{}")
        host.push_blob("manifest/large", b"{}")
        frame = json.dumps({"schemaVersion": 2, "config": config, "layers": [], "annotations": {"a": ""}})
        fitting = frame.replace('"a": ""', f'"a": "{"x" * ((4 << 20) - len(frame))}"').encode()
        path = "/v2/manifest/large/manifests/one"
        assert host.ask("PUT", path, fitting, Content_Type=OCI_MANIFEST).status == 201
        assert host.ask("PUT", path, fitting + b" ", Content_Type=OCI_MANIFEST).status == 413

    def test_the_subject_is_told_whether_it_is_there_or_not(self, host: Host) -> None:
        subject = small(6)
        said = host.push("manifest/subject", about(subject).digest, about(subject))
        assert (said.status, said.headers["OCI-Subject"]) == (201, subject.digest)


class TestListingTags:
    def test_all_of_them_in_order(self, host: Host, tags: list[str]) -> None:
        assert host.ask("GET", "/v2/tags/some/tags/list").document == {"name": "tags/some", "tags": tags}

    def test_in_parts_by_their_links(self, host: Host, tags: list[str]) -> None:
        found, path = list[str](), "/v2/tags/some/tags/list?n=4"
        while path:
            said = host.ask("GET", path)
            found += said.document["tags"]
            path = said.headers.get("Link", "").removeprefix("<").partition(">")[0]
        assert found == tags

    def test_none_where_none_are_asked_for(self, host: Host, tags: list[str]) -> None:
        said = host.ask("GET", "/v2/tags/some/tags/list?n=0")
        assert said.document["tags"] == [] and "Link" not in said.headers

    def test_those_behind_one(self, host: Host, tags: list[str]) -> None:
        assert host.ask("GET", "/v2/tags/some/tags/list?last=alpha").document["tags"] == ["beta", "latest"]
        assert host.ask("GET", "/v2/tags/some/tags/list?n=1&last=alpha").document["tags"] == ["beta"]

    @pytest.mark.parametrize("n", ["x", "-1", "1e3", "9" * 30])
    def test_what_is_no_number_is_refused(self, host: Host, n: str) -> None:
        assert host.ask("GET", f"/v2/tags/some/tags/list?n={n}").status == 400

    def test_of_no_repository(self, host: Host) -> None:
        said = host.ask("GET", "/v2/tags/none/tags/list")
        assert (said.status, said.code) == (404, "NAME_UNKNOWN")

    def test_repositories_are_listed_in_parts(self, host: Host, tags: list[str]) -> None:
        host.push("tags/other", "one", small(7))
        first = host.ask("GET", "/v2/_catalog?n=1&last=tags/none")
        assert first.document == {"repositories": ["tags/other"]}
        following = first.headers["Link"].removeprefix("<").partition(">")[0]
        assert host.ask("GET", following).document["repositories"][0] == "tags/some"


class TestListingReferrers:
    def test_by_what_they_are_of(self, host: Host) -> None:
        subject = small(8)
        host.push("refer/to", "one", subject)
        signature = about(subject, "application/x.signature", "a")
        plain = about(subject, note="b", config="application/x.config")
        for each in (signature, plain):
            host.push("refer/to", each.digest, each)
        said = host.ask("GET", f"/v2/refer/to/referrers/{subject.digest}")
        assert said.status == 200 and said.headers["Content-Type"] == OCI_INDEX
        assert said.document["mediaType"] == OCI_INDEX
        found = {entry["digest"]: entry for entry in said.document["manifests"]}
        assert found[signature.digest]["artifactType"] == "application/x.signature"
        assert found[plain.digest]["artifactType"] == "application/x.config"
        assert found[signature.digest]["annotations"] == {"note": "a"}
        assert found[signature.digest]["size"] == len(signature.content)
        query = f"/v2/refer/to/referrers/{subject.digest}?artifactType=application/x.signature"
        said = host.ask("GET", query)
        assert said.headers["OCI-Filters-Applied"] == "artifactType"
        assert [entry["digest"] for entry in said.document["manifests"]] == [signature.digest]
        host.ask("DELETE", f"/v2/refer/to/manifests/{signature.digest}")
        assert host.ask("GET", query).document["manifests"] == []

    @pytest.mark.parametrize("name", ["refer/none", "refer/to"])
    def test_an_empty_list_where_there_is_none(self, host: Host, name: str) -> None:
        said = host.ask("GET", f"/v2/{name}/referrers/{digest_of(b'nobody')}")
        assert (said.status, said.document["manifests"]) == (200, [])

    def test_of_what_is_no_digest(self, host: Host) -> None:
        assert host.ask("GET", "/v2/refer/to/referrers/latest").status == 400

    def test_a_long_list_comes_in_parts(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("reconciler.registry.lists.MOST_REFERRERS", 2)
        subject = small(9)
        made = [about(subject, "application/x.many", str(number)) for number in range(5)]
        for each in made:
            host.push("refer/many", each.digest, each)
        found, path = list[str](), f"/v2/refer/many/referrers/{subject.digest}?artifactType=application/x.many"
        while path:
            said = host.ask("GET", path)
            found += [entry["digest"] for entry in said.document["manifests"]]
            path = said.headers.get("Link", "").removeprefix("<").partition(">")[0]
        assert sorted(found) == sorted(each.digest for each in made)


class TestContentManagement:
    def test_a_tag_goes_alone(self, host: Host) -> None:
        sample = small(10)
        for tag in ("one", "two"):
            host.push("delete/tag", tag, sample)
        assert host.ask("DELETE", "/v2/delete/tag/manifests/one").status == 202
        assert host.ask("GET", "/v2/delete/tag/manifests/one").status == 404
        assert host.ask("GET", "/v2/delete/tag/manifests/two").status == 200
        assert host.ask("DELETE", "/v2/delete/tag/manifests/one").code == "MANIFEST_UNKNOWN"

    def test_a_manifest_goes_with_its_tags(self, host: Host) -> None:
        sample = small(10)
        for tag in ("one", "two"):
            host.push("delete/manifest", tag, sample)
        assert host.ask("DELETE", f"/v2/delete/manifest/manifests/{sample.digest}").status == 202
        for pin in ("one", "two", sample.digest):
            assert host.ask("GET", f"/v2/delete/manifest/manifests/{pin}").status == 404
        assert host.ask("DELETE", f"/v2/delete/manifest/manifests/{sample.digest}").status == 404
        assert host.ask("DELETE", "/v2/delete/none/manifests/one").status == 404

    def test_a_blob_goes_from_its_repository_alone(self, host: Host) -> None:
        for name in ("delete/blob", "delete/other"):
            digest = host.push_blob(name, CONTENT)
        assert host.ask("DELETE", f"/v2/delete/blob/blobs/{digest}").status == 202
        assert host.ask("GET", f"/v2/delete/blob/blobs/{digest}").status == 404
        assert host.ask("GET", f"/v2/delete/other/blobs/{digest}").body == CONTENT
        said = host.ask("DELETE", f"/v2/delete/blob/blobs/{digest}")
        assert (said.status, said.code) == (404, "BLOB_UNKNOWN")
