"""A key or password for git, in memory alone: git and ssh read it from a descriptor of ours, by its path in /proc.

It stands in no argument, no variable, no file and no message. A password is given to its own host over https only; a
key is used only towards hosts whose keys are known.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.sources.git.remote import Remote
from schemas.errors import Refused

KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")
STEP = "use its credentials"
MOST = 1 << 16
"""Bytes of a credential."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A private key, or a password with the user's name."""

    content: bytes = field(repr=False)
    is_key: bool
    user: str = ""


def read_credential(content: bytes, user: str = "") -> Credential:
    """Of what a Secret or file holds: a private key, `user:password`, or a password or token alone.

    Raises Refused for anything else; the message holds nothing of it.
    """
    if b"PRIVATE KEY-----" in content[:MOST]:
        return Credential(content.rstrip(b"\r\n") + b"\n", is_key=True)
    text = content.strip().decode(errors="replace")
    if not text or not text.isprintable() or len(text) > MOST:
        raise Refused("is neither a private key nor one line with a password", step=STEP)
    name, colon, password = text.partition(":")
    if not colon:
        name, password = user or "git", text
    return Credential(f"username={name}\npassword={password}\n".encode(), is_key=False, user=name)


@contextmanager
def readable(content: bytes) -> Iterator[str]:
    """A path by which programs of this user read `content` while the block lasts: memfd_create(2), proc(5)."""
    descriptor = os.memfd_create("trimtab-credential", os.MFD_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, content)
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)


def password_settings(remote: Remote, path: str) -> list[tuple[str, str]]:
    """Settings by which git reads the password at `path`, for this host and no other. Raises Refused without TLS."""
    if remote.scheme != "https":
        raise Refused(f"a password would travel in the clear over {remote.scheme}", step=STEP, hint="use https")
    helper = f'!f() {{ test "$1" = get && cat {shlex.quote(path)}; }}; f'
    return [(f"credential.{remote.origin}.helper", helper)]


def ssh_command(key: str | None, known_hosts: str | None) -> str:
    """How git calls ssh: asking nobody, trusting no host it does not know, with one key and no agent."""
    hosts = known_hosts or (str(KNOWN_HOSTS) if KNOWN_HOSTS.exists() else "/dev/null")
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": f'"{hosts}"',
        "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "IdentityFile": f'"{key}"' if key else "none",
        "PreferredAuthentications": "publickey",
        "ForwardAgent": "no",
        "ClearAllForwardings": "yes",
        "UpdateHostKeys": "no",
        "ConnectTimeout": "20",
        "ServerAliveInterval": "15",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return shlex.join(["ssh", "-F", "/dev/null", *words])
