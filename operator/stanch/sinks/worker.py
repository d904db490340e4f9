"""Delivers what stands in stored statuses, beside the work on incidents and never in its way.

A task for each receiver of each incident that has something to be told: none waits for another. What it has
come to is memory until the incident's own reconcile writes it down.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, NoReturn, Protocol

import structlog

from stanch.queue import Key
from stanch.sinks import deliver
from stanch.sinks.deliver import Idle, Lane, Pass, Send, Wait
from stanch.sinks.model import Undelivered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.api.v1alpha1.status import AIIncidentStatus, DeliveryStatus, TimelineEntry
    from stanch.sinks.model import Sink

log = structlog.get_logger(__name__)

AT_ONCE = 4
"""Deliveries to one receiver at the same time."""
SETTLE_SECONDS = 1.0
"""How long progress is gathered before it is written: a burst of entries costs one write."""
DELIVERY_SECONDS = 30.0
"""Until one delivery is taken for failed, whatever its sink does."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _nobody(_key: Key) -> None:
    pass


class Receivers(Protocol):
    def of(self, incident: AIIncident) -> Mapping[str, Sink]:
        """Who is told of this incident, by the name in status.deliveries."""
        ...

    async def close(self) -> None: ...


class NoReceivers:
    def of(self, incident: AIIncident) -> Mapping[str, Sink]:  # noqa: ARG002 - whichever it is
        return {}

    async def close(self) -> None:
        pass


@dataclass(slots=True)
class _Course:
    """One incident as it was stored last, and how far its receivers are."""

    key: Key
    incident: AIIncident
    lanes: dict[str, Lane] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    settled: dict[str, DeliveryStatus] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None
    gone: bool = False


class Worker:
    """`tell` asks for a reconcile of an incident that has progress to write down."""

    def __init__(
        self,
        receivers: Receivers | None = None,
        tell: Callable[[Key], None] = _nobody,
        *,
        clock: Callable[[], datetime] = _utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._receivers = receivers or NoReceivers()
        self._tell = tell
        self._clock = clock
        self._sleep = sleep
        self._courses: dict[str, _Course] = {}
        self._starts: asyncio.Queue[tuple[_Course, str]] = asyncio.Queue()
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))

    def offer(self, incident: AIIncident) -> None:
        """An incident as it is stored: what its receivers have not been told is delivered from now on."""
        uid, meta = incident.metadata.uid or "", incident.metadata
        stored = {one.sink: one for one in incident.status.deliveries}
        names = [name for name in self._receivers.of(incident) if name in stored]
        course = self._courses.get(uid)
        if course is None:
            course = self._courses[uid] = _Course(Key(meta.namespace, meta.name), incident)
        course.incident = incident
        for name in names:
            course.lanes.setdefault(name, Lane(stored[name]))
            if name not in course.running:
                course.running.add(name)
                self._starts.put_nowait((course, name))
        if not names:
            self._drop_if_done(uid, course)

    def folded(self, old: AIIncidentStatus, new: AIIncidentStatus, incident: AIIncident) -> AIIncidentStatus:
        """The status to be stored after `old`, with what is known of deliveries in it."""
        course = self._courses.get(incident.metadata.uid or "")
        sinks = self._receivers.of(incident.model_copy(update={"status": new}))
        progress = course.settled if course is not None else {}
        return new.model_copy(update={"deliveries": deliver.folded(old, new, sinks, progress)})

    def forget(self, key: Key) -> None:
        """It is deleted: what is still to be told is told as long as this process lives."""
        for uid, course in list(self._courses.items()):
            if course.key == key:
                course.gone = True
                if course.timer is not None:
                    course.timer.cancel()
                self._drop_if_done(uid, course)

    async def run(self) -> NoReturn:
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    course, name = await self._starts.get()
                    group.create_task(self._drive(course, name), name=f"deliveries of {course.key}")
        finally:
            await self._receivers.close()

    async def _drive(self, course: _Course, name: str) -> None:
        """Until this receiver has been told everything that stands in the stored timeline."""
        with structlog.contextvars.bound_contextvars(incident=str(course.key), sink=name):
            while True:
                sink = self._receivers.of(course.incident).get(name)
                if sink is None:
                    break
                lane, timeline = course.lanes[name], course.incident.status.timeline
                wants = partial(sink.wants, course.incident)
                match deliver.next_step(lane, timeline, wants, self._clock()):
                    case Idle():
                        break
                    case Pass(moved):
                        self._move(course, name, moved)
                    case Wait(until):
                        await self._sleep(max((until - self._clock()).total_seconds(), 0.0))
                    case Send(entry):
                        async with self._turns[sink.line]:
                            moved = await self._send(sink, course.incident, lane, entry)
                        self._move(course, name, moved)
        course.running.discard(name)
        self._drop_if_done(course.incident.metadata.uid or "", course)

    async def _send(self, sink: Sink, incident: AIIncident, lane: Lane, entry: TimelineEntry) -> Lane:
        try:
            async with asyncio.timeout(DELIVERY_SECONDS):
                link = await sink.deliver(deliver.as_told(incident, lane.delivery), entry)
        except Undelivered as error:
            why = error
        except TimeoutError:
            why = Undelivered(f"it has not answered within {DELIVERY_SECONDS:.0f} s")
        except Exception as error:  # noqa: BLE001 - a bug in telling others must not end the containing
            # Neither its words nor its variables: they may have an address with a secret in it.
            frames = [f"{one.name}:{one.lineno}" for one in traceback.extract_tb(error.__traceback__)]
            log.error("a delivery failed: this is a bug", error=type(error).__name__, frames=frames)  # noqa: TRY400 - as above
            why = Undelivered(f"{type(error).__name__}, a bug: see the operator's log")
        else:
            return deliver.taken(lane, entry, link)
        log.warning("not delivered", seq=entry.seq, message=why.message, permanent=why.permanent)
        return deliver.refused(lane, entry, why, self._clock())

    def _move(self, course: _Course, name: str, lane: Lane) -> None:
        course.lanes[name] = lane
        if course.timer is None and not course.gone:
            loop = asyncio.get_running_loop()
            course.timer = loop.call_later(SETTLE_SECONDS, self._settle, course)

    def _settle(self, course: _Course) -> None:
        course.timer = None
        course.settled = {name: lane.delivery for name, lane in course.lanes.items()}
        stored = {one.sink: one for one in course.incident.status.deliveries}
        if any(stored.get(name) != delivery for name, delivery in course.settled.items()):
            self._tell(course.key)

    def _drop_if_done(self, uid: str, course: _Course) -> None:
        """Nothing is kept of an incident whose stored status says the same."""
        stored = {one.sink: one for one in course.incident.status.deliveries}
        written = all(stored.get(name) == lane.delivery for name, lane in course.lanes.items())
        if not course.running and (written or course.gone) and self._courses.get(uid) is course:
            if course.timer is not None:
                course.timer.cancel()
            del self._courses[uid]
