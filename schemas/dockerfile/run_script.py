"""What RUN hands to the kernel: a program and its arguments, and the file a heredoc with `#!` becomes.

Called by the builder for every RUN, with the shell that holds there. Runs nothing.

Source: Dockerfile reference, "RUN", "Shell and exec form", "Here-Documents".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.dockerfile.heredoc import read_mark
from schemas.dockerfile.instructions import Command, Run

DEFAULT_SHELL = ("/bin/sh", "-c")
SCRIPT_DIRECTORY = "/dev/pipes"


@dataclass(frozen=True, slots=True)
class Script:
    """A program and its arguments. `path` and `content` name a file that must be there, mode 0755, while it runs."""

    arguments: tuple[str, ...]
    path: str = ""
    content: str = ""


def run_script(run: Run, shell: Sequence[str] = DEFAULT_SHELL) -> Script:
    """The arguments of a RUN. A heredoc alone is a script: with `#!` a file of its own, else the shell's text."""
    if not run.heredocs or not run.command.is_shell:
        return Script(command_arguments(run.command, shell))
    text, first = run.command.words[0], run.heredocs[0]
    if read_mark(text) is None:
        # The shell reads the heredocs itself, so it gets them as they were written.
        bodies = "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in run.heredocs)
        return Script((*shell, text + bodies))
    if first.text.startswith("#!"):
        path = f"{SCRIPT_DIRECTORY}/{first.name.replace('/', '_')}"
        return Script((path,), path, first.text)
    return Script((*shell, first.text))


def command_arguments(command: Command, shell: Sequence[str] = DEFAULT_SHELL) -> tuple[str, ...]:
    """A command as the image's config keeps it: the shell's arguments, or the program's own."""
    return (*shell, *command.words) if command.is_shell and command.words else command.words
