"""Room in the kernel's neighbour tables (arp(7)), which all network namespaces of a machine share.

Called by `network.py` before a bridge. The host keeps an entry for every container it speaks with, each container one
for everybody it speaks with; by default all of them together may be 1,024, and what comes after meets ENOBUFS: from
some hundreds of containers on connections fail. So the limits are raised, never lowered, as Docker does for its
overlays. Only the machine's first network namespace has them; in any other there is nothing to raise.
"""

from __future__ import annotations

import errno

from runtime.network import sysctl

ROOM = {"gc_thresh3": 65_536, "gc_thresh2": 32_768, "gc_thresh1": 8_192}
"""Entries: never more; more for at most 5 s; below it none is thrown out. Half a kilobyte each, once they are used."""
_FORBIDDEN = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))


def ensure_room(version: int) -> None:
    """Raise the limits of the table of IP `version`. Raises OSError; not where they may not be written."""
    for name, entries in ROOM.items():
        setting = f"ipv{version}/neigh/default/{name}"
        found = sysctl.read_setting(setting)
        if found is None or int(found) >= entries:
            continue
        try:
            sysctl.ensure_setting(setting, str(entries))
        except OSError as error:
            # some hundreds of containers work as it is
            if error.errno not in _FORBIDDEN:
                raise
