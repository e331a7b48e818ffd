"""Who we are to a registry: what `docker login` left in Docker's config.json, or its credential helpers.

Called once per registry, after that registry asked. Writes nothing, and puts no secret into an error or a
`repr`. Source: Docker's config.json (auths, credHelpers, credsStore), the docker-credential-helpers protocol.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runtime.images.registry.endpoints import DOCKER_HUB
from runtime.images.registry.settings import RegistrySettings
from schemas.errors import Refused

_HUB_ADDRESS = "https://index.docker.io/v1/"
_HUB_NAMES = frozenset({"index.docker.io", DOCKER_HUB, "registry-1.docker.io"})
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_CONFIG_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one registry knows us by. All empty: nobody."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """Exchanged for access tokens (OAuth 2 refresh token)."""
    registry_token: str = field(default="", repr=False)
    """An access token, sent as it is."""
    problem: str = ""
    """Why there may be more than this: a credential helper failed."""

    @property
    def basic(self) -> str:
        """The value of an Authorization header, or empty."""
        if not self.username:
            return ""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def read_credentials(account: str, settings: RegistrySettings) -> Credentials:
    """What is known for the registry `account` (`docker.io`, `host[:port]`).

    A helper that fails is told in `problem`: public images need no login. Raises Refused for a broken config.json.
    """
    content = read_config(settings.docker_config or default_path())
    helper = table(content, "credHelpers").get(account) or content.get("credsStore")
    problem = ""
    if isinstance(helper, str) and helper:
        try:
            if found := ask_helper(helper, account, settings.helper_timeout):
                return found
        except Refused as error:
            problem = str(error)
    for name, entry in table(content, "auths").items():
        if is_account(name, account) and isinstance(entry, dict):
            return from_entry(entry, problem)
    return Credentials(problem=problem)


def default_path() -> Path:
    """Docker's `config.json`: of DOCKER_CONFIG, else of the home directory."""
    directory = os.environ.get("DOCKER_CONFIG")
    return Path(directory) / "config.json" if directory else Path.home() / ".docker" / "config.json"


def read_config(path: Path) -> Mapping[str, object]:
    """The file as a mapping; empty when there is none."""
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_CONFIG_LIMIT))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise Refused(
            error.strerror or str(error), step="read credentials", path=str(path), errno=error.errno
        ) from error
    except (ValueError, RecursionError):
        # The decoder's message would quote nothing, but its exception holds the whole file.
        raise Refused(
            "this is not JSON", step="read credentials", path=str(path), hint="mend it, or `docker login` anew"
        ) from None
    return content if isinstance(content, dict) else {}


def table(content: Mapping[str, object], name: str) -> Mapping[str, object]:
    """A part of the file that should be a table; an empty one where it is not."""
    found = content.get(name)
    return found if isinstance(found, dict) else {}


def is_account(name: str, account: str) -> bool:
    """Whether the key `name` of `auths` (a host, or an old-style address with a path) is the registry `account`."""
    host = name.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return host == account or (account in _HUB_NAMES and host in _HUB_NAMES)


def from_entry(entry: Mapping[str, object], problem: str) -> Credentials:
    """One entry of `auths`."""
    username, password = text(entry, "username"), text(entry, "password")
    if encoded := text(entry, "auth"):
        try:
            username, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            problem = problem or "the entry for this registry in config.json is damaged"
    token = text(entry, "identitytoken")
    return Credentials(username, password.rstrip("\0"), token, text(entry, "registrytoken"), problem)


def text(entry: Mapping[str, object], name: str) -> str:
    """A part of the file that should be text; empty where it is not."""
    found = entry.get(name)
    return found if isinstance(found, str) else ""


def is_helper(name: str) -> bool:
    """Whether it can be the end of a program's name."""
    return _HELPER.fullmatch(name) is not None


def server_of(account: str) -> str:
    """What the registry `account` is called where credentials are kept."""
    return _HUB_ADDRESS if account == DOCKER_HUB else account


def ask_helper(helper: str, account: str, timeout: float) -> Credentials | None:
    """What `docker-credential-HELPER get` knows, None when nothing. Raises Refused when it does not work."""
    if not is_helper(helper):
        raise Refused(f"{helper[:80]!r} is not the name of a credential helper", step="read credentials")
    program = f"docker-credential-{helper}"
    server = server_of(account)
    try:
        done = subprocess.run(
            [program, "get"], input=server.encode(), capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"{program} gave no answer in {timeout:g} s", step="read credentials") from None
    except OSError as error:
        raise Refused(f"{program}: {error.strerror}", step="read credentials", errno=error.errno) from error
    if done.returncode:
        if b"credentials not found" in done.stdout:
            return None
        raise Refused(f"{program} failed with status {done.returncode}", step="read credentials")
    return from_helper(done.stdout, program)


def from_helper(output: bytes, program: str) -> Credentials | None:
    """What a credential helper printed; None where it knows nothing. Raises Refused."""
    try:
        answer = json.loads(output)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise Refused(f"{program} did not answer with JSON", step="read credentials") from None
    username, secret = text(answer, "Username"), text(answer, "Secret")
    if username == "<token>":
        return Credentials(identity_token=secret)
    return Credentials(username, secret) if username else None
