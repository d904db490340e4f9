"""Signals of one workload take turns, so that they open one incident; those who wait share what was read."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from stanch.signals.intake.past import Known


@dataclass(slots=True, eq=False, weakref_slot=True)
class Place:
    """One workload, for as long as a signal is about it. Moments are counted, not measured.

    A thousand pods of one workload may fire at once. Each reading takes a round trip, and one after the other
    they would take longer than their sender waits; what was asked for after a signal came is no less true
    for that signal than what it would read itself.
    """

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _moments: count[int] = field(default_factory=count)
    _standing: dict[str, tuple[int, Known]] = field(default_factory=dict)

    def moment(self) -> int:
        return next(self._moments)

    def stands(self, policy_uid: str, known: Known, asked_at: int) -> None:
        """What a reading that began at that moment has found open."""
        self._standing[policy_uid] = (asked_at, known)

    def standing(self, policy_uid: str, since: int) -> Known | None:
        """What a reading that began after that moment has found open."""
        asked_at, known = self._standing.get(policy_uid, (-1, None))
        return known if asked_at > since else None


class Places:
    """Raises nothing, and forgets what nobody waits for."""

    def __init__(self) -> None:
        self._of: WeakValueDictionary[tuple[str, str, str], Place] = WeakValueDictionary()

    def of(self, namespace: str, kind: str, name: str) -> Place:
        place = self._of.get((namespace, kind, name))
        if place is None:
            self._of[namespace, kind, name] = place = Place()
        return place
