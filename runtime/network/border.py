"""Where this room's foreign errors become ours: OSError of netlink, nftables and /proc, mapped once.

Every public function that touches the kernel stands behind it, as a decorator or a `with`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import Refused, RetryLater

_LASTING = frozenset(
    (
        errno.EINVAL,
        errno.EEXIST,
        errno.EPERM,
        errno.EACCES,
        errno.ERANGE,
        errno.EOPNOTSUPP,
        errno.EAFNOSUPPORT,
        errno.EPROTONOSUPPORT,
    )
)
"""Asking again will not help."""


@contextmanager
def border(step: str, object: str = "", hint: str = "") -> Iterator[None]:
    """Raise Refused or RetryLater, with errno, for an OSError from within."""
    try:
        yield
    except OSError as error:
        message = error.strerror or str(error)
        if "libnftables" in message and error.errno is None:
            hint = "install Debian's libnftables1"
        family = Refused if error.errno in _LASTING or error.errno is None else RetryLater
        raise family(message, object=object, step=step, errno=error.errno, hint=hint) from error
