"""The alerts and samples that an incident stands for, from what is told of them one by one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from stanch.api.v1alpha1.status import SignalsStatus, TimelineEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

SIGNALLED, FLAPPED, RESOLVED = "Signalled", "SignalFlapped", "SignalResolved"
REPEATS_EVERY = timedelta(seconds=30)
"""What repeats and nothing else is no reason to write a status more often."""
_MOST = 50
_LONGEST_NAME = 253
_LONGEST = 1024


@dataclass(frozen=True, slots=True)
class Note:
    """One report of one alert or sample, as it stood at `at`."""

    at: datetime
    name: str
    fingerprint: str
    firing: bool


def due(told: SignalsStatus | None, notes: Sequence[Note], now: datetime) -> tuple[Note, ...]:
    """All of them, or none yet: when each repeats what the status has, and that is not old."""
    told = told or SignalsStatus()
    full = len(told.firing) >= _MOST
    repeats = all(note.firing and (full or note.fingerprint in told.firing) for note in notes)
    fresh = told.last_at is not None and now - told.last_at < REPEATS_EVERY
    return () if repeats and fresh else tuple(notes)


def fold(
    told: SignalsStatus | None, notes: Iterable[Note]
) -> tuple[SignalsStatus | None, tuple[TimelineEntry, ...]]:
    """The status with the notes in it, and what the timeline tells of them: the first, flaps, the resolution.

    A resolution that nobody has seen fire says nothing. More than fifty that fire are counted, not listed.
    """
    entries: list[TimelineEntry] = []
    for note in notes:
        before = told or SignalsStatus()
        if note.firing:
            told = _fires(before, note)
            entries += _entry_of_firing(before, told, note)
        elif note.fingerprint in before.firing:
            told = _resolves(before, note)
            entries += _entry_of_resolution(told, note)
    return told, tuple(entries)


def _fires(told: SignalsStatus, note: Note) -> SignalsStatus:
    again = note.fingerprint in told.resolved
    new = note.fingerprint not in told.firing
    return told.model_copy(
        update={
            "count": told.count + 1,
            "firing": (*told.firing, note.fingerprint)[:_MOST] if new else told.firing,
            "resolved": _without(told.resolved, note.fingerprint),
            "flaps": told.flaps + 1 if again else told.flaps,
            "last_name": note.name[:_LONGEST_NAME],
            "last_at": max(told.last_at, note.at) if told.last_at else note.at,
        }
    )


def _resolves(told: SignalsStatus, note: Note) -> SignalsStatus:
    return told.model_copy(
        update={
            "firing": _without(told.firing, note.fingerprint),
            "resolved": (*told.resolved, note.fingerprint)[-_MOST:],
            "resolved_at": note.at,
        }
    )


def _without(fingerprints: tuple[str, ...], one: str) -> tuple[str, ...]:
    return tuple(each for each in fingerprints if each != one)


def _entry_of_firing(before: SignalsStatus, after: SignalsStatus, note: Note) -> list[TimelineEntry]:
    if before.count == 0:
        return [_entry(note, SIGNALLED, f"{note.name} fires ({note.fingerprint})")]
    if after.flaps == before.flaps or not _worth_telling(after.flaps):
        return []
    times = "once" if after.flaps == 1 else f"{after.flaps} times"
    return [_entry(note, FLAPPED, f"{note.name} fires again after it had resolved, {times} so far")]


def _entry_of_resolution(after: SignalsStatus, note: Note) -> list[TimelineEntry]:
    if after.firing or not _worth_telling(after.flaps):
        return []
    return [_entry(note, RESOLVED, f"{note.name} has resolved: nothing fires; this proves no recovery")]


def _worth_telling(flaps: int) -> bool:
    """The timeline is bounded, and what flaps for hours must not push out what was done: 0, 1, 2, 4, 8, …"""
    return flaps & (flaps - 1) == 0


def _entry(note: Note, type_: str, message: str) -> TimelineEntry:
    reason = "Firing" if note.firing else "Resolved"
    return TimelineEntry(at=note.at, type=type_, reason=reason, message=message[:_LONGEST])
