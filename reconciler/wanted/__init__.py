"""From canonical specs to the records the runtime's rooms take: one file per room, pure."""
