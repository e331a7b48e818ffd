"""Contents on tmpfs: kept, compared by a keyed digest, handed out file by file, and never in a message."""

from __future__ import annotations

import hashlib
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, local

import pytest

from runtime.kernel import mount
from runtime.kernel.mountinfo import mounts_below, read_mountinfo
from runtime.layout import Layout
from runtime.volumes import contents_store
from runtime.volumes.secrets import (
    Projected,
    SecretRecord,
    content_digest,
    ensure_secret,
    project,
    read_projection,
    read_secret,
    remove_projection,
    remove_secret,
)
from schemas.errors import Refused, RetryLater

pytestmark = pytest.mark.kernel

PASSWORD = b"hunter2"


def test_a_content_is_kept_and_read_back_by_its_digest(layout: Layout) -> None:
    assert read_secret(layout, "Secret", "db") is None
    made = ensure_secret(layout, "Secret", "db", PASSWORD)
    assert made == SecretRecord("Secret", "db", content_digest(layout, PASSWORD), 7)
    assert read_secret(layout, "Secret", "db") == made
    assert ensure_secret(layout, "Secret", "db", PASSWORD) == made
    assert read_secret(layout, "Config", "db") is None


def test_a_changed_content_replaces_the_old_one(layout: Layout) -> None:
    before = ensure_secret(layout, "Secret", "db", PASSWORD)
    after = ensure_secret(layout, "Secret", "db", b"")
    assert after.digest != before.digest
    assert read_secret(layout, "Secret", "db") == after


@pytest.mark.vm
def test_contents_stand_on_a_bounded_private_tmpfs_mounted_once(layout: Layout) -> None:
    for name in ("a", "b"):
        ensure_secret(layout, "Secret", name, PASSWORD)
    (seen,) = mounts_below(read_mountinfo(), str(layout.secrets))
    assert seen.fstype == "tmpfs"
    assert {"nosuid", "nodev", "noexec"} <= set(seen.options.split(","))
    assert f"size={contents_store.STORE_BYTES >> 10}k" in seen.super_options
    assert layout.secrets.stat().st_mode & 0o7777 == 0o700
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    assert ("noswap" in seen.super_options) == (release >= (6, 4))


def test_no_file_of_the_engine_on_disk_holds_the_content(layout: Layout) -> None:
    ensure_secret(layout, "Secret", "db", PASSWORD)
    for path in layout.root.rglob("*"):
        assert not path.is_file() or PASSWORD not in path.read_bytes()


def test_after_a_reboot_contents_read_as_missing_and_what_lies_underneath_is_not_believed(layout: Layout) -> None:
    ensure_secret(layout, "Secret", "db", PASSWORD)
    project(layout, "web", [Projected("Secret", "db", "db")])
    subprocess.run(["umount", str(layout.secrets)], check=True)
    planted = layout.secrets / "contents/Secret/db"
    planted.parent.mkdir(parents=True)
    planted.write_text("planted")
    assert read_secret(layout, "Secret", "db") is None
    assert read_projection(layout, "web") == {}
    remove_secret(layout, "Secret", "db")
    remove_projection(layout, "web")
    assert planted.exists()
    assert ensure_secret(layout, "Secret", "db", PASSWORD) == read_secret(layout, "Secret", "db")


def test_a_digest_needs_the_engines_key(layout: Layout) -> None:
    digest = content_digest(layout, PASSWORD)
    assert hashlib.sha256(PASSWORD).hexdigest() not in digest
    other = Layout(root=layout.root / "other", run=layout.run / "other")
    assert content_digest(other, PASSWORD) != digest
    key = layout.root / "secrets.key"
    assert key.stat().st_mode & 0o7777 == 0o600
    assert len(key.read_bytes()) == 32
    assert content_digest(layout, PASSWORD) == digest


def test_a_key_that_was_not_written_whole_is_made_anew(layout: Layout) -> None:
    (layout.root / "secrets.key").write_bytes(b"short")
    assert content_digest(layout, PASSWORD) == content_digest(layout, PASSWORD)
    assert len((layout.root / "secrets.key").read_bytes()) == 32


def test_two_at_once_make_one_key(layout: Layout) -> None:
    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(lambda _: content_digest(layout, PASSWORD), range(16)))
    assert len(digests) == 1
    assert [path.name for path in layout.root.iterdir()] == ["secrets.key"]


def test_two_at_once_mount_one_tmpfs(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    both, seen = Barrier(2), local()

    def is_mounted(layout: Layout) -> bool:
        found = layout.secrets.is_mount()
        if not hasattr(seen, "once"):
            seen.once = both.wait(timeout=10)
        return found

    monkeypatch.setattr(contents_store, "is_mounted", is_mounted)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: ensure_secret(layout, "Config", name, PASSWORD), ("a", "b")))
    assert len(mounts_below(read_mountinfo(), str(layout.secrets))) == 1
    assert read_secret(layout, "Config", "a") and read_secret(layout, "Config", "b")


def test_a_removed_content_is_gone_and_removing_it_again_is_nothing(layout: Layout) -> None:
    remove_secret(layout, "Secret", "db")
    ensure_secret(layout, "Secret", "db", PASSWORD)
    for _ in range(2):
        remove_secret(layout, "Secret", "db")
    assert read_secret(layout, "Secret", "db") is None


@pytest.mark.vm
def test_a_container_gets_its_files_with_owner_and_mode(layout: Layout) -> None:
    ensure_secret(layout, "Secret", "db", PASSWORD)
    ensure_secret(layout, "Config", "db", b"port=1")
    entries = [
        Projected("Secret", "db", "password", uid=1000, gid=1001, mode=0o400),
        Projected("Config", "db", "db.conf"),
    ]
    directory = project(layout, "web", entries)
    password, config = directory / "password", directory / "db.conf"
    assert (password.read_bytes(), config.read_bytes()) == (PASSWORD, b"port=1")
    status = password.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1000, 1001, 0o400)
    assert config.stat().st_mode & 0o7777 == 0o444
    assert (directory.stat().st_mode & 0o7777, directory.stat().st_uid) == (0o755, 0)
    assert directory.is_relative_to(layout.secrets)
    assert read_projection(layout, "web") == {
        "db.conf": content_digest(layout, b"port=1"),
        "password": content_digest(layout, PASSWORD),
    }


def test_ids_are_shifted_for_a_container_whose_mounts_cannot_be_mapped(layout: Layout) -> None:
    ensure_secret(layout, "Secret", "db", PASSWORD)
    directory = project(layout, "web", [Projected("Secret", "db", "db", uid=5, gid=6)], 100000)
    status = (directory / "db").stat()
    assert (status.st_uid, status.st_gid) == (100005, 100006)
    assert directory.stat().st_uid == 100000


def test_files_that_are_right_are_left_alone_and_wrong_ones_replaced(layout: Layout) -> None:
    ensure_secret(layout, "Secret", "db", PASSWORD)
    entries = [Projected("Secret", "db", "db")]
    directory = project(layout, "web", entries)
    before = (directory / "db").stat().st_ino
    assert (project(layout, "web", entries) / "db").stat().st_ino == before
    for damage in (
        lambda: (directory / "db").chmod(0o777),
        lambda: os.chown(directory / "db", 5, 5),
        lambda: (directory / "db").unlink(),
        lambda: (directory / "extra").touch(),
        lambda: ensure_secret(layout, "Secret", "db", b"changed"),
    ):
        damage()
        project(layout, "web", entries)
        status = (directory / "db").stat()
        assert (status.st_uid, status.st_mode & 0o7777) == (0, 0o444)
        assert [path.name for path in directory.iterdir()] == ["db"]
    assert (directory / "db").read_bytes() == b"changed"
    assert [path.name for path in directory.parent.iterdir()] == ["web"]


def test_a_running_container_keeps_the_files_it_mounted(layout: Layout) -> None:
    ensure_secret(layout, "Secret", "db", PASSWORD)
    directory = project(layout, "web", [Projected("Secret", "db", "db")])
    target = layout.run / "mounted"
    target.touch()
    subprocess.run(["mount", "--bind", str(directory / "db"), str(target)], check=True)
    ensure_secret(layout, "Secret", "db", b"changed")
    project(layout, "web", [Projected("Secret", "db", "db")])
    assert target.read_bytes() == PASSWORD
    remove_projection(layout, "web")
    assert target.read_bytes() == PASSWORD


def test_what_a_killed_run_left_does_not_stay_in_the_way(layout: Layout) -> None:
    ensure_secret(layout, "Secret", "db", PASSWORD)
    directory = project(layout, "web", [Projected("Secret", "db", "db")])
    (directory.parent / ".web.gone").mkdir()
    (directory.parent / ".web.gone/x").touch()
    for _ in range(2):
        remove_projection(layout, "web")
    assert list(directory.parent.iterdir()) == []
    assert (project(layout, "web", [Projected("Secret", "db", "db")]) / "db").exists()


@pytest.mark.parametrize("file", ["", "..", "a/b", "/etc/passwd", ".hidden"])
def test_a_file_name_that_leads_elsewhere_is_refused(layout: Layout, file: str) -> None:
    ensure_secret(layout, "Secret", "db", PASSWORD)
    with pytest.raises(Refused, match="cannot name a file"):
        project(layout, "web", [Projected("Secret", "db", file)])


def test_names_that_lead_elsewhere_are_refused(layout: Layout) -> None:
    for call in (
        lambda: ensure_secret(layout, "Secret", "../x", b""),
        lambda: read_secret(layout, "../..", "x"),
        lambda: project(layout, "../x", []),
        lambda: remove_projection(layout, ".."),
    ):
        with pytest.raises(Refused, match="cannot name"):
            call()


def test_a_content_that_is_not_there_is_said_by_name(layout: Layout) -> None:
    with pytest.raises(RetryLater, match="Container/web give it its secrets: the content of Secret/db is not there"):
        project(layout, "web", [Projected("Secret", "db", "db")])


def test_an_error_never_holds_the_content(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents_store, "STORE_BYTES", 8192)
    big = PASSWORD * 5000
    with pytest.raises(RetryLater) as error:
        ensure_secret(layout, "Secret", "big", big)
    assert "No space left" in str(error.value)
    assert PASSWORD.decode() not in repr(error.value) + str(error.value) + repr(error.value.__cause__)
    with pytest.raises(Refused, match="larger than 1 MiB") as refused:
        ensure_secret(layout, "Secret", "big", PASSWORD * 200000)
    assert PASSWORD.decode() not in str(refused.value)


def test_a_tmpfs_that_knows_no_noswap_is_mounted_without(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    real = mount.new_mount

    def older(fstype: str, options: dict[str, str | None], attributes: int = 0) -> int:
        if "noswap" in options:
            raise OSError(22, "Invalid argument: tmpfs: Unknown parameter 'noswap'")
        return real(fstype, options, attributes)

    monkeypatch.setattr(mount, "new_mount", older)
    ensure_secret(layout, "Secret", "db", PASSWORD)
    (seen,) = mounts_below(read_mountinfo(), str(layout.secrets))
    assert "noswap" not in seen.super_options


def test_another_user_cannot_even_list_what_there_is(layout: Layout) -> None:
    ensure_secret(layout, "Secret", "db", PASSWORD)
    project(layout, "web", [Projected("Secret", "db", "db")])
    layout.run.parent.chmod(0o755)
    layout.run.chmod(0o755)
    probe = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", "ls", str(layout.secrets)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Permission denied" in probe.stderr
