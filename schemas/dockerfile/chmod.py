"""`--chmod=`: a mode in octal, or as chmod(1) takes it: `u+x,go-w`.

Called by the reader of COPY and ADD, and when variables are known. Changes no file.

Source: Dockerfile reference, "COPY --chown --chmod"; chmod(1).
"""

from __future__ import annotations

import re

_SYMBOLIC = re.compile(r"[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+(?:,[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+)*")


def read_chmod(text: str) -> int | str:
    """`0755` -> 493; `u+x` as it is. Raises ValueError."""
    if re.fullmatch(r"[0-7]{1,6}", text) and int(text, 8) <= 0o7777:
        return int(text, 8)
    if _SYMBOLIC.fullmatch(text):
        return text
    raise ValueError(f"{text!r} is no mode; write it octal, as in 0755, or as in u+x,go-w")
