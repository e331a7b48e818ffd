"""The extractor: hostile layers write nothing outside, and honest ones become exactly the tree they tell of."""

from __future__ import annotations

import os
import socket
import stat
import tarfile
from pathlib import Path

import pytest

from runtime.images.limits import Limits
from runtime.images.unsound import Unsound
from tests.images.trees import Member, directory, file, hard_link, listing, names, open_descriptors, symlink, tar_of
from tests.images.unpacking import extract

pytestmark = pytest.mark.kernel


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What a hostile layer aims at: a directory beside the tree, with a file in it."""
    place = tmp_path / "outside"
    place.mkdir()
    (place / "secret").write_text("untouched")
    os.utime(place, (1, 1))
    return place


def untouched(outside: Path) -> bool:
    return (outside / "secret").read_text() == "untouched" and names(outside) == ["secret"]


# paths that lead out


@pytest.mark.parametrize("name", ["../outside/x", "a/../../outside/x", "..", "a/..", "./../outside/x", "/../outside/x"])
def test_a_name_that_climbs_is_refused(tmp_path: Path, outside: Path, name: str) -> None:
    with pytest.raises(Unsound, match=r"climbs with '\.\.'"):
        extract(tar_of(file(name, b"evil")), tmp_path)
    assert untouched(outside)


def test_an_absolute_name_stays_inside(tmp_path: Path, outside: Path) -> None:
    extract(tar_of(file(f"{outside}/secret", b"evil")), tmp_path)
    assert untouched(outside)
    assert (tmp_path / "tree" / str(outside)[1:] / "secret").read_bytes() == b"evil"


@pytest.mark.parametrize("aim", ["{outside}", "../outside", "../../../../../../..{outside}", "self/../../outside"])
def test_writing_through_a_link_aimed_outside_stays_inside(tmp_path: Path, outside: Path, aim: str) -> None:
    target = aim.format(outside=outside)
    extract(tar_of(symlink("self", "."), symlink("out", target), file("out/secret", b"evil")), tmp_path)
    assert untouched(outside)
    assert (tmp_path / "tree/out").readlink() == Path(target)
    assert b"evil" in [path.read_bytes() for path in (tmp_path / "tree").rglob("secret")]


def test_a_chain_of_links_stays_inside(tmp_path: Path, outside: Path) -> None:
    members: list[Member] = [
        directory("a"),
        symlink("a/up", ".."),
        symlink("b", "a/up/.."),
        symlink("c", "b/../outside"),
    ]
    extract(tar_of(*members, file("c/secret", b"evil"), file("a/up/top", b"t")), tmp_path)
    assert untouched(outside)
    assert (tmp_path / "tree/outside/secret").read_bytes() == b"evil"
    assert (tmp_path / "tree/top").read_bytes() == b"t"


def test_a_file_replaces_a_link_instead_of_being_written_through_it(tmp_path: Path, outside: Path) -> None:
    extract(tar_of(symlink("x", f"{outside}/secret"), file("x", b"evil")), tmp_path)
    assert untouched(outside)
    assert not (tmp_path / "tree/x").is_symlink()


def test_a_directory_entry_replaces_a_link_and_its_metadata_stay_inside(tmp_path: Path, outside: Path) -> None:
    outside.chmod(0o711)
    extract(tar_of(symlink("x", str(outside)), directory("x", 0o777, uid=99), file("x/secret", b"evil")), tmp_path)
    assert untouched(outside)
    assert (outside.stat().st_mode & 0o777, outside.stat().st_uid) == (0o711, 0)


def test_a_directory_whose_place_a_link_took_gives_its_metadata_to_nothing(tmp_path: Path, outside: Path) -> None:
    outside.chmod(0o711)
    extract(tar_of(directory("x", 0o777, uid=99), directory("x/y", 0o777), symlink("x", str(outside))), tmp_path)
    assert (outside.stat().st_mode & 0o777, outside.stat().st_uid) == (0o711, 0)
    assert (tmp_path / "tree/x").is_symlink()


@pytest.mark.parametrize("target", ["../outside/secret", "{outside}/secret", "link/secret", "nowhere", ""])
def test_a_hard_link_to_what_the_layer_does_not_hold_is_refused(tmp_path: Path, outside: Path, target: str) -> None:
    members = tar_of(symlink("link", str(outside)), hard_link("x", target.format(outside=outside)))
    with pytest.raises(Unsound):
        extract(members, tmp_path)
    assert (outside / "secret").stat().st_nlink == 1


def test_a_hard_link_to_a_link_is_a_second_name_of_the_link(tmp_path: Path, outside: Path) -> None:
    extract(tar_of(symlink("one", f"{outside}/secret"), hard_link("two", "one")), tmp_path)
    assert (tmp_path / "tree/two").readlink() == outside / "secret"
    assert (outside / "secret").stat().st_nlink == 1


def test_writing_through_a_hard_link_changes_no_other_layer(tmp_path: Path) -> None:
    extract(tar_of(file("a", b"one"), hard_link("b", "a"), file("b", b"two")), tmp_path)
    assert ((tmp_path / "tree/a").read_bytes(), (tmp_path / "tree/b").read_bytes()) == (b"one", b"two")


@pytest.mark.parametrize("loop", [("a", "a"), ("a", "./a/b")])
def test_a_loop_of_links_is_refused(tmp_path: Path, loop: tuple[str, str]) -> None:
    with pytest.raises(Unsound, match="loop of links"):
        extract(tar_of(symlink(*loop), file("a/x")), tmp_path)


def test_a_long_chain_of_links_is_refused(tmp_path: Path) -> None:
    links = [symlink(f"l{index}", f"l{index + 1}") for index in range(100)]
    with pytest.raises(Unsound, match="loop of links"):
        extract(tar_of(*links, directory("l100"), file("l0/x")), tmp_path)


def test_a_link_to_itself_through_many_parts_ends(tmp_path: Path) -> None:
    target = "/".join(["a"] * 1000)
    with pytest.raises(Unsound, match="loop of links"):
        extract(tar_of(symlink("a", target), file("a/x")), tmp_path)


# device nodes


@pytest.mark.parametrize(
    ("kind", "major", "minor"), [(tarfile.BLKTYPE, 8, 0), (tarfile.CHRTYPE, 1, 1), (tarfile.BLKTYPE, 1, 3)]
)
def test_device_nodes_are_refused_unless_allowed(tmp_path: Path, kind: bytes, major: int, minor: int) -> None:
    content = tar_of(file("dev/x", b"", type=kind, devmajor=major, devminor=minor))
    with pytest.raises(Unsound, match=rf"device node {major}:{minor}"):
        extract(content, tmp_path)
    assert not (tmp_path / "tree/dev/x").exists()
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    extract(content, allowed, Limits(device_nodes=True))
    assert (allowed / "tree/dev/x").stat().st_rdev == os.makedev(major, minor)


def test_the_nodes_that_every_container_has_are_made(tmp_path: Path) -> None:
    extract(tar_of(file("dev/null", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)), tmp_path)
    made = (tmp_path / "tree/dev/null").stat()
    assert (stat.S_IFMT(made.st_mode), made.st_rdev, made.st_mode & 0o777) == (stat.S_IFCHR, os.makedev(1, 3), 0o666)


def test_a_fifo_is_made_and_nobody_waits_on_it(tmp_path: Path) -> None:
    extract(tar_of(file("pipe", b"", type=tarfile.FIFOTYPE, mode=0o620, uid=3), file("pipe2", b"x")), tmp_path)
    assert stat.S_ISFIFO((tmp_path / "tree/pipe").stat().st_mode)


# whiteouts


def test_a_whiteout_becomes_overlays(tmp_path: Path) -> None:
    extract(tar_of(file("etc/.wh.gone"), file("etc/.wh..wh..opq"), file(".wh..wh.plnk")), tmp_path)
    tree = tmp_path / "tree"
    assert is_whiteout(tree / "etc/gone")
    assert os.getxattr(tree / "etc", "trusted.overlay.opaque") == b"y"
    assert names(tree) == ["etc"]
    assert names(tree / "etc") == ["gone"]


def test_a_whiteout_hides_nothing_of_its_own_layer_in_either_order(tmp_path: Path) -> None:
    """image-spec layer.md: whiteouts apply to lower layers only; what was there below is hidden all the same."""
    before: list[Member] = [file(".wh.f"), file("f", b"new"), file(".wh.d"), directory("d"), file("d/x", b"new")]
    for name, members in (("one", before), ("two", [*before[1:2], before[0], *before[3:], before[2]])):
        place = tmp_path / name
        place.mkdir()
        extract(tar_of(*members), place)
        assert (place / "tree/f").read_bytes() == b"new"
        assert (place / "tree/d/x").read_bytes() == b"new"
        assert os.getxattr(place / "tree/d", "trusted.overlay.opaque") == b"y"


def test_an_implied_directory_over_a_whiteout_is_opaque(tmp_path: Path) -> None:
    extract(tar_of(file(".wh.d"), file("d/x", b"new")), tmp_path)
    assert os.getxattr(tmp_path / "tree/d", "trusted.overlay.opaque") == b"y"


@pytest.mark.parametrize("name", [".wh.", "a/.wh..", "a/.wh..."])
def test_a_whiteout_of_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unsound, match="whiteout of no name"):
        extract(tar_of(file(name)), tmp_path)


def test_a_whiteout_with_content_does_not_shift_what_follows(tmp_path: Path) -> None:
    extract(tar_of(file(".wh.x", b"content" * 200), file("y", b"kept")), tmp_path)
    assert (tmp_path / "tree/y").read_bytes() == b"kept"


# metadata


def test_modes_owners_and_times_are_kept(tmp_path: Path) -> None:
    extract(
        tar_of(
            directory("d", 0o2711, uid=5, gid=6, mtime=111),
            file("d/f", b"x", mode=0o4750, uid=7, gid=8, mtime=222),
            file("d/g", b"", mode=0o640, mtime=333),
        ),
        tmp_path,
    )
    tree = tmp_path / "tree"
    for name, expected in (
        ("d", (0o2711, 5, 6, 111)),
        ("d/f", (0o4750, 7, 8, 222)),
        ("d/g", (0o640, 0, 0, 333)),  # not the group of the setgid directory
    ):
        seen = (tree / name).stat()
        assert (seen.st_mode & 0o7777, seen.st_uid, seen.st_gid, int(seen.st_mtime)) == expected


def test_a_link_keeps_its_own_owner_and_time(tmp_path: Path) -> None:
    info = tarfile.TarInfo("l")
    info.type, info.linkname, info.uid, info.gid, info.mtime = tarfile.SYMTYPE, "/etc/passwd", 9, 9, 444
    extract(tar_of(info), tmp_path)
    seen = (tmp_path / "tree/l").lstat()
    assert (seen.st_uid, seen.st_gid, int(seen.st_mtime)) == (9, 9, 444)


def test_file_capabilities_are_kept_and_what_speaks_to_overlay_is_dropped(tmp_path: Path) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    members = []
    for kind, name in ((tarfile.REGTYPE, "f"), (tarfile.DIRTYPE, "d")):
        info = tarfile.TarInfo(name)
        info.type, info.uid = kind, 5
        info.pax_headers = {
            "SCHILY.xattr.trusted.overlay.opaque": "y",
            "SCHILY.xattr.trusted.overlay.redirect": "/etc",
            "SCHILY.xattr.user.overlay.opaque": "y",
            "SCHILY.xattr.security.selinux": "system_u:object_r:etc_t:s0",
            "SCHILY.xattr.user.kept": "yes",
        }
        if kind == tarfile.REGTYPE:
            info.pax_headers["SCHILY.xattr.security.capability"] = os.fsdecode(capability)
        members.append(info)
    extractor = extract(tar_of(*members), tmp_path)
    tree = tmp_path / "tree"
    assert set(os.listxattr(tree / "f")) == {"security.capability", "user.kept"}
    assert os.getxattr(tree / "f", "security.capability") == capability
    assert os.listxattr(tree / "d") == ["user.kept"]
    assert extractor.skipped_xattrs == 8


def test_names_that_are_no_utf8_stay_bytes(tmp_path: Path) -> None:
    extract(tar_of(file(os.fsdecode(b"caf\xe9"), b"x"), form=tarfile.GNU_FORMAT), tmp_path)
    assert [os.fsencode(name) for name in names(tmp_path / "tree")] == [b"caf\xe9"]


# entries that replace entries


def test_the_last_of_several_entries_of_one_name_wins(tmp_path: Path) -> None:
    extract(tar_of(file("a", b"one", mode=0o600), file("a", b"two", mode=0o644)), tmp_path)
    assert (tmp_path / "tree/a").read_bytes() == b"two"
    assert (tmp_path / "tree/a").stat().st_mode & 0o777 == 0o644


def test_a_file_replaces_a_directory_and_a_directory_a_file(tmp_path: Path) -> None:
    extract(
        tar_of(
            directory("a", 0o700, uid=5),
            file("a/b/c", b"old"),
            file("a", b"file"),
            directory("a", 0o750),
            file("a/b/d", b"new"),
            file("e", b"file"),
            directory("e"),
        ),
        tmp_path,
    )
    tree = tmp_path / "tree"
    assert names(tree / "a/b") == ["d"]
    assert ((tree / "a").stat().st_mode & 0o777, (tree / "a").stat().st_uid) == (0o750, 0)
    assert (tree / "e").is_dir()


def test_a_directory_named_twice_keeps_its_content_and_takes_the_later_metadata(tmp_path: Path) -> None:
    extract(tar_of(directory("a", 0o700), file("a/b", b"x"), directory("a", 0o711, mtime=5)), tmp_path)
    assert (tmp_path / "tree/a/b").read_bytes() == b"x"
    assert (tmp_path / "tree/a").stat().st_mode & 0o777 == 0o711
    assert int((tmp_path / "tree/a").stat().st_mtime) == 5


def test_a_path_that_a_replaced_link_led_elsewhere_is_looked_up_again(tmp_path: Path) -> None:
    extract(
        tar_of(directory("one"), directory("two"), symlink("l", "one"), file("l/a"), symlink("l", "two"), file("l/b")),
        tmp_path,
    )
    assert (names(tmp_path / "tree/one"), names(tmp_path / "tree/two")) == (["a"], ["b"])


def test_a_hard_link_named_twice_is_no_error(tmp_path: Path) -> None:
    extract(tar_of(file("a", b"x"), hard_link("b", "a"), hard_link("b", "a"), hard_link("a", "a")), tmp_path)
    assert (tmp_path / "tree/a").stat().st_nlink == 2


def test_a_file_where_a_directory_is_needed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsound, match="a file stands where a directory is needed"):
        extract(tar_of(file("a", b"x"), file("a/b", b"y")), tmp_path)


def test_a_top_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    for member in (file("./", b"x"), symlink(".", "/etc"), hard_link("/", "a")):
        place = tmp_path / str(id(member))
        place.mkdir()
        with pytest.raises(Unsound, match=r"top is not a directory|hard link"):
            extract(tar_of(member), place)


def test_what_the_layer_says_nothing_of_is_implied(tmp_path: Path) -> None:
    extractor = extract(tar_of(file("a/b/c"), directory("a"), file("d/.wh.x"), file("e/f"), file("e", b"")), tmp_path)
    assert extractor.implied == {b"", b"a/b", b"d"}
    assert (tmp_path / "tree/a/b").stat().st_mode & 0o7777 == 0o755


# bounds


def test_too_many_entries_too_deep_and_too_long_are_refused(tmp_path: Path) -> None:
    for number, (content, limits, said) in enumerate(
        (
            (tar_of(*(file(f"f{index}") for index in range(20))), Limits(entries=10), "more than 10 entries"),
            (tar_of(*(directory(f"d{index}") for index in range(20))), Limits(directories=10), "10 directories"),
            (tar_of(file("a/" * 15 + "b")), Limits(directories=10), "10 directories"),
            (tar_of(file("a/" * 300 + "b")), Limits(), "256 components"),
            (tar_of(file("a" * 5000)), Limits(), "4095 bytes"),
            (tar_of(file("a" * 256)), Limits(), "too long"),
            (tar_of(symlink("a", "b" * 5000)), Limits(), "too long"),
            (tar_of(symlink("a", "")), Limits(), "link to something"),
            (tar_of(file("a", b"x" * 5000)), Limits(bytes=4000), "larger than 4000 bytes"),
        )
    ):
        place = tmp_path / str(number)
        place.mkdir()
        with pytest.raises(Unsound, match=said):
            extract(content, place, limits)


def test_names_of_directories_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    deep = "/".join(["n" * 200] * 18)
    with pytest.raises(Unsound, match="names and attributes of directories take more than"):
        extract(tar_of(*(file(f"{index}/{deep}/f") for index in range(1000))), tmp_path)


def test_few_descriptors_stay_open_however_many_directories_there_are(tmp_path: Path) -> None:
    before = open_descriptors()
    members = [file(f"d{index}/{'x/' * 10}f", b"") for index in range(400)]
    extract(tar_of(*members), tmp_path)
    assert len(list((tmp_path / "tree").rglob("f"))) == 400
    assert open_descriptors() == before


def test_a_refused_layer_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = open_descriptors()
    with pytest.raises(Unsound):
        extract(tar_of(directory("a"), file("a/b/c", b"x"), file("..", b"")), tmp_path)
    assert open_descriptors() == before


def test_nothing_but_the_tree_was_made(tmp_path: Path, outside: Path) -> None:
    """The whole zoo at once, and then a look at everything beside the tree."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(outside / "socket"))
    before = listing(outside)
    extract(
        tar_of(
            symlink("a", str(outside)),
            file("a/secret", b"evil"),
            directory("a/new", 0o777),
            symlink("b", "/proc/self/cwd/.."),
            file("b/x", b""),
            file("a/.wh.secret"),
            file("a/.wh..wh..opq"),
        ),
        tmp_path,
    )
    assert listing(outside) == before
    listener.close()


def is_whiteout(path: Path) -> bool:
    seen = path.lstat()
    return stat.S_ISCHR(seen.st_mode) and seen.st_rdev == 0
