"""A model server is poisoned, contained, pushed again by CI and given back: its journey, in kubectl."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.accounts import account, binding, may_bind, role, subject
from tests.integration.poisoned import HUB
from tests.operator_process import autoscaler, condition, fresh_space, install, running, workload
from tests.standing import bytes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cluster import Cluster, Kubectl
    from tests.operator_process import Json, OperatorProcess, Space

GOOD, BAD = f"{HUB}:2.3.1", f"{HUB}:2.4.0"
CI = ("apply", "--server-side", "--force-conflicts", "--field-manager=ci", "-f", "-")
PODS = 3


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it is stored."""
    return tmp_path_factory.mktemp("evidence")


@pytest.fixture(scope="module")
def operator(
    cluster: Cluster,
    kubectl: Kubectl,
    once: Callable[[str, Callable[[], None]], None],
    evidence: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OperatorProcess]:
    once("operator-installed", lambda: install(kubectl))
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with running(cluster, log, {"STANCH_EVIDENCE_URL": f"file://{evidence}"}) as process:
        yield process


@pytest.fixture
def chat(cluster: Cluster, kubectl: Kubectl, operator: OperatorProcess) -> Iterator[Space]:
    with fresh_space(cluster, kubectl, operator) as space, may_bind(space, f"reader-{space.name}"):
        yield space


def server(version: str) -> Json:
    """The Deployment as CI applies it."""
    container = {
        "name": "server",
        "image": f"{HUB}:{version}",
        "args": ["--model=org/chat", "--revision", f"v{version}"],
        "ports": [{"name": "http", "containerPort": 8000}],
    }
    return workload(
        "Deployment", "llm-chat", PODS, pod={"containers": [container], "serviceAccountName": "llm"}
    )


def around(space: Space) -> list[Json]:
    """What stands beside it."""
    everyone = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "everyone"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}]},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "llm-chat"},
        "spec": {"selector": {"app": "llm-chat"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "llm-chat"},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "llm-chat"}}},
    }
    reader = f"reader-{space.name}"
    return [
        account(),
        role(reader),
        binding("reader", reader, subject(space)),
        everyone,
        service,
        budget,
        autoscaler("llm-chat", maxReplicas=5),
    ]


KINDS = "deployments,services,networkpolicies,serviceaccounts,roles,rolebindings,pdb,hpa,configmaps"


def everything(space: Space) -> dict[str, str]:
    """Every object that people wrote, byte by byte, without what only servers set."""
    return {f"{one['kind']}/{one['metadata']['name']}": bytes_of(one) for one in space.get(KINDS)["items"]}


def rolled_out(space: Space) -> None:
    space("rollout", "status", "deployment/llm-chat", "--timeout=60s")


def versions(space: Space) -> set[str]:
    """What the pods run."""
    return {pod["spec"]["containers"][0]["image"] for pod in space.pods()}


def steps(method: str, on_release: str) -> list[Json]:
    """The account goes before the rollback only if pods can be born without it: by its bindings."""
    evidence: Json = {"collectEvidence": {}}
    isolate = {"isolate": {"others": "Override", "allow": {"dns": True}}}
    revoke = {"revokeServiceAccount": {"method": method}}
    rollback = {"rollback": {"to": {"lastKnownGood": True}, "onRelease": on_release}}
    if method == "DeleteBindings":
        return [evidence, isolate, revoke, rollback]
    return [evidence, isolate, rollback, revoke]


@pytest.mark.parametrize(
    ("method", "on_release"),
    [
        ("DeleteBindings", "Restore"),
        pytest.param("DeleteAccount", "Keep", marks=pytest.mark.long),
        pytest.param("DeleteAccount", "Restore", marks=pytest.mark.long),
        pytest.param("DeleteBindings", "Keep", marks=pytest.mark.long),
    ],
)
def test_a_poisoned_version_is_contained_kept_out_and_all_is_given_back(
    chat: Space, evidence: Path, method: str, on_release: str
) -> None:
    for manifest in around(chat):
        chat.create(manifest)
    chat(*CI, stdin=server("2.3.1"))
    rolled_out(chat)
    good = everything(chat)
    chat(*CI, stdin=server("2.4.0"))
    rolled_out(chat)
    poisoned = everything(chat)
    assert versions(chat) == {BAD}

    status = chat.contain("toxic-output", "Deployment/llm-chat", steps=steps(method, on_release))

    assert [step["state"] for step in status["steps"]] == ["Effective"] * 4, status["steps"]
    assert versions(chat) == {GOOD}
    # KWOK's pods say nothing, and that is said; all else is kept, such as what ran.
    assert "missing: log of Pod" in condition(status, "EvidenceCollected")["message"]
    kept = [path.read_bytes() for path in (evidence / chat.name).rglob("*") if path.is_file()]
    assert any(BAD.encode() in item for item in kept)
    taken, cut, *_ = status["steps"]
    assert taken["effectiveAt"] <= cut["appliedAt"], "evidence goes first"

    condemned = (
        "is condemned by AIIncident toxic-output (Critical, OutputPolicyViolation); deploy another version"
    )
    assert condemned in chat.refused(*CI, stdin=server("2.4.0"))
    assert f"{BAD} {condemned}" in chat.refused("set", "image", "deployment/llm-chat", f"server={BAD}")
    assert f"{BAD} {condemned}" in chat.refused("create", "deployment", "another", f"--image={BAD}")
    assert versions(chat) == {GOOD}
    chat.wait_phase("toxic-output", "Contained")

    status = chat.release("toxic-output")

    rolled_out(chat)
    assert [step["undo"]["kept"] for step in status["steps"] if step.get("undo", {}).get("kept")] == []
    back = everything(chat)
    assert back.keys() == poisoned.keys()
    expected = poisoned | (
        {} if on_release == "Restore" else {"Deployment/llm-chat": good["Deployment/llm-chat"]}
    )
    for name, shape in expected.items():
        assert json.loads(back[name]) == json.loads(shape), name
        assert back[name] == shape, name
    assert versions(chat) == {BAD if on_release == "Restore" else GOOD}
    assert chat.get("holds")["items"] == []
    chat(*CI, stdin=server("2.4.0"))
