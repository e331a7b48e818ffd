"""Whether a commit bears a signature of somebody who was allowed to sign: SSH (`ssh-keygen -Y verify`) or OpenPGP.

Nobody's own keys count: the allowed signers stand in one file, given by whoever declared the source, and OpenPGP keys
are brought into a key ring made for this look alone. A file of one kind never lets a signature of the other kind pass.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import stat
from dataclasses import replace
from pathlib import Path

from reconciler.sources.git.command import Git, complaint_of
from reconciler.sources.git.repository import LOCAL_SECONDS
from schemas.errors import Refused, TrimtabError

STEP = "verify the signature"
NOBODY = "false"
"""The program that verifies no signature of the other kinds."""
_SIGNED = re.compile(rb"^gpgsig(-sha256)? ", re.MULTILINE)
_SSH_SIGNER = re.compile(r'Good "git" signature for (.+) with \S+ key (\S+)')
_PGP_SIGNER = re.compile(r"GOODSIG \S+ (.+)")
GPG = ("gpg", "--batch", "--no-tty", "--no-autostart", "--quiet")
GPG_CONF = (
    "batch\nno-tty\nno-autostart\ntrust-model always\nno-auto-key-retrieve\nno-auto-key-import\ndisable-dirmngr\n"
)


async def verify_commit(git: Git, commit: str, allowed: Path) -> str:
    """Who signed. Raises Refused for a commit that is unsigned, signed by somebody else, changed or out of date."""
    content = read_allowed(allowed)
    header = await git.run("cat-file", "commit", commit, timeout=LOCAL_SECONDS, step=STEP)
    if not _SIGNED.search(header.partition(b"\n\n")[0]):
        raise _refused("it is not signed", "sign it (git commit -S), and push it again")
    if is_openpgp(content):
        settings, git = await _openpgp(git, allowed)
    else:
        settings = {"gpg.ssh.allowedSignersFile": str(allowed), "gpg.program": NOBODY}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return await _verified(git, [*options, "-c", f"gpg.x509.program={NOBODY}"], commit)


def read_allowed(path: Path) -> bytes:
    """The allowed signers. Raises Refused when the file is missing, or others than its owner may write it."""
    try:
        content, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        raise Refused(error.strerror or str(error), step=STEP, path=str(path), errno=error.errno) from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        hint = f"chmod go-w {path}"
        raise Refused("others than its owner may write the allowed signers", step=STEP, path=str(path), hint=hint)
    if not content.strip():
        raise Refused("there are no allowed signers in it", step=STEP, path=str(path))
    return content


def is_openpgp(content: bytes) -> bool:
    """Whether it is a key ring: in armour, or in packets, whose first bit is always set (RFC 9580, 4.2)."""
    return b"-----BEGIN PGP PUBLIC KEY BLOCK-----" in content or content[0] & 0x80 != 0


async def _openpgp(git: Git, allowed: Path) -> tuple[dict[str, str], Git]:
    home = git.home / "gnupg"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(mode=0o700)
    (home / "gpg.conf").write_text(GPG_CONF)
    if shutil.which("gpg") is None:
        raise Refused("gpg is not installed", step=STEP, hint="install gnupg")
    process = await asyncio.create_subprocess_exec(
        *(*GPG, "--homedir", str(home), "--import", str(allowed)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=dict(git.environment),
    )
    _, complaint = await process.communicate()
    if process.returncode:
        raise Refused(f"gpg cannot read the allowed signers: {complaint_of(complaint)}", step=STEP, path=str(allowed))
    settings = {"gpg.program": "gpg", "gpg.ssh.program": NOBODY}
    return settings, replace(git, environment={**git.environment, "GNUPGHOME": str(home)})


async def _verified(git: Git, options: list[str], commit: str) -> str:
    try:
        said = await git.run(*options, "verify-commit", "--raw", commit, timeout=LOCAL_SECONDS, step=STEP, told=True)
    except TrimtabError as error:
        raise _refused(_why(error), "have an allowed signer sign it") from error
    text = said.decode(errors="replace")
    found = _SSH_SIGNER.search(text) or _PGP_SIGNER.search(text)
    if found is None:
        raise _refused("git does not say who signed it", "have an allowed signer sign it")
    return "".join(letter for letter in " ".join(found.groups()) if letter.isprintable())


def _why(error: TrimtabError) -> str:
    text = error.message
    if "No principal matched" in text or "NO_PUBKEY" in text:
        return "nobody who may sign has signed it"
    if "ended with status" in text:
        return "its signature is of a kind that no allowed signer has"
    return f"its signature is not good ({text})"


def _refused(message: str, hint: str) -> Refused:
    return Refused(f"the commit is refused: {message}", step=STEP, hint=hint)
