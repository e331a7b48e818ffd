"""What Python's sockets do not offer: a socket that forgets whom it was connected to (connect(2))."""

from __future__ import annotations

import ctypes
import socket

from runtime.kernel import libc

_SIZE = 16

_connect = libc.function("connect", ctypes.c_int, ctypes.c_void_p, ctypes.c_uint)


def disconnect(link: socket.socket) -> None:
    """connect(2) to AF_UNSPEC: the socket has neither peer nor port, and takes a new one when connected again."""
    nobody = ctypes.create_string_buffer(_SIZE)
    _connect(link.fileno(), ctypes.cast(nobody, ctypes.c_void_p), _SIZE)
