"""What a registry is told on its command line. Sizes in bytes, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

GIB = 1 << 30
PORT = 5000


@dataclass(frozen=True, slots=True)
class Settings:
    host: str = "127.0.0.1"
    port: int = PORT
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    """Clients must show a certificate that it signed."""
    insecure: bool = False
    """Plain HTTP though others than this machine can reach it."""
    htpasswd: Path | None = None
    rights: Path | None = None
    """Who of them may do what with which repositories; without it, everything."""
    tokens: bool = False
    """Whether clients get a token for their password, and show that."""
    anonymous: str = ""
    """What somebody without a password may do: `pull`, or `push` and all else, or nothing where there are passwords."""
    mirror: str = ""
    """The registry that is mirrored."""
    mirror_login: bool = False
    """Whether the engine's own credentials are shown to it."""
    is_sparse: bool = False
    """Whether manifests are taken that name what their repository has not."""
    fresh_seconds: float = 60.0
    """A mirrored tag is believed for so long."""
    keep_bytes: int = 20 * GIB
    """What a mirror keeps."""
    blob_bytes: int = 64 * GIB
    """The largest blob that is taken."""
    uploads: int = 256
    """Under way at once."""
    upload_seconds: float = 3600.0
    """An upload that nobody goes on with is dropped after."""
    stall_seconds: float = 30.0
    """A client that sends nothing, or takes nothing, for so long is let go of."""
    requests: int = 512
    """Under way at once."""
