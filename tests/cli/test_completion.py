"""Shell completion: commands, options, and the names of what there is. It never fails aloud."""

from __future__ import annotations

import subprocess

import pytest

from tests.cli.engine import PROGRAM, Engine, plain_environment

pytestmark = pytest.mark.kernel


def completed(engine: Engine, *words: str) -> list[str]:
    """What the shell is offered for the last word."""
    line = ["trimtab", "--root", str(engine.layout.root), *words]
    environment = plain_environment() | {
        "COMP_WORDS": " ".join(line),
        "COMP_CWORD": str(len(line) - 1),
        "_TRIMTAB_COMPLETE": "bash_complete",
    }
    done = subprocess.run(PROGRAM, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [offer.partition(",")[2] for offer in done.stdout.splitlines() if offer]


def test_kinds_and_names_are_offered(shop: Engine) -> None:
    assert completed(shop, "get", "cont") == ["containers"]
    assert completed(shop, "get", "container/") == ["container/db", "container/web-1", "container/web-2"]
    assert completed(shop, "describe", "service/w") == ["service/web"]
    assert completed(shop, "logs", "w") == ["web", "web-1", "web-2"]
    assert completed(shop, "exec", "d") == ["db"]


def test_commands_fields_and_options_are_offered(shop: Engine) -> None:
    assert completed(shop, "va") == ["validate"]
    assert completed(shop, "image", "i") == ["import", "inspect"]
    assert "container.ports" in completed(shop, "explain", "container.por")
    assert completed(shop, "explain", "vol") == ["volume"]
    assert completed(shop, "logs", "--ta") == ["--tail"]


def test_an_engine_that_was_never_used_offers_nothing_and_says_nothing(engine: Engine) -> None:
    assert completed(engine, "logs", "w") == []
    assert not engine.layout.root.exists()


def test_a_damaged_store_is_no_reason_to_fail(engine: Engine) -> None:
    engine.layout.root.mkdir()
    engine.layout.store.write_text("no database")
    assert completed(engine, "get", "container/") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(engine: Engine, shell: str) -> None:
    assert f"_TRIMTAB_COMPLETE={shell}_complete" in engine.ok("completion", shell).out


def test_bash_takes_its_script(engine: Engine) -> None:
    script = engine.ok("completion", "bash").out
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
