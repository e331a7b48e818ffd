"""Which daemon a command is for: `--host`, TRIMTAB_HOST, the context in use, else this engine's own socket.

unix:///run/trimtab/api.sock    a socket
tcp://HOST:PORT                 TLS with certificates of both sides; plain with tcp+insecure://
ssh://[USER@]HOST[:PORT]        `ssh HOST trimtab system dial-stdio`
none                            no daemon: the command works by itself
"""

from __future__ import annotations

import os

NONE = "none"


class Host:
    """An address; `chosen`: by somebody, so that it must answer. `tls`: directory of certificates for tcp://."""

    __slots__ = ("address", "chosen", "tls")

    def __init__(self, address: str, *, chosen: bool, tls: str = "") -> None:
        self.address = address
        self.chosen = chosen
        self.tls = tls


def find_host(given: str | None, run: str) -> Host | None:
    """None: no daemon is meant, or none is there. `run`: the engine's directory of live state."""
    address, tls = given or os.environ.get("TRIMTAB_HOST", ""), os.environ.get("TRIMTAB_TLS", "")
    if not address and os.path.exists(contexts_file()):
        from reconciler.client.contexts import current

        address, tls = current()
    if address == NONE:
        return None
    if address:
        return Host(address, chosen=True, tls=tls)
    own = os.path.join(run, "api.sock")
    return Host(f"unix://{own}", chosen=False) if os.path.exists(own) else None


def contexts_file() -> str:
    """Where contexts are kept: of the user, whoever drives the engine."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.environ.get("TRIMTAB_CONTEXTS") or os.path.join(base, "trimtab", "contexts.json")
