"""Each role tries everything: who may do what, as one table that the API server is asked about.

What a refusal says is in test_admission_people.py.
"""

from __future__ import annotations

import http.client
import json
import secrets
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.operator_process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster import Cluster
    from tests.installation import Installed

Json = dict[str, Any]
APIS = "/apis/stanch.dev/v1alpha1"
FINALIZER = "stanch.dev/release"
OTHER = "somebody-else@example.test"
MERGE = "application/merge-patch+json"

NOBODY: frozenset[str] = frozenset()
ALL_WITH_A_ROLE = frozenset({"viewer", "reporter", "responder", "approver", "edit", "admin"})
REPORTS = frozenset({"reporter", "responder"})
RESPONDS = frozenset({"responder"})
APPROVES = frozenset({"approver"})
ROLES = ("nobody", *sorted(ALL_WITH_A_ROLE))
CLUSTER_ROLES = {
    role: role if role in {"edit", "admin"} else f"stanch-{role}" for role in ROLES if role != "nobody"
}


@dataclass(frozen=True)
class Act:
    """One request, as a dry run. In what it sends, ME is the name of who asks, NS the namespace."""

    may: frozenset[str]
    method: str
    path: str
    body: Json | None = None


def incident(name: str, *, annotations: Json | None = None, finalizer: bool = False, **spec: Any) -> Json:
    base: Json = {
        "title": "Toxic output",
        "category": "OutputPolicyViolation",
        "severity": "Critical",
        "targets": [{"kind": "Deployment", "name": "llm-chat"}],
    }
    metadata: Json = {"name": name, "annotations": annotations or {}}
    if finalizer:
        metadata["finalizers"] = [FINALIZER]
    return {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "AIIncident",
        "metadata": metadata,
        "spec": base | spec,
    }


BY_POLICY: Json = {"policyRef": {"name": "chat-guard"}}
OWN_STEPS: Json = {"steps": [{"scaleToZero": {}}]}
STANDING = {
    "by-policy": incident("by-policy", **BY_POLICY),
    "own-steps": incident("own-steps", **OWN_STEPS),
    "dry": incident("dry", mode="DryRun", **OWN_STEPS),
    "dry-by-policy": incident("dry-by-policy", mode="DryRun", **BY_POLICY),
    "held": incident("held", finalizer=True, **BY_POLICY),
}
IN_NS = f"{APIS}/namespaces/NS"
ANOTHER_TARGET: Json = {"targets": [{"kind": "Deployment", "name": "other"}]}
KNOWN_GOOD: Json = {"images": ["sha256:" + 64 * "0"]}
RESOLUTION: Json = {"determination": "Confirmed", "rootCause": "a prompt that nobody had tried"}
POLICY_SPEC: Json = {"selector": {}, "steps": [{"scaleToZero": {}}]}


def creates(may: frozenset[str], annotations: Json | None = None, **spec: Any) -> Act:
    return Act(may, "POST", f"{IN_NS}/aiincidents", incident("new", annotations=annotations, **spec))


def edits(may: frozenset[str], name: str, **spec: Any) -> Act:
    return Act(may, "PATCH", f"{IN_NS}/aiincidents/{name}", {"spec": spec})


def marks(may: frozenset[str], name: str, **metadata: Any) -> Act:
    return Act(may, "PATCH", f"{IN_NS}/aiincidents/{name}", {"metadata": metadata})


def makes(kind: str, plural: str, spec: Json, *, namespaced: bool = True) -> Act:
    body = {"apiVersion": "stanch.dev/v1alpha1", "kind": kind, "metadata": {"name": "stanch"}, "spec": spec}
    return Act(NOBODY, "POST", f"{IN_NS if namespaced else APIS}/{plural}", body)


def approval(by: str) -> Json:
    return {"planHash": "5be10000", "by": by}


ACTS = {
    "get an incident": Act(ALL_WITH_A_ROLE, "GET", f"{IN_NS}/aiincidents/held"),
    "list incidents": Act(ALL_WITH_A_ROLE, "GET", f"{IN_NS}/aiincidents"),
    "watch incidents": Act(ALL_WITH_A_ROLE, "GET", f"{IN_NS}/aiincidents?watch=1&timeoutSeconds=1"),
    "list policies": Act(ALL_WITH_A_ROLE, "GET", f"{IN_NS}/containmentpolicies"),
    "list holds": Act(ALL_WITH_A_ROLE, "GET", f"{IN_NS}/containmentholds"),
    "list the incidents of all namespaces": Act(NOBODY, "GET", f"{APIS}/aiincidents"),
    # Creating
    "contain by a policy": creates(REPORTS, **BY_POLICY),
    "contain by the built-in plan": creates(RESPONDS),
    "contain by steps of one's own": creates(RESPONDS, **OWN_STEPS),
    "contain by steps of one's own beside a policy": creates(RESPONDS, **BY_POLICY, **OWN_STEPS),
    "a dry run": creates(REPORTS, mode="DryRun", **OWN_STEPS),
    "a drill": creates(REPORTS, exercise=True),
    "a drill that contains": creates(RESPONDS, exercise=True, exerciseEnforce=True),
    "create what is released already": creates(RESPONDS, desiredState="Released", **BY_POLICY),
    "create what skips verification": creates(RESPONDS, skipVerification=True, **BY_POLICY),
    "create what is approved already": creates(NOBODY, approval=approval("ME"), **BY_POLICY),
    "create what is closed already": creates(RESPONDS, resolution=RESOLUTION, **BY_POLICY),
    "ask in one's own name": creates(REPORTS, {"stanch.dev/requested-by": "ME"}, **BY_POLICY),
    "ask in another's name": creates(NOBODY, {"stanch.dev/requested-by": OTHER}, **BY_POLICY),
    # What is contained, and how
    "another target, by a policy": edits(RESPONDS, "by-policy", **ANOTHER_TARGET),
    "another policy": edits(RESPONDS, "by-policy", policyRef={"name": "other"}),
    "steps of one's own instead of a policy's": edits(RESPONDS, "by-policy", **OWN_STEPS),
    "another target, by steps of one's own": edits(RESPONDS, "own-steps", **ANOTHER_TARGET),
    "other steps": edits(RESPONDS, "own-steps", steps=[{"isolate": {}}]),
    "enforce a dry run": edits(RESPONDS, "dry", mode="Enforce"),
    "enforce a policy's dry run": edits(RESPONDS, "dry-by-policy", mode="Enforce"),
    "make it a dry run": edits(RESPONDS | APPROVES, "by-policy", mode="DryRun"),
    "another title": edits(RESPONDS | APPROVES, "held", title="Toxic output in German"),
    # Approving
    "approve": edits(APPROVES, "held", approval=approval("ME")),
    "approve in another's name": edits(NOBODY, "held", approval=approval(OTHER)),
    "take another's approval back": edits(APPROVES, "approved", approval=None),
    "change another's approval": edits(NOBODY, "approved", approval={"planHash": "91c00000"}),
    # Giving back, and closing
    "release": edits(RESPONDS, "held", desiredState="Released"),
    "skip verification": edits(RESPONDS, "held", skipVerification=True),
    "let the policy release, or not": edits(RESPONDS, "held", releaseMode="Manual"),
    "say what is good": edits(RESPONDS, "held", knownGood=KNOWN_GOOD),
    "leave it stopped on deletion": edits(RESPONDS, "held", deletionPolicy="Retain"),
    "close": edits(RESPONDS, "held", resolution=RESOLUTION),
    "remove the finalizer": marks(RESPONDS, "held", finalizers=None),
    "delete what holds": Act(RESPONDS, "DELETE", f"{IN_NS}/aiincidents/held"),
    "delete what holds nothing": Act(RESPONDS, "DELETE", f"{IN_NS}/aiincidents/dry"),
    "delete all": Act(NOBODY, "DELETE", f"{IN_NS}/aiincidents"),
    # Stamps
    "say that another asked": marks(NOBODY, "held", annotations={"stanch.dev/requested-by": OTHER}),
    "say that one asked oneself": marks(NOBODY, "held", annotations={"stanch.dev/requested-by": "ME"}),
    "say that another released": marks(NOBODY, "held", annotations={"stanch.dev/released-by": OTHER}),
    "say that one released without doing so": marks(
        NOBODY, "held", annotations={"stanch.dev/released-by": "ME"}
    ),
    # What Stanch and Git write
    "write an incident's status": Act(
        NOBODY, "PATCH", f"{IN_NS}/aiincidents/held/status", {"status": {"phase": "Recovered"}}
    ),
    "make a hold": makes("ContainmentHold", "containmentholds", {}),
    "make a policy": makes("ContainmentPolicy", "containmentpolicies", POLICY_SPEC),
    "make a policy of the cluster": makes(
        "ClusterContainmentPolicy", "clustercontainmentpolicies", POLICY_SPEC, namespaced=False
    ),
    "change a policy": Act(
        NOBODY, "PATCH", f"{IN_NS}/containmentpolicies/chat-guard", {"spec": {"suspend": True}}
    ),
    "write a policy's status": Act(
        NOBODY,
        "PATCH",
        f"{IN_NS}/containmentpolicies/chat-guard/status",
        {"status": {"matchedWorkloads": 1}},
    ),
    "make oneself a responder": Act(
        NOBODY,
        "POST",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/NS/rolebindings",
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "mine"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "stanch-responder",
            },
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ME"}],
        },
    ),
}


@dataclass(frozen=True)
class Stage:
    """The API server behind `kubectl proxy`, to which anybody may be impersonated; one namespace."""

    port: int
    namespace: str

    def tries(self, role: str, act: Act) -> tuple[int, str]:
        """Status code and what was said."""
        me = name_of(role)
        path = act.path.replace("NS", self.namespace)
        if act.method != "GET":
            path += "?dryRun=All"
        body = None if act.body is None else json.dumps(act.body).replace("ME", me)
        kind = MERGE if act.method == "PATCH" else "application/json"
        headers = {"Impersonate-User": me, "Content-Type": kind}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(act.method, path, body, headers)
            response = connection.getresponse()
            return response.status, "" if "watch=" in path else response.read().decode()
        finally:
            connection.close()


def name_of(role: str) -> str:
    return f"{role}@example.test"


@contextmanager
def kubectl_proxy(cluster: Cluster, kubeconfig: Path) -> Iterator[int]:
    """The port of an administrator's `kubectl proxy`."""
    command = [str(cluster.kubectl), "proxy", "--port=0", f"--kubeconfig={kubeconfig}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def stage(stanch_installed: Installed) -> Iterator[Stage]:
    """One person of each role, and an incident of each kind."""
    admin = stanch_installed.admin
    namespace = f"roles-{secrets.token_hex(4)}"
    admin("create", "namespace", namespace)
    for role, cluster_role in CLUSTER_ROLES.items():
        binding = f"--clusterrole={cluster_role}", f"--user={name_of(role)}"
        admin("create", "rolebinding", f"{role}-by-table", *binding, "-n", namespace)
    policy = {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "ContainmentPolicy",
        "metadata": {"name": "chat-guard"},
        "spec": POLICY_SPEC,
    }
    approved = incident("approved", approval=approval(whoami(stanch_installed)), **BY_POLICY)
    items = [policy, approved, *STANDING.values()]
    admin("create", "-n", namespace, "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": items})
    with kubectl_proxy(stanch_installed.cluster, stanch_installed.cluster.admin_kubeconfig) as port:
        ready = Stage(port, namespace)
        reads = ACTS["get an incident"]
        eventually(
            lambda: all(ready.tries(role, reads)[0] == http.HTTPStatus.OK for role in CLUSTER_ROLES),
            "the bindings are in force",
        )
        yield ready
    bare = json.dumps({"metadata": {"finalizers": None}})
    admin("patch", "aii", "held", "-n", namespace, "--type=merge", "-p", bare)
    admin("delete", "namespace", namespace, "--wait=false")


def whoami(installed: Installed) -> str:
    said = json.loads(installed.admin("auth", "whoami", "-o", "json"))
    name: str = said["status"]["userInfo"]["username"]
    return name


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
def test_each_role_may_do_what_the_table_says_and_nothing_else(stage: Stage, act: Act) -> None:
    answers = {role: stage.tries(role, act) for role in ROLES}
    assert {status for status, _ in answers.values()} <= {200, 201, 403}, answers
    assert {role for role, (status, _) in answers.items() if status != http.HTTPStatus.FORBIDDEN} == act.may


def test_a_responder_releases_in_their_own_name(stage: Stage) -> None:
    body = {
        "metadata": {"annotations": {"stanch.dev/released-by": "ME"}},
        "spec": {"desiredState": "Released"},
    }
    act = Act(RESPONDS, "PATCH", f"{IN_NS}/aiincidents/held", body)
    assert stage.tries("responder", act)[0] == http.HTTPStatus.OK
    assert stage.tries("approver", act)[0] == http.HTTPStatus.FORBIDDEN


def test_an_organisation_aggregates_the_roles_into_its_own(stanch_installed: Installed, space: str) -> None:
    """The ClusterRole of docs/how-to/roles.md."""
    own = f"ml-oncall-{secrets.token_hex(4)}"
    admin = stanch_installed.admin
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": own},
        "aggregationRule": {
            "clusterRoleSelectors": [
                {"matchLabels": {"stanch.dev/role": each}} for each in ("responder", "approver")
            ]
        },
        "rules": [],
    }
    admin("create", "-f", "-", stdin=role)
    try:
        person = stanch_installed.user("oncall@example.test", role=own, namespace=space)
        for verb in ("contain", "release", "close", "approve", "create"):
            person.until_may(verb, "aiincidents.stanch.dev", space)
        person("create", "-n", space, "--dry-run=server", "-f", "-", stdin=incident("new", **OWN_STEPS))
        assert person.run("auth", "can-i", "delete", "deployments", "-n", space).stdout.strip() == "no"
    finally:
        admin("delete", "clusterrole", own)


@pytest.mark.parametrize("role", ["view", "edit", "admin"])
def test_of_the_shipped_roles_only_reading_is_part_of_kubernetes_own(
    stanch_installed: Installed, role: str
) -> None:
    rules = stanch_installed.admin.get("clusterrole", role)["rules"]
    verbs = {verb for rule in rules if "stanch.dev" in rule["apiGroups"] for verb in rule["verbs"]}
    assert verbs == {"get", "list", "watch"}
