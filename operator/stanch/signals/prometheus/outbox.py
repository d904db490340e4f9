"""What the intake still has to be told by the poller. Pure: no clock, no tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from stanch.signals.model import Signal, Speaker

REPEAT_SECONDS = 60.0
"""A firing that was told of is told of again after so long: its incident may be gone by then."""
MOST = 20_000


class _Series(NamedTuple):
    speaker: Speaker
    fingerprint: str


@dataclass(slots=True)
class Outbox:
    """Of each series the newest firing and the newest end of one, in the order in which they came."""

    _owed: dict[tuple[_Series, bool], Signal] = field(default_factory=dict)
    _told: dict[_Series, tuple[datetime, float]] = field(default_factory=dict)

    def add(self, speaker: Speaker, signals: Iterable[Signal], now: float) -> int:
        """How many of the oldest had to be dropped, because nobody takes any. `now` is in seconds."""
        for signal in signals:
            series = _Series(speaker, signal.fingerprint)
            if signal.firing and not self._due(series, signal, now):
                continue
            self._owed.pop((series, signal.firing), None)
            self._owed[series, signal.firing] = signal
        excess = list(self._owed)[: max(0, len(self._owed) - MOST)]
        for slot in excess:
            del self._owed[slot]
        return len(excess)

    def batches(self) -> dict[Speaker, list[Signal]]:
        found: dict[Speaker, list[Signal]] = {}
        for (series, _), signal in self._owed.items():
            found.setdefault(series.speaker, []).append(signal)
        return found

    def taken(self, speaker: Speaker, now: float) -> None:
        """All that was owed to the intake by this speaker."""
        for slot in [slot for slot in self._owed if slot[0].speaker == speaker]:
            signal = self._owed.pop(slot)
            if signal.firing:
                self._told[slot[0]] = (signal.starts_at, now)
        self._told = {series: told for series, told in self._told.items() if now - told[1] < REPEAT_SECONDS}

    def _due(self, series: _Series, signal: Signal, now: float) -> bool:
        starts_at, at = self._told.get(series, (None, 0.0))
        return starts_at != signal.starts_at or now - at >= REPEAT_SECONDS
