"""One act of somebody is one contest in their name, whenever between two reads of the operator it happens."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from stanch.holds.canary import Canary
from stanch.holds.keeper import HoldKeeper
from stanch.incidents.facts import Limits
from stanch.incidents.reconcile import Reconciler
from stanch.kube.resources import AIINCIDENTS, DEPLOYMENTS, REPLICASETS, ObjectRef, Resource
from stanch.observability.metrics import Metrics
from stanch.queue import Key
from tests.unit.actions.cluster_objects import body
from tests.unit.incidents.in_memory import NO_TOOLS, TARGET, WHO, InMemory

if TYPE_CHECKING:
    from stanch.kube.client import Kube

Json = dict[str, Any]
KEY = Key("chat", "toxic")
INCIDENT = ObjectRef(AIINCIDENTS, *KEY)
DEPLOYMENT = ObjectRef(DEPLOYMENTS, "chat", "llm")
READS = 8  # of one look: the incident, its namespace, its hold, and what ScaleToZero reads


class Busy(InMemory):
    """Nobody waits for a turn, controllers are quick, and somebody scales just before a given read."""

    def __init__(self, owner: Resource) -> None:
        super().__init__()
        self.scaled = DEPLOYMENT if owner == DEPLOYMENTS else TARGET
        if owner == DEPLOYMENTS:
            self._store(DEPLOYMENT, body("Deployment", "llm"))
            uid = self.objects[DEPLOYMENT]["metadata"]["uid"]
            reference = {"kind": "Deployment", "name": "llm", "uid": uid, "controller": True}
            self.objects[TARGET]["metadata"]["ownerReferences"] = [reference]
        self.turns = 0
        self.acts_before: dict[int, ObjectRef] = {}
        self.catch_up()

    async def _turn(self) -> None:
        self.turns += 1
        scaled = self.acts_before.pop(self.turns, None)
        if scaled is not None:
            self.scale_up(scaled)

    async def list(self, resource: Resource, _namespace: str, **_selectors: str) -> list[Json]:
        if resource == REPLICASETS:
            await self._turn()
            return [self.objects[TARGET]]
        return await super().list(resource, _namespace, **_selectors)

    def scale_up(self, ref: ObjectRef) -> None:
        """`kubectl scale`, and what becomes of it before anybody looks."""
        self.set_replicas(ref, 5, "kubectl")
        if ref == self.scaled:
            self.catch_up()
        else:
            self.controllers()

    def catch_up(self) -> None:
        """The Deployment's controller, then the ReplicaSet's."""
        owner = self.objects.get(DEPLOYMENT)
        if owner is not None:
            replicas = owner["spec"]["replicas"]
            if self.objects[TARGET]["spec"]["replicas"] != replicas:
                self.set_replicas(TARGET, replicas, "kube-controller-manager")
            owner["status"] = {"observedGeneration": owner["metadata"]["generation"], "replicas": replicas}
        self.controllers()

    def set_replicas(self, ref: ObjectRef, replicas: int, manager: str) -> None:
        self.change(ref, ("spec", "replicas"), replicas)
        self.objects[ref]["metadata"]["managedFields"] = [
            {"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
        ]


class Story:
    """A contained workload in a cluster where nothing is denied."""

    def __init__(self, owner: Resource) -> None:
        self.api = Busy(owner)
        kube = cast("Kube", self.api)
        keeper, metrics = HoldKeeper(kube), Metrics()
        canary = Canary(kube, keeper, "stanch-system", 60.0, metrics.hold_proven.set)
        self.engine = Reconciler(
            kube, keeper, canary, metrics, Limits(), lambda _: None, NO_TOOLS, clock=self.clock
        )
        self.seconds = 0

    def clock(self) -> datetime:
        self.seconds += 1
        return datetime.fromtimestamp(1_767_322_800 + self.seconds, UTC)

    async def contain(self) -> None:
        kind = self.api.scaled.resource.kind
        targets = [{"apiVersion": "apps/v1", "kind": kind, "name": "llm"}]
        spec = {"title": "t", "category": "Drift", "severity": "High", "targets": targets}
        await self.api.create(
            AIINCIDENTS, "chat", {"metadata": {"name": "toxic", "namespace": "chat"}, "spec": spec}
        )
        await self.comes_to_rest()
        assert "contested" not in self.status()

    async def comes_to_rest(self) -> None:
        for _ in range(4):
            await self.engine.reconcile(KEY)
            self.api.catch_up()
        assert self.status()["phase"] == "Contained"
        assert self.api.pods == []

    def status(self) -> Json:
        status: Json = self.api.objects[INCIDENT]["status"]
        return status


@pytest.fixture(autouse=True)
def caller() -> None:
    WHO.set("operator")


@pytest.mark.parametrize("owner", [DEPLOYMENTS, REPLICASETS], ids=["Deployment", "ReplicaSet"])
@pytest.mark.parametrize("read", range(1, READS + 1))
async def test_a_scale_up_during_a_look_is_told_once_and_by_the_name_of_who_did_it(
    owner: Resource, read: int
) -> None:
    story = Story(owner)
    await story.contain()

    story.api.acts_before[story.api.turns + read] = story.api.scaled
    await story.comes_to_rest()

    assert not story.api.acts_before, "somebody did scale it up"
    contested = story.status()["contested"]
    assert contested["count"] == 1
    assert contested["lastBy"] == "field manager kubectl"
    assert contested["lastWhat"] == f"changed {owner.kind} llm /spec/replicas to 5"


@pytest.mark.parametrize("read", range(1, READS + 1))
async def test_a_replicaset_scaled_behind_its_deployment_is_told_once_too(read: int) -> None:
    """The Deployment never asked for it: its controller ends the pods when it looks."""
    story = Story(DEPLOYMENTS)
    await story.contain()

    story.api.acts_before[story.api.turns + read] = TARGET
    await story.engine.reconcile(KEY)
    await story.comes_to_rest()

    contested = story.status()["contested"]
    assert contested["count"] == 1
    assert contested["lastBy"] == "field manager kubectl"
    assert contested["lastWhat"] == "undid it: ReplicaSet llm still asks for pods"


async def test_pods_whose_order_is_withdrawn_already_are_told_without_a_name() -> None:
    """Somebody scaled the ReplicaSet, and its Deployment put that right before the operator looked."""
    story = Story(DEPLOYMENTS)
    await story.contain()

    story.api.scale_up(TARGET)
    pods = story.api.pods
    story.api.catch_up()
    story.api.pods = [
        {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": "2026-01-02T03:04:05Z"}} for pod in pods
    ]
    await story.engine.reconcile(KEY)
    await story.comes_to_rest()

    contested = story.status()["contested"]
    assert contested["count"] == 1
    assert contested["lastBy"] == "an unknown field manager"
    assert contested["lastWhat"].startswith("undid it: 5 pods left: llm-0 (terminating)")


async def test_somebody_who_scales_again_and_again_while_it_is_looked_at_does_not_stop_the_look() -> None:
    story = Story(DEPLOYMENTS)
    await story.contain()

    first = story.api.turns
    story.api.acts_before = {first + read: DEPLOYMENT for read in range(1, 200, 5)}
    await asyncio.wait_for(story.engine.reconcile(KEY), timeout=10)
    story.api.acts_before = {}
    await story.comes_to_rest()

    assert story.status()["contested"]["count"] >= 1


def test_the_reads_of_a_look_are_all_tried() -> None:
    """More reads than READS would leave some moments untried."""
    story = Story(DEPLOYMENTS)

    async def look() -> int:
        await story.contain()
        before = story.api.turns
        await story.engine.reconcile(KEY)
        return story.api.turns - before

    assert asyncio.run(look()) <= READS
