"""The only code that touches kernel, disk or registry: `ensure_x`, `read_x`, `remove_x`, all synchronous."""
