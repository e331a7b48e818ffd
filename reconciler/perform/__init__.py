"""Actions carried out, a module for each kind; `dispatch` chooses it. Everything here is idempotent.

Imported by what acts alone: a `diff` does without.
"""
