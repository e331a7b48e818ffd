"""The blob store: what is verified, what a kill leaves, what two writers of one digest do to each other."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.images.blobs import BlobStore, DigestMismatch
from runtime.images.digests import digest_of
from runtime.layout import Layout
from schemas.errors import Refused, RetryLater

CONTENT = b"layer " * 50_000
DIGEST = digest_of(CONTENT)


@pytest.fixture
def store(layout: Layout) -> BlobStore:
    return BlobStore(layout)


def test_a_blob_is_found_by_its_digest_after_commit_and_not_before(store: BlobStore) -> None:
    with store.write(DIGEST, len(CONTENT)) as writer:
        writer.write(CONTENT)
        assert not store.has(DIGEST)
        assert writer.commit() == DIGEST
    assert store.has(DIGEST, len(CONTENT))
    assert not store.has(DIGEST, 1)
    assert store.path(DIGEST).read_bytes() == CONTENT
    assert list(store.digests()) == [DIGEST]
    assert list(store.partials()) == []


def test_a_blob_of_unknown_digest_gets_the_digest_of_its_bytes(store: BlobStore) -> None:
    with store.write() as writer:
        writer.write(CONTENT)
        assert writer.commit() == DIGEST
    assert store.read(DIGEST, 1 << 20) == CONTENT


def test_wrong_bytes_are_refused_and_not_kept(store: BlobStore) -> None:
    with store.write(DIGEST) as writer, pytest.raises(DigestMismatch, match="are sha256:"):
        writer.write(b"other")
        writer.commit()
    assert not store.has(DIGEST)
    assert list(store.partials()) == []


def test_more_bytes_than_announced_are_refused_before_they_are_written(store: BlobStore) -> None:
    with store.write(DIGEST, 10) as writer, pytest.raises(DigestMismatch, match="longer than the 10 bytes"):
        writer.write(CONTENT)
    assert list(store.partials()) == []


def test_a_broken_off_download_goes_on_where_it_ended(store: BlobStore) -> None:
    with store.write(DIGEST, len(CONTENT)) as writer, pytest.raises(RetryLater, match="ended after 1000 of"):
        writer.write(CONTENT[:1000])
        writer.commit()
    with store.write(DIGEST, len(CONTENT)) as writer:
        assert writer.resume_offset == 1000
        writer.write(CONTENT[1000:])
        writer.commit()
    assert store.read(DIGEST, 1 << 20) == CONTENT


def test_a_resumed_download_may_start_again(store: BlobStore) -> None:
    with store.write(DIGEST) as writer:
        writer.write(b"rubbish that some proxy sent")
    with store.write(DIGEST) as writer:
        assert writer.resume_offset > 0
        writer.restart()
        writer.write(CONTENT)
        writer.commit()
    assert store.has(DIGEST)


def test_a_partial_longer_than_the_blob_is_dropped(store: BlobStore) -> None:
    with store.write(DIGEST) as writer:
        writer.write(CONTENT + CONTENT)
    with store.write(DIGEST, len(CONTENT)) as writer:
        assert writer.resume_offset == 0


def test_two_writers_of_one_digest_both_succeed(store: BlobStore) -> None:
    with store.write(DIGEST) as first, store.write(DIGEST) as second:
        first.write(CONTENT[:7])
        second.write(CONTENT)
        second.commit()
        first.write(CONTENT[7:])
        first.commit()
    assert store.read(DIGEST, 1 << 20) == CONTENT
    assert list(store.partials()) == []


def test_many_threads_writing_one_digest_leave_one_whole_blob(store: BlobStore) -> None:
    failures: list[BaseException] = []

    def write() -> None:
        try:
            with store.write(DIGEST, len(CONTENT)) as writer:
                writer.restart()
                for start in range(0, len(CONTENT), 10_000):
                    writer.write(CONTENT[start : start + 10_000])
                writer.commit()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.read(DIGEST, 1 << 20) == CONTENT
    assert list(store.partials()) == []


@pytest.mark.parametrize(
    "text", ["", "sha256:", "sha256:../../etc/passwd", "md5:" + "0" * 32, DIGEST.upper(), DIGEST + "\n"]
)
def test_only_a_digest_becomes_a_path(store: BlobStore, text: str) -> None:
    with pytest.raises(Refused, match="is not a digest"):
        store.path(text)


def test_a_blob_edited_by_hand_is_noticed_when_read(store: BlobStore) -> None:
    store.add(CONTENT)
    store.path(DIGEST).write_bytes(b"x" * len(CONTENT))
    with pytest.raises(DigestMismatch, match="damaged"):
        store.read(DIGEST, 1 << 20)


def test_deleting_a_blob_twice_is_no_error(store: BlobStore) -> None:
    store.add(CONTENT)
    store.delete(DIGEST)
    store.delete(DIGEST)
    assert not store.has(DIGEST)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], check=True)
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.kernel
def test_a_full_disk_says_so_gives_the_space_back_and_damages_nothing(small_disk: Path) -> None:
    store = BlobStore(Layout(root=small_disk, run=small_disk))
    kept = store.add(b"kept")
    free = os.statvfs(small_disk).f_bfree
    with store.write(DIGEST, len(CONTENT)) as writer, pytest.raises(RetryLater, match="no space is left") as caught:
        writer.write(CONTENT)
    assert caught.value.hint
    assert os.statvfs(small_disk).f_bfree == free
    assert store.read(kept, 100) == b"kept"


@pytest.mark.parametrize("part", [3, 7])
def test_what_a_killed_maker_left_of_a_small_blob_does_not_stand_in_the_way(layout: Layout, part: int) -> None:
    store, content = BlobStore(layout), b"content"
    with suppress(KeyboardInterrupt), store.write(digest_of(content), len(content)) as writer:
        writer.write(content[:part])
        raise KeyboardInterrupt
    assert store.add(content) == digest_of(content)
    assert store.read(digest_of(content), 100) == content
