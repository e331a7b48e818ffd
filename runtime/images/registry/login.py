"""`login` and `logout`: credentials that a registry has accepted, kept where Docker keeps them.

Called by the command line. A credential helper that Docker's config.json names keeps them; without one they stand in
the file itself, readable by its owner alone. Nothing of them is ever in an argument or a message.

Source: Docker's config.json, the docker-credential-helpers protocol (store, erase); distribution-spec 1.1 (/v2/).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path

from runtime.images.registry.client import Client
from runtime.images.registry.credentials import (
    Credentials,
    default_path,
    is_account,
    is_helper,
    read_config,
    server_of,
    table,
)
from runtime.images.registry.endpoints import registry_endpoint
from runtime.images.registry.failures import Errand
from runtime.images.registry.retry import persist
from runtime.images.registry.settings import RegistrySettings
from runtime.images.registry.transport import connected
from schemas.errors import Refused


def login(account: str, credentials: Credentials, settings: RegistrySettings) -> None:
    """Ask the registry `account` whether it accepts them, and keep them. Raises Refused, RetryLater."""
    asyncio.run(_try(account, credentials, settings))
    path = settings.docker_config or default_path()
    helper = _helper(read_config(path), account)
    if helper:
        secret = {"ServerURL": server_of(account), "Username": credentials.username, "Secret": credentials.password}
        _tell_helper(helper, "store", json.dumps(secret).encode(), settings)
        return
    encoded = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
    _write(path, account, {"auth": encoded})


def logout(account: str, settings: RegistrySettings) -> bool:
    """Whether there was anything to forget. Raises Refused."""
    path = settings.docker_config or default_path()
    content = read_config(path)
    helper = _helper(content, account)
    if helper:
        _tell_helper(helper, "erase", server_of(account).encode(), settings)
    known = any(is_account(name, account) for name in table(content, "auths"))
    if known:
        _write(path, account, None)
    return known or bool(helper)


async def _try(account: str, credentials: Credentials, settings: RegistrySettings) -> None:
    errand = Errand(account, "login")
    async with connected(settings) as transport:
        client = Client(registry_endpoint(account, settings), "", transport, credentials=credentials)

        async def attempt() -> None:
            async with await client.ask("GET", "", errand):
                pass

        await persist(attempt, settings)


def _helper(content: Mapping[str, object], account: str) -> str:
    helper = table(content, "credHelpers").get(account) or content.get("credsStore") or ""
    if not isinstance(helper, str) or (helper and not is_helper(helper)):
        raise Refused("names no credential helper", object="config.json", step="read credentials")
    return helper


def _tell_helper(helper: str, verb: str, content: bytes, settings: RegistrySettings) -> None:
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, verb], input=content, capture_output=True, timeout=settings.helper_timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"{program} gave no answer in {settings.helper_timeout:g} s", step=verb) from None
    except OSError as error:
        raise Refused(f"{program}: {error.strerror}", step=verb, errno=error.errno) from error
    if done.returncode and b"credentials not found" not in done.stdout:
        raise Refused(f"{program} failed with status {done.returncode}", step=verb)


def _write(path: Path, account: str, entry: Mapping[str, str] | None) -> None:
    """The whole file anew, by one rename; what else stands in it stays."""
    content = dict(read_config(path))
    auths = {name: value for name, value in table(content, "auths").items() if not is_account(name, account)}
    content["auths"] = auths | ({server_of(account): dict(entry)} if entry is not None else {})
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            json.dump(content, file, indent=2)
            file.flush()
            os.fsync(fd)
        new.rename(path)
    except OSError as error:
        raise Refused(
            error.strerror or str(error), step="keep credentials", path=str(path), errno=error.errno
        ) from error
