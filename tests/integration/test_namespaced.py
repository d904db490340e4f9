"""An operator that may act in some namespaces only does its work there, and asks for nothing elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster import kubectl_of
from tests.installation import ROOT, install
from tests.integration import accounts
from tests.operator_process import Space, running, workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox import Sandbox
    from tests.cluster import OwnSandbox
    from tests.operator_process import OperatorProcess

pytestmark = pytest.mark.long

NAMESPACES = ("chat", "search")
HOME = "stanch-system"
OF_THE_CLUSTER = {
    "adminnetworkpolicies",
    "clustercontainmentpolicies",
    "clusternetworkpolicies",
    "clusterrolebindings",
    "clusterroles",
    "namespaces",
    "selfsubjectaccessreviews",
}
AUDIT = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, users: ["system:serviceaccount:stanch-system:stanch"]}
- {level: None}
"""


@dataclass(frozen=True)
class Ground:
    sandbox: Sandbox
    operator: OperatorProcess
    chat: Space
    search: Space
    elsewhere: Space


@pytest.fixture(scope="module")
def ground(own_sandbox: OwnSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Stanch as manifests/namespaced installs it, every request of its account written down."""
    home = tmp_path_factory.mktemp("namespaced")
    policy = home / "policy.yaml"
    policy.write_text(AUDIT)
    sandbox = own_sandbox(apiserver_flags=[f"--audit-policy-file={policy}"])
    kubectl = kubectl_of(sandbox, home)
    spaces = [Space(name, kubectl, sandbox) for name in (*NAMESPACES, "elsewhere")]
    for space in spaces:
        kubectl("create", "namespace", space.name, check=True)
    install(sandbox, kubectl)
    kubectl("apply", "-k", str(ROOT / "manifests" / "namespaced"), check=True)
    sandbox.audit_log.write_text("")
    evidence = {"STANCH_EVIDENCE_URL": f"file://{home}"}
    log = home / "operator.log"
    with running(sandbox, log, evidence, namespaces=",".join(NAMESPACES)) as operator:
        yield Ground(sandbox, operator, *spaces)
        print(operator.tail())  # noqa: T201 - captured by pytest


def test_it_contains_holds_and_releases_there_and_asks_for_nothing_elsewhere(
    ground: Ground,
) -> None:
    chat, search, elsewhere = ground.chat, ground.search, ground.elsewhere
    for space in (chat, search, elsewhere):
        space.create(workload("Deployment", "llm", 2, labels={"team": "chat"}))
        space.running("Deployment", "llm", 2)
    elsewhere.incident("leak", "Deployment/llm", steps=[{"scaleToZero": {}}])

    chat.contain(
        "leak", "Deployment/llm", steps=[{"collectEvidence": {}}, {"isolate": {}}, {"scaleToZero": {}}]
    )
    assert "held by AIIncident leak" in chat.refused("scale", "deployment/llm", "--replicas=1")
    by_label = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "search"}}}
    policy = {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "ClusterContainmentPolicy",
        "metadata": {"name": "all"},
    }
    search.create(policy | {"spec": {"selector": by_label, "steps": [{"scaleToZero": {}}]}})
    search.contain("leak", "Deployment/llm")
    search.wait("clustercontainmentpolicy/all", "{.status.activeIncidents}", "1")
    search.wait("clustercontainmentpolicy/all", "{.status.matchedWorkloads}", "1")
    for space in (chat, search):
        space.release("leak")
        space.running("Deployment", "llm", 2)

    assert "phase" not in elsewhere.status("leak")
    assert elsewhere.get("deployment", "llm")["spec"]["replicas"] == 2
    assert outside(ground.sandbox) == []
    assert refused(ground.sandbox) == []


def test_rights_are_not_taken_where_nobody_could_say_what_is_left(
    ground: Ground,
) -> None:
    """A binding in another namespace may name the account. The account itself can go."""
    chat = ground.chat
    chat.create(accounts.account())
    accounts.serve(chat)
    chat.incident(
        "bindings", "Deployment/llm-chat", steps=[{"revokeServiceAccount": {"method": "DeleteBindings"}}]
    )
    status = chat.wait_phase("bindings", "Rejected")
    assert "STANCH_NAMESPACES" in json.dumps(status)
    assert chat.get("serviceaccount", "llm")["metadata"]["annotations"][accounts.ROLE_ARN]
    chat.contain(
        "account", "Deployment/llm-chat", steps=[{"revokeServiceAccount": {"method": "DeleteAccount"}}]
    )
    chat.release("account")
    assert outside(ground.sandbox) == []
    assert refused(ground.sandbox) == []


def test_who_takes_the_rights_in_one_namespace_ends_nothing_in_the_others(ground: Ground) -> None:
    ground.chat.create(workload("Deployment", "rag", 1))
    ground.chat.running("Deployment", "rag", 1)
    ground.chat.contain("later", "Deployment/rag", steps=[{"scaleToZero": {}}])
    code, told = before_uninstall(ground)
    assert (code, "still contained: chat/later" in told) == (1, True), told

    ground.search("delete", "rolebinding", "stanch-namespace")
    ground.operator.stop()
    ground.operator.start()
    ground.operator.wait_ready()
    ground.chat.release("later")
    assert "roles are not bound" in ground.operator.log.read_text()
    code, told = before_uninstall(ground)
    assert (code, "Unknown" in told) == (1, True), told


def before_uninstall(ground: Ground) -> tuple[int, str]:
    """As the chart's hook asks it: as the operator's account, with its namespaces."""
    command = [sys.executable, "-m", "stanch", "doctor", "--before-uninstall"]
    own = {"STANCH_NAMESPACES": ",".join(NAMESPACES), "PYTHONPATH": str(ROOT / "operator"), "COLUMNS": "200"}
    done = subprocess.run(
        [*command, f"--kubeconfig={ground.operator.kubeconfig}"],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def requests(sandbox: Sandbox) -> list[Any]:
    """By the operator."""
    whole_lines, _, _ = sandbox.audit_log.read_text().rpartition("\n")
    return [json.loads(line) for line in whole_lines.splitlines()]


def refused(sandbox: Sandbox) -> list[Any]:
    return [one for one in requests(sandbox) if one["responseStatus"].get("code") == 403]


def outside(sandbox: Sandbox) -> list[Any]:
    """About other namespaces, or about all of them."""
    refs = [one["objectRef"] for one in requests(sandbox) if "objectRef" in one]
    assert refs, "nothing is in the audit log"
    inside = {*NAMESPACES, HOME}
    return [
        ref
        for ref in refs
        if ref.get("namespace", ref.get("name") if ref["resource"] == "namespaces" else None) not in inside
        and not (ref["resource"] in OF_THE_CLUSTER - {"namespaces"} and "namespace" not in ref)
    ]
