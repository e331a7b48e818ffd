"""`trimtab logs`: each stream to its own, replicas told apart, until the container ends."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.cli.engine import Engine, Running, Said, plain_environment

pytestmark = pytest.mark.kernel

TALKER = """\
apiVersion: trimtab/v1
kind: Container
metadata: {{name: {name}}}
spec:
  image: busybox
  command: [sh, -c, {script!r}]
  stop_grace_period: 0s
  restart: "no"
"""


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


@pytest.fixture
def talk(image_only: Engine) -> Iterator[Callable[[str, str], None]]:
    """Runs a container that says what a script says; it is taken away afterwards."""
    made: list[str] = []

    def start(name: str, script: str) -> None:
        file = image_only.write(f"{name}.yaml", TALKER.format(name=name, script=script))
        made.append(name)
        image_only.ok("apply", "--set", name, "--no-wait", file)

    try:
        yield start
    finally:
        for name in made:
            image_only.ok("delete", "--set", name)


def test_each_stream_goes_to_its_own(shop: Engine) -> None:
    until(lambda: "5$" in shop.ok("logs", "db").out)
    said = shop.ok("logs", "db")
    assert (said.out, said.err) == ("hello\n5$\n", "oops\n")


def test_one_stream_can_be_asked_for(shop: Engine) -> None:
    said = shop.ok("logs", "db", "--stream", "stderr")
    assert (said.out, said.err) == ("", "oops\n")


def test_the_tail_counts_the_lines_of_the_stream_asked_for(shop: Engine) -> None:
    said = shop.ok("logs", "db", "--tail", "1", "--stream", "stdout")
    assert (said.out, said.err) == ("5$\n", "")
    assert shop.ok("logs", "db", "--tail", "0").out == ""


def test_lines_of_replicas_carry_their_names(shop: Engine) -> None:
    assert sorted(shop.ok("logs", "web").lines) == ["web-1 | up", "web-2 | up"]
    assert shop.ok("logs", "service/web").out.count("up") == 2


def test_a_replica_can_be_asked_alone_without_a_prefix(shop: Engine) -> None:
    assert shop.ok("logs", "container/web-1").out == "up\n"


def test_timestamps_are_rfc_3339(shop: Engine) -> None:
    first = shop.ok("logs", "-t", "db").lines[0]
    stamp, _, text = first.partition(" ")
    assert text == "hello"
    assert time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")
    assert stamp.endswith("Z")


def test_since_and_until_cut_at_a_line(shop: Engine) -> None:
    stamps = [line.split(" ")[0] for line in shop.ok("logs", "-t", "db").lines]
    assert shop.ok("logs", "db", "--since", stamps[1]).out == "5$\n"
    assert shop.ok("logs", "db", "--until", stamps[0]).out == "hello\n"
    assert shop.ok("logs", "db", "--until", "1h").out == ""


def test_an_unknown_name_is_refused_with_the_nearest(shop: Engine) -> None:
    said = shop.run("logs", "webb")
    assert (said.code, said.err) == (2, "trimtab: there is no Container/webb; did you mean Service/web?\n")
    assert shop.run("logs", "volume/pages").code == 2


def test_following_ends_when_the_container_ends(image_only: Engine, talk: Callable[[str, str], None]) -> None:
    talk("brief", "echo first; sleep 1; echo last >&2; exit 3")
    said = image_only.start("logs", "-f", "brief").wait(20)
    assert (said.code, said.out, said.err) == (0, "first\n", "last\n")


def test_following_shows_lines_as_they_come_and_ends_on_ctrl_c(
    image_only: Engine, talk: Callable[[str, str], None]
) -> None:
    talk("ticker", "i=0; while true; do echo $$i; i=$$((i+1)); sleep 0.1; done")
    following = image_only.start("logs", "--follow", "--tail", "1", "ticker")
    until(lambda: len(following.so_far().lines) > 3)
    said = interrupted(following)
    assert (said.code, said.err) == (130, "")
    numbers = [int(line) for line in said.out.split()]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def interrupted(running: Running) -> Said:
    running.interrupt()
    return running.wait(10)


def test_following_a_stream_keeps_to_it(image_only: Engine, talk: Callable[[str, str], None]) -> None:
    talk("mixed", "echo a; echo b >&2; sleep 0.5; echo c; echo d >&2; sleep 0.5")
    said = image_only.start("logs", "-f", "--stream", "stderr", "--tail", "5", "mixed").wait(20)
    assert (said.out, said.err) == ("", "b\nd\n")


def test_a_line_longer_than_the_log_keeps_at_once_comes_whole(
    image_only: Engine, talk: Callable[[str, str], None]
) -> None:
    talk("long", "printf %050000d 0; echo; echo end")
    said = image_only.start("logs", "-f", "long").wait(20)
    assert said.out == "0" * 50_000 + "\nend\n"


def test_nobody_reading_is_no_error(shop: Engine) -> None:
    command = " ".join(f"'{word}'" for word in shop.command("logs", "db"))
    done = subprocess.run(
        ["bash", "-c", f"{command} | true"], env=plain_environment(), capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert "trimtab" not in done.stderr


def test_a_driver_that_keeps_nothing_says_so(image_only: Engine) -> None:
    manifest = TALKER.format(name="mute", script="echo x; sleep 100") + "  logging: {driver: none}\n"
    image_only.write("mute.yaml", manifest)
    image_only.ok("apply", "--set", "mute", "mute.yaml")
    try:
        said = image_only.ok("logs", "mute")
        assert (said.out, said.err) == ("", "trimtab: Container/mute keeps no log (logging driver none)\n")
    finally:
        image_only.ok("delete", "--set", "mute")
