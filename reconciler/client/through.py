"""A command through a daemon: send it, print what comes, leave with its exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from socket import socket

from reconciler.client.dial import Unreachable, dial
from reconciler.client.errand import add_named, document, wanted_files
from reconciler.client.frames import CONTROL, STDERR, STDOUT, Decoder, Garbled
from reconciler.client.host import Host
from reconciler.client.http import Answer, BadAnswer, Problem, request, send_chunks
from reconciler.client.remote_commands import is_writer
from reconciler.client.streams import Taken, input_of, output_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

MISDIRECTED = 421
LATER = (408, 429)
INTERRUPTED = 130
FAILED, REFUSED = 1, 2


class Elsewhere(Exception):
    """The daemon that is there is not this engine's: the command works by itself."""


def through(host: Host, words: Sequence[str], parameters: Mapping[str, Any], root: str) -> int:
    """The exit code. Raises Elsewhere where nobody chose the host and no daemon of this root is there."""
    try:
        if words[0] == "exec":
            from reconciler.client.executing import execute

            return execute(host, parameters, root)
        return _command(host, words, parameters, root)
    except Unreachable as error:
        if not host.chosen:
            raise Elsewhere from error
        return _say(f"no daemon answers: {error}; TRIMTAB_HOST=none works without one", FAILED)
    except Problem as problem:
        if problem.status == MISDIRECTED and not host.chosen:
            raise Elsewhere from problem
        return _say(_problem_text(problem), FAILED if problem.status in LATER or problem.status >= 500 else REFUSED)
    except (BadAnswer, Garbled, ConnectionError) as error:
        return _say(f"the daemon at {host.address} went away: {error}; what it had begun it may have finished", FAILED)
    except (OSError, ValueError) as error:
        return _say(str(error), REFUSED)


def _command(host: Host, words: Sequence[str], parameters: Mapping[str, Any], root: str) -> int:
    sent = document(words, parameters)
    if not host.chosen:
        sent["root"] = root
    while True:
        with dial(host) as channel, input_of(words, parameters) as given, output_of(words, parameters) as taken:
            last = _exchange(host, channel, sent, given, taken)
            if last.get("exit") == 0:
                taken.keep()
        if "want" not in last:
            return int(last["exit"])
        files: Any = sent.setdefault("files", {})
        new = wanted_files([path for path in last["want"] if path not in files], sent)
        if not new:
            return _say("the daemon asks for files that it has been given", FAILED)
        files |= new
        add_named(sent, new)


def _problem_text(problem: Problem) -> str:
    told = problem.document
    head = " ".join(str(told[name]) for name in ("object", "step") if told.get(name))
    text = f"{head}: {problem}" if head else str(problem)
    for each in told.get("errors") or ():  # type: ignore[attr-defined]
        text += f"\n  {each.get('field') or ''}: {each.get('message')}"
    return f"{text}; {told['hint']}" if told.get("hint") else text


def _exchange(
    host: Host, channel: socket, sent: Mapping[str, object], given: BinaryIO | None, taken: Taken
) -> dict[str, Any]:
    """What the last frame says."""
    body = json.dumps(sent).encode()
    headers = {"Connection": "close", "Content-Type": "application/json"}
    if given is None:
        headers["Content-Length"] = str(len(body))
        channel.sendall(request("POST", "/v1/commands", headers) + body)
    else:
        headers |= {"Transfer-Encoding": "chunked", "Command-Length": str(len(body))}
        channel.sendall(request("POST", "/v1/commands", headers))
        send_chunks(channel, body, given)
    answer = Answer(channel)
    answer.raise_problem()
    with _Interrupts(host, is_writer(sent["words"])) as interrupts:  # type: ignore[arg-type]
        return _print(answer.body(), interrupts, taken)


def _print(pieces: Iterator[bytes], interrupts: _Interrupts, taken: Taken) -> dict[str, Any]:
    decoder = Decoder()
    streams = {STDOUT: sys.stdout, STDERR: sys.stderr}
    for piece in pieces:
        for kind, payload in decoder.feed(piece):
            if kind == STDOUT and taken.file is not None:
                taken.file.write(payload)
                continue
            if kind != CONTROL:
                stream = streams[kind]
                stream.flush()
                stream.buffer.write(payload)
                stream.buffer.flush()
                continue
            told: dict[str, Any] = json.loads(payload)
            if "id" in told:
                interrupts.named = str(told["id"])
            else:
                return told
    raise BadAnswer("it ended early")


class _Interrupts:
    """Ctrl-C: the first asks the daemon to begin nothing more, the second leaves at once."""

    def __init__(self, host: Host, may_finish: bool) -> None:
        self._host = host
        self._may_finish = may_finish
        self.named = ""
        self._asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Interrupts:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, _: object) -> None:
        from reconciler.cli.interrupt import FIRST, SECOND
        from reconciler.client.http import ask

        if not self._may_finish or not self.named:
            os._exit(INTERRUPTED)
        os.write(2, f"\ntrimtab: {SECOND if self._asked else FIRST}\n".encode())
        if self._asked:
            os._exit(INTERRUPTED)
        self._asked = True
        try:
            with dial(self._host) as channel:
                ask(channel, "DELETE", f"/v1/commands/{self.named}")
        except (OSError, Unreachable, Problem, BadAnswer):
            os._exit(INTERRUPTED)


def _say(text: str, status: int) -> int:
    sys.stdout.flush()
    print(f"trimtab: {text}", file=sys.stderr)
    return status
