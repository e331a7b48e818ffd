"""Addresses, subnets and id ranges that were given out, so that they stay put.

A space is a pool in which values are unique: `subnets`, `userns`, `address/<network>/4`, `address/<network>/6`.
Owners are names of objects. The choosing is done by `reconciler.addresses`, which is pure; here is only the keeping.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.store.database import Database

Leases = dict[str, dict[str, str]]
"""space -> owner -> value"""


def read_leases(database: Database) -> Leases:
    """By space (subnets, addresses, ids, ports) and owner."""
    leases: Leases = {}
    for space, owner, value in database.connection.execute("SELECT space, owner, value FROM leases"):
        leases.setdefault(space, {})[owner] = value
    return leases


def record_leases(database: Database, leases: Mapping[str, Mapping[str, str]]) -> None:
    """Make the table hold exactly `leases`, touching only the rows that differ, in one transaction."""
    had = {(space, owner): value for space, owners in read_leases(database).items() for owner, value in owners.items()}
    want = {(space, owner): value for space, owners in leases.items() for owner, value in owners.items()}
    if had == want:
        return
    with database.begin() as connection:
        gone = [key for key, value in had.items() if want.get(key) != value]
        new = [(*key, value) for key, value in want.items() if had.get(key) != value]
        connection.executemany("DELETE FROM leases WHERE space=? AND owner=?", gone)
        connection.executemany("INSERT INTO leases VALUES (?, ?, ?)", new)
