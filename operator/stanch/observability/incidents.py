"""Incidents as metrics: their phases and conditions, and how far those who are told of them are behind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from prometheus_client.registry import Collector

from stanch.api.v1alpha1.status import ENDED
from stanch.observability.families import Family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import GaugeMetricFamily

    from stanch.api.v1alpha1.status import AIIncidentStatus

_PHASES = Family("stanch_incidents", "gauge", "Incidents, by phase", ("namespace", "phase"))
_CONDITIONS = Family(
    "stanch_incident_conditions",
    "gauge",
    "Incidents that have not ended, by what a condition of theirs says",
    ("namespace", "type", "status"),
)
_BACKLOG = Family(
    "stanch_sink_backlog", "gauge", "Entries of timelines that a receiver has still to be told", ("sink",)
)
_FAILING = Family(
    "stanch_sink_failing", "gauge", "Incidents of which a receiver does not take the next entry", ("sink",)
)


@dataclass(frozen=True, slots=True)
class _Noted:
    phase: str
    conditions: tuple[tuple[str, str], ...]
    behind: tuple[tuple[str, int, bool], ...]
    """Of each receiver: its name, entries to come, and whether it fails."""


class IncidentBoard(Collector):
    """What the stored status of every incident said last; nothing stays of one that is forgotten.

    Only who leads has anything to show, some seconds after it began: once it has seen every incident.
    """

    FAMILIES: ClassVar = (_PHASES, _CONDITIONS, _BACKLOG, _FAILING)

    def __init__(self) -> None:
        self._noted: dict[tuple[str, str], _Noted] = {}

    def note(self, namespace: str, name: str, status: AIIncidentStatus) -> None:
        if status.phase is None:
            return
        ended = status.phase in ENDED
        last = status.timeline[-1].seq if status.timeline else 0
        self._noted[namespace, name] = _Noted(
            status.phase.value,
            () if ended else tuple((one.type, one.status) for one in status.conditions),
            tuple(
                (one.sink, max(last - one.through, 0), one.failing_since is not None)
                for one in status.deliveries
            ),
        )

    def forget(self, namespace: str, name: str) -> None:
        self._noted.pop((namespace, name), None)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Receivers that are not behind are there with 0."""
        everything = [(namespace, noted) for (namespace, _), noted in self._noted.items()]
        yield _counted(_PHASES, Counter((namespace, noted.phase) for namespace, noted in everything))
        yield _counted(
            _CONDITIONS,
            Counter((namespace, *said) for namespace, noted in everything for said in noted.conditions),
        )
        behind: Counter[tuple[str, ...]] = Counter()
        failing: Counter[tuple[str, ...]] = Counter()
        for _, noted in everything:
            for sink, entries, fails in noted.behind:
                behind[sink,] += entries
                failing[sink,] += fails
        yield _counted(_BACKLOG, behind)
        yield _counted(_FAILING, failing)


def _counted(family: Family, counts: Counter[tuple[str, ...]]) -> GaugeMetricFamily:
    samples = family.gauge()
    for labels, count in sorted(counts.items()):
        samples.add_metric(labels, count)
    return samples
