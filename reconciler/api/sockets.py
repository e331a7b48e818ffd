"""Where the API is heard: UNIX sockets that nobody else can open meanwhile, TCP with certificates of both sides."""

from __future__ import annotations

import grp
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from schemas.errors import Refused

BACKLOG = 1024
PATH_BYTES = 107
"""The longest name of a UNIX socket (unix(7)), without the zero at its end."""


def unix_listener(path: Path, group: str) -> socket.socket:
    """Bound and listening; root's alone, or root's and the group's where there is such a group.

    Whoever listens there already is left in peace: raises Refused. A socket that nobody listens on is taken over.
    """
    if len(os.fsencode(path)) > PATH_BYTES:
        raise Refused(f"a socket's path has at most {PATH_BYTES} bytes", step="listen", path=str(path))
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    _take_over(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise Refused(error.strerror or str(error), step="listen", path=str(path), errno=error.errno) from error
    finally:
        os.umask(before)
    with suppress(KeyError):
        os.chown(path, 0, grp.getgrnam(group).gr_gid)
        # only after it is the group's: before, it would be open to root's
        path.chmod(0o660)
    listener.listen(BACKLOG)
    return listener


def _take_over(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise Refused("there is something else than a socket", step="listen", path=str(path), hint="move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError:
            pass
    raise Refused("another process listens there", step="listen", path=str(path), hint="end it, or give --listen")


def tcp_listener(host: str, port: int) -> socket.socket:
    """Raises Refused for an address that cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
    except OSError as error:
        raise Refused(error.strerror or str(error), step="listen", path=f"tcp://{host}:{port}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Refused(error.strerror or str(error), step="listen", path=f"tcp://{host}:{port}") from error
    return listener
