"""Pseudo terminals without paths: the pair is made from a ptmx descriptor, so no name inside a container is trusted."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

TIOCSPTLCK = 0x40045431
TIOCGPTPEER = 0x5441


def open_peer(master: int) -> int:
    """Unlock the terminal behind a descriptor of ptmx(4) and open its slave side (TIOCGPTPEER, ioctl_tty(2))."""
    fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
    return fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def set_size(terminal: int, rows: int, columns: int) -> None:
    """TIOCSWINSZ."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def read_size(terminal: int) -> tuple[int, int]:
    """Rows and columns (TIOCGWINSZ)."""
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, b"\0" * 8))
    return rows, columns


def make_controlling(terminal: int) -> None:
    """TIOCSCTTY: the controlling terminal of the caller's session, which it must lead."""
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
