"""Objects as the API server stores them."""

from __future__ import annotations

from typing import Any

from stanch.access.models import Account, Binding, Role

Json = dict[str, Any]

CHAT = Account("chat", "llm")
RBAC = "rbac.authorization.k8s.io"


def account_subject(name: str = "llm", namespace: str = "chat") -> Json:
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


def user_subject(name: str) -> Json:
    return {"kind": "User", "apiGroup": RBAC, "name": name}


def group_subject(name: str) -> Json:
    return {"kind": "Group", "apiGroup": RBAC, "name": name}


def binding_json(
    name: str, *subjects: Json, namespace: str = "chat", role: str = "reader", role_kind: str = "ClusterRole"
) -> Json:
    """A RoleBinding, or with an empty namespace a ClusterRoleBinding."""
    metadata: Json = {"name": name, "uid": f"uid-{name}", "resourceVersion": "7"}
    if namespace:
        metadata["namespace"] = namespace
    body: Json = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC, "kind": role_kind, "name": role},
    }
    if subjects:
        body["subjects"] = list(subjects)
    return body


def binding(name: str, *subjects: Json, **options: Any) -> Binding:
    return Binding.model_validate(binding_json(name, *subjects, **options))


def role(name: str, *rules: Json, namespace: str = "") -> Role:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    kind = "Role" if namespace else "ClusterRole"
    return Role.model_validate({"kind": kind, "metadata": metadata, "rules": list(rules)})


def rule(verbs: str, resources: str = "", group: str = "", names: str = "", urls: str = "") -> Json:
    """Words separated by spaces; one API group."""
    body: Json = {"verbs": verbs.split()}
    if resources:
        body |= {"apiGroups": [group], "resources": resources.split()}
    if names:
        body["resourceNames"] = names.split()
    if urls:
        body["nonResourceURLs"] = urls.split()
    return body
