"""Run the `git` program with nothing but our own settings: no user's or system's configuration, no hooks, no prompt,
one protocol, a limit of time and of size.

What git is told stands in a file of ours (git-config(1)), which also reaches the programs that git starts. Called by
the git source only; what the answers mean is not known here.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import Refused, RetryLater, TrimtabError

MOST_OUTPUT = 32 << 20
"""Bytes of one answer."""
MOST_FILE = 1 << 30
"""Bytes of one file that git writes: a pack larger than that ends the fetch."""
DRAIN = 1.0
"""Seconds for what an ended git had written."""
LONGEST_COMPLAINT = 400
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.askPass": "",
    "credential.helper": "",
    "protocol.allow": "never",
    "protocol.ext.allow": "never",
    "transfer.fsckObjects": "true",
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "http.followRedirects": "initial",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
    "gpg.x509.program": "false",
}
_FINAL = re.compile(
    r"authentication failed|could not read (username|password)|permission denied|host key verification failed"
    r"|not found|does not appear to be a git repository|repository .* does not exist|dubious ownership"
    r"|certificate|file size limit|not our ref|couldn't find remote ref",
    re.IGNORECASE,
)
"""Complaints that no waiting heals."""


@dataclass(frozen=True, slots=True)
class Git:
    """How git is run for one source: in its bare repository, with its own home."""

    repository: Path
    home: Path
    environment: Mapping[str, str]

    async def run(self, *arguments: str, timeout: float, step: str, told: bool = False) -> bytes:
        """Standard output, or with `told` what it says beside it. `timeout` in seconds.

        Raises Refused or RetryLater with git's complaint; a timeout is RetryLater.
        """
        if shutil.which("git", path=self.environment["PATH"]) is None:
            raise Refused("git is not installed", step=step, hint="install git")
        process = await asyncio.create_subprocess_exec(
            *_limited("git", f"--git-dir={self.repository}", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(self.environment),
            cwd=self.home,
            start_new_session=True,
        )
        streams = (process.stdout, process.stderr)
        readers = [asyncio.ensure_future(_read(stream, MOST_OUTPUT, step)) for stream in streams]
        try:
            async with asyncio.timeout(timeout):
                output, complaint = await asyncio.gather(*readers)
                status = await process.wait()
        except TimeoutError as error:
            raise RetryLater(f"git took longer than {timeout:g} s", step=step, hint="raise timeout:") from error
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            await _end(process)
        if status:
            raise failure(complaint, status, step)
        return complaint if told else output


async def _read(stream: asyncio.StreamReader | None, most: int, step: str) -> bytes:
    assert stream is not None
    read = bytearray()
    while chunk := await stream.read(1 << 16):
        read += chunk
        if len(read) > most:
            raise Refused(f"git answered more than {most >> 20} MiB", step=step)
    return bytes(read)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Nothing that git started is left: it is the leader of a group of its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # asyncio does not see the end of a process before that of its pipes, nor that of a pipe nobody reads
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN):
            for stream in (process.stdout, process.stderr):
                while stream is not None and await stream.read(1 << 16):
                    continue
            await process.wait()
            return
    # a program that left the group holds the pipe
    process._transport.close()  # type: ignore[attr-defined]
    await process.wait()


def _limited(*command: str) -> list[str]:
    limit = shutil.which("prlimit")
    return [limit, f"--fsize={MOST_FILE}", "--", *command] if limit else list(command)


def failure(complaint: bytes, status: int, step: str) -> TrimtabError:
    """The error that git's complaint is, in one line without control characters."""
    text = complaint_of(complaint) or f"git ended with status {status}"
    family = Refused if _FINAL.search(text) else RetryLater
    return family(text, step=step)


def complaint_of(output: bytes) -> str:
    lines = [
        "".join(letter for letter in line if letter.isprintable()).strip()
        for line in output.decode(errors="replace").splitlines()
    ]
    told = [line for line in lines if line and not line.startswith(("hint:", "warning:", "Cloning"))]
    return "; ".join(told)[:LONGEST_COMPLAINT]


def write_settings(home: Path, settings: Iterable[tuple[str, str]]) -> Path:
    """The file with `SETTINGS` and then `settings`, in git's own format. In place when it returns."""
    lines = [line for name, value in [*SETTINGS.items(), *settings] for line in _setting(name, value)]
    path = home / "gitconfig"
    temporary = path.with_suffix(".new")
    temporary.write_text("".join(f"{line}\n" for line in lines))
    temporary.chmod(0o600)
    temporary.rename(path)
    return path


def _setting(name: str, value: str) -> tuple[str, str]:
    section, _, rest = name.partition(".")
    middle, _, last = rest.rpartition(".")
    head = f'[{section} "{_quoted(middle)}"]' if middle else f"[{section}]"
    return head, f'\t{last} = "{_quoted(value)}"'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def environment_of(home: Path, scheme: str, ssh: str, outside: Mapping[str, str]) -> dict[str, str]:
    """All that git sees of the environment: of the outside only the way to programs and proxies."""
    return {
        "PATH": outside.get("PATH", "/usr/bin:/bin"),
        **{name: outside[name] for name in PROXIES if name in outside},
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "GNUPGHOME": str(home / "gnupg"),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(home / "gitconfig"),
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "SSH_ASKPASS_REQUIRE": "never",
        "GIT_ALLOW_PROTOCOL": scheme,
        "GIT_SSH_COMMAND": ssh,
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
    }
