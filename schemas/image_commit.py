"""An image made of what a container has changed: `Image.spec.commit`, with the words of `docker commit`.

That the container exists is checked with all other references; what the instructions say, by whoever commits.

Source: docker commit; Dockerfile reference.
"""

from typing import Annotated

from schemas.field import Spec, part
from schemas.plain_types import TEXT, Flag, Line, Name, read_line, words

Changes = Annotated[tuple[str, ...], words(read_line, "list of instruction", TEXT, single=True)]


class CommitSpec(Spec):
    """Committed once, and again whenever one of these changes."""

    container: Annotated[Name, part("Container whose changes are committed.")]
    pause: Annotated[Flag, part("Hold the container meanwhile.")] = True
    author: Annotated[Line | None, part("Who made it, for its history.", default="nobody")] = None
    message: Annotated[Line | None, part("What was changed, for its history.", default="none")] = None
    changes: Annotated[Changes, part("Instructions of a Dockerfile, as CMD, ENV, EXPOSE, LABEL.")] = ()
