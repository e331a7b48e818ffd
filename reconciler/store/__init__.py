"""What was asked, kept in SQLite: sets and inventories, leases, events, revisions.

The kernel is the truth about what is; this is the truth about what was asked. Opened by `observe` and `apply`; it
decides nothing.
"""
