"""`trimtab`: where the command line begins, and where what it prints goes.

Light: what a daemon carries out costs little more than the interpreter; click and the commands are imported where one
is carried out here. Exit codes: see `reconciler.cli.commands`.
"""

from __future__ import annotations

import gc
import io
import os
import sys

from reconciler.cli.failures import OUTPUT, cannot_write, say, unexpected
from reconciler.client.plain import carried_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main() -> None:
    """Run the command line. Never a traceback for a user's mistake; `TRIMTAB_DEBUG=1` shows them for ours."""
    # what imports make stays until the end: looking for cycles in it that often costs a tenth of a `diff`
    gc.set_threshold(50_000, 20, 100)
    if sys.stdout is None:  # closed by whoever started us, who wants to hear nothing
        sys.exit(_run())
    _name_output()
    status = _run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = 1  # leave too, without a word, as click does while a command runs
    except OSError as error:
        status = cannot_write(error)
    sys.exit(status)


class _Output(io.FileIO):
    """Standard output that names itself in what goes wrong: a full disk there is not the engine's."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = OUTPUT
            if isinstance(error, BrokenPipeError):
                self._forget_the_rest()
            raise

    def _forget_the_rest(self) -> None:
        """Whoever read it has left (`| head`): what a buffer still holds must not fail once more at the very end."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def _name_output() -> None:
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(sys.stdout.fileno(), "w", closefd=False)),
        encoding=sys.stdout.encoding,
        errors=sys.stdout.errors,
        line_buffering=sys.stdout.isatty(),
    )


def _run() -> int:
    """What is plain and a daemon's to do, is done without click, whose import costs more than all the rest of it."""
    try:
        status = carried_out(sys.argv[1:])
    except KeyboardInterrupt:
        from reconciler.cli.interrupt import INTERRUPTED

        return say("interrupted", INTERRUPTED)
    except Exception as error:
        return unexpected(error)
    if status is not None:
        return status
    from reconciler.cli.commands import run

    return run()
