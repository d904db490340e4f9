"""What is read to choose a policy, and what is made of it when something is not as it should be."""

from __future__ import annotations

from typing import Any, cast

import pytest

from stanch.api.v1alpha1.plan import PlanStatus
from stanch.api.v1alpha1.status import AIIncidentStatus, Phase
from stanch.kube.resources import (
    CLUSTERCONTAINMENTPOLICIES,
    CONTAINMENTPOLICIES,
    DEPLOYMENTS,
    NAMESPACES,
    ObjectRef,
    Resource,
)
from stanch.policies.choose import choose
from stanch.policies.match import Choice
from stanch.policies.reconcile import concerned
from tests.unit.incidents.walk import incident
from tests.unit.policies.made import cluster, own, selector

Json = dict[str, Any]
LLM = ObjectRef(DEPLOYMENTS, "chat", "llm")
SPACE = ObjectRef(NAMESPACES, None, "chat")


class Cluster:
    """Objects by reference; every read is noted."""

    def __init__(self, *policies: Json, llm: bool = True, env: str = "prod") -> None:
        self.read: list[str] = []
        self.policies = policies
        self.objects: dict[ObjectRef, Json] = {
            SPACE: {"metadata": {"name": "chat", "uid": "1", "resourceVersion": "1", "labels": {"env": env}}}
        }
        if llm:
            meta = {"name": "llm", "uid": "2", "resourceVersion": "2", "labels": {"app": "llm"}}
            self.objects[LLM] = {"metadata": meta}
        for policy in policies:
            resource = {each.kind: each for each in (CONTAINMENTPOLICIES, CLUSTERCONTAINMENTPOLICIES)}[
                policy["kind"]
            ]
            namespace = "chat" if resource.namespaced else None
            self.objects[ObjectRef(resource, namespace, policy["metadata"]["name"])] = policy

    async def get(self, ref: ObjectRef) -> Json | None:
        self.read.append(str(ref))
        return self.objects.get(ref)

    async def list(self, resource: Resource, _namespace: str | None) -> list[Json]:
        self.read.append(resource.plural)
        return [policy for policy in self.policies if policy["kind"] == resource.kind]


async def chosen(there: Cluster, **spec: Any) -> Choice:
    return await choose(cast("Any", there), incident(**spec))


def newer(kind: str) -> Json:
    """Stored under a CRD that knows more modes."""
    policy = own("newer") if kind == "ContainmentPolicy" else cluster("newer")
    body = policy.wire()
    return body | {"spec": body["spec"] | {"mode": "Rehearse"}}


async def test_a_plan_of_its_own_needs_no_policy_and_reads_none() -> None:
    there = Cluster(own().wire())
    assert await chosen(there, steps=[{"scaleToZero": {}}]) == Choice()
    assert there.read == []


async def test_where_there_is_no_policy_two_lists_are_all() -> None:
    there = Cluster()
    assert await chosen(there) == Choice()
    assert sorted(there.read) == ["clustercontainmentpolicies", "containmentpolicies"]


async def test_the_labels_that_count_are_the_workloads_and_the_namespaces() -> None:
    where = selector(namespace={"env": "prod"}, app="llm")
    found = await chosen(Cluster(cluster("prod", selector=where).wire()))
    assert found.policy is not None
    assert found.policy.name == "prod"
    assert await chosen(Cluster(cluster("prod", selector=where).wire(), env="test")) == Choice()


@pytest.mark.parametrize("kind", ["ContainmentPolicy", "ClusterContainmentPolicy"])
@pytest.mark.parametrize("named", [True, False])
async def test_a_policy_newer_than_the_operator_is_not_passed_over(kind: str, named: bool) -> None:  # noqa: FBT001
    spec = {"policyRef": {"kind": kind, "name": "newer"}} if named else {}
    found = await chosen(Cluster(own().wire(), newer(kind)), **spec)
    assert found.policy is None
    assert found.refusal is not None
    assert found.refusal.reason == "PolicyUnreadable"
    assert found.refusal.message.startswith(f"{kind} newer has something in it")


@pytest.mark.parametrize("spec", [{}, {"policyRef": {"name": "chat"}}])
async def test_a_target_that_is_not_there_is_not_contained_by_another_plan(spec: Json) -> None:
    found = await chosen(Cluster(own().wire(), llm=False), **spec)
    assert found.refusal is not None
    assert found.refusal.reason == "TargetNotFound"


def status(phase: Phase | None, *, policy: bool = True) -> AIIncidentStatus:
    followed = Choice.of(own()).policy if policy else None
    return AIIncidentStatus(phase=phase, plan=PlanStatus(hash="h", source="s", policy=followed))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (status(None), status(Phase.CONTAINING), True),
        (status(Phase.CONTAINED), status(Phase.CONTAINED), False),
        (status(Phase.RELEASING), status(Phase.RELEASED), True),
        (status(None), status(Phase.DETECTED), False),
        (status(None, policy=False), status(Phase.CONTAINING, policy=False), False),
    ],
)
def test_a_policy_is_told_when_its_incidents_are_others(
    old: AIIncidentStatus,
    new: AIIncidentStatus,
    told: bool,  # noqa: FBT001
) -> None:
    ref = concerned("chat", old, new)
    assert ref == (ObjectRef(CONTAINMENTPOLICIES, "chat", "chat") if told else None)
