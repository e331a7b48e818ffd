"""The daemon's HTTP interface. It decodes, asks the reconciler in a thread, encodes; it decides nothing."""
