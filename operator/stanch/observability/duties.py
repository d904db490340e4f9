"""Reporting duties and unattended containments as metrics, read from what was decided last."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from heapq import nsmallest
from typing import TYPE_CHECKING, ClassVar

from prometheus_client.registry import Collector

from stanch.observability.families import Family

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.core import GaugeMetricFamily

MOST = 500
"""Time series of open clocks: those that are due first."""

_CLOCKS = Family(
    "stanch_regulatory_clock_due_timestamp_seconds",
    "gauge",
    f"When an open reporting duty is due; the first {MOST}",
    ("namespace", "incident", "clock", "state"),
)
_UNATTENDED = Family(
    "stanch_unattended_containments",
    "gauge",
    "Containments that nobody has looked at for longer than their policy's reviewAfter",
    ("namespace",),
)


@dataclass(frozen=True, slots=True)
class Due:
    """One open clock. `at` is in Unix seconds."""

    at: float
    clock: str
    state: str


class DutyBoard(Collector):
    """What every incident was noted with last; nothing stays of one that is forgotten."""

    FAMILIES: ClassVar = (_CLOCKS, _UNATTENDED)

    def __init__(self) -> None:
        self._due: dict[tuple[str, str], tuple[Due, ...]] = {}
        self._unattended: set[tuple[str, str]] = set()

    def note(self, namespace: str, name: str, due: Iterable[Due], *, unattended: bool) -> None:
        key = (namespace, name)
        self.forget(namespace, name)
        open_ones = tuple(due)
        if open_ones:
            self._due[key] = open_ones
        if unattended:
            self._unattended.add(key)

    def forget(self, namespace: str, name: str) -> None:
        self._due.pop((namespace, name), None)
        self._unattended.discard((namespace, name))

    def collect(self) -> Iterator[GaugeMetricFamily]:
        clocks = _CLOCKS.gauge()
        everything = ((due.at, *key, due) for key, dues in self._due.items() for due in dues)
        for at, namespace, name, due in nsmallest(MOST, everything, key=lambda one: one[:3]):
            clocks.add_metric([namespace, name, due.clock, due.state], at)
        yield clocks
        unattended = _UNATTENDED.gauge()
        for namespace, count in sorted(Counter(namespace for namespace, _ in self._unattended).items()):
            unattended.add_metric([namespace], count)
        yield unattended
