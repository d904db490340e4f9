"""Who may do what: the shipped roles, and the operator's account, which is granted what it uses, no more."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.alerting import Receiver
from tests.cluster import kubectl_of
from tests.installation import ROOT, Installed, install
from tests.integration import accounts, cluster_policies
from tests.operator_process import autoscaler, eventually, fresh_space, running, workload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox import Sandbox
    from tests.cluster import OwnSandbox
    from tests.operator_process import Space

READ = {"get", "list", "watch"}
INCIDENT_VERBS = {
    "viewer": READ,
    "reporter": READ | {"create"},
    "responder": READ | {"create", "update", "patch", "delete", "contain", "release", "close"},
    "approver": READ | {"update", "patch", "approve"},
}
ALL_VERBS = set().union(*INCIDENT_VERBS.values()) | {"deletecollection"}


@pytest.mark.parametrize("role", INCIDENT_VERBS)
@pytest.mark.compatibility("rights")
def test_each_role_has_its_verbs_on_incidents(stanch_installed: Installed, space: str, role: str) -> None:
    person = stanch_installed.user(f"{role}-{space}", role=f"stanch-{role}", namespace=space)
    held = {verb for verb in ALL_VERBS if may(person.run("auth", "can-i", verb, "aiincidents", "-n", space))}
    assert held == INCIDENT_VERBS[role]


@pytest.mark.parametrize("role", [*INCIDENT_VERBS, None])
@pytest.mark.compatibility("rights")
def test_nobody_but_the_operator_writes_holds_or_status(
    stanch_installed: Installed, space: str, role: str | None
) -> None:
    name = f"stanch-{role}" if role else "admin"  # admin: the built-in role for owners of a namespace
    person = stanch_installed.user(f"{name}-{space}", role=name, namespace=space)
    for verb in ("create", "update", "patch", "delete"):
        assert not may(person.run("auth", "can-i", verb, "containmentholds", "-n", space))
        assert not may(person.run("auth", "can-i", verb, "aiincidents", "--subresource=status", "-n", space))


@pytest.mark.compatibility("rights")
def test_whoever_may_view_a_namespace_sees_its_incidents(stanch_installed: Installed, space: str) -> None:
    for role in ("view", "edit", "admin"):
        person = stanch_installed.user(f"{role}-{space}", role=role, namespace=space)
        assert person("get", "aii,cpol,holds", "-n", space) == ""
        assert not may(person.run("auth", "can-i", "create", "aiincidents", "-n", space))


@pytest.mark.compatibility("rights")
def test_the_canary_can_try_one_thing(stanch_installed: Installed) -> None:
    canary = stanch_installed.service_account("stanch-system", "stanch-canary")
    listed = canary("auth", "can-i", "--list", "-n", "stanch-system")
    own = [line.split() for line in listed.splitlines()[1:] if "authentication" not in line]
    granted = [words for words in own if not words[0].endswith("k8s.io") and not words[0].startswith("[/")]
    assert ["deployments.apps/scale", "[]", "[stanch-canary]", "[patch]"] in granted
    assert not may(canary.run("auth", "can-i", "patch", "deployments/stanch-canary", "-n", "stanch-system"))
    assert not may(canary.run("auth", "can-i", "create", "deployments", "-n", "stanch-system"))


def may(answer: Any) -> bool:
    words: str = answer.stdout.strip()
    assert words in {"yes", "no"}, answer
    return words == "yes"


Right = tuple[str, str, str]  # API group, resource or resource/subresource, verb

AUDIT = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, users: ["system:serviceaccount:stanch-system:stanch"]}
- {level: None}
"""


@pytest.fixture(scope="module")
def audited(own_sandbox: OwnSandbox, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A control plane that writes down every request of the operator's account."""
    policy = tmp_path_factory.mktemp("audit") / "policy.yaml"
    policy.write_text(AUDIT)
    return own_sandbox(apiserver_flags=[f"--audit-policy-file={policy}"])


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    return Receiver.reserve(tmp_path / "alerts")


@pytest.fixture
def worked(audited: Sandbox, tmp_path: Path, receiver: Receiver) -> Iterator[Space]:
    """Stanch with its operator, which takes evidence and alerts; the log has nothing of the installation."""
    kubectl = kubectl_of(audited, tmp_path)
    install(audited, kubectl)
    audited.audit_log.write_text("")
    evidence = {"STANCH_EVIDENCE_URL": f"file://{tmp_path}"}
    with (
        running(audited, tmp_path / "operator.log", evidence, **receiver.flags) as process,
        fresh_space(audited, kubectl, process) as space,
    ):
        yield space


@pytest.mark.long
def test_the_operator_uses_all_it_is_granted_and_is_refused_nothing(
    worked: Space, audited: Sandbox, receiver: Receiver
) -> None:
    contain_and_release_everything(worked)
    roll_back_and_release(worked)
    revoke_and_release(worked)
    isolate_and_release(worked)
    suspend_and_release(worked)
    quarantine_and_release(worked)
    follow_policies(worked)
    heed_an_alert(worked, receiver)
    drill_and_clean_up(worked)
    refused, used = asked_for(audited)
    assert refused == []
    assert used == granted()


def asked_for(audited: Sandbox) -> tuple[list[Any], set[Right]]:
    """By the operator: what was forbidden, and the rights it made use of."""
    whole_lines, _, _ = audited.audit_log.read_text().rpartition("\n")
    requests = [json.loads(line) for line in whole_lines.splitlines()]
    refused = [request for request in requests if request["responseStatus"].get("code") == 403]
    return refused, {right(request) for request in requests if "objectRef" in request} - FOR_EVERYBODY


@pytest.mark.long
def test_the_right_to_cluster_wide_policies_is_granted_apart_and_used_whole(
    worked: Space, audited: Sandbox
) -> None:
    """Made, put right when somebody changes it, looked for, and taken away: of either kind."""
    worked.create(workload("Deployment", "open", 1))
    for number, kind in enumerate((cluster_policies.ADMIN, cluster_policies.CLUSTER)):
        with cluster_policies.served(worked.kubectl, kind), cluster_policies.granted(worked.kubectl):
            name = f"open-{number}"
            worked.contain(name, "Deployment/open", steps=[{"isolate": {}}])
            made = touch(worked, kind, {})
            empty = [{"op": "replace", "path": "/spec/ingress", "value": []}]
            worked("patch", kind, made["metadata"]["name"], "--type=json", "-p", json.dumps(empty))
            touch(worked, kind, made["spec"])
            worked.release(name)
    refused, used = asked_for(audited)
    assert refused == []
    group = cluster_policies.GROUP
    listed = {(group, kind, "list") for kind in (cluster_policies.ADMIN, cluster_policies.CLUSTER)}
    assert {one for one in used if one[0] == group} - listed == granted(cluster_policies.GRANT)
    assert used - {one for one in used if one[0] == group} <= granted()


def touch(space: Space, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Make the operator look again until its policy says so; by itself it would in some seconds."""
    seen: list[dict[str, Any]] = []

    def looked() -> bool:
        space("annotate", "deployment", "open", f"touched={time.monotonic()}", "--overwrite")
        seen[:] = space.get(kind)["items"]
        return bool(seen) and seen[0]["spec"].items() >= spec.items()

    eventually(looked, f"the {kind} say {spec}")
    return seen[0]


FOR_EVERYBODY: set[Right] = {("authorization.k8s.io", "selfsubjectaccessreviews", "create")}


def contain_and_release_everything(space: Space) -> None:
    kinds = ("Deployment", "StatefulSet", "ReplicaSet", "DaemonSet")
    # A StatefulSet ends its pods one by one, a second each: those that are left for later are hurried.
    slowly = {"sandbox.stanch.dev/terminate-after": "1s"}
    sizes = {"StatefulSet": 6}
    for kind in kinds:
        space.create(workload(kind, kind.lower(), sizes.get(kind, 2), annotations=dict(slowly)))
    for kind in kinds:
        space.running(kind, kind.lower(), sizes.get(kind, 2))
    space.create(autoscaler("deployment"))
    space.contain("everything", *(f"{kind}/{kind.lower()}" for kind in kinds))
    # Aimed elsewhere meanwhile, the autoscaler is no longer found by its target, but thawed all the same.
    elsewhere = {"spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"}}}
    space("patch", "hpa", "deployment", "--type=merge", "-p", json.dumps(elsewhere))
    space.release("everything")
    behavior = space.get("hpa", "deployment")["spec"].get("behavior", {})
    assert behavior.get("scaleUp", {}).get("selectPolicy") != "Disabled"


def roll_back_and_release(space: Space) -> None:
    """Of the kinds that keep their history apart from ReplicaSets one will do."""
    space.create(workload("StatefulSet", "poisoned", 1))
    space.running("StatefulSet", "poisoned", 1)
    space("set", "image", "statefulset/poisoned", "server=registry.example.test/llm:poisoned")
    space("rollout", "status", "statefulset/poisoned", "--timeout=60s")
    back = {"rollback": {"to": {"lastKnownGood": True}}}
    space.contain("poisoned", "StatefulSet/poisoned", steps=[back])
    space.release("poisoned")


def revoke_and_release(space: Space) -> None:
    """An account deleted and given back; then its rights and its cloud identity, as the operator may bind."""
    reader = f"reader-{space.name}"
    space.create(accounts.account())
    accounts.serve(space)
    for kind in ("CronJob", "Job"):  # there is none: that is seen by looking
        target = {"apiVersion": "batch/v1", "kind": kind, "name": "nightly"}
        space.incident(kind.lower(), targets=[target], steps=[{"revokeServiceAccount": {}}])
        space.wait_phase(kind.lower(), "Rejected")
    with accounts.may_bind(space, reader):
        space.create(accounts.role(reader))
        space.create(accounts.role(reader, cluster=True))
        space.create(accounts.binding("alone", reader, accounts.subject(space)))
        far = accounts.binding(reader, reader, accounts.subject(space), role_kind="ClusterRole")
        elsewhere = space.elsewhere("default")
        elsewhere.create(far)
        space.create(
            accounts.binding(reader, reader, accounts.subject(space), cluster=True, role_kind="ClusterRole")
        )
        for method in ("DeleteAccount", "DeleteBindings"):
            steps = [{"revokeServiceAccount": {"method": method}}]
            space.contain(method.lower(), "Deployment/llm-chat", steps=steps)
            if method == "DeleteBindings":  # what no hold protects may be gone when it is to be given back
                elsewhere("delete", "rolebinding,clusterrolebinding", reader)
            space.release(method.lower())
    assert space.get("rolebinding", "alone")["subjects"] == [accounts.subject(space)]


def isolate_and_release(space: Space) -> None:
    """A policy of its own, and another's that lets everybody in."""
    space.create(workload("Deployment", "open", 1))
    space.running("Deployment", "open", 1)
    space.create(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "open-to-all"},
            "spec": {"podSelector": {"matchLabels": {"app": "open"}}, "ingress": [{}]},
        }
    )
    space.contain("open", "Deployment/open", steps=[{"isolate": {"others": "Override"}}])
    space.release("open")


def suspend_and_release(space: Space) -> None:
    """A CronJob with a Job of it that runs."""
    container = {"name": "trainer", "image": "registry.example.test/trainer:1"}
    template = {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}}
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": template}
    metadata = {"name": "retrain"}
    space.create({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec})
    space("create", "job", "retrain-now", "--from=cronjob/retrain")
    target = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "retrain"}
    space.contain("training", targets=[target])
    assert space.get("job", "retrain-now")["spec"]["suspend"] is True
    space.release("training")
    assert space.get("job", "retrain-now")["spec"]["suspend"] is False


def follow_policies(space: Space) -> None:
    """One of each kind, found and named; then both say so."""
    space("label", "namespace", space.name, "tier=prod")
    for kind, selector in (
        ("ContainmentPolicy", {"matchLabels": {"team": "chat"}}),
        ("ClusterContainmentPolicy", {"namespaceSelector": {"matchLabels": {"tier": "prod"}}}),
    ):
        policy = {"apiVersion": "stanch.dev/v1alpha1", "kind": kind, "metadata": {"name": "prod"}}
        space.create(policy | {"spec": {"selector": selector, "steps": [{"scaleToZero": {}}]}})
        space.contain(f"by-{kind.lower()}", "Deployment/open", policyRef={"kind": kind, "name": "prod"})
        space.wait(f"{kind}/prod", "{.status.activeIncidents}", "1")
        space.release(f"by-{kind.lower()}")
    space.contain("by-match", "Deployment/open")
    space.release("by-match")
    space("delete", "clustercontainmentpolicy", "prod")


def heed_an_alert(space: Space, receiver: Receiver) -> None:
    """About a pod, whose owners tell the workload."""
    trigger = {
        "name": "toxic",
        "category": "Other",
        "severity": "High",
        "alert": {"matchers": ['alertname="Toxic"']},
    }
    spec = {"selector": {}, "triggers": [trigger], "steps": [{"scaleToZero": {}}]}
    head = {"apiVersion": "stanch.dev/v1alpha1", "kind": "ContainmentPolicy", "metadata": {"name": "alerts"}}
    space.create(head | {"spec": spec})
    space.create(workload("Deployment", "alerted", 1))
    space.running("Deployment", "alerted", 1)
    pod = next(
        one["metadata"]["name"] for one in space.pods() if one["metadata"]["name"].startswith("alerted")
    )
    labels = {"alertname": "Toxic", "namespace": space.name, "pod": pod}
    (told,) = receiver.send({"status": "firing", "labels": labels, "startsAt": "2026-01-02T03:04:05Z"})
    assert told["outcome"] == "Created", told
    name = told["incident"].partition("/")[2]
    space.wait_phase(name, "Contained")
    space.release(name)


def drill_and_clean_up(space: Space) -> None:
    """Of two exercises a policy keeps one; what only looks like one is left alone."""
    space.create(workload("Deployment", "drilled", 1, labels={"team": "drills"}))
    drill = {"name": "yearly", "schedule": "0 0 29 2 *", "keep": 1}
    spec = {
        "selector": {"matchLabels": {"team": "drills"}},
        "drills": [drill],
        "steps": [{"scaleToZero": {}}],
    }
    head = {"apiVersion": "stanch.dev/v1alpha1", "kind": "ContainmentPolicy", "metadata": {"name": "drills"}}
    space.create(head | {"spec": spec})
    looks: list[dict[str, Any]] = [{"exercise": True}, {"exercise": True}, {"mode": "DryRun"}]
    for number, more in enumerate(looks):
        name = f"older-{number}"
        space.incident(name, "Deployment/drilled", policyRef={"name": "drills"}, **more)
        space.wait_phase(name, "Detected")
        time.sleep(1)  # creationTimestamp has whole seconds
    for number in range(3):
        space("label", "aii", f"older-{number}", "stanch.dev/drill=yearly")
    space.gone("aii/older-0")
    space("get", "aii", "older-1", "older-2")


def quarantine_and_release(space: Space) -> None:
    """A pod behind a Service is taken out, cut off, and given back to its ReplicaSet."""
    space.create(workload("Deployment", "leaking", 2))
    spec = {"selector": {"app": "leaking"}, "ports": [{"port": 80}]}
    space.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "leaking"}, "spec": spec})
    space.running("Deployment", "leaking", 2)
    names = sorted(pod["metadata"]["name"] for pod in space.pods())
    suspect = next(name for name in names if name.startswith("leaking"))
    space.contain("leaking", "Deployment/leaking", steps=[{"quarantine": {"pods": [suspect]}}])
    assert "app" not in space.get("pod", suspect)["metadata"]["labels"]
    space("scale", "deployment/leaking", "--replicas=3")  # so that none is too many
    space.release("leaking")
    assert space.get("pod", suspect)["metadata"]["labels"]["app"] == "leaking"


def right(request: dict[str, Any]) -> Right:
    ref = request["objectRef"]
    resource = "/".join(filter(None, [ref["resource"], ref.get("subresource")]))
    return ref.get("apiGroup", ""), resource, request["verb"]


def granted(manifest: Path = ROOT / "manifests" / "rbac" / "operator.yaml") -> set[Right]:
    """What the manifest says."""
    documents = yaml.safe_load_all(manifest.read_text())
    return {
        (group, resource, verb)
        for document in documents
        for rule in document.get("rules", [])
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
