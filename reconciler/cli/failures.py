"""What went wrong, in words, and the exit code that goes with it. Never a traceback for a user's mistake.

Light: imported by every command line. `TRIMTAB_DEBUG=1` shows tracebacks for the mistakes that are ours.
"""

from __future__ import annotations

import errno
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from schemas.errors import Invalid

SURROUNDINGS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.EMFILE,
    errno.ENOMEM,
)
"""Errors that are the machine's and nobody's fault."""
OUTPUT = "standard output"


def unexpected(error: Exception) -> int:
    """The exit code of a command that raised it."""
    from schemas.errors import Invalid, TrimtabError

    if os.environ.get("TRIMTAB_DEBUG") == "1":
        raise error
    if isinstance(error, Invalid):
        return _refuse(error)
    if isinstance(error, TrimtabError):
        return say(str(error), 2)
    if isinstance(error, PermissionError) and os.geteuid() != 0:
        return say(f"{error}; trimtab needs root to drive the kernel: run it with sudo", 2)
    if isinstance(error, OSError) and error.filename == OUTPUT:
        return cannot_write(error)
    if isinstance(error, OSError) and error.errno in SURROUNDINGS:
        return say(f"{error}; mend that and try again", 1)
    return say(f"this is a fault of trimtab: {type(error).__name__}: {error}; TRIMTAB_DEBUG=1 shows where", 3)


def _refuse(invalid: Invalid) -> int:
    """A line for each problem, its place first, as compilers and linters have it: editors jump there."""
    for problem in invalid.problems:
        print(problem, file=sys.stderr)
    count = len(invalid.problems)
    return say(f"{count} problem{'' if count == 1 else 's'}; nothing was touched", 2)


def say(text: str, status: int) -> int:
    """`status`, after the text on standard error, where there is one."""
    if sys.stderr is not None:
        print(f"trimtab: {text}", file=sys.stderr)
    return status


def cannot_write(error: OSError) -> int:
    """What was to be said is lost: that must not pass for success."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return say(f"cannot write to standard output: {error.strerror}", 1)
