"""The tar reader: every dialect that tools write, and every lie that a header can tell."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from runtime.images.limits import Limits
from runtime.images.unsound import Unsound
from tests.images.trees import file, hard_link, symlink, tar_of
from tests.images.unpacking import entries_of, extract

LONG = "directory/" * 30 + "name"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_each_format_of_the_standard_library_is_read(tmp_path: Path, form: int) -> None:
    content = tar_of(
        file("plain", b"content", mode=0o4755, uid=7, gid=8, mtime=1_000_000),
        symlink("link", "a/target"),
        hard_link("hard", "plain"),
        form=form,
    )
    plain, link, hard = entries_of(content, tmp_path)
    assert (plain.path, plain.kind, plain.mode, plain.uid, plain.gid) == (b"plain", b"0", 0o4755, 7, 8)
    assert (plain.size, plain.mtime_ns) == (7, 1_000_000 * 10**9)
    assert (link.kind, link.link) == (b"2", b"a/target")
    assert (hard.kind, hard.link) == (b"1", b"plain")


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_long_targets_are_read(tmp_path: Path, form: int) -> None:
    content = tar_of(file(LONG, b"x"), symlink(f"{LONG}-link", f"{LONG}-target"), file("after", b"y"), form=form)
    one, two, three = entries_of(content, tmp_path)
    assert one.path == LONG.encode()
    assert (two.path, two.link) == (f"{LONG}-link".encode(), f"{LONG}-target".encode())
    assert three.path == b"after"


def test_ustar_joins_prefix_and_name(tmp_path: Path) -> None:
    name = "p" * 100 + "/" + "n" * 90
    assert entries_of(tar_of(file(name), form=tarfile.USTAR_FORMAT), tmp_path)[0].path == name.encode()


def test_numbers_too_large_for_octal_are_read(tmp_path: Path) -> None:
    big = file("big", uid=3_000_000, gid=4_000_000_000, mtime=-5)
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        (entry,) = entries_of(tar_of(big, form=form), tmp_path)
        assert (entry.uid, entry.gid, entry.mtime_ns) == (3_000_000, 4_000_000_000, -5 * 10**9)


def test_pax_times_keep_their_nanoseconds(tmp_path: Path) -> None:
    for text, nanoseconds in (("1.5", 1_500_000_000), ("-1.5", -1_500_000_000), ("7.1234567899", 7_123_456_789)):
        info = tarfile.TarInfo("a")
        info.pax_headers = {"mtime": text}
        assert entries_of(tar_of(info), tmp_path)[0].mtime_ns == nanoseconds


def test_names_that_are_no_utf8_stay_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT):
        info = tarfile.TarInfo(name)
        content = tar_raw(info.tobuf(form, encoding="utf-8", errors="surrogateescape"))
        assert entries_of(content, tmp_path)[0].path == b"caf\xe9"


def test_global_pax_headers_hold_until_taken_back(tmp_path: Path) -> None:
    content = (
        pax_block({"uid": "77", "comment": "from git archive"}, b"g")
        + header(b"one")
        + pax_block({"uid": "5"}, b"x")
        + header(b"two")
        + pax_block({"uid": ""}, b"g")
        + header(b"three")
    )
    assert [entry.uid for entry in entries_of(tar_raw(content), tmp_path)] == [77, 5, 0]


def test_a_global_header_that_names_files_is_refused(tmp_path: Path) -> None:
    for key in ("path", "linkpath", "size", "GNU.sparse.map"):
        with pytest.raises(Unsound, match="global pax header"):
            entries_of(tar_raw(pax_block({key: "1"}, b"g") + header(b"a")), tmp_path)


def test_extended_attributes_of_pax_are_read_as_bytes(tmp_path: Path) -> None:
    content = pax_block({"SCHILY.xattr.user.a": b"\x00\xff\n=", "LIBARCHIVE.xattr.user.a": "AA=="}, b"x") + header(b"a")
    assert entries_of(tar_raw(content), tmp_path)[0].xattrs == {b"user.a": b"\x00\xff\n="}


# sparse files, as GNU tar writes them


@pytest.fixture
def sparse(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "source" / "sparse"
    path.parent.mkdir()
    with path.open("wb") as made:
        for index in range(60):
            made.seek(index * 300_000)
            made.write(bytes([index + 1]) * 5000)
        made.truncate(30_000_000)
    yield path


@pytest.mark.parametrize(
    "words",
    [
        ["--format=gnu"],
        ["--format=posix", "--sparse-version=0.0"],
        ["--format=posix", "--sparse-version=0.1"],
        ["--format=posix", "--sparse-version=1.0"],
    ],
    ids=lambda words: words[-1],
)
def test_sparse_files_of_every_notation_are_restored_with_their_holes(
    sparse: Path, tmp_path: Path, words: list[str]
) -> None:
    command = ["tar", *words, "--sparse", "-C", str(sparse.parent), "-cf", str(tmp_path / "made.tar"), "sparse"]
    subprocess.run(command, check=True)
    content = (tmp_path / "made.tar").read_bytes()
    assert len(content) < 1_000_000
    extract(content, tmp_path)
    restored = tmp_path / "tree/sparse"
    assert restored.read_bytes() == sparse.read_bytes()
    assert restored.stat().st_blocks * 512 < 1_000_000


def giant(size: int) -> bytes:
    """A file that says it is so large, and of which the archive holds a byte."""
    records = {"GNU.sparse.size": str(size), "GNU.sparse.map": f"{size - 1},1", "GNU.sparse.name": "a"}
    return tar_raw(pax_block(records, b"x") + header(b"a", size=1) + b"x".ljust(512, b"\0"))


def test_a_sparse_giant_takes_no_room_and_an_impossible_one_is_refused(tmp_path: Path) -> None:
    extract(giant(1 << 40), tmp_path)
    found = (tmp_path / "tree/a").stat()
    assert found.st_size == 1 << 40 and found.st_blocks * 512 < 1 << 20
    (tmp_path / "tree/a").unlink()
    (tmp_path / "tree").rmdir()
    with pytest.raises(Unsound, match=r"larger than the file system allows|the file system refuses"):
        extract(giant((1 << 63) - 1), tmp_path)


def test_a_sparse_map_that_lies_is_refused(tmp_path: Path) -> None:
    maps = ("0,10,5,10", "0,10,20,5", "0,-1", "0", "0,99999999999999999999", "5,1,0,1", "0,600")
    for text in maps:
        records = {"GNU.sparse.size": "512", "GNU.sparse.map": text, "GNU.sparse.name": "a"}
        content = tar_raw(pax_block(records, b"x") + header(b"a", size=10) + bytes(512))
        with pytest.raises(Unsound, match=r"sparse|no number"):
            entries_of(content, tmp_path)


def test_a_sparse_map_without_end_is_refused(tmp_path: Path) -> None:
    records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"}
    for text in (b"999999999999\n0\n1\n", b"2\n0\n", b"x\n", b"1" * 512):
        body = text.ljust(1024, b"\0")
        content = tar_raw(pax_block(records, b"x") + header(b"a", size=1024) + body)
        with pytest.raises(Unsound, match=r"sparse map|no number"):
            entries_of(content, tmp_path)


# lies


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    block = bytearray(header(b"a"))
    block[0] = ord("b")
    with pytest.raises(Unsound, match="checksum is wrong"):
        entries_of(tar_raw(bytes(block)), tmp_path)
    with pytest.raises(Unsound, match="no checksum"):
        entries_of(b"hello world " * 200, tmp_path)


def test_a_checksum_of_signed_bytes_as_old_tars_wrote_is_read(tmp_path: Path) -> None:
    block = bytearray(header(b"caf\xe9"))
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + b" " * 8 + block[156:])
    block[148:156] = b"%06o\0 " % signed
    assert entries_of(tar_raw(bytes(block)), tmp_path)[0].path == b"caf\xe9"


@pytest.mark.parametrize("cut", [100, 511, 512 + 100, 512 * 3 - 1])
def test_a_cut_off_archive_is_refused(tmp_path: Path, cut: int) -> None:
    content = tar_of(file("a", b"x" * 1000))[:cut]
    with pytest.raises(Unsound, match="cut off"):
        extract(content, tmp_path)


def test_an_archive_may_end_without_its_zeros_or_with_rubbish_after_them(tmp_path: Path) -> None:
    assert len(entries_of(header(b"a"), tmp_path)) == 1
    assert len(entries_of(header(b"a") + bytes(1024) + b"rubbish" * 99, tmp_path)) == 1


def test_a_lone_block_of_zeros_before_a_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsound, match="single block of zeros"):
        entries_of(header(b"a") + bytes(512) + header(b"b"), tmp_path)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (b"5 a=b\n", "malformed"),
        (b"99 a=b\n", "malformed"),
        (b"6 a=b\n", None),
        (b"0 a=b\n", "malformed"),
        (b"-6 a=b\n", "no length"),
        (b"6_ a=b\n", "no length"),
        (b"rubbish", "no length"),
        (b"5 =b\n", "malformed"),
        (b"7 a=b \n6 x", "malformed"),
        (b"18 path=a\0bcdefgh\n", "holds a NUL"),
        (b"12 size=-10\n", "no number"),
        (b"12 size=1_0\n", "no number"),
        (b"30 size=1000000000000000000000\n"[:30], "malformed|no number"),
        (b"13 mtime=abc\n", "no number"),
        (b"14 uid=9999999999\n"[:14], "malformed"),
        (b"18 uid=9999999999\n", "out of range"),
        (b"18 uid=4294967295\n", "out of range"),
    ],
)
def test_pax_records_are_read_to_the_letter(tmp_path: Path, records: bytes, said: str | None) -> None:
    content = tar_raw(header(b"pax", kind=b"x", size=len(records)) + records.ljust(512, b"\0") + header(b"a"))
    if said is None:
        assert len(entries_of(content, tmp_path)) == 1
        return
    with pytest.raises(Unsound, match=said):
        entries_of(content, tmp_path)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_an_extended_header_beyond_its_bound_is_refused_before_it_is_read(tmp_path: Path, kind: bytes) -> None:
    content = header(b"pax", kind=kind, size=100 << 20)
    with pytest.raises(Unsound, match="extended header of 104857600 bytes; at most"):
        entries_of(content, tmp_path)
    with pytest.raises(Unsound, match="cut off inside an extended header"):
        entries_of(header(b"pax", kind=kind, size=512), tmp_path)


def test_an_archive_that_ends_after_an_extended_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsound, match="ends after an extended header"):
        entries_of(tar_raw(pax_block({"path": "b"}, b"x")), tmp_path)


def test_sizes_below_zero_and_beyond_63_bits_are_refused(tmp_path: Path) -> None:
    for field in (b"\xff" * 12, b"\x80" + b"\x7f" * 11, b"99999999999\0", b"1_000000000\0", b"-0000000001\0"):
        block = bytearray(header(b"a"))
        block[124:136] = field
        with pytest.raises(Unsound, match=r"out of range|no number"):
            entries_of(tar_raw(checked(block)), tmp_path)


def test_unknown_kinds_are_refused(tmp_path: Path) -> None:
    for kind in (b"M", b"N", b"Z", b"A", b"\x80"):
        with pytest.raises(Unsound, match="does not know"):
            entries_of(tar_raw(header(b"a", kind=kind)), tmp_path)


def test_a_directory_or_link_that_claims_a_size_has_no_content(tmp_path: Path) -> None:
    """As Go's archive/tar reads it, so that both engines see the same entries."""
    content = header(b"d", kind=b"5", size=512) + header(b"a") + header(b"l", kind=b"2", size=99) + header(b"b")
    assert [entry.path for entry in entries_of(tar_raw(content), tmp_path)] == [b"d", b"a", b"l", b"b"]


def test_device_numbers_that_no_kernel_knows_are_refused(tmp_path: Path) -> None:
    for field in (b"0010000\0", b"\x80\0\0\0\xff\xff\xff\xff", b"\xff" * 8):
        block = bytearray(header(b"a", kind=b"3"))
        block[329:337] = field
        with pytest.raises(Unsound, match="device number is out of range"):
            entries_of(tar_raw(checked(block)), tmp_path)


def test_an_endless_sparse_map_meets_the_limit(tmp_path: Path) -> None:
    block = bytearray(header(b"a", kind=b"S"))
    block[386:410] = b"00000000000\x0000000000000\0"
    block[482] = 1
    more = b"00000000000\x0000000000000\0" * 21 + b"\1" + bytes(7)
    with pytest.raises(Unsound, match="sparse map is too long"):
        entries_of(checked(block) + more * 3000, tmp_path, Limits(extended_header=1 << 16))


def header(path: bytes, *, kind: bytes = b"0", size: int = 0) -> bytes:
    """A header by hand."""
    block = bytearray(512)
    block[: len(path)] = path
    block[100:108] = b"0000644\0"
    block[108:116] = block[116:124] = b"0000000\0"
    block[124:136] = b"%011o\0" % size
    block[136:148] = b"%011o\0" % 0
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    return checked(block)


def checked(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax_block(records: Mapping[str, str | bytes], kind: bytes) -> bytes:
    body = b""
    for key, value in records.items():
        rest = b" %s=%s\n" % (key.encode(), value.encode() if isinstance(value, str) else value)
        length = len(rest) + len(str(len(rest)))
        length = len(rest) + len(str(length))
        body += b"%d" % length + rest
    return header(b"pax", kind=kind, size=len(body)) + body + bytes(-len(body) % 512)


def tar_raw(content: bytes) -> bytes:
    return content + bytes(1024)
