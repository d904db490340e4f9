"""What every time series is called, counts and means: one description for the registry and for the docs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Family:
    """`name` as Prometheus shows it; of a histogram without `_bucket`, `_sum` and `_count`."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()

    def gauge(self) -> GaugeMetricFamily:
        """Its samples at one scrape, to be filled."""
        return GaugeMetricFamily(self.name, self.help, labels=self.labels)


@dataclass(slots=True)
class Catalogue:
    """Makes metrics in a registry, and remembers what was said of each."""

    registry: CollectorRegistry
    families: list[Family] = field(default_factory=list)

    def counter(self, name: str, about: str, *labels: str) -> Counter:
        """`name` without `_total`, which Prometheus sees behind it."""
        self.families.append(Family(f"{name}_total", "counter", about, labels))
        return Counter(name, about, labels, registry=self.registry)

    def gauge(self, name: str, about: str, *labels: str) -> Gauge:
        self.families.append(Family(name, "gauge", about, labels))
        return Gauge(name, about, labels, registry=self.registry)

    def histogram(
        self, name: str, about: str, *labels: str, buckets: Iterable[float] = Histogram.DEFAULT_BUCKETS
    ) -> Histogram:
        self.families.append(Family(name, "histogram", about, labels))
        return Histogram(name, about, labels, buckets=tuple(buckets), registry=self.registry)
