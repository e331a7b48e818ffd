"""What is left alone for now: processes that their restart policy does not start again, or not yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconciler.desired import Desired, Observed
from reconciler.engine import Engine
from reconciler.kinds.container import LIVING
from reconciler.loop.memory import Memory
from reconciler.restart import Decision, Ended, Restarts, decide, policy_of
from runtime.process.client import read_process
from runtime.process.records import Phase
from schemas.names import Key, Kind

WANTED = ("running", "paused")


class Holding:
    """Of one pass at the moment `now`: each container's end is judged once."""

    def __init__(self, engine: Engine, desired: Mapping[Key, Desired], memory: Memory, now: float) -> None:
        self._engine = engine
        self._desired = desired
        self._memory = memory
        self._now = now
        self.decisions: dict[Key, Decision | None] = {}

    def __call__(self, observed: Mapping[Key, Observed]) -> Mapping[Key, Observed]:
        """The same, with containers that stay ended marked, and their Services not missing them."""
        held = {key for key, have in observed.items() if key.kind is Kind.CONTAINER and self._is_held(key, have)}
        if not held:
            return observed
        names = sorted(key.name for key in held)
        return {
            key: replace(have, held=True) if key in held else _without(have, names) if _is_service(key) else have
            for key, have in observed.items()
        }

    def _is_held(self, key: Key, have: Observed) -> bool:
        if key not in self._desired or self._desired[key].facts.get("process") not in WANTED:
            return False
        if have.facts.get("process") in (*LIVING, None):
            return False
        if key not in self.decisions:
            self.decisions[key] = self._decide(key)
        decision = self.decisions[key]
        return decision is not None and not decision.is_due(self._now)

    def _decide(self, key: Key) -> Decision | None:
        """None where no process has ended after all, or none that began: then no policy is asked."""
        process = read_process(self._engine.layout, key.name)
        if process is None or process.phase is not Phase.EXITED or process.exit is None or _never_began(process.exit):
            return None
        found = process.exit
        ended = Ended(found.exit_code, found.started_at, found.finished_at, found.error, found.ran)
        policy = policy_of(self._desired[key].fields["spec"])
        return decide(policy, ended, self._memory.restarts.get(key.name, Restarts()), self._now)


def _never_began(ended: object) -> bool:
    """A start that failed is tried again as any failed action is."""
    return bool(getattr(ended, "error", "")) and getattr(ended, "started_at", None) is None


def _is_service(key: Key) -> bool:
    return key.kind is Kind.SERVICE


def _without(have: Observed, names: list[str]) -> Observed:
    return replace(have, facts={**have.facts, "absent": sorted({*have.facts.get("absent", ()), *names})})
