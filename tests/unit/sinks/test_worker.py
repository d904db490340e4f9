"""Deliveries run beside everything else: nobody waits for anybody, and nothing is forgotten."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from stanch.api.v1alpha1.status import DeliveryStatus, TimelineEntry
from stanch.queue import Key
from stanch.sinks import worker as module
from stanch.sinks.model import Undelivered
from stanch.sinks.worker import Worker
from tests.unit.incidents.walk import NOW
from tests.unit.sinks.telling import SINK, All, Recorder, seqs, timeline, told, with_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.sinks.model import Sink


class World:
    """A worker that waits hardly at all, and the incidents that it asked to be reconciled."""

    def __init__(self, **sinks: Sink) -> None:
        self.receivers = All(sinks)
        self.asked: list[Key] = []
        self.now = NOW
        self.worker = Worker(self.receivers, self.asked.append, clock=self.clock, sleep=self.sleep)

    def clock(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        await asyncio.sleep(0.005)

    def store(self, incident: AIIncident) -> AIIncident:
        """As a reconcile does: what is known of deliveries goes into the status."""
        return incident.model_copy(
            update={"status": self.worker.folded(incident.status, incident.status, incident)}
        )


@asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    task = asyncio.create_task(world.worker.run())
    try:
        yield world
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert world.receivers.closed


async def until(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not look():  # noqa: ASYNC110 - what is looked at tells nobody
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.05)


def open_to(*names: str, last: int = 5, uid: str = "toxic") -> AIIncident:
    return told(*timeline(1, last), deliveries=[DeliveryStatus(sink=name) for name in names], uid=uid)


async def test_what_is_stored_is_delivered_in_order_and_then_written_down_once() -> None:
    sink = Recorder()
    async with running(World(cloudevents=sink)) as world:
        incident = open_to(SINK)
        world.worker.offer(incident)
        await until(lambda: world.asked == [Key("chat", "toxic")])

        assert seqs(sink.taken) == [1, 2, 3, 4, 5]
        stored = world.store(incident)
        assert [one.through for one in stored.status.deliveries] == [5]
        world.worker.offer(stored)
        await asyncio.sleep(0.15)
        assert seqs(sink.taken) == [1, 2, 3, 4, 5]
        assert len(world.asked) == 1, "a burst costs one write"


async def test_who_is_being_told_is_not_told_twice_at_once() -> None:
    class Slow(Recorder):
        async def deliver(self, incident: AIIncident, entry: TimelineEntry) -> None:
            await asyncio.sleep(0.01)
            await super().deliver(incident, entry)

    sink = Slow()
    async with running(World(cloudevents=sink)) as world:
        for _ in range(5):
            world.worker.offer(open_to(SINK))
        await until(lambda: seqs(sink.taken)[-1:] == [5])
        await asyncio.sleep(0.05)
        assert seqs(sink.taken) == [1, 2, 3, 4, 5]


async def test_nothing_is_delivered_before_it_is_stored_that_it_will_be() -> None:
    sink = Recorder()
    async with running(World(cloudevents=sink)) as world:
        incident = told(*timeline(1, 2))
        world.worker.offer(incident)
        await asyncio.sleep(0.02)
        assert sink.taken == []

        world.worker.offer(world.store(incident))
        await until(lambda: seqs(sink.taken) == [1, 2])


async def test_a_receiver_that_is_down_is_told_all_of_it_in_order_later() -> None:
    down = True

    def answer(_: TimelineEntry) -> None:
        if down:
            raise Undelivered("it cannot be reached")

    sink = Recorder(answer)
    async with running(World(cloudevents=sink)) as world:
        incident = open_to(SINK)
        world.worker.offer(incident)
        await until(lambda: bool(world.asked))
        (failing,) = world.store(incident).status.deliveries
        assert (failing.through, failing.message) == (0, "it cannot be reached")
        assert failing.failing_since == NOW

        world.worker.offer(with_status(incident, timeline=timeline(1, 7)))
        down = False
        await until(lambda: seqs(sink.taken) == [1, 2, 3, 4, 5, 6, 7])


async def test_a_receiver_that_hangs_holds_up_neither_another_nor_other_incidents() -> None:
    class Hanging(Recorder):
        async def deliver(self, incident: AIIncident, entry: TimelineEntry) -> None:
            if incident.metadata.name == "toxic":
                await asyncio.Event().wait()
            await super().deliver(incident, entry)

    hanging, quick = Hanging(), Recorder(line="two")
    async with running(World(cloudevents=hanging, ocsf=quick)) as world:
        world.worker.offer(open_to(SINK, "ocsf"))
        world.worker.offer(open_to(SINK, "ocsf", uid="other"))

        await until(lambda: len(quick.taken) == 10)
        await until(lambda: seqs(hanging.taken, "other") == [1, 2, 3, 4, 5])
        assert seqs(hanging.taken) == []


async def test_no_more_than_a_few_deliveries_go_to_one_receiver_at_once() -> None:
    class Counting(Recorder):
        now = most = 0

        async def deliver(self, incident: AIIncident, entry: TimelineEntry) -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.001)
            self.now -= 1
            await super().deliver(incident, entry)

    sink = Counting()
    async with running(World(cloudevents=sink)) as world:
        for number in range(20):
            world.worker.offer(open_to(SINK, last=2, uid=f"one-{number}"))
        await until(lambda: len(sink.taken) == 40)
    assert sink.most == module.AT_ONCE


async def test_a_poisonous_entry_is_given_up_and_a_bug_is_no_end(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    failed = False

    def answer(entry: TimelineEntry) -> None:
        nonlocal failed
        if entry.seq == 2:
            raise Undelivered("it answers 422", permanent=True)
        if entry.seq == 4 and not failed:
            failed = True
            raise KeyError("canary-of-a-secret")

    sink = Recorder(answer)
    async with running(World(cloudevents=sink)) as world:
        incident = open_to(SINK)
        world.worker.offer(incident)
        await until(lambda: seqs(sink.taken) == [1, 3, 4, 5])
        await until(lambda: world.store(incident).status.deliveries[0].through == 5)
        (delivery,) = world.store(incident).status.deliveries
        assert delivery.dropped == 1
    said = capsys.readouterr().out + caplog.text
    assert "KeyError" in said
    assert "canary" not in said, "what an error says may have an address in it"


async def test_a_delivery_without_end_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DELIVERY_SECONDS", 0.02)

    class Once(Recorder):
        hung = False

        async def deliver(self, incident: AIIncident, entry: TimelineEntry) -> None:
            if not self.hung:
                self.hung = True
                await asyncio.Event().wait()
            await super().deliver(incident, entry)

    sink = Once()
    async with running(World(cloudevents=sink)) as world:
        world.worker.offer(open_to(SINK, last=2))
        await until(lambda: seqs(sink.taken) == [1, 2])


async def test_a_process_that_starts_anew_goes_on_from_what_was_written() -> None:
    sink = Recorder()
    async with running(World(cloudevents=sink)) as world:
        world.worker.offer(told(*timeline(1, 5), deliveries=[DeliveryStatus(sink=SINK, through=3)]))
        await until(lambda: seqs(sink.taken) == [4, 5])


async def test_what_is_deleted_is_still_told() -> None:
    down = True

    def answer(_: TimelineEntry) -> None:
        if down:
            raise Undelivered("it cannot be reached")

    sink = Recorder(answer)
    async with running(World(cloudevents=sink)) as world:
        world.worker.offer(open_to(SINK, last=2))
        await asyncio.sleep(0.01)
        world.worker.forget(Key("chat", "toxic"))
        asked = len(world.asked)
        down = False
        await until(lambda: seqs(sink.taken) == [1, 2])
        await asyncio.sleep(0.15)
        assert len(world.asked) == asked, "there is nothing to write it to"


async def test_nothing_is_kept_of_what_is_told_and_written() -> None:
    sink = Recorder()
    async with running(World(cloudevents=sink)) as world:
        incident = open_to(SINK, last=1)
        world.worker.offer(incident)
        await until(lambda: bool(world.asked))
        world.worker.offer(world.store(incident))
        await until(lambda: not world.worker._courses)
