"""Which commands a daemon carries out for the command line, and how. Everything else is done where it is typed."""

from __future__ import annotations

from collections.abc import Sequence

WRITERS = frozenset(
    {"apply", "delete", "rollback", "reconcile", "image rm", "volume rm", "system stop", "system prune"}
)
"""One at a time. They are done to the end, even if whoever asked has left."""
READERS = frozenset(
    {
        "exec",
        *("suspend", "resume", "wait"),
        *("diff", "validate", "get", "describe", "logs", "events", "history", "why"),
        *("image ls", "image pull", "image inspect", "image load", "image save", "image export", "image import"),
        *("image manifest", "image referrers"),
        *("image push", "image copy", "image commit", "image tag", "image history", "image diff", "image sbom"),
        *("system info", "system check", "system df", "system fsck", "volume ls", "volume inspect"),
    }
)
LASTING = frozenset(
    {
        *("wait", "logs", "events"),
        *("image pull", "image push", "image copy", "image load", "image save", "image export", "image import"),
    }
)
"""Readers that may take as long as somebody far away, or whoever reads what they say, takes."""
ASKING = frozenset({"volume rm", "system prune"})
"""They ask before they act, which nobody can at a distance: through a daemon with `--yes` alone."""
NOWHERE = frozenset(
    {
        *("explain", "schema", "completion", "version", "daemon", "status"),
        *("source ls", "source fetch"),
        *("context create", "context use", "context ls", "context rm"),
        *("registry serve", "registry passwd"),
        *("system install", "system uninstall", "system certs", "system dial-stdio"),
    }
)
"""They touch no engine, or choose its host themselves."""
HERE = frozenset({"registry prune", "image build", "image login", "image logout", "image sign", "image verify"})
"""On this machine's engine alone, until a daemon does them."""
GROUPS = frozenset({"image", "system", "volume", "context", "registry", "source"})
WHOLE_ENVIRONMENT = frozenset({"rollback"})
"""Commands about manifests that only the daemon has: which variables they name is not known here."""


def command_name(words: Sequence[str]) -> str:
    """`image rm` of `image rm busybox`."""
    return " ".join(words[:2] if words and words[0] in GROUPS else words[:1])


def is_remote(words: Sequence[str]) -> bool:
    name = command_name(words)
    return name in WRITERS or name in READERS


def is_writer(words: Sequence[str]) -> bool:
    return command_name(words) in WRITERS


def is_lasting(words: Sequence[str]) -> bool:
    return command_name(words) in LASTING


def is_here(words: Sequence[str]) -> bool:
    return command_name(words) in HERE
