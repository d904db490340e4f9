from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stanch.access.users import users_of

if TYPE_CHECKING:
    from stanch.access.models import Json


def meta(kind: str, name: str, owner: Json | None = None) -> Json:
    body: Json = {"name": name, "namespace": "chat", "uid": f"{kind}-{name}"}
    if owner is not None:
        reference = {
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
        }
        body["ownerReferences"] = [reference | {"apiVersion": "v1", "controller": True}]
    return {"kind": kind, "metadata": body}


def workload(kind: str, name: str, account: str | None = "llm", owner: Json | None = None) -> Json:
    template = {"spec": {"serviceAccountName": account} if account else {}}
    spec: Json = {"template": template}
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": spec}}
    return meta(kind, name, owner) | {"spec": spec}


def pod(name: str, account: str = "llm", owner: Json | None = None, phase: str = "Running") -> Json:
    return meta("Pod", name, owner) | {"spec": {"serviceAccountName": account}, "status": {"phase": phase}}


CHAT = workload("Deployment", "chat")
CHAT_RS = workload("ReplicaSet", "chat-1", owner=CHAT)
CHAT_POD = pod("chat-1-x", owner=CHAT_RS)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"])
def test_a_workload_that_would_start_pods_under_the_account_is_found(kind: str) -> None:
    assert users_of("llm", [workload(kind, "web"), workload(kind, "other", "else")]) == (f"{kind}/web",)


def test_the_contained_workload_and_all_it_owns_do_not_count() -> None:
    assert users_of("llm", [CHAT, CHAT_RS, CHAT_POD]) == ("Deployment/chat",)
    assert users_of("llm", [CHAT, CHAT_RS, CHAT_POD], own={"Deployment-chat"}) == ()


def test_a_pod_is_told_by_its_topmost_owner() -> None:
    cron = workload("CronJob", "nightly", "else")
    job = workload("Job", "nightly-1", owner=cron)

    assert users_of("llm", [cron, job, pod("nightly-1-x", owner=job)]) == ("CronJob/nightly",)


def test_an_owner_of_a_kind_not_looked_at_is_named_too() -> None:
    cluster = {"kind": "RayCluster", "metadata": {"name": "train", "uid": "r"}}

    assert users_of("llm", [pod("train-head", owner=cluster)]) == ("RayCluster/train",)
    assert users_of("llm", [pod("train-head", owner=cluster)], own={"r"}) == ()


def test_a_pod_that_has_ended_uses_nothing() -> None:
    listed = [pod("done", phase="Succeeded"), pod("broken", phase="Failed"), pod("soon", phase="Pending")]

    assert users_of("llm", listed) == ("Pod/soon",)


def test_an_old_revision_uses_the_account_only_while_it_has_pods() -> None:
    moved = workload("Deployment", "web", "else")
    old = workload("ReplicaSet", "web-1", owner=moved)

    assert users_of("llm", [moved, old]) == ()
    assert users_of("llm", [moved, old, pod("web-1-x", owner=old)]) == ("Deployment/web",)


def test_no_account_means_the_default_one() -> None:
    alias = meta("Pod", "old") | {"spec": {"serviceAccount": "llm"}}

    assert users_of("default", [workload("Deployment", "web", None)]) == ("Deployment/web",)
    assert users_of("llm", [alias]) == ("Pod/old",)


def test_owners_in_a_circle_end() -> None:
    """Nothing in the API server keeps two objects from owning each other."""
    one, two = workload("Job", "one"), workload("Job", "two")
    one = workload("Job", "one", owner=two)
    two = workload("Job", "two", owner=one)

    assert len(users_of("llm", [one, two, pod("p", owner=one)])) == 1
