from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.errors import Conflict, FenceLost, Rejected, Retry
from stanch.queue import Key, Schedule, WorkQueue
from tests.unit.shell.virtual_time import run_virtually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

A, B = Key("chat", "a"), Key("chat", "b")


def test_many_events_are_one_piece_of_work() -> None:
    schedule = Schedule[Key]()
    for _ in range(5):
        schedule.add(A, 1.0)
    assert schedule.take(1.0) == A
    assert schedule.take(1.0) is None


def test_an_event_during_the_work_causes_exactly_one_more() -> None:
    schedule = Schedule[Key]()
    schedule.add(A, 0)
    assert schedule.take(0) == A
    schedule.add(A, 1)
    schedule.add(A, 2)
    assert schedule.take(2) is None
    schedule.succeeded(A, 3, after=None)
    assert schedule.take(3) == A
    schedule.succeeded(A, 4, after=None)
    assert schedule.take(1000) is None


def test_what_is_due_or_running_is_counted_and_what_waits_for_its_time_is_not() -> None:
    schedule = Schedule[Key]()
    schedule.add(A, 0)
    schedule.add(B, 0)
    assert schedule.depth(0) == 2
    assert schedule.take(0) == A
    assert schedule.depth(0) == 2
    schedule.succeeded(A, 1, after=60)
    assert schedule.depth(1) == 1
    assert schedule.depth(61) == 2


def test_an_event_is_not_delayed_by_a_timer() -> None:
    schedule = Schedule[Key]()
    schedule.add(A, 0)
    schedule.take(0)
    schedule.succeeded(A, 0, after=60)
    assert schedule.take(10) is None
    schedule.add(A, 10)
    assert schedule.take(10) == A
    schedule.succeeded(A, 11, after=None)
    assert schedule.take(1000) is None  # the timer is gone with the work it announced


def test_what_is_looked_up_unasked_neither_delays_nor_repeats_what_is_due_anyway() -> None:
    schedule = Schedule[Key]()
    schedule.add(A, 0)
    schedule.add_by(A, 50, 60)
    assert schedule.take(0) == A
    schedule.add_by(A, 5, 60)  # it is being looked at
    assert schedule.take(5) is None
    schedule.succeeded(A, 6, after=10)
    schedule.add_by(A, 7, 60)  # it will be looked at in time
    assert schedule.take(15) is None
    assert schedule.take(16) == A
    schedule.succeeded(A, 17, after=90)
    schedule.add_by(A, 50, 60)  # that would be too late
    assert schedule.take(50) == A
    schedule.succeeded(A, 51, after=None)
    schedule.add_by(A, 60, 110)  # nothing else would bring it up
    assert schedule.take(59) is None
    assert schedule.take(60) == A


def test_a_sweep_is_spread_so_that_what_happens_meanwhile_does_not_wait_for_it() -> None:
    done: list[tuple[str, float]] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()

        async def work(key: Key) -> None:
            done.append((key.name, round(loop.time() - began)))

        queue = WorkQueue(work)
        began = loop.time()
        running = asyncio.create_task(queue.run())
        queue.add_within([Key("chat", name) for name in "abcd"], 60)
        await asyncio.sleep(100)
        queue.stop()
        await running

    run_virtually(story())
    assert done == [("a", 0), ("b", 15), ("c", 30), ("d", 45)]


def test_the_longest_overdue_comes_first() -> None:
    schedule = Schedule[Key]()
    schedule.add(B, 1)
    schedule.add(A, 2)
    assert [schedule.take(3), schedule.take(3)] == [B, A]


def test_failures_back_off_up_to_the_limit_and_a_success_forgives_them() -> None:
    schedule = Schedule[Key]()
    schedule.add(A, 0)
    now, waits = 0.0, []
    for _ in range(12):
        assert schedule.take(now) == A
        waits.append(schedule.failed(A, now, at_least=0, at_most=60))
        now += waits[-1]
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == 60
    assert schedule.take(now) == A
    schedule.succeeded(A, now, after=0)
    assert schedule.take(now) == A
    assert schedule.failed(A, now, at_least=0, at_most=60) == 0.1


def test_the_server_is_never_asked_again_before_it_said() -> None:
    schedule = Schedule[Key]()
    schedule.add(A, 0)
    schedule.take(0)
    assert schedule.failed(A, 0, at_least=7, at_most=15) == 7
    schedule.add(A, 0)
    assert schedule.take(0.5) is None


def test_an_event_shortens_a_long_backoff_without_making_a_hot_loop() -> None:
    schedule = Schedule[Key]()
    schedule.add(A, 0)
    now = 0.0
    for _ in range(10):
        schedule.take(now)
        now += schedule.failed(A, now, at_least=0, at_most=60)
    schedule.take(now)
    schedule.failed(A, now, at_least=0, at_most=60)
    schedule.add(A, now)
    assert schedule.take(now + 0.9) is None
    assert schedule.take(now + 1.0) == A


def test_the_age_of_the_oldest_work_includes_what_hangs() -> None:
    schedule = Schedule[Key]()
    assert schedule.oldest_age(5) == 0
    schedule.add(A, 5)
    assert schedule.oldest_age(8) == 3
    schedule.take(8)
    assert schedule.oldest_age(100) == 92
    schedule.succeeded(A, 100, after=50)
    assert schedule.oldest_age(120) == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "take", "succeed", "fail"]), st.sampled_from("abc"), st.floats(0, 5)
        ),
        max_size=60,
    )
)
def test_no_key_is_ever_worked_on_twice_at_once_and_none_is_forgotten(
    actions: list[tuple[str, str, float]],
) -> None:
    schedule = Schedule[str]()
    running: set[str] = set()
    owed: set[str] = set()
    now = 0.0
    for action, key, amount in actions:
        now += amount
        if action == "add":
            schedule.add(key, now)
            owed.add(key)
        elif action == "take":
            taken = schedule.take(now)
            if taken is not None:
                assert taken not in running
                running.add(taken)
                owed.discard(taken)
        elif key in running:
            running.discard(key)
            if action == "succeed":
                schedule.succeeded(key, now, after=None)
            else:
                schedule.failed(key, now, at_least=0, at_most=60)
                owed.add(key)
    for key in running:
        schedule.succeeded(key, now, after=None)
    rest = set()
    while (taken := schedule.take(now + 1000)) is not None:
        rest.add(taken)
    assert rest == owed


class Work:
    """Counts what is done; `outcomes` are what the next pieces end with, one after the other."""

    def __init__(self, *outcomes: float | BaseException | None, seconds: float = 0.01) -> None:
        self.outcomes = list(outcomes)
        self.seconds = seconds
        self.done: list[tuple[float, Key]] = []
        self.at_once = 0
        self.most_at_once = 0

    async def __call__(self, key: Key) -> float | None:
        loop = asyncio.get_running_loop()
        self.done.append((loop.time(), key))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.at_once -= 1
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def times(self, key: Key) -> list[float]:
        return [round(at, 3) for at, each in self.done if each == key]


@asynccontextmanager
async def running(queue: WorkQueue[Key]) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run())
    yield
    queue.stop()
    await task


def test_work_is_done_at_once_and_again_when_it_asked_for_it() -> None:
    async def story() -> None:
        work = Work(5.0, None)
        queue = WorkQueue(work)
        async with running(queue):
            queue.add(A)
            await asyncio.sleep(20)
        assert work.times(A) == [0.0, 5.01]

    run_virtually(story())


def test_one_broken_incident_never_blocks_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> tuple[int, int]:
        async def work(key: Key) -> float | None:
            if key == A:
                raise ZeroDivisionError("a bug")
            counts[key] += 1
            return 1.0

        counts: Counter[Key] = Counter()
        errors: list[str] = []
        queue = WorkQueue(work, on_error=errors.append)
        async with running(queue):
            queue.add_all([A, B])
            await asyncio.sleep(300)
        assert set(errors) == {"ZeroDivisionError"}
        return counts[B], len(errors)

    with caplog.at_level(logging.DEBUG):
        done, failed = run_virtually(story())
    assert done >= 299
    assert 10 < failed < 20  # backed off, but never given up


@pytest.mark.parametrize(
    ("error", "again_after"),
    [
        (Conflict("Conflict", "moved on"), 0.11),
        (Retry("TooManyRequests", "busy", 7.0), 7.01),
        (Rejected("Forbidden", "no"), 0.11),
        (RuntimeError("a bug"), 0.11),
    ],
)
def test_every_failure_is_tried_again_when_it_makes_sense(error: Exception, again_after: float) -> None:
    async def story() -> None:
        work = Work(error)
        queue = WorkQueue(work)
        async with running(queue):
            queue.add(A)
            await asyncio.sleep(60)
        assert work.times(A) == [0.0, again_after]

    run_virtually(story())


def test_a_lost_lease_stops_everything_at_once() -> None:
    async def story() -> None:
        work = Work(FenceLost("gone"), None, None, seconds=1)
        slow_was_cut_off = False

        async def slow_or(key: Key) -> float | None:
            nonlocal slow_was_cut_off
            if key == A:
                return await work(key)
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                slow_was_cut_off = True
                raise
            return None

        queue = WorkQueue(slow_or)
        queue.add_all([A, B])
        with pytest.raises(FenceLost, match="gone"):
            await queue.run()
        assert slow_was_cut_off
        assert asyncio.get_running_loop().time() < 2

    run_virtually(story())


def test_stopping_lets_running_work_finish_and_starts_no_more() -> None:
    async def story() -> None:
        work = Work(seconds=3)
        queue = WorkQueue(work, parallelism=1)
        task = asyncio.create_task(queue.run())
        queue.add_all([A, B])
        await asyncio.sleep(1)
        queue.stop()
        await task
        assert [key for _, key in work.done] == [A]
        assert asyncio.get_running_loop().time() == 3

    run_virtually(story())


def test_no_more_than_the_given_number_runs_at_once() -> None:
    async def story() -> None:
        work = Work(seconds=1)
        queue = WorkQueue(work, parallelism=4)
        async with running(queue):
            queue.add_all(Key("chat", str(number)) for number in range(10))
            await asyncio.sleep(60)
        assert work.most_at_once == 4
        assert len(work.done) == 10

    run_virtually(story())


async def test_an_event_of_another_thread_is_worked_on() -> None:
    done: asyncio.Queue[Key] = asyncio.Queue()

    async def work(key: Key) -> None:
        await done.put(key)

    queue = WorkQueue(work)
    async with running(queue):
        thread = threading.Thread(target=queue.add_threadsafe, args=(A,))
        thread.start()
        async with asyncio.timeout(5):
            assert await done.get() == A
        thread.join()
