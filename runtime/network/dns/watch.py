"""Keeps the server's names in step with the record files, one changed file at a time.

`catch_up` is called before any packet is answered, so that a record written before a question was asked is seen by
its answer. Costs one failing read when nothing changed. Reports which networks' listening addresses may have
changed; opening sockets is the listeners' job.
"""

from __future__ import annotations

import errno
from pathlib import Path

from runtime.kernel.inotify import (
    IN_ATTRIB,
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_IGNORED,
    IN_ISDIR,
    IN_MOVE_SELF,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_ONLYDIR,
    IN_Q_OVERFLOW,
    InotifyEvent,
    inotify_add_watch,
    inotify_init1,
    read_events,
)
from runtime.network.dns.record_files import (
    NETWORK_FILE,
    NO_NETWORK,
    is_record_name,
    read_network_file,
    read_owner_file,
    read_owners,
)
from runtime.network.dns.zone import Names, Zone

_ENTRIES = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB | IN_ONLYDIR
_FILES = IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR


def _new_inotify() -> int:
    try:
        return inotify_init1()
    except OSError as error:
        if error.errno == errno.EMFILE:
            error.strerror = f"{error.strerror}; raise the sysctl fs.inotify.max_user_instances"
        raise


class Watcher:
    """Follows `directory` into `names`. `gone`: it was removed, so this server has no engine any more."""

    def __init__(self, directory: Path, names: Names) -> None:
        self.directory = directory
        self.names = names
        self.gone = False
        self.fd = _new_inotify()
        self._root = inotify_add_watch(self.fd, directory, _ENTRIES | IN_DELETE_SELF | IN_MOVE_SELF)
        self._networks: dict[int, str] = {}
        self.read_all()

    def read_all(self) -> None:
        """Read everything anew: at the start, and when the kernel dropped events."""
        self.names.zones.clear()
        for path in self.directory.iterdir():
            if is_record_name(path.name):
                self._read_network(path.name)
        self.names.forget_views()

    def catch_up(self) -> bool:
        """Apply what changed since the last call; True when a network's own file was among it."""
        listening_changed = changed = False
        for event in read_events(self.fd):
            changed = True
            listening_changed |= self._apply(event)
        if changed:
            self.names.forget_views()
        return listening_changed

    def _apply(self, event: InotifyEvent) -> bool:
        if event.mask & IN_Q_OVERFLOW:
            self.read_all()
            return True
        if event.watch == self._root:
            return self._apply_to_root(event)
        if event.mask & IN_IGNORED:
            self._networks.pop(event.watch, None)
            return False
        network = self._networks.get(event.watch)
        zone = self.names.zones.get(network) if network is not None else None
        if zone is None:
            return False
        return self._read_file(zone, event.name)

    def _apply_to_root(self, event: InotifyEvent) -> bool:
        if event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED):
            self.gone = True
            return False
        if not event.mask & IN_ISDIR or not is_record_name(event.name):
            return False
        self.names.zones.pop(event.name, None)
        if event.mask & (IN_CREATE | IN_MOVED_TO | IN_ATTRIB):  # ATTRIB: its maker has let us in only now.
            self._read_network(event.name)
        return True

    def _read_network(self, network: str) -> None:
        path = self.directory / network
        try:  # Watch first, then read: a file written between the two is seen twice rather than never.
            watch = inotify_add_watch(self.fd, path, _FILES)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return
        self._networks = {known: name for known, name in self._networks.items() if name != network}
        self._networks[watch] = network
        zone = self.names.zones[network] = Zone(network)
        zone.set_network(*(read_network_file(path / NETWORK_FILE) or NO_NETWORK))
        for owner, records in read_owners(path):
            zone.put(owner, records)

    def _read_file(self, zone: Zone, name: str) -> bool:
        path = self.directory / zone.network / name
        if name == NETWORK_FILE:
            zone.set_network(*(read_network_file(path) or NO_NETWORK))
            return True
        if is_record_name(name):
            records = read_owner_file(path)
            if records is None:
                zone.drop(name)
            else:
                zone.put(name, records)
        return False
