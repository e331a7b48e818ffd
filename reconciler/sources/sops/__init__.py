"""Files that SOPS has encrypted for age keys (getsops.io), decrypted in memory and verified; nothing is ever written.

The formats are SOPS's own: YAML and JSON, dotenv, and its form for any other file.
"""

from reconciler.sources.sops.keys import NO_KEYS, Keys, read_keys
from reconciler.sources.sops.unseal import unseal_file, unseal_texts

__all__ = ["NO_KEYS", "Keys", "read_keys", "unseal_file", "unseal_texts"]
