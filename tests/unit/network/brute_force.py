"""A second reading of NetworkPolicies, by enumeration: no algebra, nothing of the code under test.

Written from https://kubernetes.io/docs/concepts/services-networking/network-policies/ over raw manifests.
The world is small: every label map over two keys, every namespace over two labels, a few addresses and ports.
What a pod may do is the set of all (peer, traffic) pairs of that world that are allowed.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]
Labels = dict[str, str]
NAME = "kubernetes.io/metadata.name"
OWN = "chat"

# Policies speak of x and y; z stands for every value they do not name.
LABEL_VALUES = (None, "x", "y", "z")


def label_maps(*keys: str) -> list[Labels]:
    return [
        {key: value for key, value in zip(keys, values, strict=True) if value is not None}
        for values in itertools.product(LABEL_VALUES, repeat=len(keys))
    ]


@dataclass(frozen=True)
class Someone:
    """A pod of some namespace, or, without labels, an address outside the cluster."""

    ip: str
    labels: Labels | None = field(default=None, hash=False)
    namespace: str = ""
    namespace_labels: Labels = field(default_factory=dict, hash=False)
    named_ports: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True)
class Traffic:
    protocol: str
    port: int = 0


NAMED = {
    "x": (("http", "TCP", 80),),
    "y": (("http", "TCP", 8080), ("dns", "UDP", 53)),
    "z": (("http", "UDP", 80),),
}
TRAFFIC = (
    *(Traffic("TCP", port) for port in (1, 53, 80, 81, 8080, 65535)),
    *(Traffic("UDP", port) for port in (53, 80)),
    Traffic("SCTP", 80),
    Traffic("ICMP"),
)
OUTSIDE = tuple(
    Someone(ip)
    for ip in (
        *("10.0.0.1", "10.1.0.1", "10.1.2.3", "10.1.1.1", "10.1.200.1", "192.0.2.1"),
        *("fd00::1", "fd00:1::1", "2001:db8::1"),
    )
)


def _pods() -> Iterable[Someone]:
    for name in (OWN, "web", "other"):
        for env in LABEL_VALUES:
            labels_of_namespace = {NAME: name} | ({} if env is None else {"env": env})
            for role in LABEL_VALUES:
                labels = {} if role is None else {"role": role}
                ports = NAMED.get(role or "", ())
                yield Someone("2001:db8:1::9", labels, name, labels_of_namespace, ports)
    yield Someone("10.1.0.9", {"role": "x"}, "web", {NAME: "web", "env": "x"}, NAMED["x"])
    yield Someone("10.0.0.9", {}, OWN, {NAME: OWN})


WORLD = (*OUTSIDE, *_pods())
EVERYTHING = frozenset((who, what) for who in range(len(WORLD)) for what in range(len(TRAFFIC)))
Pairs = frozenset[tuple[int, int]]


def matches(selector: Json, labels: Labels) -> bool:
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions", []):
        key, operator, values = expression["key"], expression["operator"], expression.get("values", [])
        if operator == "In" and (key not in labels or labels[key] not in values):
            return False
        if operator == "NotIn" and key in labels and labels[key] in values:
            return False
        if operator == "Exists" and key not in labels:
            return False
        if operator == "DoesNotExist" and key in labels:
            return False
    return True


def isolates(policy: Json, direction: str) -> bool:
    types = policy["spec"].get("policyTypes")
    if types:
        return direction in types
    return direction == "Ingress" or len(policy["spec"].get("egress", [])) > 0


def selects(policy: Json, labels: Labels) -> bool:
    return matches(policy["spec"].get("podSelector", {}), labels)


def _is_peer(peer: Json, who: Someone) -> bool:
    if "ipBlock" in peer:
        ip = ipaddress.ip_address(who.ip)
        return ip in ipaddress.ip_network(peer["ipBlock"]["cidr"]) and all(
            ip not in ipaddress.ip_network(block) for block in peer["ipBlock"].get("except", [])
        )
    if who.labels is None:
        return False
    if "namespaceSelector" in peer:
        if not matches(peer["namespaceSelector"], who.namespace_labels):
            return False
    elif who.namespace != OWN:
        return False
    return "podSelector" not in peer or matches(peer["podSelector"], who.labels)


def _is_port(port: Json, what: Traffic, server: Someone) -> bool:
    if what.protocol != port.get("protocol", "TCP"):
        return False
    if "port" not in port:
        return True
    wanted = port["port"]
    if isinstance(wanted, str):
        return (wanted, what.protocol, what.port) in server.named_ports
    return bool(wanted <= what.port <= {"endPort": wanted, **port}["endPort"])


@cache
def _rule(rule_json: str, direction: str, pod: Someone) -> Pairs:
    rule = json.loads(rule_json)
    peers = rule.get("from" if direction == "Ingress" else "to", [])
    ports = rule.get("ports", [])
    found = set()
    for who, someone in enumerate(WORLD):
        if peers and not any(_is_peer(peer, someone) for peer in peers):
            continue
        server = pod if direction == "Ingress" else someone
        for what, traffic in enumerate(TRAFFIC):
            if not ports or any(_is_port(port, traffic, server) for port in ports):
                found.add((who, what))
    return frozenset(found)


def of_rules(rules: Iterable[Json], direction: str, pod: Someone) -> Pairs:
    bare = Someone(pod.ip, named_ports=pod.named_ports)
    return frozenset().union(*(_rule(json.dumps(rule, sort_keys=True), direction, bare) for rule in rules))


def allowed(policies: Iterable[Json], pod: Someone, direction: str) -> Pairs:
    """For a pod of the policies' own namespace."""
    assert pod.labels is not None
    mine = [policy for policy in policies if isolates(policy, direction) and selects(policy, pod.labels)]
    if not mine:
        return EVERYTHING
    return frozenset().union(
        *(of_rules(policy["spec"].get(direction.lower(), []), direction, pod) for policy in mine)
    )


def own_pods() -> list[Someone]:
    """Every pod that the policies' namespace may ever hold, as far as they can tell pods apart."""
    return [
        Someone("2001:db8:1::7", labels, OWN, {NAME: OWN}, ports)
        for labels in label_maps("app", "tier")
        for ports in ((), NAMED["x"], NAMED["y"])
    ]
