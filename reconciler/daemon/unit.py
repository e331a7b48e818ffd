"""The systemd unit and the group of the socket: made by `trimtab system install`; `uninstall` takes the unit away.

The daemon is stopped alone (`KillMode=process`): launcher, monitors and containers go on in
cgroups of the engine's own.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.layout import DEFAULT_ROOT, DEFAULT_RUN, Layout
from schemas.errors import Refused

UNIT = "trimtab.service"
GROUP = "trimtab"
DIRECTORY = "etc/systemd/system"
SECONDS = 90
# the shell's own kill: a minimal Debian has no other (package procps)
TEXT = """\
[Unit]
Description=trimtab, a container engine driven by manifests
Documentation=man:systemd.service(5)
After=network-online.target local-fs.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/sh -c "kill -HUP $MAINPID"
Restart=always
RestartSec=1
WatchdogSec=30
TimeoutStartSec=120
TimeoutStopSec=60
KillMode=process
Delegate=yes
TasksMax=infinity
LimitNOFILE=1048576
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
"""


def program() -> list[str]:
    """How this program is started, by absolute paths."""
    found = shutil.which("trimtab", path=str(Path(sys.executable).parent)) or shutil.which("trimtab")
    if found is None:
        raise Refused("there is no program trimtab to start", step="install", hint="install the package")
    return [str(Path(found).absolute())]


def unit_text(layout: Layout, options: Sequence[str]) -> str:
    words = program()
    for option, value, default in (("--root", layout.root, DEFAULT_ROOT), ("--run", layout.run, DEFAULT_RUN)):
        words += [option, str(value)] if value != default else []
    command = [*words, "daemon", "--log", "json", *options]
    # of systemd's own signs, % and $ are doubled (systemd.service(5))
    return TEXT.format(command=" ".join(shlex.quote(word).replace("%", "%%").replace("$", "$$") for word in command))


def install(layout: Layout, options: Sequence[str], prefix: Path, *, start: bool) -> Path:
    """The unit's path. Idempotent: a unit that says the same is not written again. Raises Refused."""
    _ensure_group(prefix)
    path = prefix / DIRECTORY / UNIT
    text = unit_text(layout, options)
    changed = not path.exists() or path.read_text() != text
    if changed:
        _write(path, text)
    _systemctl(prefix, "daemon-reload")
    _systemctl(prefix, "enable", UNIT)
    if start:
        _systemctl(prefix, "restart" if changed else "start", UNIT)
    return path


def uninstall(prefix: Path) -> bool:
    """Whether there was one. Containers go on running. Raises Refused."""
    path = prefix / DIRECTORY / UNIT
    if not path.exists():
        return False
    _systemctl(prefix, "disable", "--now", UNIT)
    path.unlink()
    _systemctl(prefix, "daemon-reload")
    return True


def _ensure_group(prefix: Path) -> None:
    """The group that may use the UNIX socket, empty (groupadd(8)); it stays when the unit goes."""
    known = prefix / "etc/group"
    if not known.exists() or any(line.startswith(f"{GROUP}:") for line in known.read_text().splitlines()):
        return
    elsewhere = ["--prefix", str(prefix)] if prefix != Path("/") else []
    _run("groupadd", *elsewhere, "--system", "--force", GROUP, hint=f"make the group {GROUP} yourself")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(text)
        temporary.rename(path)
    except OSError as error:
        raise Refused(error.strerror or str(error), step="install", path=str(path), errno=error.errno) from error


def _systemctl(prefix: Path, *words: str) -> None:
    elsewhere = ["--root", str(prefix)] if prefix != Path("/") else []
    if elsewhere and words[0] in ("daemon-reload", "start", "restart"):
        return
    words = tuple(word for word in words if not (elsewhere and word == "--now"))
    _run("systemctl", *elsewhere, *words, hint="without systemd, have your own supervisor start `trimtab daemon`")


def _run(*command: str, hint: str) -> None:
    """A program of the machine's; `hint`: what to do where there is none. Raises Refused."""
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    except FileNotFoundError as error:
        raise Refused(f"there is no {command[0]}", step="install", hint=hint) from error
    except subprocess.SubprocessError as error:
        told = (getattr(error, "stderr", "") or str(error)).strip()
        raise Refused(f"{' '.join(command)}: {told}", step="install") from error
