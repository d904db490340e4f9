from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from stanch.observability.duties import DutyBoard

if TYPE_CHECKING:
    from collections.abc import Callable

    from stanch.kube.transport import Observed

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
CALLS = (5, 10, 15, 20, 30, 40, 60, 100, 200, 500, 1000)


@dataclass(slots=True)
class Metrics:
    """Every time series of the operator, in a registry of its own."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    detection_to_contained: Histogram = field(init=False)
    step_effective: Histogram = field(init=False)
    contested: Counter = field(init=False)
    api_requests: Counter = field(init=False)
    api_request_seconds: Histogram = field(init=False)
    api_calls_per_incident: Histogram = field(init=False)
    hold_proven: Gauge = field(init=False)
    leader: Gauge = field(init=False)
    queue_oldest: Gauge = field(init=False)
    reconcile_errors: Counter = field(init=False)
    denied: Counter = field(init=False)
    signals: Counter = field(init=False)
    signal_requests: Counter = field(init=False)
    sink_dropped: Counter = field(init=False)
    duties: DutyBoard = field(default_factory=DutyBoard)

    def __post_init__(self) -> None:
        registry = self.registry
        ProcessCollector(registry=registry)
        registry.register(self.duties)
        self.detection_to_contained = Histogram(
            "stanch_detection_to_contained_seconds",
            "From the detection of an incident until all its required steps were seen effective",
            buckets=SECONDS,
            registry=registry,
        )
        self.step_effective = Histogram(
            "stanch_step_effective_seconds",
            "From the first write of a step until its effect was seen",
            ["action"],
            buckets=SECONDS,
            registry=registry,
        )
        self.contested = Counter(
            "stanch_contested", "Attempts to undo a containment", ["namespace"], registry=registry
        )
        self.api_requests = Counter(
            "stanch_api_requests",
            "Requests to the Kubernetes API; code 0: no answer",
            ["verb", "resource", "code"],
            registry=registry,
        )
        self.api_request_seconds = Histogram(
            "stanch_api_request_seconds",
            "Duration of requests to the Kubernetes API",
            ["verb"],
            registry=registry,
        )
        self.api_calls_per_incident = Histogram(
            "stanch_api_calls_per_incident",
            "Requests to the Kubernetes API until an incident was contained",
            buckets=CALLS,
            registry=registry,
        )
        self.hold_proven = Gauge(
            "stanch_hold_proven", "1 if the last attempt to break a canary hold was denied", registry=registry
        )
        self.leader = Gauge("stanch_leader", "1 if this process leads", registry=registry)
        self.queue_oldest = Gauge(
            "stanch_queue_oldest_seconds", "Age of the oldest unfinished piece of work", registry=registry
        )
        self.reconcile_errors = Counter(
            "stanch_reconcile_errors", "Reconciles that ended in an error", ["reason"], registry=registry
        )
        self.denied = Counter(
            "stanch_denied",
            "Denials by the hold that the API server's audit log reported",
            ["namespace"],
            registry=registry,
        )

        self.signals = Counter(
            "stanch_signals", "Alerts received, by what became of them", ["outcome"], registry=registry
        )
        self.signal_requests = Counter(
            "stanch_signal_requests", "Requests to the receiver of alerts", ["code"], registry=registry
        )
        self.sink_dropped = Counter(
            "stanch_sink_dropped",
            "Entries of timelines that a receiver was not told: refused, or not taken for a day",
            ["sink"],
            registry=registry,
        )

    def observe_request(self, observed: Observed) -> None:
        self.api_requests.labels(observed.verb, observed.resource, str(observed.code)).inc()
        self.api_request_seconds.labels(observed.verb).observe(observed.seconds)

    def count_error(self, reason: str) -> None:
        self.reconcile_errors.labels(reason).inc()

    def watch_queue(self, oldest_age: Callable[[], float], leads: Callable[[], bool]) -> None:
        """Read these at every scrape."""
        self.queue_oldest.set_function(oldest_age)
        self.leader.set_function(lambda: float(leads()))

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)
