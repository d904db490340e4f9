"""What one process remembers between two passes: hints, never the truth."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from stanch.holds.entries import held_by, objects

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from stanch.api.v1alpha1.hold import Held
    from stanch.incidents.facts import Contest
    from stanch.incidents.signalled import Note
    from stanch.queue import Key

_MOST_CONTESTS = 1000
_MOST_SIGNALS = 1000


class Hints:
    def __init__(self) -> None:
        self._seen: dict[Key, datetime] = {}
        self._doubted: defaultdict[Key, set[str]] = defaultdict(set)
        self._objects: dict[Key, frozenset[str]] = {}
        self._contests: defaultdict[Key, list[Contest]] = defaultdict(list)
        self._signals: defaultdict[Key, list[Note]] = defaultdict(list)
        self._problems: dict[Key, str] = {}
        self._errands: dict[Key, Mapping[str, Mapping[str, Any]]] = {}
        self._plans: dict[Key, tuple[int, datetime]] = {}

    def known(self) -> list[Key]:
        return list(self._seen)

    def holds(self, key: Key, held: Held) -> None:
        """Remember which objects the incident holds, to know whom an event about one concerns."""
        mine = objects(held_by(held, key.name))
        if mine:
            self._objects[key] = mine
        else:
            self._objects.pop(key, None)

    @property
    def holding(self) -> int:
        """How many incidents hold something."""
        return len(self._objects)

    def holders(self, namespace: str, object_key: str) -> list[Key]:
        return [
            key
            for key, objects in self._objects.items()
            if key.namespace == namespace and object_key in objects
        ]

    def holders_of_kind(self, namespace: str, resource_key: str) -> list[Key]:
        """Who holds any object of a resource there: `networking.k8s.io/networkpolicies`."""
        return [
            key
            for key, objects in self._objects.items()
            if key.namespace == namespace and any(one.startswith(f"{resource_key}/") for one in objects)
        ]

    def first_seen(self, key: Key, now: datetime) -> datetime:
        return self._seen.setdefault(key, now)

    def contest(self, key: Key, contest: Contest) -> None:
        """Remember a denial until it is told in the status."""
        if len(self._contests[key]) < _MOST_CONTESTS:
            self._contests[key].append(contest)

    def contests(self, key: Key) -> tuple[Contest, ...]:
        return tuple(self._contests.get(key, ()))

    def told(self, key: Key, contests: tuple[Contest, ...]) -> None:
        """These stand in the stored status now; what came in meanwhile stays remembered."""
        if contests:
            del self._contests[key][: len(contests)]

    def signal(self, key: Key, note: Note) -> None:
        """Remember a report of an alert until it is told in the status."""
        if len(self._signals[key]) < _MOST_SIGNALS:
            self._signals[key].append(note)

    def signals(self, key: Key) -> tuple[Note, ...]:
        return tuple(self._signals.get(key, ()))

    def heard(self, key: Key, signals: tuple[Note, ...]) -> None:
        """As `told`, of reports of alerts."""
        if signals:
            del self._signals[key][: len(signals)]

    def refused(self, key: Key, problem: str) -> bool:
        """Remember what the API server refused, empty when it did as asked; whether that is news."""
        news = self.problem(key) != problem
        self._problems[key] = problem
        return news

    def problem(self, key: Key) -> str:
        return self._problems.get(key, "")

    def doubt(self, key: Key, refusal: str) -> bool:
        """Whether this refusal is heard for the first time."""
        known = refusal in self._doubted[key]
        self._doubted[key].add(refusal)
        return not known

    def brought(self, key: Key, errands: Mapping[str, Mapping[str, Any]]) -> None:
        """Remember what errands brought back until the journal has it."""
        self._errands[key] = errands

    def errands(self, key: Key) -> Mapping[str, Mapping[str, Any]]:
        return self._errands.get(key, {})

    def plan_shown(self, key: Key, generation: int, now: datetime) -> None:
        self._plans[key] = generation, now

    def plan_age(self, key: Key, generation: int, now: datetime) -> float | None:
        """Seconds since the plan of this spec was made; None when it was not by this process."""
        shown = self._plans.get(key)
        return (now - shown[1]).total_seconds() if shown and shown[0] == generation else None

    def forget(self, key: Key) -> None:
        self._plans.pop(key, None)
        self._errands.pop(key, None)
        self._doubted.pop(key, None)
        self._seen.pop(key, None)
        self._objects.pop(key, None)
        self._contests.pop(key, None)
        self._signals.pop(key, None)
        self._problems.pop(key, None)
