"""What somebody reads who made a mistake: where, what, what to do; on the right stream, with the right exit code."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from runtime.kernel.features.system import nftables_tables
from tests.cli.conftest import shop_manifest
from tests.cli.engine import PROGRAM, Engine, Said, plain_environment

kernel = pytest.mark.kernel
WEB = "apiVersion: trimtab/v1\nkind: Container\nmetadata: {name: web}\nspec: {image: nginx}\n"
BROKEN = WEB.replace("image", "imag")


def trimtab(*arguments: str, at: Path, stdin: str = "", pass_fds: tuple[int, ...] = ()) -> Said:
    done = subprocess.run(
        [*PROGRAM, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=at,
        env=plain_environment(),
        timeout=60,
        pass_fds=pass_fds,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def test_each_problem_begins_with_its_place_and_their_number_comes_last(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(BROKEN.replace("imag: nginx", "imag: nginx, port: 1, mem_limit: 1x"))
    said = trimtab("validate", "web.yaml", at=tmp_path)
    *problems, last = said.err.splitlines()
    assert said.code == 2
    assert [line.partition(" ")[0] for line in problems] == ["web.yaml:4:8", "web.yaml:4:21", "web.yaml:4:30"]
    assert last == "trimtab: 3 problems; nothing was touched"


def test_one_object_and_two_are_told_in_good_grammar(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(WEB)
    assert trimtab("validate", "a.yaml", at=tmp_path).out == "1 object is valid.\n"
    (tmp_path / "a.yaml").write_text(WEB + "---\n" + WEB.replace("name: web", "name: db"))
    assert trimtab("validate", "a.yaml", at=tmp_path).out == "2 objects are valid.\n"


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, BROKEN.encode())
    os.close(writer)
    try:
        said = trimtab("validate", f"/dev/fd/{reader}", at=tmp_path, pass_fds=(reader,))
    finally:
        os.close(reader)
    assert said.err.startswith(
        f"/dev/fd/{reader}:4:8 Container/web spec.imag: is not a field here; did you mean image?"
    )


def test_a_fifo_is_read_like_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with subprocess.Popen(["/bin/sh", "-c", 'printf "%s" "$0" > fifo', WEB], cwd=tmp_path) as writer:
        assert trimtab("validate", "fifo", at=tmp_path).out == "1 object is valid.\n"
        assert writer.wait(10) == 0


@pytest.mark.parametrize("command", ["validate", "diff", "apply"])
@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n---\n"])
def test_manifests_without_an_object_are_refused_with_a_hint(command: str, text: str, tmp_path: Path) -> None:
    said = trimtab(command, "-", at=tmp_path, stdin=text)
    assert said.code == 2
    assert "there is no object in standard input; a manifest begins with `apiVersion: trimtab/v1`" in said.err


def test_output_that_cannot_be_written_is_no_success(tmp_path: Path) -> None:
    for arguments in (("version",), ("explain", "container"), ("--help",)):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [*PROGRAM, *arguments],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                env=plain_environment(),
                cwd=tmp_path,
                timeout=60,
                check=False,
            )
        assert done.returncode == 1
        assert done.stderr == "trimtab: cannot write to standard output: No space left on device\n"


def test_a_closed_output_is_no_fault(tmp_path: Path) -> None:
    script = ["/bin/sh", "-c", '"$@" >&-', "sh", *PROGRAM, "version"]
    done = subprocess.run(script, capture_output=True, env=plain_environment(), cwd=tmp_path, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_explain_without_a_kind_lists_them(tmp_path: Path) -> None:
    lines = trimtab("explain", at=tmp_path).out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["Image", "Container", "Volume"]
    assert "KIND[.FIELD.…]" in trimtab("explain", "--help", at=tmp_path).out


def test_nftables_is_not_asked_by_a_check_of_others_than_root(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """libnftables would say so itself, on standard error."""
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    with pytest.raises(PermissionError, match="only root may look"):
        nftables_tables(Path("/"))
    assert capfd.readouterr().err == ""


@kernel
def test_a_service_that_was_never_made_is_told_from_one_that_is_not_there(engine: Engine) -> None:
    service = "apiVersion: trimtab/v1\nkind: Service\nmetadata: {name: site}\nspec:\n  image: no.invalid/x:1\n"
    engine.write("site.yaml", service)
    assert engine.run("apply", "site.yaml").code == 1
    said = engine.run("logs", "site")
    assert (said.code, said.err) == (2, "trimtab: Service/site has no container yet; `trimtab apply` makes them\n")
    assert engine.run("logs", "nowhere").err == (
        "trimtab: there is no Container/nowhere; `trimtab get` lists what there is\n"
    )


@kernel
def test_a_port_that_is_in_use_is_told_with_its_place(engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        engine.write("web.yaml", WEB.replace("image: nginx", f'image: nginx, ports: [80, "127.0.0.1:{port}:80"]'))
        said = engine.run("apply", "web.yaml")
    assert said.code == 2
    assert said.err.startswith(
        f"web.yaml:4:34 Container/web spec.ports[1]: the host already listens on tcp port {port}"
    )


@kernel
def test_an_import_names_the_file_that_is_no_tar(engine: Engine) -> None:
    engine.write("notatar", "hello " * 200)
    said = engine.run("image", "import", "x", "notatar")
    assert said.code == 2
    assert said.err.splitlines()[0] == "x: reading notatar"
    assert said.err.splitlines()[1].startswith("trimtab: notatar: cannot be imported: ")


@kernel
def test_a_failed_action_names_its_place_once_and_no_more(engine: Engine, busybox_tree: Path) -> None:
    image = shop_manifest(busybox_tree).partition("---")[0]
    bad = WEB.replace("nginx", "busybox, command: [nothing-of-that-name]")
    behind = WEB.replace("name: web", "name: after").replace("nginx", "busybox, depends_on: [web]")
    engine.write("a.yaml", f"{image}---\n{bad}---\n{behind}")
    said = engine.run("apply", "a.yaml")
    line = image.count("\n") + 2
    (failed,) = [each for each in said.err.splitlines() if each.startswith("!")]
    assert said.code == 1
    assert failed.startswith("! Container/web create failed: spec.command: ")
    assert failed.endswith(f"(a.yaml:{line + 3}:24)")
    assert failed.count("Container/web") == 1
    (skipped,) = [each for each in said.lines if each.startswith("!")]
    assert skipped.startswith("! Container/after skipped: waits for Container/web, which failed: spec.command: ")
    assert skipped.endswith(f"  (a.yaml:{line + 5})")


@kernel
@pytest.mark.parametrize("command", [("get",), ("apply", "net.yaml")])
def test_a_root_that_cannot_be_is_a_mistake_and_no_fault(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text("apiVersion: trimtab/v1\nkind: Network\nmetadata: {name: net}\nspec: {}\n")
    for root in ("/proc/nothing", str(tmp_path / "net.yaml"), str(tmp_path / "net.yaml" / "below")):
        said = trimtab("--root", root, "--run", str(tmp_path / "run"), *command, at=tmp_path)
        assert said.code == 2
        assert said.err.startswith("trimtab: open the engine: ")
        assert f"({root}); name a directory with --root" in said.err
