"""Clients of trimtab's own registry that mean harm, or are broken: none of them gets far, and others are served."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.registry.hosting import Host, digest_of, engine, hosting
from tests.registry.samples import noise

SECONDS = 20.0
STALL = 1.0


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    layout = engine(tmp_path_factory.mktemp("host"))
    with hosting(layout, uploads=4, blob_bytes=100_000) as made:
        yield made


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """With little patience."""
    with hosting(engine(tmp_path_factory.mktemp("hasty")), stall_seconds=STALL) as made:
        yield made


def raw(host: Host, content: bytes) -> bytes:
    """What comes back, until the registry closes the connection."""
    name, _, port = host.address.host.partition(":")
    with socket.create_connection((name, int(port)), SECONDS) as channel:
        channel.sendall(content)
        received = b""
        try:
            while chunk := channel.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
        return received


def eventually(is_so: Callable[[], bool]) -> bool:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "a/..",
        "../../etc",
        "a/%2e%2e/b",
        "a%2f..%2f..%2fetc",
        "A",
        "a//b",
        "/a",
        "a/",
        "-a",
        "a_",
        "a..b",
        "a%00b",
        "a%0ab",
        "%ff",
        "a" * 256,
        "a/" * 2000,
        "é",
        "_catalog/../x",
    ],
)
def test_a_name_that_is_no_repositorys_is_refused(host: Host, name: str) -> None:
    path = name.encode().decode("latin-1")
    for line in (f"POST /v2/{path}/blobs/uploads/", f"GET /v2/{path}/manifests/x", f"GET /v2/{path}/tags/list"):
        got = raw(
            host, f"{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
        )
        assert got.split()[1] in (b"400", b"404"), got[:200]
    assert not (host.layout.root / "etc").exists()


@pytest.mark.parametrize("upload", ["..", "%2e%2e%2fx", "x", "0" * 32, "0" * 31 + "%00", ".json"])
def test_an_upload_that_is_none_is_unknown(host: Host, upload: str) -> None:
    said = host.ask("PATCH", f"/v2/a/blobs/uploads/{upload}", b"x")
    assert said.status == 404


@pytest.mark.parametrize(
    "content",
    [
        b"\0" * 1000,
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise(300),
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"v" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(200_000)) + b"\r\n",
        b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nx",
        b"POST /v2/a/blobs/uploads/?digest=sha256:%s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
        % (b"0" * 64),
    ],
)
def test_garbage_is_turned_away(host: Host, content: bytes) -> None:
    got = raw(host, content)
    assert got == b"" or got.split()[1] == b"400", got[:200]
    assert host.ask("GET", "/v2/").status == 200


def test_who_says_nothing_more_is_let_go_of(hasty: Host) -> None:
    name, _, port = hasty.address.host.partition(":")
    begun = (
        b"",
        b"GET /v2/ HT",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\n",
        b"PUT /v2/a/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    channels = [socket.create_connection((name, int(port)), SECONDS) for _ in begun]
    for channel, content in zip(channels, begun, strict=True):
        channel.sendall(content)
    for channel in channels:
        with channel:
            while channel.recv(65536):
                pass  # it ends
    assert hasty.ask("GET", "/v2/").status == 200


def test_an_upload_that_stalls_keeps_what_came_and_can_go_on(hasty: Host) -> None:
    place = hasty.begin("stall/a")
    head = f"PATCH {place} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    assert raw(hasty, head.encode() + b"0123456789").split()[1] == b"408"
    assert hasty.ask("GET", place).headers.get("Range") == "0-9"
    assert hasty.ask("PATCH", place, b"rest", Content_Range="10-13").status == 202
    assert hasty.ask("PUT", f"{place}?digest={digest_of(b'0123456789rest')}").status == 201


def test_a_client_that_leaves_in_the_middle_leaves_an_upload_that_goes_on(host: Host) -> None:
    place = host.begin("leave/a")
    name, _, port = host.address.host.partition(":")
    with socket.create_connection((name, int(port)), SECONDS) as channel:
        channel.sendall(f"PATCH {place} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc".encode())
        assert eventually(lambda: host.ask("PATCH", place, b"").status == 409)
    assert eventually(lambda: host.ask("GET", place).headers["Range"] == "0-2")
    assert eventually(lambda: host.ask("PATCH", place, b"def", Content_Range="3-5").status == 202)
    assert host.ask("PUT", f"{place}?digest={digest_of(b'abcdef')}").status == 201


def test_two_requests_never_write_to_one_upload(host: Host) -> None:
    place = host.begin("two/a")
    name, _, port = host.address.host.partition(":")
    with socket.create_connection((name, int(port)), SECONDS) as channel:
        channel.sendall(f"PATCH {place} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc".encode())
        assert eventually(lambda: host.ask("PATCH", place, b"").status == 409)
        channel.sendall(b"def")
        assert channel.recv(100).split()[1] == b"202"
    assert host.ask("PUT", f"{place}?digest={digest_of(b'abcdef')}").status == 201


@pytest.mark.parametrize("is_told", [True, False])
def test_a_blob_that_is_too_large_is_not_taken(host: Host, is_told: bool) -> None:
    place = host.begin("large/a")
    content = noise(100_001)
    if is_told:
        assert host.ask("PATCH", place, content).status == 413
    else:
        host.connection.request("PATCH", place, iter((content[:60_000], content[60_000:])), encode_chunked=True)
        with host.connection.getresponse() as response:
            assert response.status == 413
    host.connection.close()
    host.ask("DELETE", place)


def test_uploads_are_bounded_and_those_left_alone_make_room(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = [host.begin("many/a") for _ in range(4)]
    said = host.ask("POST", "/v2/many/b/blobs/uploads/")
    assert (said.status, said.code) == (429, "TOOMANYREQUESTS") and said.headers["Retry-After"]
    host.ask("PATCH", begun[0], b"x")  # not the one that was left alone the longest
    monkeypatch.setattr("runtime.images.hosted.uploads.ROOM_SECONDS", -1.0)
    begun.append(host.begin("many/b"))
    assert host.ask("GET", begun[1]).status == 404 and host.ask("GET", begun[0]).status == 204
    for place in begun:
        host.ask("DELETE", place)


def test_uploads_expire_and_free_their_bytes(tmp_path: Path) -> None:
    from runtime.images.hosted.uploads import Uploads

    layout = engine(tmp_path)
    before = Uploads(layout)
    lost = before.begin("a/b")
    lost.write(b"x" * 100)
    uploads = Uploads(layout, idle_seconds=0.0)
    kept = uploads.begin("a/b")
    kept.is_busy = True
    idle = uploads.begin("a/b")

    def is_gone() -> bool:
        uploads.expire()
        return not lost.path.exists()

    assert eventually(is_gone)
    assert uploads.find("a/b", idle.name) is None and uploads.find("a/b", kept.name) is kept
    assert {path.stem for path in (layout.blobs / "uploads").iterdir()} == {kept.name}


def test_an_upload_that_is_being_finished_is_not_found_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.images.hosted.catalog import Catalog
    from runtime.images.hosted.database import opened
    from runtime.images.hosted.uploads import Upload, Uploads

    layout = engine(tmp_path)
    uploads = Uploads(layout)
    begun = uploads.begin("a/b")
    begun.write(b"bytes")
    finish, found = Upload.finish, list[Upload | None]()

    def watched(self: Upload, *place: Any) -> None:
        found.append(uploads.find("a/b", begun.name))
        finish(self, *place)

    monkeypatch.setattr(Upload, "finish", watched)
    with opened(layout) as database:
        uploads.finish(begun, layout, Catalog(database), digest_of(b"bytes"))
    assert found == [begun] and uploads.find("a/b", begun.name) is None


def test_who_takes_nothing_of_what_was_asked_for_is_let_go_of(tmp_path: Path) -> None:
    with hosting(engine(tmp_path), requests=1, stall_seconds=STALL) as host:
        digest = host.push_blob("a", noise(16_000_000))
        name, _, port = host.address.host.partition(":")
        with socket.socket() as channel:
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            channel.connect((name, int(port)))
            channel.sendall(f"GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert eventually(lambda: host.ask("GET", "/v2/").status == 503)
            assert eventually(lambda: host.ask("GET", "/v2/").status == 200)


def test_more_requests_than_there_is_room_for_are_turned_away(tmp_path: Path) -> None:
    with hosting(engine(tmp_path), requests=1, stall_seconds=SECONDS) as host:
        place = host.begin("a")
        name, _, port = host.address.host.partition(":")
        with socket.create_connection((name, int(port)), SECONDS) as channel:
            channel.sendall(f"PATCH {place} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc".encode())
            assert eventually(lambda: host.ask("GET", "/v2/").status == 503)
            channel.sendall(b"def")
            assert channel.recv(100).split()[1] == b"202"
        assert eventually(lambda: host.ask("GET", "/v2/").status == 200)
