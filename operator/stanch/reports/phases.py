"""When an incident was in which phase, from its timeline and its timestamps. Pure."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from stanch.api.v1alpha1.status import ENDED, Phase
from stanch.reports.model import PhaseSpan
from stanch.reports.words import utc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from stanch.api.v1alpha1.status import TimelineEntry, Timestamps

UNDETECTED = "Undetected"
_OF_TIMESTAMPS = {
    "detected": Phase.DETECTED,
    "begun": Phase.CONTAINING,
    "contained": Phase.CONTAINED,
    "released": Phase.RELEASED,
    "recovered": Phase.RECOVERED,
    "closed": Phase.CLOSED,
}
_ORDER = (UNDETECTED, *Phase)


def phases(timeline: Sequence[TimelineEntry], timestamps: Timestamps) -> tuple[PhaseSpan, ...]:
    """One after the other. The last one lasts (`end` is None) unless it is one that an incident ends in."""
    starts = _starts(timeline, timestamps)
    spans = [
        PhaseSpan(phase=phase, begin=at, end=until)
        for (at, phase), (until, _) in pairwise(starts)
        if at < until
    ]
    if starts:
        at, phase = starts[-1]
        spans.append(PhaseSpan(phase=phase, begin=at, end=at if phase in ENDED else None))
    return tuple(spans)


def _starts(timeline: Sequence[TimelineEntry], timestamps: Timestamps) -> list[tuple[datetime, str]]:
    """When each phase began. The timeline tells of every one, but it is bounded; the timestamps stay."""
    told = [(utc(entry.at), entry.type) for entry in timeline if entry.type in _ORDER]
    kept = [
        (at, phase)
        for at, phase in _of_timestamps(timestamps)
        if phase not in {phase for _, phase in told} or at < min(at for at, _ in told)
    ]
    found = sorted({*told, *kept}, key=lambda start: (start[0], _ORDER.index(start[1])))
    starts: list[tuple[datetime, str]] = []
    for at, phase in found:
        if not starts or starts[-1][1] != phase:
            starts.append((at, phase))
    return starts


def _of_timestamps(times: Timestamps) -> Iterator[tuple[datetime, str]]:
    for field, phase in _OF_TIMESTAMPS.items():
        at = getattr(times, field)
        if at is not None:
            yield utc(at), phase
    if times.occurred is not None and times.detected is not None:
        occurred = utc(times.occurred)
        if occurred < utc(times.detected):
            yield occurred, UNDETECTED
