"""One to three incidents on one workload, any order of steps, conflicts, crashes and people: it ends well."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stanch.errors import StanchError
from stanch.holds.canary import Canary, HoldProof, Proof
from stanch.holds.keeper import HoldKeeper
from stanch.incidents.facts import Limits
from stanch.incidents.reconcile import Reconciler
from stanch.kube.resources import AIINCIDENTS, ObjectRef
from stanch.observability.metrics import Metrics
from stanch.queue import Key
from tests.unit.incidents.in_memory import HOLD, NO_TOOLS, SPACE, TARGET, WHO, InMemory

if TYPE_CHECKING:
    from stanch.kube.client import Kube

Json = dict[str, Any]
NAMES = ("drift", "leak", "toxic")
NAME = st.sampled_from(NAMES)
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def new_incident(name: str) -> Json:
    targets = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "llm"}]
    spec = {"title": "t", "category": "Drift", "severity": "High", "targets": targets}
    return {"metadata": {"name": name, "namespace": "chat", "generation": 0}, "spec": spec}


class Operations(RuleBasedStateMachine):
    """`original` is what the workload's owner last asked for: what must come back in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.api = InMemory()
        self.original = 3
        self.ticks = 0
        self.tasks: dict[str, asyncio.Task[float | None]] = {}
        self.start_process()

    def start_process(self) -> None:
        kube = cast("Kube", self.api)
        keeper, metrics = HoldKeeper(kube), Metrics()
        canary = Canary(kube, keeper, "stanch-system", 60.0, metrics.hold_proven.set)
        canary.proof = HoldProof(Proof.PROVEN, "denied")
        self.engine = Reconciler(
            kube, keeper, canary, metrics, Limits(), lambda _: None, NO_TOOLS, clock=self.clock
        )

    def clock(self) -> datetime:
        self.ticks += 1
        return START + timedelta(milliseconds=10 * self.ticks)

    def incident(self, name: str) -> Json | None:
        return self.api.objects.get(ObjectRef(AIINCIDENTS, "chat", name))

    @rule(name=NAME)
    def somebody_reports(self, name: str) -> None:
        if self.incident(name) is None and name not in self.tasks:
            self.loop.run_until_complete(self._create(name))

    async def _create(self, name: str) -> None:
        token = WHO.set("person")
        task = asyncio.ensure_future(self.api.create(AIINCIDENTS, "chat", new_incident(name)))
        WHO.reset(token)
        await asyncio.sleep(0)
        self.api.let_through("person")
        await task

    @rule(name=NAME, calls=st.sampled_from([1, 2, 3, 5, 8, 13, 40]))
    def the_operator_works_on_it(self, name: str, calls: int) -> None:
        for _ in range(calls):
            self.step(name)

    def step(self, name: str) -> None:
        """One API call of this incident's reconcile takes effect."""
        self.loop.run_until_complete(self._step(name))

    async def _step(self, name: str) -> None:
        if name not in self.tasks:
            token = WHO.set(name)
            self.tasks[name] = asyncio.ensure_future(self.engine.reconcile(Key("chat", name)))
            WHO.reset(token)
            await self._idle()
        self.api.let_through(name)
        await self._idle()
        for one, task in list(self.tasks.items()):
            if task.done():
                del self.tasks[one]
                with contextlib.suppress(StanchError):  # the queue tries again, as `step` does
                    task.result()

    async def _idle(self) -> None:
        """Until every task waits for its turn or for another's lock."""
        for _ in range(12):
            await asyncio.sleep(0)

    @rule(names=st.lists(NAME, min_size=1, unique=True))
    def the_operator_finishes_all_its_work(self, names: list[str]) -> None:
        """Whose work is finished in which order is drawn; then everything is as quiet as it gets."""
        for _ in range(2):
            for name in names:
                for _ in range(40):
                    self.step(name)
            self.api.controllers()

    @rule()
    def the_operator_is_killed_and_started_again(self) -> None:
        self.loop.run_until_complete(self._kill())
        self.start_process()

    async def _kill(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        self.tasks.clear()
        self.api.waiting.clear()

    @rule()
    def the_controller_catches_up(self) -> None:
        self.api.controllers()

    @rule(replicas=st.integers(1, 5))
    def somebody_scales(self, replicas: int) -> None:
        if self.api.scale(replicas):
            self.original = replicas

    @rule(name=NAME)
    def somebody_releases(self, name: str) -> None:
        if self.incident(name) is not None:
            self.api.change(ObjectRef(AIINCIDENTS, "chat", name), ("spec", "desiredState"), "Released")

    @rule(name=NAME)
    def somebody_deletes(self, name: str) -> None:
        if self.incident(name) is not None:
            ref = ObjectRef(AIINCIDENTS, "chat", name)
            self.api.change(ref, ("metadata", "deletionTimestamp"), START.isoformat())

    @invariant()
    def contained_is_contained(self) -> None:
        for name in NAMES:
            body = self.incident(name)
            if body is None or body.get("status", {}).get("phase") != "Contained":
                continue
            if "deletionTimestamp" not in body["metadata"] and body["spec"].get("desiredState") != "Released":
                assert self.api.objects[TARGET]["spec"]["replicas"] == 0, f"{name} says Contained"

    @invariant()
    def a_stopped_workload_has_a_way_back(self) -> None:
        target = self.api.objects[TARGET]
        if target["spec"]["replicas"] == 0:
            ways = [
                field.get("before")
                for name in NAMES
                for step in (self.incident(name) or {}).get("status", {}).get("steps", [])
                for change in step.get("changes", [])
                for field in change["fields"]
                if field["path"] == "/spec/replicas"
            ]
            assert self.original in ways, f"{self.original} is in no journal: {ways}"

    def teardown(self) -> None:
        try:
            self.all_is_released_and_comes_to_rest()
        finally:
            self.loop.run_until_complete(self._kill())
            self.loop.close()

    def all_is_released_and_comes_to_rest(self) -> None:
        for name in NAMES:
            self.somebody_releases(name)
        for _ in range(150):
            for name in NAMES:
                if self.incident(name) is not None:
                    self.step(name)
            self.api.controllers()
        target = self.api.objects[TARGET]
        assert target["spec"]["replicas"] == self.original
        assert "labels" not in target["metadata"]
        assert HOLD not in self.api.objects
        assert self.api.objects[SPACE]["metadata"]["labels"] == {"name": "chat"}
        for name in NAMES:
            body = self.incident(name)
            assert body is None or not body["metadata"].get("finalizers")


QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


class TestOperations(Operations.TestCase):  # type: ignore[misc,valid-type]  # a class made at run time
    settings = settings(max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=QUIET)


@pytest.mark.parametrize("order", list(permutations(NAMES)))
def test_only_the_last_release_of_three_gives_back(order: tuple[str, ...]) -> None:
    story = Operations()
    try:
        for name in NAMES:
            story.somebody_reports(name)
        story.the_operator_finishes_all_its_work(list(NAMES))
        for name in order:
            story.contained_is_contained()
            assert story.api.objects[TARGET]["spec"]["replicas"] == 0
            story.somebody_releases(name)
            story.the_operator_finishes_all_its_work([name])
        assert story.api.objects[TARGET]["spec"]["replicas"] == 3
    finally:
        story.teardown()


def test_who_writes_second_gives_up_a_record_older_than_somebodys_change() -> None:
    """Both recorded the way back, somebody scaled in between, and the one that saw it wrote first."""
    story = Operations()
    try:
        story.somebody_reports("drift")
        story.the_operator_works_on_it("drift", calls=8)
        story.somebody_reports("leak")
        story.somebody_scales(2)
        story.the_operator_finishes_all_its_work(["leak", "drift"])
        for name in ("leak", "drift"):
            story.somebody_releases(name)
            story.the_operator_finishes_all_its_work([name])
        assert story.api.objects[TARGET]["spec"]["replicas"] == 2
    finally:
        story.teardown()


@pytest.mark.parametrize("calls", range(1, 20))
def test_what_another_incident_holds_down_is_not_contained_before_the_own_hold_stands(calls: int) -> None:
    """The other gives it back before this one has written its hold; then the operator is killed."""
    story = Operations()
    try:
        story.somebody_reports("toxic")
        story.the_operator_finishes_all_its_work(["toxic"])
        story.somebody_reports("drift")
        story.the_operator_works_on_it("drift", calls)
        story.contained_is_contained()
        story.somebody_releases("toxic")
        story.the_operator_is_killed_and_started_again()
        story.the_operator_finishes_all_its_work(["toxic"])
        story.contained_is_contained()
        story.the_operator_finishes_all_its_work(["drift"])
        drift = story.incident("drift") or {}
        assert drift["status"]["phase"] == "Contained"
        assert "contested" not in drift["status"], "that toxic was released is nobody's attempt to undo drift"
    finally:
        story.teardown()


@pytest.mark.long
@pytest.mark.timeout(1800)
class TestOperationsAtLength(Operations.TestCase):  # type: ignore[misc,valid-type]  # a class made at run time
    settings = settings(max_examples=1500, stateful_step_count=50, deadline=None, suppress_health_check=QUIET)
