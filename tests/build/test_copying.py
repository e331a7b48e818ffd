"""Images of files alone: what COPY and ADD take, what they refuse, and what need not be done twice. Nothing is run."""

from __future__ import annotations

import http.server
import io
import os
import socket
import stat
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from reconciler.build.fetch import _without_user
from runtime.images.store import read_image
from schemas.errors import Invalid
from tests.build.conftest import Builder
from tests.conftest import SLOWER

pytestmark = pytest.mark.kernel


def test_files_become_a_layer_and_instructions_the_config(builder: Builder) -> None:
    builder.write({"src/a.txt": "a", "src/deep/b.txt": "b"})
    made = builder.build('FROM scratch\nENV A=1\nLABEL x=y\nCOPY src /app\nWORKDIR /app\nCMD ["/a"]\n')
    assert builder.read(made, "app/a.txt") == "a"
    assert builder.read(made, "app/deep/b.txt") == "b"
    config = made.record.config
    assert (config.cmd, config.working_dir, config.labels) == (("/a",), "/app", {"x": "y"})
    assert "A=1" in config.env
    assert [row.get("empty_layer", False) for row in builder.history(made)] == [True, True, False, True, True]
    assert read_image(builder.layout, "app") == made.record


def test_a_build_without_a_change_does_nothing_and_makes_the_same_image(builder: Builder) -> None:
    builder.write({"a": "a", "b": "b"})
    text = "FROM scratch\nCOPY a /a\nCOPY b /b\n"
    first = builder.build(text)
    assert builder.done() == ["COPY", "COPY"]
    second = builder.build(text)
    assert builder.done() == []
    assert second.record.digest == first.record.digest


def test_only_what_takes_a_changed_file_is_done_again(builder: Builder) -> None:
    builder.write({"a": "a", "b": "b", "unused": "1"})
    text = "FROM scratch AS one\nCOPY a /a\nFROM scratch\nCOPY b /b\nCOPY --from=one /a /a\n"
    builder.build(text)
    builder.write({"unused": "2"})
    assert builder.build(text).done == 0
    builder.write({"a": "changed"})
    made = builder.build(text)
    assert builder.done() == ["COPY", "COPY"]
    assert (builder.read(made, "a"), builder.read(made, "b")) == ("changed", "b")


def test_a_file_written_anew_with_the_same_content_is_no_change(builder: Builder) -> None:
    builder.write({"a": "a"})
    builder.build("FROM scratch\nCOPY a /a\n")
    (builder.context / "a").unlink()
    builder.write({"a": "a"})
    assert builder.build("FROM scratch\nCOPY a /a\n").done == 0


def test_a_source_made_anew_that_came_out_the_same_is_found_by_its_content(builder: Builder) -> None:
    builder.write({"a": "a", "noise": "1"})
    text = "FROM scratch AS one\nCOPY noise /noise\nCOPY a /a\nFROM scratch\nCOPY --from=one /a /b\n"
    builder.build(text)
    builder.write({"noise": "2"})
    builder.build(text)
    assert builder.done() == ["COPY", "COPY"]
    assert [each.what for each in builder.told if each.number == 3] == ["begun", "cached"]


def test_no_cache_does_everything_again(builder: Builder) -> None:
    builder.write({"a": "a"})
    builder.build("FROM scratch\nCOPY a /a\n")
    builder.build("FROM scratch\nCOPY a /a\n", without_cache=("*",))
    assert builder.done() == ["COPY"]


def test_a_stage_that_the_target_does_not_need_is_not_built(builder: Builder) -> None:
    builder.write({"a": "a"})
    text = "FROM scratch AS one\nCOPY a /one\nFROM scratch AS two\nCOPY a /two\nFROM scratch\nCOPY --from=one / /\n"
    builder.build(text)
    assert "two" not in " ".join(each.text for each in builder.told)
    assert builder.find(builder.build(text, target="two"), "two") is not None


def test_what_the_ignore_file_names_is_not_there(builder: Builder) -> None:
    builder.write({"a": "a", "b.log": "b", "keep.log": "k", ".dockerignore": "*.log\n!keep.log\n"})
    made = builder.build("FROM scratch\nCOPY . /\n")
    assert (builder.read(made, "a"), builder.read(made, "keep.log")) == ("a", "k")
    assert builder.find(made, "b.log") is None
    with pytest.raises(Invalid, match=r"b.log is not there"):
        builder.build("FROM scratch\nCOPY b.log /\n")


def test_owner_mode_and_parents_are_as_asked(builder: Builder) -> None:
    builder.write({"x/y/run.sh": "#!/bin/sh\n"})
    made = builder.build("FROM scratch\nCOPY --chown=7:8 --chmod=u+x,go-rwx --parents x/y/run.sh /opt/\n")
    found = builder.find(made, "opt/x/y/run.sh")
    assert found is not None
    seen = found.stat()
    assert (seen.st_uid, seen.st_gid, stat.S_IMODE(seen.st_mode)) == (7, 8, 0o700)


def test_a_heredoc_is_a_file_and_its_variables_count(builder: Builder) -> None:
    made = builder.build("FROM scratch\nARG V=1\nCOPY <<END /etc/conf\nv=$V\nEND\n", arguments={"V": "2"})
    assert builder.read(made, "etc/conf") == "v=2\n"


def test_patterns_and_exclusions_choose(builder: Builder) -> None:
    builder.write({"a.py": "a", "b.py": "b", "c.txt": "c"})
    made = builder.build("FROM scratch\nCOPY --exclude=b.* *.py /src/\n")
    assert (builder.read(made, "src/a.py"), builder.find(made, "src/b.py"), builder.find(made, "src/c.txt")) == (
        "a",
        None,
        None,
    )


def test_a_linked_copy_needs_no_tree_and_keeps_what_is_below(builder: Builder) -> None:
    builder.write({"a": "a", "b": "b"})
    made = builder.build("FROM scratch\nCOPY --chmod=700 a /dir/a\nCOPY --link b /dir/b\n")
    assert (builder.read(made, "dir/a"), builder.read(made, "dir/b")) == ("a", "b")


def test_a_link_on_the_way_to_the_destination_is_followed_inside_the_image(builder: Builder) -> None:
    builder.write({"a": "a"})
    (builder.context / "links").mkdir()
    (builder.context / "links/var").symlink_to("/real")
    made = builder.build("FROM scratch\nCOPY links /\nCOPY a /var/a\n")
    assert builder.read(made, "real/a") == "a"


def test_the_same_epoch_gives_the_same_digest_however_old_the_files_are(builder: Builder) -> None:
    builder.write({"d/a": "a"})
    text, epoch = "FROM scratch\nCOPY d /d\n", {"SOURCE_DATE_EPOCH": "1000"}
    first = builder.build(text, arguments=epoch)
    os.utime(builder.context / "d/a", (5_000, 5_000))
    os.utime(builder.context / "d", (6_000, 6_000))
    second = builder.build(text, arguments=epoch, without_cache=("*",))
    assert builder.done() == ["COPY"]
    assert second.record.digest == first.record.digest
    assert {str(row["created"]) for row in builder.history(second)} == {"1970-01-01T00:16:40Z"}


# hostile contexts


def test_a_link_out_of_the_context_leads_nowhere(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    (builder.context / "link").symlink_to(tmp_path / "outside")
    (builder.context / "up").symlink_to("../outside")
    for name in ("link", "up", "../outside"):
        with pytest.raises(Invalid, match=r"is not there"):
            builder.build(f"FROM scratch\nCOPY {name} /x\n")


def test_a_directory_is_copied_with_its_links_as_links(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    builder.write({"d/a": "a"})
    (builder.context / "d/link").symlink_to(tmp_path / "outside")
    made = builder.build("FROM scratch\nCOPY d /d\n")
    found = builder.find(made, "d/link")
    assert found is not None
    assert found.is_symlink()


def test_pipes_are_refused_only_where_they_are_taken(builder: Builder) -> None:
    builder.write({"a": "a"})
    os.mkfifo(builder.context / "pipe")
    assert builder.read(builder.build("FROM scratch\nCOPY a /\n"), "a") == "a"
    with pytest.raises(Invalid, match=r"is a named pipe"):
        builder.build("FROM scratch\nCOPY . /\n")


def test_devices_are_refused(builder: Builder) -> None:
    os.mknod(builder.context / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with pytest.raises(Invalid, match=r"is a device"):
        builder.build("FROM scratch\nCOPY null /\n")


def test_a_name_that_would_delete_a_file_below_is_refused(builder: Builder) -> None:
    builder.write({"d/.wh.passwd": ""})
    with pytest.raises(Invalid, match=r"marks of deleted files"):
        builder.build("FROM scratch\nCOPY d /d\n")


def test_a_complaint_shows_the_line(builder: Builder) -> None:
    builder.write({"main.py": ""})
    with pytest.raises(Invalid) as caught:
        builder.build("FROM scratch\nCOPY mian.py /\n")
    text = str(caught.value.problems[0])
    assert text.startswith("Dockerfile:2:1")
    assert "did you mean main.py?" in text
    assert "COPY mian.py /" in text


# archives, URLs and contexts from elsewhere


def tar_of(members: dict[str, bytes], mode: str = "w:gz") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_add_unpacks_an_archive_and_copy_does_not(builder: Builder, mode: str) -> None:
    content = tar_of({"d/x": b"x", "../../out": b"o"}, mode)
    (builder.context / "a.bin").write_bytes(content)
    made = builder.build("FROM scratch\nADD a.bin /into/\nCOPY a.bin /as-it-is\n")
    assert (builder.read(made, "into/d/x"), builder.read(made, "into/out")) == ("x", "o")
    found = builder.find(made, "as-it-is")
    assert found is not None
    assert found.read_bytes() == content


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """A server on the loopback interface, and the paths it was asked for that it sent a body for."""
    sent: list[str] = []

    class Files(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files[self.path]
            etag = f'"{hash(content)}"'
            if self.headers.get("If-None-Match") == etag:
                self.send_response(304)
                self.end_headers()
                return
            sent.append(self.path)
            self.send_response(200)
            self.send_header("ETag", etag)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", sent
    finally:
        server.shutdown()
        server.server_close()


def test_a_url_is_fetched_once_and_again_when_it_changed(builder: Builder) -> None:
    files = {"/tool": b"one"}
    with serving(files) as (url, sent):
        text = f"FROM scratch\nADD {url}/tool /bin/\n"
        assert builder.read(builder.build(text), "bin/tool") == "one"
        assert builder.build(text).done == 0
        assert sent == ["/tool"]
        files["/tool"] = b"two"
        assert builder.read(builder.build(text), "bin/tool") == "two"


def test_a_url_with_another_checksum_is_refused(builder: Builder) -> None:
    with serving({"/tool": b"one"}) as (url, _):
        wrong = "sha256:" + "0" * 64
        with pytest.raises(Invalid, match=r"not sha256:000"):
            builder.build(f"FROM scratch\nADD --checksum={wrong} {url}/tool /bin/\n")


def test_a_tar_is_a_context(builder: Builder, tmp_path: Path) -> None:
    tar = tmp_path / "context.tar.gz"
    tar.write_bytes(tar_of({"Dockerfile": b"FROM scratch\nCOPY a /b\n", "a": b"a"}))
    assert builder.read(builder.build(contexts={"": str(tar)}), "b") == "a"


def test_a_named_context_is_a_source_and_a_base(builder: Builder, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "o").write_text("o")
    given = {"other": str(other)}
    assert builder.read(builder.build("FROM other\n", contexts=given), "o") == "o"
    assert builder.read(builder.build("FROM scratch\nCOPY --from=other o /q\n", contexts=given), "q") == "o"


@contextmanager
def git_served(files: dict[str, str], base: Path) -> Iterator[tuple[str, str]]:
    """A repository served on the loopback interface: its URL and its commit."""
    work = base / "work"
    for name, text in files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    git(work, "init", "-q", "-b", "main")
    git(work, "add", ".")
    git(work, *identity, "commit", "-q", "-m", "one")
    commit = git(work, "rev-parse", "HEAD").strip()
    git(base, "clone", "-q", "--bare", str(work), str(base / "shop.git"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["daemon", "--listen=127.0.0.1", f"--port={port}", "--export-all", f"--base-path={base}", "--reuseaddr"]
    child = subprocess.Popen(["/usr/lib/git-core/git-daemon", *words[1:]], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10 * SLOWER
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert time.monotonic() < deadline
        yield f"git://127.0.0.1:{port}/shop.git", commit
    finally:
        child.terminate()
        child.wait()


def git(directory: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(directory), *words], capture_output=True, text=True, check=True)
    return done.stdout


def test_a_repository_is_added_and_is_a_context(builder: Builder, tmp_path: Path) -> None:
    files = {"web/Dockerfile": "FROM scratch\nCOPY a /b\n", "web/a": "a", "top": "t"}
    with git_served(files, tmp_path) as (url, commit):
        made = builder.build(f"FROM scratch\nADD {url}#main:web /src\n")
        assert builder.read(made, "src/a") == "a"
        assert builder.build(f"FROM scratch\nADD {url}#main:web /src\n").done == 0
        assert builder.read(builder.build(f"FROM scratch\nADD {url}#{commit} /all/\n"), "all/top") == "t"
        text = f"FROM scratch\nADD --keep-git-dir=true {url} /kept\n"
        epoch = {"SOURCE_DATE_EPOCH": "2000000000"}
        kept = builder.build(text, arguments=epoch)
        assert builder.read(kept, "kept/top") == "t"
        place = builder.find(kept, "kept")
        assert place is not None
        safe = ("-c", f"safe.directory={place}")
        assert git(place, *safe, "rev-parse", "HEAD").strip() == commit
        assert git(place, *safe, "--no-optional-locks", "status", "--porcelain") == ""
        assert git(place, *safe, "remote", "get-url", "origin").strip() == url
        assert builder.build(text, arguments=epoch).done == 0
        again = builder.build(text, without_cache=("*",), arguments=epoch)
        assert again.record.layers == kept.record.layers, "the same commit is the same bytes"
        with pytest.raises(Invalid, match=r"only a whole repository"):
            builder.build(f"FROM scratch\nADD --keep-git-dir=true {url}#main:web /x\n")
        with pytest.raises(Invalid, match=r"not 0123"):
            builder.build(f"FROM scratch\nADD --checksum={'0123' * 10} {url} /x\n")
        assert builder.read(builder.build(contexts={"": f"{url}#main:web"}), "b") == "a"


@pytest.mark.parametrize("user", ["", "me@", "me:secret@", "me:se@cret@", "me:se:cr@et@"])
def test_a_password_in_an_address_is_not_kept(user: str) -> None:
    assert _without_user(f"https://{user}example.com/x@y.git") == "https://example.com/x@y.git"
