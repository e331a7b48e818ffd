"""What a Prometheus server reads of a daemon: how long passes take, what waits, what drifted and was repaired.

Told by the same events as the log; read at `/metrics`. Names and units as Prometheus' guide has them.

Source: Prometheus, "Metric and label naming"; OpenMetrics text format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Meters:
    """One daemon's. `waiting`: how many objects are to be looked at; `following`: how many are kept."""

    def __init__(self, waiting: Callable[[], int], following: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        made = self._registry
        self._passes = Histogram(
            "trimtab_reconcile_seconds",
            "One pass over what is dirty in a set.",
            ["set"],
            buckets=SECONDS,
            registry=made,
        )
        self._failed = Counter("trimtab_reconcile_failures", "Passes that could not look.", registry=made)
        self._drift = Counter("trimtab_drift", "Differences that the machine made by itself.", ["kind"], registry=made)
        self._repairs = Counter("trimtab_repairs", "Drift that was repaired.", ["kind"], registry=made)
        self._actions = Counter(
            "trimtab_actions", "Actions, by what came of them.", ["kind", "verb", "result"], registry=made
        )
        self._sources = Counter("trimtab_source_revisions", "Revisions of sources.", ["source", "state"], registry=made)
        self._health = Counter("trimtab_health_changes", "Changes of containers' health.", ["status"], registry=made)
        Gauge("trimtab_queue", "Objects that are to be looked at.", registry=made).set_function(waiting)
        Gauge("trimtab_objects", "Objects that are kept as declared.", registry=made).set_function(following)

    def show(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """One more that is asked when it is read."""
        Gauge(name, meaning, registry=self._registry).set_function(value)

    def hear(self, event: str, values: Mapping[str, Any]) -> None:
        """An event as the log gets it; one that means nothing here is left alone."""
        match event:
            case "passed":
                self._passes.labels(values["set"]).observe(values["seconds"])
                for kind, count in values["drift"].items():
                    self._drift.labels(kind).inc(count)
                for kind, count in values["repaired"].items():
                    self._repairs.labels(kind).inc(count)
            case "pass.failed":
                self._failed.inc()
            case "action":
                kind = str(values["object"]).partition("/")[0]
                self._actions.labels(kind, values["verb"], values["result"]).inc()
            case "health":
                self._health.labels(values["status"]).inc()
            case "source":
                self._sources.labels(values["source"], values["state"]).inc()

    def text(self) -> bytes:
        """What Prometheus reads, in its text format."""
        return generate_latest(self._registry)
