from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from stanch.observability.duties import DutyBoard
from stanch.observability.families import Catalogue, Family
from stanch.observability.incidents import IncidentBoard

if TYPE_CHECKING:
    from collections.abc import Callable

    from stanch.kube.transport import Observed

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
CALLS = (5, 10, 15, 20, 30, 40, 60, 100, 200, 500, 1000)


@dataclass(slots=True)
class Metrics:
    """Every time series of the operator, in a registry of its own, and `families`: what each one is."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    families: tuple[Family, ...] = field(init=False)
    detection_to_contained: Histogram = field(init=False)
    step_effective: Histogram = field(init=False)
    contested: Counter = field(init=False)
    api_requests: Counter = field(init=False)
    api_request_seconds: Histogram = field(init=False)
    api_calls_per_incident: Histogram = field(init=False)
    hold_proven: Gauge = field(init=False)
    leader: Gauge = field(init=False)
    queue_oldest: Gauge = field(init=False)
    queue_depth: Gauge = field(init=False)
    reconcile_errors: Counter = field(init=False)
    denied: Counter = field(init=False)
    signals: Counter = field(init=False)
    signal_requests: Counter = field(init=False)
    receiver_certificate_end: Gauge = field(init=False)
    sink_dropped: Counter = field(init=False)
    duties: DutyBoard = field(default_factory=DutyBoard)
    incidents: IncidentBoard = field(default_factory=IncidentBoard)

    def __post_init__(self) -> None:
        ProcessCollector(registry=self.registry)
        self.registry.register(self.duties)
        self.registry.register(self.incidents)
        make = Catalogue(self.registry, [*DutyBoard.FAMILIES, *IncidentBoard.FAMILIES])
        self.detection_to_contained = make.histogram(
            "stanch_detection_to_contained_seconds",
            "From the detection of an incident until all its required steps were seen effective",
            buckets=SECONDS,
        )
        self.step_effective = make.histogram(
            "stanch_step_effective_seconds",
            "From the first write of a step until its effect was seen",
            "action",
            buckets=SECONDS,
        )
        self.contested = make.counter("stanch_contested", "Attempts to undo a containment", "namespace")
        self.api_requests = make.counter(
            "stanch_api_requests",
            "Requests to the Kubernetes API; code 0: no answer",
            *("verb", "resource", "code"),
        )
        self.api_request_seconds = make.histogram(
            "stanch_api_request_seconds", "Duration of requests to the Kubernetes API", "verb"
        )
        self.api_calls_per_incident = make.histogram(
            "stanch_api_calls_per_incident",
            "Requests to the Kubernetes API until an incident was contained",
            buckets=CALLS,
        )
        self.hold_proven = make.gauge(
            "stanch_hold_proven", "1 if the last attempt to break a canary hold was denied"
        )
        self.leader = make.gauge("stanch_leader", "1 if this process leads")
        self.queue_oldest = make.gauge(
            "stanch_queue_oldest_seconds", "Age of the oldest unfinished piece of work"
        )
        self.queue_depth = make.gauge(
            "stanch_queue_depth", "Pieces of work that are due, or that are being done"
        )
        self.reconcile_errors = make.counter(
            "stanch_reconcile_errors", "Reconciles that ended in an error", "reason"
        )
        self.denied = make.counter(
            "stanch_denied", "Denials by the hold that the API server's audit log reported", "namespace"
        )
        self.signals = make.counter("stanch_signals", "Alerts received, by what became of them", "outcome")
        self.signal_requests = make.counter(
            "stanch_signal_requests", "Requests to the receiver of alerts", "code"
        )
        self.receiver_certificate_end = make.gauge(
            "stanch_receiver_certificate_end_timestamp_seconds",
            "When the certificate ends that the receiver of alerts serves; 0: it serves none",
        )
        self.sink_dropped = make.counter(
            "stanch_sink_dropped",
            "Entries of timelines that a receiver was not told: refused, or not taken for a day",
            "sink",
        )
        self.families = tuple(sorted(make.families, key=lambda family: family.name))

    def observe_request(self, observed: Observed) -> None:
        self.api_requests.labels(observed.verb, observed.resource, str(observed.code)).inc()
        self.api_request_seconds.labels(observed.verb).observe(observed.seconds)

    def count_error(self, reason: str) -> None:
        self.reconcile_errors.labels(reason).inc()

    def watch_queue(
        self, oldest_age: Callable[[], float], depth: Callable[[], int], leads: Callable[[], bool]
    ) -> None:
        """Read these at every scrape."""
        self.queue_oldest.set_function(oldest_age)
        self.queue_depth.set_function(lambda: float(depth()))
        self.leader.set_function(lambda: float(leads()))

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)
