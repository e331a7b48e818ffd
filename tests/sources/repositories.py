"""Real repositories made by the real git, with nobody's configuration."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path


class Repository:
    """A repository with a work tree, to commit to."""

    def __init__(self, path: Path, settings: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.settings = {"user.name": "Ada", "user.email": "ada@example.com", "init.defaultBranch": "main"}
        self.settings |= settings or {}
        path.mkdir(parents=True, exist_ok=True)
        if not (path / ".git").exists():
            self.git("init", "-q")

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def git(self, *arguments: str) -> str:
        options = [word for name, value in self.settings.items() for word in ("-c", f"{name}={value}")]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path.parent),
            "GIT_CONFIG_NOSYSTEM": "1",
            **{name: value for name, value in os.environ.items() if name == "GNUPGHOME"},
        }
        made = subprocess.run(
            ["git", "-C", str(self.path), *options, *arguments],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def write(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)

    def commit(self, message: str = "change", *options: str, **files: str) -> str:
        """Commit everything, with `files` (a_yaml="...") written before; the commit."""
        for name, text in files.items():
            self.write(name.replace("_", "."), text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message, *options)
        return self.git("rev-parse", "HEAD")
