"""A coalescing work queue: many events about a key become one piece of work at a time.

`Schedule` decides (pure: no clock, no tasks); `WorkQueue` runs what it decides on an event loop.
"""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import structlog

from stanch.errors import Conflict, FenceLost, Rejected, Retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable

log = structlog.get_logger(__name__)

BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_RETRY_MAX_SECONDS = 15.0  # an API server that came back is not kept waiting for long
BACKOFF_MAX_SECONDS = 60.0
EVENT_WAIT_SECONDS = 1.0  # our own status writes cause events: they must not turn a backoff into a hot loop


class Key(NamedTuple):
    """An AIIncident."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


K = TypeVar("K", bound="Hashable")


@dataclass(slots=True)
class _Running:
    since: float
    again: bool = False


@dataclass(slots=True)
class Schedule(Generic[K]):
    """What is due, what is running, what waits. Times are seconds of any one monotonic clock."""

    _due: dict[K, float] = field(default_factory=dict)
    _running: dict[K, _Running] = field(default_factory=dict)
    _failures: dict[K, int] = field(default_factory=dict)
    _heap: list[tuple[float, int, K]] = field(default_factory=list)
    _order: count[int] = field(default_factory=count)

    def add(self, key: K, now: float) -> None:
        """An event: due now; after the running piece of work if there is one; soon if the last one failed."""
        running = self._running.get(key)
        if running is not None:
            running.again = True
            return
        self._set(key, now + EVENT_WAIT_SECONDS if key in self._failures else now)

    def add_by(self, key: K, due: float, latest: float) -> None:
        """Nothing has happened, but it is to be looked at by `latest`: at `due` unless it is anyway."""
        if key not in self._running and self._due.get(key, inf) > latest:
            self._set(key, due)

    def take(self, now: float) -> K | None:
        """The longest overdue key, from now on running; None if nothing is due."""
        self._drop_outdated()
        if not self._heap or self._heap[0][0] > now:
            return None
        _, _, key = heapq.heappop(self._heap)
        del self._due[key]
        self._running[key] = _Running(since=now)
        return key

    def succeeded(self, key: K, now: float, after: float | None) -> None:
        """Look again `after` seconds, or at once if an event came meanwhile; None: only on an event."""
        self._failures.pop(key, None)
        again = self._running.pop(key).again
        if again:
            self._set(key, now)
        elif after is not None:
            self._set(key, now + max(after, 0.0))

    def failed(self, key: K, now: float, *, at_least: float, at_most: float) -> float:
        """Back off exponentially; returns the wait in seconds."""
        again = self._running.pop(key).again
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        backoff = BACKOFF_FIRST_SECONDS * 2.0 ** min(failures - 1, 30)
        wait = max(at_least, min(backoff, at_most))
        if again:
            wait = min(wait, max(EVENT_WAIT_SECONDS, at_least))
        self._set(key, now + wait)
        return wait

    def next_due(self) -> float | None:
        self._drop_outdated()
        return self._heap[0][0] if self._heap else None

    def oldest_age(self, now: float) -> float:
        """Seconds the longest waiting due key has waited, or the longest running one has run."""
        waiting = (now - due for due in self._due.values())
        running = (now - entry.since for entry in self._running.values())
        return max((0.0, *waiting, *running))

    def depth(self, now: float) -> int:
        """Keys that are due or running."""
        return len(self._running) + sum(due <= now for due in self._due.values())

    @property
    def running(self) -> int:
        return len(self._running)

    def _set(self, key: K, due: float) -> None:
        """Only ever earlier than what stands: a far timer never delays an event."""
        if self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))

    def _drop_outdated(self) -> None:
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)


def _ignore(_reason: str) -> None:
    pass


class WorkQueue(Generic[K]):
    """Runs `work(key)` for every added key, at most `parallelism` at once and never twice for one key.

    `work` returns the seconds until it wants to look again, None for "when an event comes". Whatever it
    raises is logged, counted by `on_error(reason)` and retried with backoff, and never stops other keys;
    only FenceLost ends `run`. Whatever is logged meanwhile has the key, under the name `about`.
    """

    def __init__(
        self,
        work: Callable[[K], Awaitable[float | None]],
        *,
        parallelism: int = 32,
        about: str = "incident",
        on_error: Callable[[str], None] = _ignore,
    ) -> None:
        self._work = work
        self._parallelism = parallelism
        self._about = about
        self._on_error = on_error
        self._schedule: Schedule[K] = Schedule()
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._stopping = False

    def add(self, key: K) -> None:
        self._schedule.add(key, self._loop.time())
        self._wake.set()

    def add_all(self, keys: Iterable[K]) -> None:
        for key in keys:
            self.add(key)

    def add_within(self, keys: Iterable[K], seconds: float) -> None:
        """Evenly over that time, unless they are due within it: many at once would keep others waiting."""
        now, each = self._loop.time(), list(keys)
        for place, key in enumerate(each):
            self._schedule.add_by(key, now + seconds * place / len(each), now + seconds)
        self._wake.set()

    def add_threadsafe(self, key: K) -> None:
        """From any thread. Raises RuntimeError when the loop is closed: the process is ending."""
        self._loop.call_soon_threadsafe(self.add, key)

    def oldest_age(self) -> float:
        return self._schedule.oldest_age(self._loop.time())

    def depth(self) -> int:
        return self._schedule.depth(self._loop.time())

    def stop(self) -> None:
        """Take no further work; `run` returns when what is running has finished."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Until `stop`. Raises FenceLost, after cancelling all other work, if a piece of work did."""
        try:
            async with asyncio.TaskGroup() as group:
                while not self._stopping:
                    self._wake.clear()
                    self._start_due(group)
                    await self._wait()
        except* FenceLost as lost:
            raise FenceLost(*lost.exceptions[0].args) from lost

    def _start_due(self, group: asyncio.TaskGroup) -> None:
        while self._schedule.running < self._parallelism:
            key = self._schedule.take(self._loop.time())
            if key is None:
                return
            group.create_task(self._one(key), name=f"work on {key}")

    async def _wait(self) -> None:
        due = self._schedule.next_due() if self._schedule.running < self._parallelism else None
        try:
            async with asyncio.timeout_at(due):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _one(self, key: K) -> None:
        with structlog.contextvars.bound_contextvars(**{self._about: str(key)}):
            try:
                after = await self._work(key)
            except FenceLost:
                raise
            except Conflict as error:  # the daily bread of optimistic concurrency
                wait = self._failed(
                    key, error.reason, at_least=error.after, at_most=BACKOFF_RETRY_MAX_SECONDS
                )
                log.debug("conflict", reason=error.reason, message=error.message, retry_seconds=wait)
            except Retry as error:
                wait = self._failed(
                    key, error.reason, at_least=error.after, at_most=BACKOFF_RETRY_MAX_SECONDS
                )
                log.warning("not done yet", reason=error.reason, message=error.message, retry_seconds=wait)
            except Rejected as error:
                wait = self._failed(key, error.reason, at_least=0.0, at_most=BACKOFF_MAX_SECONDS)
                log.warning("rejected", reason=error.reason, message=error.message, retry_seconds=wait)
            except Exception as error:  # one broken incident must not stop the containment of others
                wait = self._failed(key, type(error).__name__, at_least=0.0, at_most=BACKOFF_MAX_SECONDS)
                log.exception("reconcile failed unexpectedly: this is a bug", retry_seconds=wait)
            else:
                self._schedule.succeeded(key, self._loop.time(), after)
        self._wake.set()

    def _failed(self, key: K, reason: str, *, at_least: float, at_most: float) -> float:
        self._on_error(reason)
        return self._schedule.failed(key, self._loop.time(), at_least=at_least, at_most=at_most)
