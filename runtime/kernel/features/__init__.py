"""What this kernel and machine can and cannot do: for `trimtab system check`, and for the reasons of skipped tests.

Every probe tries the real thing where that leaves nothing behind: a detached mount, a link in a network namespace that
ends with its thread, a directory removed again. A probe may make the kernel load a module. Decides nothing.
"""

from runtime.kernel.features.table import Feature, probe

__all__ = ["Feature", "probe"]
