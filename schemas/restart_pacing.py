"""How often and how soon a container is started again after its process ended; whether, its restart policy says.

The names are those of Compose's `deploy.restart_policy`; `max_delay` is ours.

Source: Compose Specification, deploy, restart_policy.
"""

from typing import Annotated

from schemas.field import Spec, part
from schemas.plain_types import Seconds, whole

Attempts = Annotated[int, whole(0, 10_000)]


class RestartPacing(Spec):
    """The delays between restarts, and when to give up. The first restart is at once."""

    delay: Annotated[
        Seconds | None,
        part("Time before the second restart in a row; doubled for each further one.", unit="seconds", default="100ms"),
    ] = None
    max_delay: Annotated[Seconds | None, part("Longest time before a restart.", unit="seconds", default="1m")] = None
    max_attempts: Annotated[Attempts | None, part("Restarts in a row before giving up.", default="no limit")] = None
    window: Annotated[
        Seconds | None,
        part("Time it must run for a start to have succeeded: the row begins anew.", unit="seconds", default="10s"),
    ] = None
