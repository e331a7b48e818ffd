"""A registry that lies, stalls, breaks off and sends away, as a test scripts it. Without a script it is honest.

A threaded HTTP server on loopback that keeps what it was asked. Shares no code with the engine.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.registry.samples import Sample, digest_of

_PATH = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>manifests|blobs)/(?P<name>[^/?]+)")


@dataclass(frozen=True, slots=True)
class Seen:
    """One request, as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def authorization(self) -> str | None:
        return self.headers.get("Authorization")

    @property
    def range(self) -> str | None:
        return self.headers.get("Range")


@dataclass
class Fake:
    """What it holds, what it was told to do, what it was asked."""

    host: str = ""
    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    scripts: dict[str, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    gate: Answer | None = None
    """Asked before every answer; answers itself, or returns False."""
    ended: threading.Event = field(default_factory=threading.Event)

    def hold(self, sample: Sample, tag: str = "latest") -> Sample:
        for part in sample.manifests:
            self.hold(part, part.digest)
        for name in (tag, sample.digest):
            self.manifests[name] = (sample.content, sample.media_type)
        self.blobs.update(sample.blobs)
        return sample

    def script(self, what: str, *answers: Answer) -> None:
        """Give these answers, in turn, to requests whose path ends with `what`; then be honest again."""
        self.scripts[what].extend(answers)

    def asked(self, what: str, method: str = "GET") -> list[Seen]:
        return [one for one in self.seen if one.method == method and one.path.partition("?")[0].endswith(what)]


class Asked(BaseHTTPRequestHandler):
    """One request. Answers use `send` for whole responses and `start` with `wfile` for broken ones."""

    protocol_version = "HTTP/1.1"
    fake: Fake

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.fake.seen.append(Seen(self.command, self.path, dict(self.headers.items()), body))
        if self.fake.gate is not None and self.fake.gate(self) is not False:
            return
        answer = self.scripted() or honest
        answer(self)

    do_HEAD = do_POST = do_GET  # noqa: N815

    def scripted(self) -> Answer | None:
        path = self.path.partition("?")[0]
        return next(
            (answers.pop(0) for what, answers in self.fake.scripts.items() if answers and path.endswith(what)), None
        )

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole response; `Content_Type="…"` becomes Content-Type."""
        self.start(status, len(body), **headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def start(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def cut(self) -> None:
        """Close the connection without another word."""
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


Answer = Callable[[Asked], object]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up in the middle are what the tests are about."""


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Fake]:
    fake = Fake()
    server = _Server(("127.0.0.1", 0), type("Bound", (Asked,), {"fake": fake}))
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    fake.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        fake.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def honest(asked: Asked) -> None:
    """As the distribution-spec wants it, ranges included."""
    found = _PATH.match(asked.path)
    if found and found["kind"] == "manifests" and (held := asked.fake.manifests.get(found["name"])):
        return asked.send(200, held[0], Content_Type=held[1], Docker_Content_Digest=digest_of(held[0]))
    if found and found["kind"] == "blobs" and (blob := asked.fake.blobs.get(found["name"])) is not None:
        return send_blob(asked, blob)
    return asked.send(404, json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "unknown"}]}).encode())


def send_blob(asked: Asked, blob: bytes) -> None:
    wanted = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("Range", ""))
    if not wanted:
        return asked.send(200, blob)
    first = int(wanted[1])
    return asked.send(206, blob[first:], Content_Range=f"bytes {first}-{len(blob) - 1}/{len(blob)}")


# answers


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    return lambda asked: asked.send(code, body, **headers)


def error(code: int, name: str, message: str) -> Answer:
    return status(code, json.dumps({"errors": [{"code": name, "message": message}]}).encode())


def reset(asked: Asked) -> None:
    """Hang up before any answer."""
    asked.cut()


def stall(asked: Asked) -> None:
    """Promise a body and send a little of it, then nothing until the test is over."""
    asked.start(200, 1 << 20)
    asked.wfile.write(b"x" * 100)
    asked.fake.ended.wait(10)
    asked.cut()


def silence(asked: Asked) -> None:
    """Take the request and never answer."""
    asked.fake.ended.wait(10)
    asked.cut()


def breaks_after(blob: bytes, count: int) -> Answer:
    """Announce the rest of `blob`, send `count` bytes of it, and hang up."""

    def answer(asked: Asked) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("Range", ""))
        first = int(wanted[1]) if wanted else 0
        if wanted:
            asked.start(206, len(blob) - first, Content_Range=f"bytes {first}-{len(blob) - 1}/{len(blob)}")
        else:
            asked.start(200, len(blob))
        asked.wfile.write(blob[first : first + count])
        asked.cut()

    return answer


def redirect(where: str, code: int = 307) -> Answer:
    return status(code, Location=where)


def chunked(*chunks: bytes, whole: bool = True) -> Answer:
    """A body without a length."""

    def answer(asked: Asked) -> None:
        asked.start(200, None, Transfer_Encoding="chunked")
        for chunk in chunks:
            asked.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        if whole:
            asked.wfile.write(b"0\r\n\r\n")
        asked.cut()

    return answer


def wants_token(realm: str, token: str = "t0ken", scope: str | None = "repository:app:pull") -> Answer:
    """A gate: only the bearer of `token` passes; the rest is told where to get it."""
    challenge = f'Bearer realm="{realm}",service="registry.test"' + (f',scope="{scope}"' if scope else "")

    def gate(asked: Asked) -> bool:
        if asked.path.startswith("/token") or asked.headers.get("Authorization") == f"Bearer {token}":
            return False
        asked.send(401, WWW_Authenticate=challenge)
        return True

    return gate


def gives_token(token: str = "t0ken", name: str = "token") -> Answer:
    return status(200, json.dumps({name: token, "expires_in": 300}).encode(), Content_Type="application/json")
