"""The timeline as a picture: a row a phase, bars on one axis of time, marks for what people did. Pure.

A containment takes a second and holds for days. So a stretch between two changes of phase is drawn with a
width that grows with the logarithm of its length, and never vanishes; its length stands beside it in figures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from stanch.reports.words import length, times, utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from stanch.reports.model import PhaseSpan, Report

WIDTH = 960
LEFT, RIGHT = 190, 40
"""What is left free of the axis: for the names of the rows, and for the end of the last label."""
ROW = 38
TOP = 14
_LEAST = 14.0  # width of the shortest stretch, where there is room
_TOGETHER = 12.0  # marks nearer than this are drawn as one
_LETTER = 6.4  # width of one in a label of the axis
_SHORT = timedelta(seconds=100)

Scale = list[tuple["datetime", float]]


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    width: float
    label: str
    open: bool


@dataclass(frozen=True, slots=True)
class Mark:
    x: float
    count: int
    label: str


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    note: str
    tone: str
    bars: tuple[Bar, ...] = ()
    marks: tuple[Mark, ...] = ()
    y: float = 0.0


@dataclass(frozen=True, slots=True)
class Tick:
    x: float
    label: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Picture:
    height: float
    axis: float
    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    told: str
    """The picture in words."""


def picture(report: Report) -> Picture | None:
    """None where nothing has happened yet."""
    if not report.phases:
        return None
    ends = [span.end or utc(report.made_at) for span in report.phases]
    scale = _scale([*(span.begin for span in report.phases), *ends])
    rows = [*_phase_rows(report, scale), *_mark_rows(report, scale)]
    placed = tuple(
        Row(row.name, row.note, row.tone, row.bars, row.marks, TOP + ROW * number)
        for number, row in enumerate(rows)
    )
    axis = TOP + ROW * len(rows) + 4
    return Picture(axis + 26, axis, placed, _ticks(scale), _told(report))


def _scale(moments: Iterable[datetime]) -> Scale:
    """Where each moment is on the axis."""
    times = sorted(set(moments))
    if len(times) == 1:
        return [(times[0], float(LEFT))]
    room = WIDTH - LEFT - RIGHT
    stretches = [(after - before).total_seconds() for before, after in pairwise(times)]
    least = min(_LEAST, room / len(stretches))
    weights = [math.log1p(stretch * 10) for stretch in stretches]
    spare = (room - least * len(stretches)) / sum(weights)
    scale = [(times[0], float(LEFT))]
    for time, weight in zip(times[1:], weights, strict=True):
        scale.append((time, scale[-1][1] + least + weight * spare))
    return scale


def _x(scale: Scale, at: datetime) -> float:
    """Within a stretch, time is even. What is before or after all of it is at its edge."""
    at = utc(at)
    if at <= scale[0][0]:
        return scale[0][1]
    for (begin, left), (end, right) in pairwise(scale):
        if at <= end:
            return left + (right - left) * ((at - begin) / (end - begin))
    return scale[-1][1]


def _phase_rows(report: Report, scale: Scale) -> list[Row]:
    """A row for each phase there was, in the order in which it was first there."""
    by_phase: dict[str, list[PhaseSpan]] = {}
    for span in report.phases:
        by_phase.setdefault(span.phase, []).append(span)
    return [_phase_row(phase, spans, report.made_at, scale) for phase, spans in by_phase.items()]


def _phase_row(phase: str, spans: Sequence[PhaseSpan], now: datetime, scale: Scale) -> Row:
    bars, marks = [], []
    total = timedelta()
    for span in spans:
        begin, end = _x(scale, span.begin), _x(scale, span.end or now)
        lasted = (span.end or utc(now)) - span.begin
        total += lasted
        label = f"{phase}, {length(lasted)}"
        if span.end == span.begin:
            marks.append(Mark(begin, 1, phase))
        else:
            bars.append(Bar(begin, max(end - begin, 2.0), label, span.end is None))
    lasts = any(bar.open for bar in bars)
    times = f"{len(spans)} times, " if len(spans) > 1 else ""
    note = f"{times}{length(total)}{' so far' if lasts else ''}" if bars else ""
    return Row(phase, note, phase.lower(), tuple(bars), tuple(marks))


def _mark_rows(report: Report, scale: Scale) -> list[Row]:
    rows = []
    if report.approval is not None:
        mark = Mark(_x(scale, report.approval.at), 1, "Approved")
        rows.append(Row("Approved", "", "approval", marks=(mark,)))
    contests = [entry.at for entry in report.timeline if entry.type == "Contested"]
    if report.contested is not None and report.contested.last_at is not None and not contests:
        contests = [report.contested.last_at]
    if contests:
        count = report.contested.count if report.contested else len(contests)
        rows.append(Row("Contested", times(count), "contest", marks=_together(contests, scale)))
    return rows


def _together(moments: Sequence[datetime], scale: Scale) -> tuple[Mark, ...]:
    """Marks that would lie on each other become one that says how many there are."""
    marks: list[Mark] = []
    for x in sorted(_x(scale, at) for at in moments):
        if marks and x - marks[-1].x < _TOGETHER:
            last = marks.pop()
            marks.append(Mark(last.x, last.count + 1, "Contested"))
        else:
            marks.append(Mark(x, 1, "Contested"))
    return tuple(marks)


def _ticks(scale: Scale) -> tuple[Tick, ...]:
    """The first moment, the last one, and those between that there is room to name."""
    first, last = scale[0][0], scale[-1][0]
    form = "%H:%M:%S" if first.date() == last.date() else "%d %b %H:%M:%S"
    precise = last - first < _SHORT

    def label(at: datetime) -> str:
        return at.strftime(form) + (f".{at.microsecond // 1000:03d}" if precise else "")

    ticks = [Tick(scale[0][1], label(first), "start")]
    if len(scale) == 1:
        return tuple(ticks)
    wide = len(label(first)) * _LETTER
    free, limit = scale[0][1] + wide + 8, scale[-1][1] - wide - 8
    for at, x in scale[1:-1]:
        named = x - wide / 2 >= free and x + wide / 2 <= limit
        ticks.append(Tick(x, label(at) if named else "", "middle"))
        free = x + wide / 2 + 8 if named else free
    return (*ticks, Tick(scale[-1][1], label(last), "end"))


def _told(report: Report) -> str:
    parts = [
        f"{span.phase} from {utc(span.begin):%Y-%m-%d %H:%M:%S}"
        + (f" for {length(span.end - span.begin)}" if span.end and span.end != span.begin else "")
        + (" until now" if span.end is None else "")
        for span in report.phases
    ]
    if report.contested is not None:
        parts.append(f"contested {times(report.contested.count)}")
    return "; ".join(parts)
