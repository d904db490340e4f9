"""Evidence of a real workload on a real API server: what is collected, and what is told when it cannot be."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import socket
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from stanch.evidence.collector import Collection, Limits, collect
from stanch.evidence.model import MANIFEST
from stanch.evidence.store import StoreOptions, open_store
from stanch.evidence.take import Collector
from stanch.evidence.verify import verify
from stanch.kube import resources as known
from stanch.kube.client import Kube
from stanch.kube.resources import ObjectRef
from stanch.settings import Settings
from tests.integration.test_crds import incident
from tests.operator_process import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.installation import Installed

Json = dict[str, Any]

# What the collector may do, nothing else: the rules that the operator's role needs for it.
RULES = """
- {apiGroups: [stanch.dev], resources: [aiincidents], verbs: [get]}
- {apiGroups: [apps], resources: [daemonsets, deployments, replicasets, statefulsets], verbs: [get]}
- {apiGroups: [apps], resources: [controllerrevisions, replicasets], verbs: [list]}
- {apiGroups: [batch], resources: [cronjobs], verbs: [get]}
- {apiGroups: [batch], resources: [jobs], verbs: [get, list]}
- {apiGroups: [""], resources: [pods], verbs: [get, list]}
- {apiGroups: [""], resources: [pods/log], verbs: [get]}
- {apiGroups: [""], resources: [events], verbs: [list]}
- {apiGroups: [""], resources: [serviceaccounts], verbs: [get]}
- {apiGroups: [autoscaling], resources: [horizontalpodautoscalers], verbs: [list]}
- {apiGroups: [policy], resources: [poddisruptionbudgets], verbs: [list]}
- {apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: [list]}
- apiGroups: [rbac.authorization.k8s.io]
  resources: [clusterrolebindings, rolebindings]
  verbs: [list]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [clusterroles, roles]
  verbs: [get]
"""

API_KEY = "Zq7-planted-API-key-9vW"
PASSWORD = "Zq7planted4password9vW"


def workload(space: str) -> list[Json]:
    """A model server as people deploy them, with credentials where they should not be."""
    labels = {"app": "llm"}
    env = [
        {"name": "SERVER_API_KEY", "value": API_KEY},
        {"name": "DATABASE_URL", "value": f"postgres://llm:{PASSWORD}@db/chat"},
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
        {"name": "MODEL", "value": "llama"},
    ]
    pod = {
        "serviceAccountName": "llm",
        "initContainers": [{"name": "fetch", "image": "fetch:1"}],
        "containers": [{"name": "vllm", "image": "vllm:1", "args": ["--api-key", API_KEY], "env": env}],
        "volumes": [{"name": "prompts", "configMap": {"name": "prompts"}}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    subject = {"kind": "ServiceAccount", "name": "llm", "namespace": space}
    role_ref = {"apiGroup": "rbac.authorization.k8s.io"}
    rbac = "rbac.authorization.k8s.io/v1"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "llm"}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other"}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "hub"},
            "stringData": {"token": "Zq7secret9vW"},
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "prompts"},
            "data": {"p": "Zq7config9vW"},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "llm"},
            "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "neighbour"},
            "spec": {
                "selector": {"matchLabels": {"app": "neighbour"}},
                "template": {
                    "metadata": {"labels": {"app": "neighbour"}},
                    "spec": {"containers": [{"name": "web", "image": "web:1"}]},
                },
            },
        },
        autoscaler("llm"),
        autoscaler("neighbour"),
        budget("llm"),
        budget("neighbour"),
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "open"},
            "spec": {"podSelector": {}, "egress": [{}], "policyTypes": ["Egress"]},
        },
        {
            "apiVersion": rbac,
            "kind": "Role",
            "metadata": {"name": "reader"},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}],
        },
        {
            "apiVersion": rbac,
            "kind": "RoleBinding",
            "metadata": {"name": "llm-reads"},
            "subjects": [subject],
            "roleRef": role_ref | {"kind": "Role", "name": "reader"},
        },
        {
            "apiVersion": rbac,
            "kind": "RoleBinding",
            "metadata": {"name": "other-reads"},
            "subjects": [subject | {"name": "other"}],
            "roleRef": role_ref | {"kind": "Role", "name": "reader"},
        },
        {
            "apiVersion": rbac,
            "kind": "RoleBinding",
            "metadata": {"name": "llm-views"},
            "subjects": [subject],
            "roleRef": role_ref | {"kind": "ClusterRole", "name": "view"},
        },
    ]


def autoscaler(name: str) -> Json:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {"minReplicas": 2, "maxReplicas": 2, "scaleTargetRef": target},
    }


def budget(name: str) -> Json:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": name}}},
    }


def everything(bodies: list[Json]) -> Json:
    return {"apiVersion": "v1", "kind": "List", "items": bodies}


@pytest.fixture(scope="module")
def llm(stanch_installed: Installed) -> Iterator[str]:
    """The namespace in which the workload runs and the incident is open. Nothing here changes it."""
    admin, name = stanch_installed.admin, f"evidence-{secrets.token_hex(4)}"
    admin("create", "namespace", name)
    admin("create", "-f", "-", "-n", name, stdin=everything([*workload(name), incident("leak")]))
    admin("rollout", "status", "deployment/llm", "-n", name, "--timeout=60s")
    yield name
    admin("delete", "namespace", name, "--wait=false")


@contextmanager
def account(installed: Installed, namespace: str, rules: list[Json]) -> Iterator[Path]:
    """The kubeconfig of a ServiceAccount that may do exactly what the rules say."""
    name = f"collector-{secrets.token_hex(4)}"
    rbac = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": name},
        "subjects": [subject],
    }
    own = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
    installed.admin("create", "-f", "-", stdin=everything([own, role, binding]))
    yield installed.cluster.kubeconfig_for_service_account(namespace, name)
    installed.admin("delete", "clusterrolebinding,clusterrole", name, "--wait=false")


@pytest.fixture(scope="module")
def kubeconfig(stanch_installed: Installed, llm: str) -> Iterator[Path]:
    with account(stanch_installed, llm, yaml.safe_load(RULES)) as kubeconfig:
        yield kubeconfig


@pytest.fixture
async def kube(kubeconfig: Path) -> AsyncIterator[Kube]:
    kube = await Kube.connect(Settings(kubeconfig=kubeconfig))
    yield kube
    await kube.close()


def deployment(space: str, name: str = "llm") -> ObjectRef:
    return ObjectRef(known.DEPLOYMENTS, space, name)


async def collected(
    kube: Kube, space: str, *targets: ObjectRef, limits: Limits | None = None, seconds: float = 20
) -> Collection:
    return await collect(
        kube,
        ObjectRef(known.AIINCIDENTS, space, "leak"),
        targets or (deployment(space),),
        limits or Limits(),
        seconds=seconds,
        now=lambda: datetime.now(UTC),
    )


def documents(collection: Collection, kind: str) -> list[Json]:
    return [json.loads(item.body) for item in collection.items if item.kind == kind]


def names(collection: Collection, kind: str) -> list[str]:
    (found,) = documents(collection, kind)
    return [item["metadata"]["name"] for item in found["items"]]


# What is collected


async def test_everything_around_the_workload_is_collected_and_nothing_of_its_neighbours(
    llm: str, kube: Kube
) -> None:
    found = await collected(kube, llm)
    kinds = [item.kind for item in found.items if item.kind != "log"]
    assert kinds == [
        "aiincident",
        "deployment",
        "replicaset",
        "pod",
        "pod",
        "references",
        "serviceaccount",
        "clusterrolebindings",
        "rolebindings",
        "clusterroles",
        "roles",
        "networkpolicies",
        "horizontalpodautoscalers",
        "poddisruptionbudgets",
        "events",
    ]
    (workload,) = documents(found, "deployment")
    (replicas,) = documents(found, "replicaset")
    pods = documents(found, "pod")
    assert workload["metadata"]["name"] == "llm"
    assert {pod["metadata"]["ownerReferences"][0]["uid"] for pod in pods} == {replicas["metadata"]["uid"]}
    assert all("imageID" in status for pod in pods for status in pod["status"]["containerStatuses"])
    assert names(found, "rolebindings") == ["llm-reads", "llm-views"]
    assert names(found, "roles") == ["reader"]
    assert {"view", "system:basic-user"} <= set(names(found, "clusterroles"))
    assert "system:basic-user" in names(found, "clusterrolebindings")
    assert names(found, "networkpolicies") == ["open"]
    assert names(found, "horizontalpodautoscalers") == ["llm"]
    assert names(found, "poddisruptionbudgets") == ["llm"]
    (events,) = documents(found, "events")
    uids = {body["metadata"]["uid"] for body in (workload, replicas, *pods)}
    involved = {event["involvedObject"]["uid"] for event in events["items"]}
    assert involved & uids
    assert all("neighbour" not in event["involvedObject"]["name"] for event in events["items"])
    assert documents(found, "references") == [
        {"configMaps": ["kube-root-ca.crt", "prompts"], "persistentVolumeClaims": [], "secrets": ["hub"]}
    ]


async def test_no_credential_is_among_it(llm: str, kube: Kube) -> None:
    found = await collected(kube, llm)
    for secret in (API_KEY, PASSWORD, "Zq7secret9vW", "Zq7config9vW"):
        for form in (secret, base64.b64encode(secret.encode()).decode()):
            assert not any(form.encode() in item.body for item in found.items)
    (workload,) = documents(found, "deployment")
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    gone = f"[redacted, {len(API_KEY)} characters]"
    env = {each["name"]: each for each in container["env"]}
    assert container["args"] == ["--api-key", gone]
    assert env["SERVER_API_KEY"]["value"] == gone
    assert env["DATABASE_URL"]["value"] == f"postgres://llm:[redacted, {len(PASSWORD)} characters]@db/chat"
    assert env["HF_TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "hub", "key": "token"}}
    assert env["MODEL"]["value"] == "llama"
    assert {item.kind for item in found.items if item.redactions} == {"deployment", "replicaset", "pod"}


async def test_what_was_read_is_what_the_server_had(llm: str, kube: Kube) -> None:
    """But for the credentials, each document is the object; each item names its very version."""
    found = await collected(kube, llm)
    (item,) = [item for item in found.items if item.kind == "serviceaccount"]
    stored = await kube.get(ObjectRef(known.SERVICEACCOUNTS, llm, "llm"))
    assert stored is not None
    assert json.loads(item.body) == stored
    assert item.source.resource_version == stored["metadata"]["resourceVersion"]
    assert item.source.uid == stored["metadata"]["uid"]
    assert found.started_at <= item.collected_at <= found.finished_at


async def test_the_items_are_always_in_the_same_order(llm: str, kube: Kube) -> None:
    one, two = await collected(kube, llm), await collected(kube, llm)
    order = [(item.kind, item.source.name) for item in one.items]
    assert order == [(item.kind, item.source.name) for item in two.items]


async def test_every_container_has_a_log_or_a_reason_why_not(llm: str, kube: Kube) -> None:
    """KWOK's nodes have no kubelet: the API server cannot reach one, and says so."""
    found = await collected(kube, llm)
    pods = [pod["metadata"]["name"] for pod in documents(found, "pod")]
    logs = {(item.source.name, item.source.container) for item in found.items if item.kind == "log"}
    for pod in pods:
        for container in ("fetch", "vllm"):
            missing = [each for each in found.incomplete if f"{llm}/{pod} {container} (current)" in each.what]
            assert ((pod, container) in logs) != bool(missing)
            assert all(each.reason and "get log of container" in each.message for each in missing)


def pod_of(name: str) -> Json:
    spec = {"containers": [{"name": name, "image": "x"}], "restartPolicy": "Never"}
    return {"metadata": {"labels": {"app": name}}, "spec": spec}


def other_kinds() -> dict[str, tuple[known.Resource, Json, set[str]]]:
    """Kinds of target, each with what is collected of it."""
    always = pod_of("always") | {"spec": {"containers": [{"name": "always", "image": "x"}]}}
    selecting = {"selector": {"matchLabels": {"app": "always"}}, "template": always}
    job = {"template": pod_of("job")}
    return {
        "StatefulSet": (known.STATEFULSETS, selecting | {"serviceName": "x"}, {"controllerrevision", "pod"}),
        "DaemonSet": (known.DAEMONSETS, selecting, {"controllerrevision", "pod"}),
        "ReplicaSet": (known.REPLICASETS, selecting, {"pod"}),
        "Job": (known.JOBS, job, {"pod"}),
        "CronJob": (known.CRONJOBS, {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}}, {"job", "pod"}),
        "Pod": (known.PODS, pod_of("pod")["spec"], set()),
    }


@pytest.mark.parametrize("kind", other_kinds())
async def test_of_every_kind_of_target_its_pods_are_found(
    stanch_installed: Installed, space: str, kube: Kube, kind: str
) -> None:
    resource, spec, wanted = other_kinds()[kind]
    admin = stanch_installed.admin
    metadata = {"name": "llm"}
    admin(
        "create",
        "-f",
        "-",
        "-n",
        space,
        stdin={"apiVersion": resource.api_version, "kind": kind, "metadata": metadata, "spec": spec},
    )
    if kind == "CronJob":
        admin("create", "job", "llm-now", "--from=cronjob/llm", "-n", space)
    eventually(
        lambda: kind == "Pod" or admin.get("pods", "-n", space)["items"] != [], "its controller made a pod"
    )
    found = await collected(kube, space, ObjectRef(resource, space, "llm"))
    made = {item.kind for item in found.items}
    assert {resource.kind.lower(), *wanted} <= made
    assert [body["metadata"]["name"] for body in documents(found, kind.lower())] == ["llm"]


# What cannot be


NEEDED = sorted(
    {each for rule in yaml.safe_load(RULES) for each in rule["resources"]}
    - {"controllerrevisions", "cronjobs", "daemonsets", "jobs", "statefulsets"}  # of other kinds of target
)


@pytest.mark.parametrize("lacking", NEEDED)
async def test_what_the_operator_may_not_read_is_told_and_the_rest_collected(
    llm: str, stanch_installed: Installed, lacking: str
) -> None:
    """One resource after the other is missing in its role: so each of them is needed, too."""
    fewer = [
        rule | {"resources": [each for each in rule["resources"] if each != lacking] or ["nothing"]}
        for rule in yaml.safe_load(RULES)
    ]
    with account(stanch_installed, llm, fewer) as kubeconfig:
        kube = await Kube.connect(Settings(kubeconfig=kubeconfig))
        try:
            found = await collected_once_in_force(kube, llm, lacking)
        finally:
            await kube.close()
    refused = [each.message for each in found.incomplete if each.reason == "Forbidden"]
    assert refused
    assert "aiincident" in {item.kind for item in found.items} or lacking == "aiincidents"
    assert "networkpolicies" in {item.kind for item in found.items} or lacking == "networkpolicies"


async def collected_once_in_force(kube: Kube, space: str, lacking: str) -> Collection:
    """A new role is in force a moment later."""
    deadline = time.monotonic() + 15
    while True:
        found = await collected(kube, space)
        refused = [each for each in found.incomplete if each.reason == "Forbidden"]
        if all(f'resource "{lacking}"' in each.message for each in refused):
            return found
        assert time.monotonic() < deadline, [str(each) for each in refused]
        await asyncio.sleep(0.1)


async def test_a_target_that_is_gone_is_told_and_the_others_collected(llm: str, kube: Kube) -> None:
    found = await collected(kube, llm, deployment(llm, "gone"), deployment(llm), deployment(llm))
    assert [each.reason for each in found.incomplete if each.what == f"Deployment {llm}/gone"] == ["NotFound"]
    assert [body["metadata"]["name"] for body in documents(found, "deployment")] == ["llm"]
    assert len(documents(found, "pod")) == 2


async def test_no_time_at_all_gives_nothing_but_the_reasons(llm: str, kube: Kube) -> None:
    found = await collected(kube, llm, seconds=0.0001)
    assert found.items == ()
    assert {each.reason for each in found.incomplete} == {"Timeout"}
    assert f"Deployment {llm}/llm" in {each.what for each in found.incomplete}


async def test_more_pods_or_bytes_than_allowed_are_told(llm: str, kube: Kube) -> None:
    few = await collected(kube, llm, limits=Limits(pods=1))
    assert len(documents(few, "pod")) == 1
    assert ("TooMany", "the first 1 of 2 by name are kept") in {
        (each.reason, each.message) for each in few.incomplete
    }
    small = await collected(kube, llm, limits=Limits(total_bytes=40_000))
    assert sum(len(item.body) for item in small.items) <= 40_000
    assert "TooLarge" in {each.reason for each in small.incomplete}
    assert [item.kind for item in small.items][:1] == ["aiincident"]


# Taken: collected, stored, sealed


def collector(kube: Kube, url: str | None) -> Collector:
    store = open_store(url, create=True) if url else None
    return Collector(kube, store, Limits(), "stanch-0_3f9c1a", lambda: datetime.now(UTC))


async def test_evidence_that_was_taken_is_verified_and_a_change_is_found(
    llm: str, kube: Kube, tmp_path: Path
) -> None:
    leak = ObjectRef(known.AIINCIDENTS, llm, "leak")
    taken = await collector(kube, f"file://{tmp_path}").take(leak, "81d2e", [deployment(llm)], seconds=20)
    record = taken.record
    assert record is not None
    assert taken.reason == "EvidenceIncomplete"
    assert "log of Pod" in taken.message
    assert record.location.startswith(f"file://{tmp_path}/{llm}/leak-81d2e/")
    assert not record.complete
    place = open_store(record.location).below("")
    verdict = await verify(place, record.head, items=record.items)
    assert verdict.intact
    assert verdict.manifest is not None
    assert verdict.manifest.size == record.size
    assert len(verdict.manifest.header.incomplete) == len(record.missing)
    assert (await place.list()) == (*sorted(item.name for item in verdict.manifest.items), MANIFEST)
    alter(Path(record.location.removeprefix("file://"), "003-pod.json"))
    first = (await verify(place, record.head, items=record.items)).first
    assert first is not None
    assert first.name == "003-pod.json"


def alter(item: Path) -> None:
    item.write_bytes(item.read_bytes().replace(b"vllm:1", b"vllm:2"))


async def test_taking_it_again_stores_it_beside_the_first(llm: str, kube: Kube, tmp_path: Path) -> None:
    take = collector(kube, f"file://{tmp_path}").take
    leak = ObjectRef(known.AIINCIDENTS, llm, "leak")
    one, two = (
        await take(leak, "81d2e", [deployment(llm)], seconds=20),
        await take(leak, "81d2e", [deployment(llm)], seconds=20),
    )
    for taken in (one, two):
        assert taken.record is not None
        place = open_store(taken.record.location).below("")
        assert (await verify(place, taken.record.head, items=taken.record.items)).intact


async def test_nowhere_to_store_it_is_said(llm: str, kube: Kube) -> None:
    leak = ObjectRef(known.AIINCIDENTS, llm, "leak")
    taken = await collector(kube, None).take(leak, "81d2e", [deployment(llm)], seconds=20)
    assert (taken.record, taken.reason) == (None, "EvidenceNotConfigured")
    assert "Set STANCH_EVIDENCE_URL" in taken.message


async def test_a_store_that_is_away_takes_no_longer_than_allowed(
    llm: str, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    leak = ObjectRef(known.AIINCIDENTS, llm, "leak")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = open_store("s3://silent", StoreOptions(endpoint=endpoint, region="us-east-1"))
        away = Collector(kube, store, Limits(), "stanch-0", lambda: datetime.now(UTC))
        started = time.monotonic()
        taken = await away.take(leak, "81d2e", [deployment(llm)], seconds=4)
        took = time.monotonic() - started
    assert (taken.record, taken.reason) == (None, "EvidenceNotStored")
    assert "no evidence was stored at s3://silent/" in taken.message
    assert took < 6
