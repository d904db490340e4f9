"""Looks at checks, in the background: whoever reconciles never waits for one.

Nothing of it outlives the process but the Jobs that run: what was not judged is looked at again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError

from stanch.errors import StanchError
from stanch.verification.looks import Looker, failed
from stanch.verification.pods import read
from stanch.verification.reading import LONGEST_LOOK, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from stanch.api.v1alpha1.recovery import Check
    from stanch.evidence.take import Collector
    from stanch.kube.client import Kube
    from stanch.queue import Key
    from stanch.verification.looks import Asks
    from stanch.verification.reading import Subject
    from stanch.verification.serving import Seen

log = structlog.get_logger(__name__)

_NONE: Mapping[str, Reading] = MappingProxyType({})


@dataclass(slots=True)
class _Watched:
    """One incident: whose looks are under way, and what those that have ended gave."""

    subject: Subject
    running: set[str] = field(default_factory=set)
    readings: dict[str, Reading] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Round:
    """Looks that begin together, at one view of the targets."""

    key: Key
    watched: _Watched
    subject: Subject
    at: datetime
    deadline: float
    """Of the event loop's clock."""
    left: set[str]
    """Checks that it has not told of."""

    def tell(self, check: str, reading: Reading) -> None:
        self.left.discard(check)
        self.watched.running.discard(check)
        self.watched.readings[check] = reading


class Measurer:
    """Lives on one event loop."""

    def __init__(
        self,
        kube: Kube,
        prometheus: Asks | None,
        collector: Collector,
        clock: Callable[[], datetime],
        enqueue: Callable[[Key], None],
    ) -> None:
        self._kube = kube
        self._looker = Looker(kube, prometheus, collector, clock)
        self._clock = clock
        self._enqueue = enqueue
        self._watched: dict[Key, _Watched] = {}

    def begin(self, key: Key, subject: Subject, checks: Sequence[Check]) -> None:
        """Look at each check that is not being looked at, and has no reading that waits to be taken.

        Never blocks. When a reading is there, `key` is enqueued. Looks for another stage or attempt are cut.
        """
        watched = self._watched.get(key)
        if watched is not None and _stage(watched.subject) != _stage(subject):
            self.forget(key)
            watched = None
        if watched is None:
            watched = self._watched[key] = _Watched(subject)
        watched.subject = subject
        new = [one for one in checks if one.name not in watched.running | watched.readings.keys()]
        if not new:
            return
        names = {check.name for check in new}
        deadline = asyncio.get_running_loop().time() + LONGEST_LOOK
        looks = _Round(key, watched, subject, self._clock(), deadline, names)
        watched.running |= names
        task = asyncio.create_task(self._look(looks, new), name=f"checks of {key}")
        watched.tasks.add(task)
        task.add_done_callback(lambda ended: _ended(looks, ended))

    def running(self, key: Key) -> frozenset[str]:
        """The checks that are being looked at."""
        watched = self._watched.get(key)
        return frozenset(watched.running) if watched is not None else frozenset()

    def readings(self, key: Key) -> Mapping[str, Reading]:
        """What is there and not yet taken, by the checks' names."""
        watched = self._watched.get(key)
        return MappingProxyType(dict(watched.readings)) if watched is not None else _NONE

    def taken(self, key: Key, readings: Mapping[str, Reading]) -> None:
        """These are judged, and what came of them is stored."""
        watched = self._watched.get(key)
        if watched is None:
            return
        for name, reading in readings.items():
            if watched.readings.get(name) is reading:
                del watched.readings[name]

    def forget(self, key: Key) -> None:
        """Nothing of this incident is looked at any more."""
        watched = self._watched.pop(key, None)
        for task in watched.tasks if watched is not None else ():
            task.cancel()

    async def _look(self, looks: _Round, checks: Sequence[Check]) -> None:
        """Each check is told when it has ended, whatever the others wait for."""
        try:
            async with asyncio.timeout_at(looks.deadline):
                seen = await read(self._kube, looks.subject.namespace, looks.subject.targets)
        except (StanchError, ValidationError, TimeoutError) as error:
            for check in checks:
                self._tell(looks, check, failed(error, looks.at, LONGEST_LOOK))
            return
        async with asyncio.TaskGroup() as group:
            for check in checks:
                group.create_task(self._one(looks, check, seen))

    async def _one(self, looks: _Round, check: Check, seen: Sequence[Seen]) -> None:
        try:
            async with asyncio.timeout_at(looks.deadline):
                reading = await self._looker.look(looks.subject, check, seen, looks.at)
        except (StanchError, ValidationError, TimeoutError) as error:
            reading = failed(error, looks.at, LONGEST_LOOK)
        self._tell(looks, check, reading)

    def _tell(self, looks: _Round, check: Check, reading: Reading) -> None:
        looks.tell(check.name, reading)
        self._enqueue(looks.key)


def _stage(subject: Subject) -> tuple[object, ...]:
    return subject.uid, subject.stage, subject.attempt, subject.since


def _ended(looks: _Round, task: asyncio.Task[None]) -> None:
    """A defect, or a lease that is lost, leaves no reading: nothing is proven by it."""
    looks.watched.tasks.discard(task)
    looks.watched.running -= looks.left
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("checks could not be looked at", incident=str(looks.key), exc_info=error)
