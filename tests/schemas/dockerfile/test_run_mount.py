"""RUN's mounts, and what RUN hands to the kernel."""

from __future__ import annotations

import re

import pytest

from schemas.dockerfile.faults import Fault
from schemas.dockerfile.instructions import Run
from schemas.dockerfile.parse import parse
from schemas.dockerfile.run_mount import Mount, check_mount, read_mount
from schemas.dockerfile.run_script import Script, run_script


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("target=/a", Mount("bind", "/a", read_only=True)),
        ("from=a,src=/b,rw", Mount("bind", "", "/b", "a")),
        ("type=bind,src=a,dst=/b,from=c,rw", Mount("bind", "/b", "a", "c")),
        ("type=BIND,destination=/b,readwrite=false", Mount("bind", "/b", read_only=True)),
        ("type=cache,target=/a", Mount("cache", "/a")),
        (
            "type=cache,id=i,target=/a,sharing=Locked,mode=0755,uid=1,gid=2,from=s,source=p,ro",
            Mount("cache", "/a", "p", "s", True, "i", "locked", mode=0o755, uid=1, gid=2),
        ),
        ("type=tmpfs,target=/a,size=64m", Mount("tmpfs", "/a", size=64 << 20)),
        ("type=secret,id=i", Mount("secret", id="i", read_only=True)),
        ("type=secret,id=i,env=E,required", Mount("secret", id="i", read_only=True, required=True, env="E")),
        ("type=secret,id=i,env", Mount("secret", id="i", read_only=True, env="")),
        ("type=secret,id=i,required=false,target=/a", Mount("secret", "/a", id="i", read_only=True)),
        ("type=ssh", Mount("ssh", read_only=True)),
        ("type=ssh,id=i,required=true,mode=0600", Mount("ssh", id="i", read_only=True, required=True, mode=0o600)),
        ('"target=/a,b"', Mount("bind", "/a,b", read_only=True)),
        ("target=/a=b", Mount("bind", "/a=b", read_only=True)),
    ],
)
def test_a_mount_is_read(text: str, mount: Mount) -> None:
    assert read_mount(text) == mount


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=chache,target=/a", "'chache' is no type of mount"),
        ("targte=/a", "'targte' is no option of a mount"),
        ("target", "target has no value"),
        ("type=tmpfs,target=/a,sharing=shared", "takes no sharing"),
        ("target=/a,uid=1", "a mount of type bind takes no uid"),
        ("target=/a,required", "takes no required"),
        ("type=secret,from=a,id=b", "takes no from"),
        ("type=secret", "a secret needs an id"),
        ("type=secret,id=a,source=b", "the same thing"),
        ("type=cache,target=/a,sharing=all", "'all' is no way of sharing"),
        ("type=cache,target=/a,mode=888", "mode=888 cannot be"),
        ("type=cache,target=/a,uid=-1", "uid=-1 cannot be"),
        ("type=tmpfs,target=/a,size=big", "size: 'big' is no size"),
        ("target=/a,ro=perhaps", "neither true nor false"),
        ("target=/a,ro=", "ro has no value"),
        ('"target=/a', "cannot be read"),
    ],
)
def test_a_mount_that_cannot_be_says_why(text: str, message: str) -> None:
    with pytest.raises(Fault, match=re.escape(message)):
        read_mount(text)


def test_a_mount_with_variables_is_judged_when_they_are_known() -> None:
    check_mount("type=$T,target=$D")
    assert read_mount("type=$T,target=$D", lambda text: text.replace("$T", "tmpfs").replace("$D", "/a")).type == "tmpfs"
    with pytest.raises(Fault, match="no option"):
        check_mount("tpye=$T,target=/a")
    with pytest.raises(Fault, match="variables do not count in from="):
        check_mount("from=$S,target=/a")


def script(text: str, shell: tuple[str, ...] = ("/bin/sh", "-c")) -> Script:
    (run,) = parse(f"FROM scratch\n{text}", "Dockerfile").stages[0].instructions
    assert isinstance(run, Run)
    return run_script(run, shell)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("RUN a b", ("/bin/sh", "-c", "a b")),
        ('RUN ["a", "b"]', ("a", "b")),
        ("RUN <<E\na\nb\nE\n", ("/bin/sh", "-c", "a\nb\n")),
        ("RUN <<-E\n\ta\nE\n", ("/bin/sh", "-c", "a\n")),
        ("RUN cat <<E >f\na\nE\n", ("/bin/sh", "-c", "cat <<E >f\na\nE")),
        ("RUN cat <<A <<B\n1\nA\n2\nB\n", ("/bin/sh", "-c", "cat <<A <<B\n1\nA\n2\nB")),
    ],
)
def test_run_hands_over_a_program_or_the_shells_text(text: str, arguments: tuple[str, ...]) -> None:
    assert script(text) == Script(arguments)


def test_a_heredoc_with_an_interpreter_is_a_file_of_its_own() -> None:
    assert script("RUN <<E\n#!/usr/bin/python3\nprint()\nE\n") == Script(
        ("/dev/pipes/E",), "/dev/pipes/E", "#!/usr/bin/python3\nprint()\n"
    )


def test_the_shell_is_the_one_that_holds() -> None:
    assert script("RUN a", ("/bin/bash", "-euc")).arguments == ("/bin/bash", "-euc", "a")
