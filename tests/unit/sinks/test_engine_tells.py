"""The engine writes down how far receivers are: with what it writes anyway, or once for a burst."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from stanch.api.v1alpha1.incident import AIIncident
from stanch.holds.canary import Canary, HoldProof, Proof
from stanch.holds.keeper import HoldKeeper
from stanch.incidents.facts import Limits
from stanch.incidents.reconcile import Reconciler
from stanch.kube.resources import AIINCIDENTS, CONTAINMENTPOLICIES, EVENTS, ObjectRef
from stanch.observability.metrics import Metrics
from stanch.queue import Key
from stanch.sinks import worker as module
from stanch.sinks.model import Undelivered
from stanch.sinks.worker import Worker
from stanch.sweep import Open, open_keys
from tests.unit.incidents.in_memory import NO_TOOLS, InMemory
from tests.unit.policies.made import own
from tests.unit.sinks.telling import SINK, All, Recorder, seqs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from stanch.api.v1alpha1.status import TimelineEntry
    from stanch.kube.client import Kube
    from stanch.kube.resources import Resource

Json = dict[str, Any]
KEY = Key("chat", "toxic")
REF = ObjectRef(AIINCIDENTS, "chat", "toxic")
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Api(InMemory):
    """Every call takes effect at once. Remembers Events, and how often a status was written."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Json] = []
        self.statuses = 0

    async def _turn(self) -> None:
        await asyncio.sleep(0)

    async def create(self, resource: Resource, namespace: str, new: Json) -> Json:
        if resource == EVENTS:
            self.events.append(new)
        return await super().create(resource, namespace, new)

    async def list(self, resource: Resource, _namespace: str = "", **_selectors: str) -> list[Json]:
        return await super().list(resource, _namespace)

    async def replace_status(self, ref: ObjectRef, new: Json) -> Json:
        self.statuses += 1
        return await super().replace_status(ref, new)


class Engine:
    """An engine that is asked to reconcile by the receivers alone."""

    def __init__(self, api: Api, sink: Recorder) -> None:
        kube = cast("Kube", api)
        self.api, self.sink, self.asked = api, sink, list[Key]()
        self.metrics, self.ticks = Metrics(), 0
        keeper = HoldKeeper(kube)
        canary = Canary(kube, keeper, "stanch-system", 60.0, self.metrics.hold_proven.set)
        canary.proof = HoldProof(Proof.PROVEN, "denied")
        self.outbox = Worker(All({SINK: sink}), self.asked.append, clock=self.clock)
        self.engine = Reconciler(
            kube,
            keeper,
            canary,
            self.metrics,
            Limits(),
            lambda _: None,
            NO_TOOLS,
            clock=self.clock,
            outbox=self.outbox,
        )

    def clock(self) -> datetime:
        self.ticks += 1
        return START + timedelta(milliseconds=self.ticks)

    @property
    def incident(self) -> AIIncident:
        return AIIncident.parse(self.api.objects[REF])

    async def reconcile(self) -> None:
        await self.engine.reconcile(KEY)

    async def contain(self) -> None:
        """Until its pods are gone and it is seen to be contained."""
        await self.reconcile()
        self.api.controllers()
        await self.reconcile()
        assert str(self.incident.status.phase) == "Contained"


@asynccontextmanager
async def running(api: Api, sink: Recorder) -> AsyncIterator[Engine]:
    engine = Engine(api, sink)
    task = asyncio.create_task(engine.outbox.run())
    try:
        yield engine
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def until(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not look():  # noqa: ASYNC110 - what is looked at tells nobody
            await asyncio.sleep(0.002)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.05)


@pytest.fixture
async def api() -> Api:
    api = Api()
    spec = {
        "title": "t",
        "category": "Jailbreak",
        "severity": "Critical",
        "targets": [{"kind": "ReplicaSet", "name": "llm"}],
        "steps": [{"scaleToZero": {}}],
    }
    await api.create(AIINCIDENTS, "chat", {"metadata": {"namespace": "chat", "name": "toxic"}, "spec": spec})
    return api


async def test_all_of_a_containment_is_told_and_written_down_by_one_more_write(api: Api) -> None:
    async with running(api, Recorder()) as engine:
        await engine.contain()
        statuses = api.statuses
        await until(lambda: KEY in engine.asked)
        await engine.reconcile()

        numbers = [one.seq for one in engine.incident.status.timeline]
        assert seqs(engine.sink.taken) == numbers == list(range(1, len(numbers) + 1))
        (delivery,) = engine.incident.status.deliveries
        assert delivery.through == numbers[-1]
        assert api.statuses == statuses + 1
        await engine.reconcile()
        assert api.statuses == statuses + 1
        assert [one.seq for one in engine.incident.status.timeline] == numbers, "that tells nothing"


async def test_containing_waits_for_no_receiver(api: Api) -> None:
    class Hanging(Recorder):
        async def deliver(self, incident: AIIncident, entry: TimelineEntry) -> None:
            del incident, entry
            await asyncio.Event().wait()

    async with running(api, Hanging()) as engine:
        await asyncio.wait_for(engine.contain(), 5)


async def test_what_has_ended_is_told_to_the_end_by_the_next_process(api: Api) -> None:
    def down(_: TimelineEntry) -> None:
        raise Undelivered("it cannot be reached")

    async with running(api, Recorder(down)) as engine:
        await engine.contain()
        api.change(REF, ("spec", "desiredState"), "Released")
        await engine.reconcile()
        api.controllers()
        await engine.reconcile()
        assert str(engine.incident.status.phase) == "Released"
        await until(lambda: KEY in engine.asked)
        await engine.reconcile()
        (failing,) = engine.incident.status.deliveries
        assert (failing.through, failing.message) == (0, "it cannot be reached")
        assert failing.failing_since is not None

    async with running(api, Recorder()) as engine:
        await engine.reconcile()
        last = engine.incident.status.timeline[-1].seq
        await until(lambda: seqs(engine.sink.taken) == list(range(1, last + 1)))
        await until(lambda: KEY in engine.asked)
        await engine.reconcile()
        (delivery,) = engine.incident.status.deliveries
        assert (delivery.through, delivery.failing_since, delivery.message) == (last, None, "")


async def test_what_waits_for_a_person_is_told_while_it_waits(api: Api) -> None:
    policy = own(guardrails={"approval": {"required": "Always"}})
    api.objects[ObjectRef(CONTAINMENTPOLICIES, "chat", "chat")] = policy.wire()
    spec = {name: value for name, value in api.objects[REF]["spec"].items() if name != "steps"}
    api.objects[REF]["spec"] = spec | {"policyRef": {"name": "chat"}}
    async with running(api, Recorder()) as engine:
        await engine.reconcile()
        assert str(engine.incident.status.phase) == "AwaitingApproval"
        await until(lambda: KEY in engine.asked)
        await engine.reconcile()

        (delivery,) = engine.incident.status.deliveries
        assert delivery.through == engine.incident.status.timeline[-1].seq


async def test_what_is_given_up_is_seen_in_status_event_and_metric(api: Api) -> None:
    def answer(entry: TimelineEntry) -> None:
        if entry.seq in {2, 3}:
            raise Undelivered("it answers 422", permanent=True)

    async with running(api, Recorder(answer)) as engine:
        await engine.contain()
        await until(lambda: KEY in engine.asked)
        await engine.reconcile()

        (delivery,) = engine.incident.status.deliveries
        assert delivery.dropped == 2
        (event,) = [one for one in api.events if one["reason"] == "SinkGaveUp"]
        assert event["type"] == "Warning"
        assert event["message"].startswith("cloudevents was not told 2 of what happened")
        assert b'stanch_sink_dropped_total{sink="cloudevents"} 2.0' in engine.metrics.render()


def test_the_first_sweep_finds_what_was_closed_before_all_was_told() -> None:
    def closed(name: str, through: int) -> Json:
        return {
            "metadata": {"namespace": "chat", "name": name, "generation": 1},
            "status": {
                "phase": "Closed",
                "observedGeneration": 1,
                "timeline": [{"seq": 6, "type": "Recovered"}, {"seq": 7, "type": "Closed"}],
                "deliveries": [{"sink": "ocsf", "through": 7}, {"sink": SINK, "through": through}],
            },
        }

    both = [closed("told", 7), closed("untold", 6)]

    assert [key.name for key in open_keys(both, untold=True).by_the_way] == ["untold"]
    assert open_keys(both) == Open((), ())
