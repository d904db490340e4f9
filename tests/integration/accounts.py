"""Accounts and what binds them, as a person would write them, and what becomes of their tokens and rights."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.operator_process import condition, workload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.operator_process import Json, Space

RBAC = "rbac.authorization.k8s.io"
ROLE_ARN = "eks.amazonaws.com/role-arn"
SERVER_SET = {"uid", "resourceVersion", "creationTimestamp", "managedFields"}
STANCH = {"kind": "ServiceAccount", "name": "stanch", "namespace": "stanch-system"}
OPS = {"kind": "Group", "apiGroup": RBAC, "name": "ops"}


def account(name: str = "llm", **fields: Any) -> Json:
    metadata = {
        "name": name,
        "labels": {"team": "chat"},
        "annotations": {ROLE_ARN: "arn:aws:iam::111122223333:role/llm", "note": "of the chat team"},
    }
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    return body | {"imagePullSecrets": [{"name": "registry"}], "automountServiceAccountToken": True} | fields


def role(name: str, *, cluster: bool = False) -> Json:
    """It reads Secrets: what the operator itself may not do in full, so may not hand out."""
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]
    kind = "ClusterRole" if cluster else "Role"
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": {"name": name}, "rules": rules}


def binding(
    name: str, role_name: str, *subjects: Json, cluster: bool = False, role_kind: str = "Role"
) -> Json:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding" if cluster else "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": role_kind, "name": role_name},
        "subjects": list(subjects),
    }


def subject(space: Space, name: str = "llm") -> Json:
    return {"kind": "ServiceAccount", "name": name, "namespace": space.name}


def serve(space: Space, name: str = "llm-chat", under: str = "llm") -> None:
    space.create(workload("Deployment", name, 1, pod={"serviceAccountName": under}))
    space.running("Deployment", name, 1)


def manifest(obj: Json) -> Json:
    """The object without what only servers set."""
    kept = copy.deepcopy(obj)
    kept["metadata"] = {key: value for key, value in kept["metadata"].items() if key not in SERVER_SET}
    return kept


def authenticated(space: Space, kubeconfig: Path) -> bool:
    """Whether the API server still takes the token for what it says, asked with the token itself."""
    said = space.kubectl("auth", "whoami", as_=kubeconfig)
    assert said.returncode == 0 or "Unauthorized" in said.stderr or "logged in" in said.stderr, said
    return said.returncode == 0


def reviewed(space: Space, kubeconfig: Path) -> bool:
    """Whether a TokenReview, which any server that takes tokens relies on, calls the token genuine."""
    token = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"]
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    return space("create", "-o", "jsonpath={.status.authenticated}", "-f", "-", stdin=review) == "true"


def may(space: Space, verb: str, resource: str, *where: str, user: str = "llm") -> bool:
    said = space.kubectl(
        "auth",
        "can-i",
        verb,
        resource,
        f"--as=system:serviceaccount:{space.name}:{user}",
        *(where or ("-n", space.name)),
    )
    answer = said.stdout.strip().splitlines()[-1]
    assert answer in {"yes", "no"}, said
    return answer == "yes"


def step(status: Json) -> Json:
    (only,) = status["steps"]
    assert only["action"] == "RevokeServiceAccount"
    return dict(only)


def rejection(space: Space, name: str) -> str:
    status = space.wait_phase(name, "Rejected")
    accepted = condition(status, "Accepted")
    return f"{accepted['reason']}: {accepted['message']}"


@contextmanager
def may_bind(space: Space, role_name: str) -> Iterator[None]:
    """The operator may bind roles of that name, as a person who installs it has to allow."""
    name = f"bind-{space.name}"
    rules = [
        {
            "apiGroups": [RBAC],
            "resources": ["roles", "clusterroles"],
            "resourceNames": [role_name],
            "verbs": ["bind"],
        }
    ]
    space.create(
        {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    )
    space.create(binding(name, name, STANCH, cluster=True, role_kind="ClusterRole"))
    yield
    space("delete", "clusterrolebinding,clusterrole", name)


@pytest.fixture
def granted(workspace: Space) -> Iterator[None]:
    """The operator may bind `reader-<namespace>`; what is in no namespace is deleted afterwards."""
    reader = f"reader-{workspace.name}"
    with may_bind(workspace, reader):
        yield
    workspace("delete", "clusterrolebinding,clusterrole", reader, "--ignore-not-found")
