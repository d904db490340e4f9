"""CRDs of policy.networking.k8s.io with the fields that Stanch writes, and their own bounds and checks.

As in the standard channel of https://github.com/kubernetes-sigs/network-policy-api: ClusterNetworkPolicy
v1alpha2 of v0.2.0, AdminNetworkPolicy v1alpha1 of v0.1.7. What is not in it is pruned here as it is there.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import yaml

from tests.installation import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster import Kubectl

Json = dict[str, Any]
GROUP = "policy.networking.k8s.io"
CLUSTER = "clusternetworkpolicies"
ADMIN = "adminnetworkpolicies"


def _object(required: tuple[str, ...] = (), /, **properties: Json) -> Json:
    return {"type": "object", "properties": properties} | ({"required": list(required)} if required else {})


def _one_of(**properties: Json) -> Json:
    return {**_object(**properties), "minProperties": 1, "maxProperties": 1}


def _list(items: Json, most: int, **more: Any) -> Json:
    return {"type": "array", "items": items, "maxItems": most, **more}


def _word(*words: str, **more: Any) -> Json:
    return {"type": "string", **({"enum": list(words)} if words else {}), **more}


def _number(least: int, most: int) -> Json:
    return {"type": "integer", "format": "int32", "minimum": least, "maximum": most}


TEXT = _word()
PORT = _number(1, 65535)
SELECTOR = _object(
    matchLabels={"type": "object", "additionalProperties": TEXT},
    matchExpressions=_list(
        _object(("key", "operator"), key=TEXT, operator=TEXT, values=_list(TEXT, 50)),
        50,
        **{"x-kubernetes-list-type": "atomic"},
    ),
)
PODS = _object(("namespaceSelector", "podSelector"), namespaceSelector=SELECTOR, podSelector=SELECTOR)
SUBJECT = _one_of(namespaces=SELECTOR, pods=PODS)
CIDR = _word(maxLength=43, **{"x-kubernetes-validations": [{"rule": "isCIDR(self)", "message": "no CIDR"}]})
NETWORKS = _list(CIDR, 25, minItems=1, **{"x-kubernetes-list-type": "set"})
RISING = {
    "x-kubernetes-validations": [{"rule": "self.start < self.end", "message": "start is not below end"}]
}


def _rules(way: str, peers: str, actions: tuple[str, ...], ports: Json, most: int) -> Json:
    peer = _one_of(namespaces=SELECTOR, pods=PODS, **({"networks": NETWORKS} if way == "egress" else {}))
    rule = _object(("action", peers), name=_word(maxLength=100), action=_word(*actions), **ports)
    rule["properties"][peers] = _list(peer, most, minItems=1)
    return _list(rule, most)


def _spec(*, tier: bool, actions: tuple[str, ...], ports: Json, most: int) -> Json:
    spec = _object(
        ("priority", "subject", *(("tier",) if tier else ())),
        **({"tier": _word("Admin", "Baseline")} if tier else {}),
        priority=_number(0, 1000),
        subject=SUBJECT,
        ingress=_rules("ingress", "from", actions, ports, most),
        egress=_rules("egress", "to", actions, ports, most),
    )
    return _object(("metadata", "spec"), metadata={"type": "object"}, spec=spec)


def _cluster() -> Json:
    numbers = _one_of(number=PORT, range=_object(("start", "end"), start=PORT, end=PORT) | RISING)
    transport = {**_object(destinationPort=numbers), "minProperties": 1}
    protocol = _one_of(tcp=transport, udp=transport, sctp=transport, destinationNamedPort=TEXT)
    ports = {"protocols": _list(protocol, 25, minItems=1)}
    return _spec(tier=True, actions=("Accept", "Deny", "Pass"), ports=ports, most=25)


def _admin() -> Json:
    protocol = _word(default="TCP")
    port = _one_of(
        portNumber=_object(("port", "protocol"), port=PORT, protocol=protocol),
        portRange=_object(("start", "end"), start=PORT, end=PORT, protocol=protocol),
    )
    ports = {"ports": _list(port, 100, minItems=1)}
    return _spec(tier=False, actions=("Allow", "Deny", "Pass"), ports=ports, most=100)


def kind(plural: str) -> Json:
    """The CustomResourceDefinition."""
    name, version, schema = {
        CLUSTER: ("ClusterNetworkPolicy", "v1alpha2", _cluster()),
        ADMIN: ("AdminNetworkPolicy", "v1alpha1", _admin()),
    }[plural]
    approved = {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/network-policy-api/pull/30"}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "annotations": approved},
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {"kind": name, "plural": plural, "singular": name.lower()},
            "versions": [served],
        },
    }


def policy(plural: str, name: str, priority: int, **spec: Any) -> Json:
    crd = kind(plural)["spec"]
    return {
        "apiVersion": f"{GROUP}/{crd['versions'][0]['name']}",
        "kind": crd["names"]["kind"],
        "metadata": {"name": name},
        "spec": {**({"tier": "Admin"} if plural == CLUSTER else {}), "priority": priority, **spec},
    }


GRANT = ROOT / "manifests" / "rbac" / "cluster-network-policies.yaml"


@contextmanager
def served(kubectl: Kubectl, plural: str) -> Iterator[None]:
    """While a network plugin would serve the API."""
    crd = f"crd/{plural}.{GROUP}"
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump(kind(plural)), check=True)
    kubectl("wait", crd, "--for=condition=Established", "--timeout=60s", check=True)
    yield
    kubectl("delete", crd, "--timeout=60s", check=True)


@contextmanager
def granted(kubectl: Kubectl) -> Iterator[None]:
    """While the operator has the optional right."""
    kubectl("apply", "-f", str(GRANT), check=True)
    yield
    kubectl("delete", "-f", str(GRANT), check=True)
