"""What ScaleToZero looks at: the workload, who scales it, and the pods that are its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from stanch.actions.protocol import Observation
from stanch.actions.scale_to_zero import ScaleToZero
from stanch.api.v1alpha1.incident import Target, TargetKind
from tests.unit.actions.cluster_objects import ask, body, obj, owned_by, pod_body

if TYPE_CHECKING:
    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef, Resource

Json = dict[str, Any]
OTHER = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"}


class Reader:
    """The two reads of the client, over a few objects."""

    def __init__(self, *objects: Json, pods: list[Json]) -> None:
        self.objects = objects
        self.pods = pods

    async def get(self, ref: ObjectRef) -> Json | None:
        found = (one for one in self.objects if one["kind"] == ref.resource.kind)
        return next((one for one in found if one["metadata"]["name"] == ref.name), None)

    async def list(self, resource: Resource, _namespace: str, **_selectors: str) -> list[Json]:
        if resource.kind == "Pod":
            return self.pods
        return [one for one in self.objects if one["kind"] == resource.kind]


async def observe(kind: TargetKind, *objects: Json, pods: list[Json]) -> Observation:
    reader = cast("Kube", Reader(*objects, pods=pods))
    return await ScaleToZero().observe(reader, ask(Target(kind=kind, name="llm")))


async def test_a_deployment_with_its_replicasets_and_their_pods() -> None:
    deployment = obj("Deployment")
    mine = body("ReplicaSet", "llm-5d", ownerReferences=owned_by(deployment))
    foreign = body("ReplicaSet", "twin-7f", ownerReferences=owned_by(obj("Deployment", "twin")))
    pods = [
        pod_body("mine", "uid-ReplicaSet-llm-5d"),
        pod_body("foreign", "uid-ReplicaSet-twin-7f"),
        pod_body("nobodys"),
    ]

    seen = await observe(TargetKind.DEPLOYMENT, deployment.json, mine, foreign, pods=pods)

    assert seen.target is not None
    assert [one.meta.name for one in seen.related] == ["llm-5d"]
    assert [one.metadata.name for one in seen.pods] == ["mine"]


@pytest.mark.parametrize("kind", [TargetKind.STATEFUL_SET, TargetKind.DAEMON_SET, TargetKind.REPLICA_SET])
async def test_other_kinds_own_their_pods_themselves(kind: TargetKind) -> None:
    workload = obj(kind.value)
    pods = [pod_body("mine", workload.meta.uid), pod_body("foreign", "uid-other")]

    seen = await observe(kind, workload.json, pods=pods)

    assert [one.metadata.name for one in seen.pods] == ["mine"]


async def test_only_autoscalers_that_aim_at_it() -> None:
    aimed = body("HorizontalPodAutoscaler", "mine", spec={"scaleTargetRef": {**OTHER, "name": "llm"}})
    elsewhere = body("HorizontalPodAutoscaler", "other", spec={"scaleTargetRef": OTHER})
    another_group = body(
        "HorizontalPodAutoscaler",
        "knative",
        spec={"scaleTargetRef": {"apiVersion": "x.dev/v1", "kind": "Deployment", "name": "llm"}},
    )

    seen = await observe(TargetKind.DEPLOYMENT, body("Deployment"), aimed, elsewhere, another_group, pods=[])

    assert [one.meta.name for one in seen.related] == ["mine"]


async def test_no_such_workload() -> None:
    assert await observe(TargetKind.DEPLOYMENT, pods=[]) == Observation(None)
