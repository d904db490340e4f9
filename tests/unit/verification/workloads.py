"""Workloads and pods as the API server tells of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stanch.api.v1alpha1.incident import Target
from stanch.api.v1alpha1.record import KnownGood
from stanch.api.v1alpha1.recovery import ReleaseStage
from stanch.verification.reading import Subject
from stanch.verification.serving import PodSeen, Seen
from tests.unit.verification.looks import SINCE, at

if TYPE_CHECKING:
    from datetime import datetime

Json = dict[str, Any]

GOOD = "sha256:" + "a" * 64
BAD = "sha256:" + "b" * 64
IMAGE = "registry.example.test/llm:2.3.1"
CHAT = Target(kind="Deployment", name="llm-chat")


def wire(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def meta(name: str, owner: Json | None = None, **more: Any) -> Json:
    found: Json = {"name": name, "namespace": "chat", "uid": f"uid-{name}", "resourceVersion": "1", **more}
    if owner is not None:
        of = owner["metadata"]
        reference = {"kind": owner["kind"], "name": of["name"], "uid": of["uid"], "controller": True}
        found["ownerReferences"] = [reference]
    return found


def deployment(replicas: int = 1, *, kind: str = "Deployment", **status: Any) -> Json:
    """Rolled out, unless `status` says otherwise."""
    counts = {"replicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": meta("llm-chat", generation=2, labels={"app": "llm"}),
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "llm"}}},
        "status": {"observedGeneration": 2, **counts, **status},
    }


def pod(name: str = "llm-1", *, ready: bool = True, since: float = -60.0, **status: Any) -> Json:
    """One that runs since the stage began; `since`: when it came to be ready or unready, in seconds of it."""
    condition = {
        "type": "Ready",
        "status": "True" if ready else "False",
        "lastTransitionTime": wire(at(since)),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta(name, labels={"app": "llm"}),
        "spec": {
            "containers": [
                {"name": "server", "image": IMAGE, "ports": [{"containerPort": 8000, "name": "http"}]}
            ]
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.7",
            "conditions": [condition],
            "containerStatuses": [container()],
            **status,
        },
    }


def container(name: str = "server", **more: Any) -> Json:
    return {
        "name": name,
        "restartCount": 0,
        "imageID": f"registry.example.test/llm@{GOOD}",
        "state": {"running": {"startedAt": wire(at(-60))}},
        **more,
    }


def waiting(reason: str, **more: Any) -> Json:
    return container(state={"waiting": {"reason": reason, "message": "…"}}, **more)


def restarted(seconds: float, name: str = "server") -> Json:
    """Last ended so long after the stage was in place."""
    return container(name, restartCount=1, lastState={"terminated": {"finishedAt": wire(at(seconds))}})


def seen(workload: Json | None, *pods: Json, kind: str = "Deployment") -> Seen:
    api = "batch/v1" if kind in {"Job", "CronJob"} else "apps/v1"
    target = Target.model_validate({"apiVersion": api, "kind": kind, "name": "llm-chat"})
    return Seen(target, workload, tuple(PodSeen(one) for one in pods))


def subject(**more: Any) -> Subject:
    known = more.pop("known_good", None)
    return Subject(
        **{
            "namespace": "chat",
            "name": "toxic",
            "uid": "uid-toxic",
            "targets": (CHAT,),
            "stage": ReleaseStage.PROBATION,
            "attempt": 1,
            "since": SINCE,
            "known_good": KnownGood.model_validate(known) if known else None,
            **more,
        }
    )
