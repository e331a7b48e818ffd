"""ssh://[USER@]HOST[:PORT][/SOCKET]: ssh(1) decides who is let in; `dial-stdio` at the far end joins the socket there.

What ssh has to say it says itself, on standard error; here its end is told when it came before any answer.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess

from reconciler.client.dial import Unreachable

END_SECONDS = 10.0
CAUSES = {
    255: "ssh brought no connection about",
    127: "trimtab is not in the PATH that ssh gives there",
    126: "trimtab cannot be run there",
}
"""What the exit codes of ssh and of the shell it starts mean (ssh(1), sh(1))."""


class Tunnel(socket.socket):
    """Our end of ssh's standard streams."""

    def __init__(self, fileno: int, ssh: subprocess.Popen[bytes], name: str) -> None:
        super().__init__(fileno=fileno)
        self._ssh = ssh
        self._name = name
        self._is_joined = False

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Raises Unreachable where ssh ends before the first byte."""
        try:
            data = super().recv(size, flags)
        except ConnectionError:
            data = b""
        if not data and not self._is_joined:
            raise Unreachable(self._cause())
        self._is_joined = True
        return data

    def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]
        """As `recv`; what can no longer be sent to one who has answered is a ConnectionError."""
        try:
            super().sendall(data, flags)
        except ConnectionError:
            if self._is_joined:
                raise
            raise Unreachable(self._cause()) from None

    def _cause(self) -> str:
        try:
            code = self._ssh.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return f"{self._name}: the connection ended"
        return f"{self._name}: {CAUSES.get(code, f'`trimtab system dial-stdio` there ended with {code}')}"


def dial_ssh(rest: str) -> Tunnel:
    """Raises ValueError for what names no host, Unreachable, OSError."""
    login, _, path = rest.partition("/")
    at, colon, port = login.rpartition(":") if login.rpartition("]")[2].count(":") else (login, "", "")
    if not at or at.startswith("-"):
        raise ValueError(f"ssh://{rest} names no host")
    socket_path = [f"--socket=/{path}"] if path else []
    program = os.environ.get("TRIMTAB_SSH", "ssh")
    command = [program, *(["-p", port] if colon else []), "-T", "--", at.strip("[]")]
    ours, theirs = socket.socketpair()
    with theirs:
        streams = theirs.fileno()
        try:
            ssh = subprocess.Popen(
                [*command, "trimtab", "system", "dial-stdio", *socket_path],
                stdin=streams,
                stdout=streams,
                preexec_fn=_ignore_interrupts,
            )
        except FileNotFoundError:
            ours.close()
            raise Unreachable(f"there is no program {program} (Debian package openssh-client)") from None
    return Tunnel(ours.detach(), ssh, f"ssh://{rest}")


def _ignore_interrupts() -> None:
    # Ctrl-C is for us, who ask the daemon over this connection to begin nothing more
    signal.signal(signal.SIGINT, signal.SIG_IGN)
