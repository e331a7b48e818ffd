"""A git repository as a source, with real repositories over file://."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from reconciler.sources.git.followed import FollowedRepository
from reconciler.sources.revision import Revision
from schemas.source import GitSource
from tests.sources.following import follow, run
from tests.sources.repositories import Repository


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "shop")
    made.commit("first", a_yaml="a: 1\n")
    return made


def source(origin: Repository, tmp_path: Path, interval: float = 3600, **fields: Any) -> FollowedRepository:
    git = GitSource.model_validate({"url": origin.url, **fields})
    return FollowedRepository(git, tmp_path / "state", interval=interval, timeout=30)


def texts(revision: Revision) -> dict[str, bytes]:
    return {text.name: text.text for text in revision.texts if isinstance(text.text, bytes)}


def first_of(followed: FollowedRepository) -> Revision:
    async def look() -> Revision:
        async with follow(followed) as following:
            return await following.revision()

    return asyncio.run(look())


def trouble_of(followed: FollowedRepository) -> str:
    async def look() -> str:
        async with follow(followed) as following:
            return (await following.trouble()).message

    return asyncio.run(look())


def test_the_branch_is_followed_from_commit_to_commit(origin: Repository, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with follow(source(origin, tmp_path, interval=0.2)) as following:
            first = await following.revision()
            assert (first.message, texts(first)) == ("first", {"a.yaml": b"a: 1\n"})
            second = origin.commit("second", a_yaml="a: 2\n", b_yaml="b: 1\n")
            revision = await following.revision()
            assert revision.commit == revision.id == second
            assert texts(revision) == {"a.yaml": b"a: 2\n", "b.yaml": b"b: 1\n"}
            await following.silence()

    run(scenario)


def test_fetch_now_does_not_wait_for_the_interval(origin: Repository, tmp_path: Path) -> None:
    async def scenario() -> None:
        followed = source(origin, tmp_path)
        async with follow(followed) as following:
            await following.revision()
            commit = origin.commit("second", a_yaml="a: 2\n")
            followed.fetch_now()
            assert (await following.revision()).commit == commit

    run(scenario)


def test_branch_tag_commit_and_range_choose_what_is_followed(origin: Repository, tmp_path: Path) -> None:
    commits = {}
    for version in ("v1.0.0", "v1.2.0", "v2.0.0", "v1.3.0-rc.1"):
        commits[version] = origin.commit(version, a_yaml=f"a: {version}\n")
        origin.git("tag", "-a", version, "-m", version)
    origin.git("checkout", "-qb", "next")
    commits["next"] = origin.commit("next", a_yaml="a: next\n")
    origin.git("checkout", "-q", "main")
    commits["main"] = origin.git("rev-parse", "main")
    wanted: list[tuple[dict[str, Any], str]] = [
        ({"branch": "next"}, "next"),
        ({}, "main"),
        ({"tag": "v1.0.0"}, "v1.0.0"),
        ({"semver": "^1.0"}, "v1.2.0"),
        ({"semver": "*"}, "v2.0.0"),
        ({"commit": commits["v1.2.0"]}, "v1.2.0"),
    ]
    for number, (fields, name) in enumerate(wanted):
        assert first_of(source(origin, tmp_path / str(number), **fields)).commit == commits[name], fields


def test_a_new_tag_in_the_range_is_followed(origin: Repository, tmp_path: Path) -> None:
    async def scenario() -> None:
        origin.git("tag", "v1.0.0")
        async with follow(source(origin, tmp_path, interval=0.2, semver="1.x")) as following:
            await following.revision()
            commit = origin.commit("better", a_yaml="a: 2\n")
            origin.git("tag", "v1.0.1")
            assert (await following.revision()).commit == commit
            origin.commit("too new", a_yaml="a: 3\n")
            origin.git("tag", "v2.0.0")
            await following.silence()

    run(scenario)


def test_a_path_is_the_directory_or_the_file(origin: Repository, tmp_path: Path) -> None:
    for name in ("deploy/web.yaml", "deploy/sub/db.yaml", "deploy/.hidden/x.yaml", "deploy/notes.txt", "other/c.yaml"):
        origin.write(name, f"name: {name}\n")
    origin.commit("more")
    directory = first_of(source(origin, tmp_path / "1", path="deploy"))
    assert [text.name for text in directory.texts] == ["deploy/sub/db.yaml", "deploy/web.yaml"]
    assert [text.name for text in first_of(source(origin, tmp_path / "2", path="deploy/web.yaml")).texts] == [
        "deploy/web.yaml"
    ]
    assert "has no nowhere" in trouble_of(source(origin, tmp_path / "3", path="nowhere"))
    shutil.rmtree(origin.path / "deploy")
    origin.commit("less")
    assert "has no deploy" in trouble_of(source(origin, tmp_path / "4", path="deploy"))


def test_a_commit_without_manifests_is_a_trouble(origin: Repository, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with follow(source(origin, tmp_path, interval=0.2)) as following:
            await following.revision()
            (origin.path / "a.yaml").unlink()
            commit = origin.commit("emptied", README_md="hello")
            trouble = await following.trouble()
            assert "no manifests" in trouble.message
            assert trouble.commit == commit

    run(scenario)


def test_the_copy_is_shallow_and_has_no_work_tree(origin: Repository, tmp_path: Path) -> None:
    for number in range(5):
        origin.commit(f"commit {number}", a_yaml=f"a: {number}\n")
    followed = source(origin, tmp_path)
    revision = first_of(followed)
    copy = Repository(tmp_path / "state/repository", {"core.bare": "true"})
    assert copy.git("--git-dir=.", "rev-list", "--count", revision.commit) == "1"
    assert not followed.tree.exists()


def test_a_repository_that_is_not_there_is_a_trouble_that_ends(origin: Repository, tmp_path: Path) -> None:
    async def scenario() -> None:
        origin.path.rename(tmp_path / "away")
        async with follow(source(origin, tmp_path, interval=0.2)) as following:
            assert "shop" in (await following.trouble()).message
            (tmp_path / "away").rename(origin.path)
            assert texts(await following.revision()) == {"a.yaml": b"a: 1\n"}

    run(scenario)


def test_a_copy_that_is_damaged_is_fetched_again(origin: Repository, tmp_path: Path) -> None:
    first_of(source(origin, tmp_path))
    for file in (tmp_path / "state/repository").rglob("*"):
        if file.is_file() and "objects" in file.parts:
            file.chmod(0o600)
            file.write_bytes(b"garbage")
    assert texts(first_of(source(origin, tmp_path))) == {"a.yaml": b"a: 1\n"}


def test_hooks_and_settings_of_others_are_not_used(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f'[core]\n\tfsmonitor = "touch {tmp_path}/ran"\n[url "file:///nowhere/"]\n\tinsteadOf = file://\n'
        f'[uploadpack]\n\tpackObjectsHook = "touch {tmp_path}/ran; false"\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "url.file:///nowhere/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "file://")
    hook = origin.path / ".git/hooks/post-update"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    assert texts(first_of(source(origin, tmp_path))) == {"a.yaml": b"a: 1\n"}
    assert not (tmp_path / "ran").exists()


def test_a_git_that_hangs_is_ended_with_all_it_started(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "git").write_text(f"#!/bin/sh\nsleep 1000 & echo $! >> {tmp_path}/pids\nwait\n")
    (programs / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    git = GitSource.model_validate({"url": origin.url})
    followed = FollowedRepository(git, tmp_path / "state", timeout=0.5)
    assert "took longer than 0.5 s" in trouble_of(followed)
    for pid in (tmp_path / "pids").read_text().split():
        assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]


def test_files_that_manifests_point_at_stand_in_a_directory_that_keeps_its_path(
    origin: Repository, tmp_path: Path
) -> None:
    origin.write("app.env", "A=1\n")
    origin.write("bin/run", "#!/bin/sh\n")
    (origin.path / "bin/run").chmod(0o755)
    (origin.path / "link.env").symlink_to("app.env")
    first = origin.commit("first")
    origin.write("app.env", "A=2\n")
    shutil.rmtree(origin.path / "bin")
    origin.write("bin", "a file now\n")
    second = origin.commit("second")
    followed = source(origin, tmp_path, interval=0.2)

    async def scenario() -> None:
        origin.git("reset", "-q", "--hard", first)
        async with follow(followed) as following:
            revision = await following.revision()
            await followed.stand(revision.commit)
            assert (followed.tree / "app.env").read_text() == (followed.tree / "link.env").read_text() == "A=1\n"
            assert (followed.tree / "bin/run").stat().st_mode & 0o777 == 0o755
            untouched = (followed.tree / "a.yaml").stat().st_ino
            origin.git("reset", "-q", "--hard", second)
            revision = await following.revision()
            assert (followed.tree / "app.env").read_text() == "A=1\n"
            await followed.stand(revision.commit)
            assert (followed.tree / "app.env").read_text() == "A=2\n"
            assert (followed.tree / "bin").read_text() == "a file now\n"
            assert (followed.tree / "a.yaml").stat().st_ino == untouched
            await followed.stand(first)
            assert (followed.tree / "bin/run").read_text() == "#!/bin/sh\n"
            assert (followed.tree / "app.env").read_text() == "A=1\n"

    run(scenario)
    (followed.tree / "app.env").write_text("edited by hand\n")
    (followed.tree / "left.yaml").write_text("x: 1\n")
    again = source(origin, tmp_path)
    asyncio.run(again.stand(second))
    assert sorted(path.name for path in again.tree.iterdir()) == ["a.yaml", "app.env", "bin", "link.env"]
    assert (again.tree / "app.env").read_text() == "A=2\n"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "deep/../../outside", "loop"])
def test_a_link_that_leads_outside_is_refused(origin: Repository, tmp_path: Path, target: str) -> None:
    (origin.path / "loop").symlink_to(target)
    origin.commit("a link")
    assert "leads outside" in trouble_of(source(origin, tmp_path))


def test_a_manifest_may_be_a_link_inside(origin: Repository, tmp_path: Path) -> None:
    origin.write("envs/common/web.yaml", "web: 1\n")
    (origin.path / "envs/prod").mkdir()
    (origin.path / "envs/prod/web.yaml").symlink_to("../common/web.yaml")
    (origin.path / "envs/all").symlink_to("common")
    origin.commit("links")
    assert set(texts(first_of(source(origin, tmp_path)))) == {"a.yaml", "envs/common/web.yaml", "envs/prod/web.yaml"}
    assert "leads outside" in trouble_of(source(origin, tmp_path / "2", path="envs/prod"))


def test_too_many_bytes_and_files_are_refused(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.sources.git.tree.MOST_BYTES", 100)
    origin.commit("large", large_bin="x" * 200)
    assert "holds" in trouble_of(source(origin, tmp_path / "1"))
    monkeypatch.setattr("reconciler.sources.git.tree.MOST_FILES", 1)
    assert "has 2 files" in trouble_of(source(origin, tmp_path / "2"))


def test_a_pack_that_is_too_large_ends_the_fetch(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.sources.git.command.MOST_FILE", 1 << 16)
    (origin.path / "random.bin").write_bytes(os.urandom(1 << 20))
    origin.commit("large")
    trouble_of(source(origin, tmp_path))
    assert all(file.stat().st_size <= 1 << 16 for file in (tmp_path / "state").rglob("*") if file.is_file())


def test_submodules_are_left_out_unless_asked_for(origin: Repository, tmp_path: Path) -> None:
    module = Repository(tmp_path / "module")
    module.commit("module", m_yaml="m: 1\n")
    module.git("config", "uploadpack.allowAnySHA1InWant", "true")
    origin.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", "../module", "lib/module")
    origin.commit("with a module")
    assert set(texts(first_of(source(origin, tmp_path / "1")))) == {"a.yaml"}
    followed = source(origin, tmp_path / "2", submodules=True)
    revision = first_of(followed)
    assert texts(revision) == {"a.yaml": b"a: 1\n", "lib/module/m.yaml": b"m: 1\n"}
    asyncio.run(followed.stand(revision.commit))
    assert (followed.tree / "lib/module/m.yaml").read_text() == "m: 1\n"


def test_a_submodule_by_another_protocol_is_refused(origin: Repository, tmp_path: Path) -> None:
    origin.write(".gitmodules", '[submodule "x"]\n\tpath = x\n\turl = ext::sh -c touch% /tmp/ran\n')
    commit = origin.commit("ready")
    origin.git("update-index", "--add", "--cacheinfo", f"160000,{commit},x")
    origin.git("commit", "-qm", "bad module")
    assert "is no repository" in trouble_of(source(origin, tmp_path, submodules=True))


def test_a_ref_that_is_not_there_is_told(origin: Repository, tmp_path: Path) -> None:
    assert "there is no branch nope" in trouble_of(source(origin, tmp_path / "1", branch="nope"))
    assert "there is no tag nope" in trouble_of(source(origin, tmp_path / "2", tag="nope"))
    assert "no tag is a version in ^9" in trouble_of(source(origin, tmp_path / "3", semver="^9"))
    assert trouble_of(source(origin, tmp_path / "4", commit="1" * 40))


def test_a_forced_push_is_followed(origin: Repository, tmp_path: Path) -> None:
    async def scenario() -> None:
        first = origin.git("rev-parse", "HEAD")
        origin.commit("second", a_yaml="a: 2\n")
        async with follow(source(origin, tmp_path, interval=0.2)) as following:
            await following.revision()
            origin.git("reset", "-q", "--hard", first)
            assert (await following.revision()).commit == first

    run(scenario)


def test_control_characters_of_a_remote_do_not_reach_the_reader(origin: Repository, tmp_path: Path) -> None:
    origin.commit("\x1b[31mred\x1b[0m")
    assert first_of(source(origin, tmp_path)).message == "[31mred[0m"


def test_without_git_it_is_told(origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = source(origin, tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    assert "git is not installed" in trouble_of(followed)


def test_a_manifest_whose_name_cannot_be_told_is_refused(origin: Repository, tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(origin.path) + b"/caf\xe9.yaml")).write_text("a: 1\n")
    origin.commit("odd")
    assert "named 'caf" in trouble_of(source(origin, tmp_path))
