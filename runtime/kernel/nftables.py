"""nftables by text, through libnftables in this process: one transaction per call, about 0.1 ms, no child.

Works in the network namespace of the calling thread. Decides nothing about rules. JSON output of 1.0.6 crashes on maps
with concatenated data: prefer text.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from functools import cache

_JSON = 1 << 4
_NUMERIC = 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10
_ERRNOS = (
    errno.ENOENT,
    errno.EEXIST,
    errno.EBUSY,
    errno.EPERM,
    errno.EOPNOTSUPP,
    errno.ENOSPC,
    errno.ENOMEM,
    errno.EINTR,
    errno.EAGAIN,
    errno.ENOBUFS,
    errno.EAFNOSUPPORT,
    errno.EPROTONOSUPPORT,
)
_LOCK = threading.Lock()
"""libnftables keeps a few process-wide caches."""


_open: tuple[int, int, int] | None = None
"""A context, the namespace its socket belongs to, and the process that opened it: a forked child must not use it."""


def run(commands: str, json: bool = False) -> str:
    """Run nft(8) commands as one atomic transaction and return what they print, protocols and ports as numbers.

    Raises OSError with the kernel's errno where it can be told from the message (else EINVAL), the message of
    libnftables as its text.
    """
    library = _library()
    with _LOCK:
        context = _context(library)
        library.nft_ctx_output_set_flags(context, _NUMERIC | (_JSON if json else 0))
        return _run(library, context, commands)


def run_once(commands: str) -> str:
    """As `run`, with a context that is closed again: for a namespace that must not be held. Raises OSError."""
    library = _library()
    with _LOCK:
        context = _new_context(library)
        try:
            library.nft_ctx_output_set_flags(context, _NUMERIC)
            return _run(library, context, commands)
        finally:
            library.nft_ctx_free(context)


def _run(library: ctypes.CDLL, context: int, commands: str) -> str:
    failed = library.nft_run_cmd_from_buffer(context, f"{commands}\n".encode())
    output: str = library.nft_ctx_get_output_buffer(context).decode()
    message: str = library.nft_ctx_get_error_buffer(context).decode(errors="replace")
    if failed:
        raise OSError(_errno_of(message), message.strip() or "libnftables failed")
    return output


def _context(library: ctypes.CDLL) -> int:
    """The context of the calling thread's namespace.

    Kept open from call to call: closing its socket makes the kernel wait, for some 10 ms, until whatever any
    transaction removed is freed (nft_rcv_nl_event in nf_tables_api.c).
    """
    global _open
    namespace = os.stat("/proc/thread-self/ns/net").st_ino
    if _open is not None and _open[2] == os.getpid():
        if _open[1] == namespace:
            return _open[0]
        library.nft_ctx_free(_open[0])
    _open = None
    handle = _new_context(library)
    _open = (handle, namespace, os.getpid())
    return handle


def _new_context(library: ctypes.CDLL) -> int:
    handle: int = library.nft_ctx_new(0)
    if not handle:
        raise OSError(errno.ENOMEM, "nft_ctx_new failed")
    library.nft_ctx_buffer_output(handle)
    library.nft_ctx_buffer_error(handle)
    return handle


def _errno_of(message: str) -> int:
    return next((number for number in _ERRNOS if os.strerror(number) in message), errno.EINVAL)


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libnftables.so.1")
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = (ctypes.c_uint32,)
    for name in ("nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = (ctypes.c_void_p,)
    library.nft_ctx_output_set_flags.argtypes = (ctypes.c_void_p, ctypes.c_uint)
    library.nft_run_cmd_from_buffer.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        function = getattr(library, name)
        function.argtypes = (ctypes.c_void_p,)
        function.restype = ctypes.c_char_p
    return library
