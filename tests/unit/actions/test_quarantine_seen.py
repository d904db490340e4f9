"""Quarantine: what it sees of a namespace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from stanch.actions.protocol import Refusal, Verdict
from stanch.actions.quarantine_seen import Ward
from stanch.api.v1alpha1.incident import TargetKind
from stanch.errors import Forbidden, NotServed
from stanch.kube.resources import (
    CLUSTERNETWORKPOLICIES,
    DAEMONSETS,
    DEPLOYMENTS,
    ENDPOINTSLICES,
    JOBS,
    NETWORKPOLICIES,
    PODS,
    REPLICASETS,
    SERVICES,
)
from stanch.kube.scope import WHOLE_CLUSTER, Scope
from stanch.plans.changes import lookup
from tests.unit.actions.cluster_objects import body, obj, owned_by
from tests.unit.actions.quarantining import (
    ACTION,
    AGAIN,
    A,
    B,
    asked,
    both,
    judged,
    pod,
    policy,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stanch.actions.protocol import Ask
    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef, Resource
Json = dict[str, Any]


@dataclass
class Cluster:
    """Answers like the API server."""

    objects: Mapping[Resource, list[Json]]
    asked: list[Resource] = field(default_factory=list)
    forbidden: tuple[Resource, ...] = ()
    scope: Scope = WHOLE_CLUSTER

    async def get(self, ref: ObjectRef) -> Json | None:
        found = (each for each in self.objects.get(ref.resource, []) if each["metadata"]["name"] == ref.name)
        return next(found, None)

    async def list(self, resource: Resource, namespace: str | None = None) -> list[Json]:
        self.asked.append(resource)
        if not resource.namespaced:
            self._served(resource)
        head = {"apiVersion": resource.api_version, "kind": resource.kind}
        listed = [head | each for each in self.objects.get(resource, [])]
        return [each for each in listed if lookup(each, "/metadata/namespace") in {namespace, None}]

    def _served(self, resource: Resource) -> None:
        if resource in self.forbidden:
            raise Forbidden("Forbidden", f"cannot list {resource.plural}")
        if resource not in self.objects:
            raise NotServed("NotServed", f"no {resource.plural} here", 1.0)


def named(name: str, **spec: Any) -> Json:
    return {
        "metadata": {"name": name, "namespace": "chat", "uid": f"uid-{name}", "resourceVersion": "7"},
        "spec": spec,
    }


async def look(objects: Mapping[Resource, list[Json]], ask: Ask) -> Ward:
    return await ACTION.observe(cast("Kube", Cluster(objects)), ask)


async def test_all_that_selects_pods_is_seen() -> None:
    deployment = obj("Deployment")
    replica_set = body("ReplicaSet", "rs", ownerReferences=owned_by(deployment))
    everything = {
        DEPLOYMENTS: [deployment.json],
        REPLICASETS: [replica_set, body("ReplicaSet", "other")],
        DAEMONSETS: [body("DaemonSet", "agent")],
        JOBS: [
            named("usual", selector={"matchLabels": {"batch.kubernetes.io/controller-uid": "1"}}),
            named("by-hand", manualSelector=True, selector={"matchLabels": {"app": "llm"}}),
        ],
        SERVICES: [named("llm", selector={"app": "llm"}), named("elsewhere", externalName="example.test")],
        ENDPOINTSLICES: [{"metadata": {"name": "s"}, "endpoints": None}],
        NETWORKPOLICIES: [policy("p").json],
        PODS: [pod("a").json, pod("not-named").json],
    }

    seen = await look(everything, asked("a", "b"))

    assert seen.owners == {"uid-ReplicaSet-rs"}
    assert [one.text for one in seen.controllers] == [
        "ReplicaSet rs",
        "ReplicaSet other",
        "DaemonSet agent",
        "Job by-hand",
    ]
    assert [one.text for one in seen.services] == ["Service llm"]
    assert [one.metadata.name for one in seen.slices] == ["s"]
    assert {one.meta.name for one in seen.related} == {"a", "p"}


async def test_recorded_pods_are_seen_though_the_workload_is_gone() -> None:
    seen = await look({PODS: [A.json, B.json]}, AGAIN)
    assert seen.target is None
    assert seen.owners == frozenset()
    assert {one.meta.name for one in seen.related} == {"a", "b"}


async def test_a_selector_that_is_not_understood_begins_nothing_and_claims_nothing() -> None:
    odd = body("ReplicaSet", "odd", spec={"selector": {"matchLabels": {"a": "b"}, "colour": "red"}})

    seen = await look({DEPLOYMENTS: [body("Deployment")], REPLICASETS: [odd]}, asked())

    refusal = ACTION.plan(seen, asked())
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "SelectorNotUnderstood"
    assert "ReplicaSet odd is not understood" in refusal.message
    judgement = judged(*both(), unread=seen.unread)
    assert (judgement.verdict, judgement.reason) == (Verdict.INCONCLUSIVE, "SelectorNotUnderstood")


async def test_what_may_not_be_read_is_not_claimed_to_be_harmless() -> None:
    everything = {DEPLOYMENTS: [body("Deployment")], PODS: [A.json, B.json]}
    cluster = Cluster(everything, forbidden=(CLUSTERNETWORKPOLICIES,))
    seen = await ACTION.observe(cast("Kube", cluster), asked("a", "b"))

    judgement = judged(*both(), tiers=seen.tiers)

    assert (judgement.verdict, judgement.reason) == (Verdict.INCONCLUSIVE, "PoliciesNotReadable")
    assert "cannot list clusternetworkpolicies" in judgement.message


async def test_what_has_no_pods_of_its_own_is_not_looked_at() -> None:
    cluster = Cluster({})
    seen = await ACTION.observe(cast("Kube", cluster), asked(kind=TargetKind.JOB))
    assert seen == Ward(None)
    assert cluster.asked == []
