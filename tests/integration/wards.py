"""A model server behind a Service, and incidents that quarantine its pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.operator_process import condition, eventually, workload

if TYPE_CHECKING:
    from tests.operator_process import Json, Space


QUARANTINED = "stanch.dev/quarantined"


def service(name: str = "llm", **selector: str) -> Json:
    spec = {"selector": selector or {"app": "llm"}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def policy(name: str, selector: Json, **spec: Any) -> Json:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": selector} | (spec or {"ingress": [{}]}),
    }


def steps(*pods: str, **member: Any) -> list[Json]:
    return [{"quarantine": {"pods": list(pods), **member}}]


def serving(space: Space, kind: str = "Deployment", pods: int = 2, **spec: Any) -> list[str]:
    """A model server behind a Service; the names of its pods."""
    space.create(service())
    space.create(workload(kind, "llm", pods, **spec))
    space.running(kind, "llm", pods)
    eventually(lambda: len(endpoints(space)) == pods, "its pods are endpoints")
    return sorted(pod["metadata"]["name"] for pod in space.pods())


def endpoints(space: Space) -> set[str]:
    return {
        one["targetRef"]["name"]
        for each in space.get("endpointslices")["items"]
        for one in each["endpoints"] or []
    }


def labels(space: Space, pod: str) -> Json:
    found: Json = space.get("pod", pod)["metadata"]["labels"]
    return found


def owners(space: Space, pod: str) -> list[str]:
    return [one["kind"] for one in space.get("pod", pod)["metadata"].get("ownerReferences", [])]


def contain(space: Space, *pods: str, kind: str = "Deployment", **member: Any) -> Json:
    return space.contain("toxic", f"{kind}/llm", steps=steps(*pods, **member))


def rejected(space: Space, kind: str, *pods: str, name: str = "llm", **spec: Any) -> Json:
    space.incident("toxic", f"{kind}/{name}", **({"steps": steps(*pods)} | spec))
    return condition(space.wait_phase("toxic", "Rejected"), "Accepted")
