"""Drills are made once, cleaned up, and a failure with one keeps none of the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from stanch.drills.runner import Drills
from stanch.errors import Conflict, Forbidden, Unavailable
from stanch.kube.resources import AIINCIDENTS
from tests.unit.signals.fake_cluster import FakeCluster

if TYPE_CHECKING:
    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef

Json = dict[str, Any]
NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)


class Cluster(FakeCluster):
    """It stamps what is created, and deletes."""

    now = NINE

    def add(self, body: Json) -> Json:
        body["metadata"].setdefault("creationTimestamp", self.now.isoformat())
        return super().add(body)

    async def delete(self, ref: ObjectRef, *, uid: str, resource_version: str) -> None:
        await self._asked(f"delete {ref.resource.plural}")
        meta = self.objects[ref]["metadata"]
        if (meta["uid"], meta["resourceVersion"]) != (uid, resource_version):
            raise Conflict("Conflict", f"{ref} is another")
        del self.objects[ref]


class Ground:
    def __init__(self) -> None:
        self.cluster = Cluster()
        self.told: list[ObjectRef] = []
        self.drills = self.restarted()
        self.cluster.workload("Deployment", "llm")

    def restarted(self) -> Drills:
        kube = cast("Kube", self.cluster)
        return Drills(kube, frozenset({"kube-system"}), self.told.append, 30.0, lambda: self.cluster.now)

    def policy(self, name: str = "guard", kind: str = "ContainmentPolicy", **spec: Any) -> None:
        drill = {"name": "daily", "schedule": "0 9 * * *", "keep": 2}
        self.cluster.add(
            {
                "apiVersion": "stanch.dev/v1alpha1",
                "kind": kind,
                "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"selector": {}, "steps": [{"scaleToZero": {}}], "drills": [drill]} | spec,
            }
        )

    async def look(self, now: datetime) -> list[str]:
        """The minutes of the incidents there are afterwards."""
        self.cluster.now = now
        await self.drills.look()
        return sorted(one["metadata"]["name"].rpartition("-")[2] for one in self.cluster.incidents())


@pytest.fixture
def ground() -> Ground:
    return Ground()


async def test_a_drill_is_made_once_a_day_and_the_oldest_goes(ground: Ground) -> None:
    ground.policy()
    assert await ground.look(NINE - timedelta(minutes=30)) == []
    for day in range(4):
        for minutes in (0, 0.5, 1, 59, 61):
            await ground.look(NINE + timedelta(days=day, minutes=minutes))
    assert await ground.look(NINE + timedelta(days=3, hours=2)) == ["202603040900", "202603050900"]
    assert {ref.name for ref in ground.told} == {"guard"}
    assert ground.cluster.asked["create aiincidents"] == 4


async def test_who_leads_next_makes_it_no_second_time(ground: Ground) -> None:
    ground.policy()
    await ground.look(NINE)
    ground.drills = ground.restarted()
    assert await ground.look(NINE + timedelta(minutes=1)) == ["202603020900"]
    assert ground.cluster.asked["create aiincidents"] == 1


async def test_a_name_that_somebody_else_took_is_left_to_them(ground: Ground) -> None:
    ground.policy()
    await ground.look(NINE)
    (name,) = [one["metadata"]["name"] for one in ground.cluster.incidents()]
    (body,) = ground.cluster.incidents()
    body["metadata"]["labels"] = {}
    await ground.look(NINE + timedelta(minutes=1))
    await ground.look(NINE + timedelta(minutes=2))
    assert [one["metadata"]["name"] for one in ground.cluster.incidents()] == [name]
    assert ground.cluster.asked["create aiincidents"] == 2, "tried once more, and no more"


async def test_without_policies_that_drill_no_incident_is_listed(ground: Ground) -> None:
    ground.policy(drills=[])
    await ground.look(NINE)
    assert ground.cluster.asked["list aiincidents"] == 0


async def test_where_nothing_is_selected_nothing_is_made_later_either(ground: Ground) -> None:
    ground.policy(selector={"matchLabels": {"app": "none"}})
    ground.cluster.namespace("kube-system")
    assert await ground.look(NINE) == []
    ground.cluster.workload("Deployment", "late", labels={"app": "none"})
    assert await ground.look(NINE + timedelta(minutes=5)) == []
    assert await ground.look(NINE + timedelta(days=1)) == ["202603030900"]


async def test_a_workload_in_a_protected_namespace_is_not_drilled(ground: Ground) -> None:
    ground.cluster.namespace("kube-system", team="infra")
    ground.cluster.workload("Deployment", "dns", namespace="kube-system")
    selector = {"namespaceSelector": {"matchLabels": {"team": "infra"}}}
    ground.policy(kind="ClusterContainmentPolicy", selector=selector)
    assert await ground.look(NINE) == []


async def test_what_is_refused_is_not_tried_again_and_the_others_are_made(ground: Ground) -> None:
    ground.policy("first")
    ground.policy("second")
    refusals = [Forbidden("Forbidden", "quota")]

    def refuse() -> None:
        if refusals:
            raise refusals.pop()

    ground.cluster.before["create aiincidents"] = refuse
    assert len(await ground.look(NINE)) == 1
    assert len(await ground.look(NINE + timedelta(minutes=1))) == 1
    assert len(await ground.look(NINE + timedelta(days=1))) == 3


async def test_what_may_succeed_later_is_tried_again_and_the_others_are_made(ground: Ground) -> None:
    ground.policy("first")
    ground.policy("second")
    refusals = [Unavailable("Unavailable", "no answer", after=1.0)]

    def refuse() -> None:
        if refusals:
            raise refusals.pop()

    ground.cluster.before["create aiincidents"] = refuse
    assert len(await ground.look(NINE)) == 1
    assert len(await ground.look(NINE + timedelta(minutes=1))) == 2


async def test_an_exercise_that_changed_since_it_was_looked_at_is_not_deleted(ground: Ground) -> None:
    ground.policy()
    for day in range(3):
        await ground.look(NINE + timedelta(days=day))

    def change() -> None:
        for ref, body in ground.cluster.objects.items():
            if ref.resource == AIINCIDENTS:
                body["metadata"]["resourceVersion"] = "8"

    ground.cluster.before["delete aiincidents"] = change
    assert len(await ground.look(NINE + timedelta(days=2, minutes=1))) == 3


async def test_a_policy_of_a_newer_version_is_passed_over(ground: Ground) -> None:
    ground.policy("newer", mode="Sometimes")
    ground.policy()
    assert await ground.look(NINE) == ["202603020900"]
