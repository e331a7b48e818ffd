"""The child of `remote`: one mount, unmount or look, which may wait for a server.

`python -m runtime.volumes.mount_child` reads a JSON request from standard input. It ends with 0, or with 1 and
`{"errno", "message"}` on standard output. In the mount namespace of its parent, so that what it mounts stays.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from runtime.kernel import mount, prctl
from runtime.volumes.mounting import attach
from runtime.volumes.options import MountWanted, versions


def mount_newest(wanted: MountWanted, target: Path) -> None:
    """Mount the newest version that both sides speak, where none is named, as mount.nfs(8) does. Raises OSError."""
    *newer, oldest = versions(wanted)
    for version in newer:
        try:
            attach(replace(wanted, options={**wanted.options, **version}), target)
            return
        except OSError as error:
            if error.errno != errno.EPROTONOSUPPORT:
                raise
    attach(replace(wanted, options={**wanted.options, **oldest}), target)


def main() -> int:
    """Do one request."""
    prctl.prctl(prctl.PR_SET_PDEATHSIG, signal.SIGKILL)
    request: dict[str, Any] = json.load(sys.stdin)
    target = Path(request["target"])
    try:
        if request["do"] == "mount":
            mount_newest(MountWanted(**request["wanted"]), target)
        elif request["do"] == "unmount":
            mount.umount2(str(target), mount.MNT_DETACH)
        else:
            os.statvfs(target)  # unlike stat(2), never answered from what was seen before
    except OSError as error:
        print(json.dumps({"errno": error.errno, "message": error.strerror or str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
