"""Decides what would close the difference between desired and observed, then asks the runtime to make it so."""
