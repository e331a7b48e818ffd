"""What the server keeps of root: the right to bind port 53 of networks still to come, and nothing else.

Called once, when all files it needs are open or readable to its group. Irrevocable.
"""

from __future__ import annotations

import os

from runtime.kernel import capabilities, prctl
from runtime.network.dns.record_files import SERVER_GID, SERVER_UID

KEPT = ("CAP_NET_BIND_SERVICE",)


def drop_privileges() -> None:
    """Become nobody with CAP_NET_BIND_SERVICE alone; what was not root to begin with stays who it is."""
    if os.geteuid() == 0:
        prctl.prctl(prctl.PR_SET_KEEPCAPS, 1)
        os.setgroups([])
        os.setresgid(SERVER_GID, SERVER_GID, SERVER_GID)
        os.setresuid(SERVER_UID, SERVER_UID, SERVER_UID)
        capabilities.apply(bounding=KEPT, permitted=KEPT, inheritable=(), effective=KEPT, ambient=())
    prctl.set_dumpable(False)
    prctl.set_no_new_privs()
