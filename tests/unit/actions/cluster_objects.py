"""Kubernetes objects as the API server would answer them, small."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from stanch.actions.objects import Obj, Pod
from stanch.actions.protocol import Ask
from stanch.api.v1alpha1.steps import ScaleToZero, StepMember
from stanch.kube.resources import DAEMONSETS, DEPLOYMENTS, HPAS, REPLICASETS, STATEFULSETS, Resource

if TYPE_CHECKING:
    from stanch.api.v1alpha1.incident import Target

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
Json = dict[str, Any]
BY_KIND = {one.kind: one for one in (DEPLOYMENTS, STATEFULSETS, DAEMONSETS, REPLICASETS, HPAS)}


def body(kind: str, name: str = "llm", *, spec: Json | None = None, **more: Any) -> Json:
    """`more` goes into metadata, but for `status`."""
    resource = BY_KIND[kind]
    status = more.pop("status", {"observedGeneration": 1})
    metadata = {
        "name": name,
        "namespace": "chat",
        "uid": f"uid-{kind}-{name}",
        "resourceVersion": "7",
        "generation": 1,
        **more,
    }
    default: Json = {"selector": {"matchLabels": {"app": name}}, "template": {"spec": {}}}
    if kind in {"Deployment", "StatefulSet", "ReplicaSet"}:
        default["replicas"] = 3
    if kind == "HorizontalPodAutoscaler":
        default = {
            "maxReplicas": 9,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        }
    return {
        "apiVersion": resource.api_version,
        "kind": kind,
        "metadata": metadata,
        "spec": {**default, **(spec or {})},
        "status": status,
    }


def obj(kind: str, name: str = "llm", *, spec: Json | None = None, **more: Any) -> Obj:
    resource: Resource = BY_KIND[kind]
    return Obj(resource, body(kind, name, spec=spec, **more))


def owned_by(owner: Obj) -> list[Json]:
    return [{"kind": owner.resource.kind, "name": owner.meta.name, "uid": owner.meta.uid, "controller": True}]


def pod_body(name: str, owner_uid: str = "", phase: str = "Running", **more: Any) -> Json:
    owners = [{"kind": "ReplicaSet", "name": "rs", "uid": owner_uid, "controller": True}] if owner_uid else []
    metadata = {
        "name": name,
        "namespace": "chat",
        "uid": f"uid-{name}",
        "resourceVersion": "7",
        "ownerReferences": owners,
        **more,
    }
    return {"metadata": metadata, "spec": {}, "status": {"phase": phase}}


def pod(name: str, owner_uid: str = "", phase: str = "Running", **more: Any) -> Pod:
    return Pod.model_validate(pod_body(name, owner_uid, phase, **more))


def ask(target: Target, member: StepMember | None = None, **more: Any) -> Ask:
    """What an action is asked in namespace chat, by the incident toxic."""
    return Ask(
        incident="toxic",
        uid="uid-toxic",
        namespace="chat",
        target=target,
        member=member or ScaleToZero(),
        now=NOW,
        timeout=timedelta(seconds=20),
        **more,
    )
