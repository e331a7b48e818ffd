"""trimtab's registry as a mirror of another one: brought once, verified, and served when that one is away."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.registry.mirror import read_mirror
from runtime.images.blobs import BlobStore
from runtime.images.registry.settings import RegistrySettings
from runtime.layout import Layout
from schemas.errors import Refused
from tests.registry.fake import Asked, Fake, breaks_after, gives_token, reset, status, wants_token
from tests.registry.hosting import Host, digest_of, engine, hosting
from tests.registry.samples import Sample, image, index, layer_tar, noise


@pytest.fixture(scope="module")
def made() -> Sample:
    return image(layer_tar({"small": b"1"}), layer_tar({"noise": noise(3_000_000)}))


@pytest.fixture
def sample(fake: Fake, made: Sample) -> Sample:
    """An image of the other registry, with one layer of about 3 MB."""
    return fake.hold(made)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An engine with little patience and nobody's credentials."""
    made = engine(tmp_path)
    (made.root / "registries.yaml").write_text(
        json.dumps({"attempts": 2, "backoff": 0.01, "stall_timeout": 5.0, "docker_config": str(tmp_path / "none.json")})
    )
    return made


@pytest.fixture
def mirror(layout: Layout, fake: Fake) -> Iterator[Host]:
    """Believes a tag for an hour."""
    with hosting(layout, mirror=f"http://{fake.host}", fresh_seconds=3600.0) as made:
        yield made


@pytest.fixture
def doubting(layout: Layout, fake: Fake) -> Iterator[Host]:
    """Believes no tag."""
    with hosting(layout, mirror=f"http://{fake.host}", fresh_seconds=0.0) as made:
        yield made


def test_what_was_asked_for_once_is_asked_for_no_more(mirror: Host, fake: Fake, sample: Sample) -> None:
    for _ in range(2):
        said = mirror.ask("GET", "/v2/app/manifests/latest")
        assert (said.status, said.body, said.headers["Docker-Content-Digest"]) == (200, sample.content, sample.digest)
        for digest, content in sample.blobs.items():
            assert mirror.ask("GET", f"/v2/app/blobs/{digest}").body == content
    assert len(fake.asked("manifests/latest")) == 1
    assert [len(fake.asked(digest)) for digest in sample.blobs] == [1] * len(sample.blobs)
    assert mirror.ask("GET", f"/v2/app/manifests/{sample.digest}").body == sample.content
    assert fake.asked(sample.digest) == []


def test_an_index_is_brought_as_it_is_asked_for(mirror: Host, fake: Fake) -> None:
    several = fake.hold(index({"linux/amd64": image(), "linux/arm64": image(architecture="arm64")}), "many")
    assert mirror.ask("GET", "/v2/app/manifests/many").body == several.content
    assert mirror.ask("HEAD", f"/v2/app/manifests/{several.manifests[0].digest}").status == 200
    assert fake.asked(several.manifests[1].digest) == []


def test_a_tag_is_compared_again_and_fetched_only_when_it_moved(doubting: Host, fake: Fake, sample: Sample) -> None:
    for _ in range(3):
        assert doubting.ask("GET", "/v2/app/manifests/latest").body == sample.content
    assert len(fake.asked("manifests/latest")) == 1
    assert len(fake.asked("manifests/latest", "HEAD")) == 2
    other = fake.hold(image(layer_tar({"other": b"2"})))
    assert doubting.ask("GET", "/v2/app/manifests/latest").body == other.content


def test_a_tag_that_is_gone_there_is_gone_here(doubting: Host, fake: Fake, sample: Sample) -> None:
    assert doubting.ask("GET", "/v2/app/manifests/latest").status == 200
    del fake.manifests["latest"]
    assert doubting.ask("GET", "/v2/app/manifests/latest").status == 404
    assert doubting.ask("GET", f"/v2/app/manifests/{sample.digest}").status == 200


def test_what_is_here_is_served_while_the_other_is_away(doubting: Host, fake: Fake, sample: Sample) -> None:
    doubting.ask("GET", "/v2/app/manifests/latest")
    layer = sample.layers[0]
    doubting.ask("GET", f"/v2/app/blobs/{layer}")
    fake.gate = reset
    said = doubting.ask("GET", "/v2/app/manifests/latest")
    assert said.body == sample.content and said.headers["Warning"].startswith('299 - "')
    assert doubting.ask("GET", f"/v2/app/blobs/{layer}").body == sample.blobs[layer]
    assert doubting.ask("GET", "/v2/app/tags/list").document["tags"] == ["latest"]
    said = doubting.ask("GET", "/v2/app/manifests/other")
    assert (said.status, said.headers["Retry-After"]) == (503, "5")
    assert doubting.ask("GET", f"/v2/app/blobs/{sample.layers[1]}").status == 503
    fake.gate = None
    assert "Warning" not in doubting.ask("GET", "/v2/app/manifests/latest").headers


@pytest.mark.parametrize("answer", [401, 403, 404])
def test_what_the_other_denies_is_not_there(mirror: Host, fake: Fake, sample: Sample, answer: int) -> None:
    fake.gate = status(answer)
    assert mirror.ask("GET", "/v2/app/manifests/latest").code == "MANIFEST_UNKNOWN"
    assert mirror.ask("GET", f"/v2/app/blobs/{sample.layers[0]}").code == "BLOB_UNKNOWN"


def test_a_blob_that_is_not_what_it_should_be_is_never_had_whole(mirror: Host, fake: Fake, sample: Sample) -> None:
    mirror.ask("GET", "/v2/app/manifests/latest")
    for digest in sample.layers:
        wrong = bytearray(sample.blobs[digest])
        wrong[0] ^= 1
        fake.blobs[digest] = bytes(wrong)
        try:
            said = mirror.ask("GET", f"/v2/app/blobs/{digest}")
            assert said.status == 404
        except (http.client.IncompleteRead, ConnectionError):
            pass
        assert not BlobStore(mirror.layout).has(digest)
        mirror.connection.close()
    assert mirror.ask("HEAD", f"/v2/app/blobs/{sample.layers[0]}").status == 404


def test_a_manifest_that_is_not_what_it_should_be_is_not_kept(mirror: Host, fake: Fake, sample: Sample) -> None:
    fake.manifests[sample.digest] = (sample.content + b" ", sample.media_type)
    assert mirror.ask("GET", f"/v2/app/manifests/{sample.digest}").status == 404
    fake.script("manifests/bad", status(200, b"{}", Docker_Content_Digest=digest_of(b"x")))
    assert mirror.ask("GET", "/v2/app/manifests/bad").status == 404


def halting(content: bytes, go_on: threading.Event) -> Callable[[Asked], None]:
    """An answer of which the end is sent only once `go_on` is set."""

    def answer(asked: Asked) -> None:
        asked.start(200, len(content))
        asked.wfile.write(content[:2_000_000])
        assert go_on.wait(20)
        asked.wfile.write(content[2_000_000:])

    return answer


def test_a_blob_is_passed_on_while_it_comes_and_fetched_once_for_all(mirror: Host, fake: Fake, sample: Sample) -> None:
    """Two ask; both have had the beginning before the other registry has sent the end."""
    largest = max(sample.layers, key=lambda digest: len(sample.blobs[digest]))
    content = sample.blobs[largest]
    go_on = threading.Event()
    mirror.ask("GET", "/v2/app/manifests/latest")
    fake.script(largest, halting(content, go_on))
    clients = [Host(mirror.address, mirror.layout) for _ in range(2)]
    for client in clients:
        client.connection.request("GET", f"/v2/app/blobs/{largest}")
    answers = [client.connection.getresponse() for client in clients]
    begun = [answer.read(500_000) for answer in answers]
    assert begun == [content[:500_000]] * 2
    go_on.set()
    assert [answer.read() for answer in answers] == [content[500_000:]] * 2
    for client in clients:
        client.connection.close()
    assert len(fake.asked(largest)) == 1


def test_a_blob_goes_on_though_its_client_has_left(mirror: Host, fake: Fake, sample: Sample) -> None:
    largest = max(sample.layers, key=lambda digest: len(sample.blobs[digest]))
    content = sample.blobs[largest]
    left = threading.Event()
    mirror.ask("GET", "/v2/app/manifests/latest")
    fake.script(largest, halting(content, left))
    client = Host(mirror.address, mirror.layout)
    client.connection.request("GET", f"/v2/app/blobs/{largest}")
    client.connection.getresponse().read(10)
    client.connection.close()
    left.set()
    assert mirror.ask("GET", f"/v2/app/blobs/{largest}").body == content
    assert len(fake.asked(largest)) == 1


def test_a_broken_connection_is_gone_on_with(mirror: Host, fake: Fake, sample: Sample) -> None:
    largest = max(sample.layers, key=lambda digest: len(sample.blobs[digest]))
    content = sample.blobs[largest]
    mirror.ask("GET", "/v2/app/manifests/latest")
    fake.script(largest, breaks_after(content, 1_000_000))
    assert mirror.ask("GET", f"/v2/app/blobs/{largest}").body == content
    assert [one.range for one in fake.asked(largest)] == [None, "bytes=1000000-"]


def test_a_part_is_served_once_the_whole_is_here(mirror: Host, fake: Fake, sample: Sample) -> None:
    largest = max(sample.layers, key=lambda digest: len(sample.blobs[digest]))
    said = mirror.ask("GET", f"/v2/app/blobs/{largest}", Range="bytes=10-19")
    assert (said.status, said.body) == (206, sample.blobs[largest][10:20])
    assert [one.range for one in fake.asked(largest)] == [None]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/app/blobs/uploads/"),
        ("PUT", "/v2/app/manifests/latest"),
        ("DELETE", "/v2/app/manifests/latest"),
        ("DELETE", f"/v2/app/blobs/{digest_of(b'')}"),
    ],
)
def test_nothing_is_pushed_through_a_mirror(mirror: Host, fake: Fake, method: str, path: str) -> None:
    said = mirror.ask(method, path)
    assert (said.status, said.code) == (405, "UNSUPPORTED")
    assert fake.seen == []


@pytest.mark.parametrize("is_told", [False, True])
def test_credentials_are_shown_only_where_that_is_said(
    layout: Layout, tmp_path: Path, fake: Fake, sample: Sample, is_told: bool
) -> None:
    (tmp_path / "none.json").write_text(json.dumps({"auths": {fake.host: {"auth": "YWxpY2U6c2VjcmV0"}}}))
    fake.gate = wants_token(f"http://{fake.host}/token")
    fake.script("/token", gives_token())
    with hosting(layout, mirror=f"http://{fake.host}", mirror_login=is_told) as host:
        assert host.ask("GET", "/v2/app/manifests/latest").status == 200
    assert [one.authorization for one in fake.asked("/token")] == (["Basic YWxpY2U6c2VjcmV0"] if is_told else [None])


def test_lists_are_the_other_registrys(mirror: Host, fake: Fake) -> None:
    tags = json.dumps({"name": "app", "tags": ["1", "../x", "2"]}).encode()
    fake.script("tags/list", status(200, tags, Link='</v2/app/tags/list?n=2&last=2>; rel="next"'))
    said = mirror.ask("GET", "/v2/app/tags/list?n=2")
    assert said.document["tags"] == ["1", "2"] and "last=2" in said.headers["Link"]
    listed = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    fake.script(digest_of(b"x"), status(200, listed, OCI_Filters_Applied="artifactType"))
    said = mirror.ask("GET", f"/v2/app/referrers/{digest_of(b'x')}?artifactType=a/b")
    assert said.body == listed and said.headers["OCI-Filters-Applied"] == "artifactType"
    assert fake.asked(digest_of(b"x"))[0].path.endswith("?artifactType=a/b")


def test_a_mirror_and_what_was_pushed_know_nothing_of_each_other(layout: Layout, fake: Fake, sample: Sample) -> None:
    pushed = image(layer_tar({"pushed": noise(100)}))
    with hosting(layout) as host:
        host.push("app", "pushed", pushed)
    with hosting(layout, mirror=f"http://{fake.host}") as host:
        assert host.ask("GET", "/v2/app/manifests/latest").status == 200
        assert host.ask("GET", "/v2/app/manifests/pushed").status == 404
    with hosting(layout) as host:
        assert host.ask("GET", "/v2/app/tags/list").document["tags"] == ["pushed"]
        assert host.ask("GET", f"/v2/app/blobs/{sample.layers[0]}").status == 404


@pytest.mark.parametrize("text", ["", "ftp://x", "https://", "https://a b", "https://x/../y?z"])
def test_what_is_no_registry_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        read_mirror(text, RegistrySettings())


def test_docker_hub_is_known_by_its_name() -> None:
    def host(text: str) -> Any:
        return read_mirror(text, RegistrySettings()).host

    assert host("docker.io") == host("https://docker.io") == "registry-1.docker.io"
    assert host("https://registry.example:5000/team") == "registry.example:5000"
