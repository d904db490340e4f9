"""A second reading of the Admin tier, by enumeration of every order in which policies may be asked.

Written from https://network-policy-api.sigs.k8s.io/ over raw ClusterNetworkPolicies, on the world of
`brute_force`: the first rule that matches decides, Accept and Deny for good, Pass for NetworkPolicies.
"""

from __future__ import annotations

import ipaddress
import itertools
from typing import TYPE_CHECKING, Any

from tests.unit.network import brute_force
from tests.unit.network.brute_force import NAME, OWN, TRAFFIC, WORLD, Pairs, Someone, Traffic, matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Json = dict[str, Any]
HERE = {NAME: OWN, "env": "x"}


def _selected(who: Json, someone: Someone) -> bool:
    if someone.labels is None:
        return False
    if "namespaces" in who:
        return matches(who["namespaces"], someone.namespace_labels)
    spaces, pods = who["pods"]["namespaceSelector"], who["pods"]["podSelector"]
    return matches(spaces, someone.namespace_labels) and matches(pods, someone.labels)


def _is_peer(peer: Json, someone: Someone) -> bool:
    if "networks" in peer:
        return any(ipaddress.ip_address(someone.ip) in ipaddress.ip_network(one) for one in peer["networks"])
    return _selected(peer, someone)


def _is_protocol(protocol: Json, what: Traffic, server: Someone) -> bool:
    if "destinationNamedPort" in protocol:
        return (protocol["destinationNamedPort"], what.protocol, what.port) in server.named_ports
    if what.protocol.lower() not in protocol:
        return False
    port = protocol[what.protocol.lower()]["destinationPort"]
    if "number" in port:
        return bool(port["number"] == what.port)
    return bool(port["range"]["start"] <= what.port <= port["range"]["end"])


def _decision(ordered: Iterable[Json], pod: Someone, direction: str, other: Someone, what: Traffic) -> str:
    server = pod if direction == "Ingress" else other
    for policy in ordered:
        if policy["spec"]["tier"] != "Admin" or not _selected(policy["spec"]["subject"], pod):
            continue
        for rule in policy["spec"].get(direction.lower(), []):
            peers = rule["from" if direction == "Ingress" else "to"]
            protocols = rule.get("protocols")
            if any(_is_peer(peer, other) for peer in peers) and (
                protocols is None or any(_is_protocol(one, what, server) for one in protocols)
            ):
                return str(rule["action"])
    return ""


def _orders(policies: list[Json]) -> Iterator[tuple[Json, ...]]:
    """By priority; those of one priority in any order."""
    for order in itertools.permutations(policies):
        priorities = [policy["spec"]["priority"] for policy in order]
        if priorities == sorted(priorities):
            yield order


def decided(policies: list[Json], pod: Someone, direction: str, action: str) -> Pairs:
    """What may end in this action, in some order; `""` is what no rule of the tier matches."""
    return frozenset(
        (who, what)
        for order in _orders(policies)
        for who, other in enumerate(WORLD)
        for what, traffic in enumerate(TRAFFIC)
        if _decision(order, pod, direction, other, traffic) == action
    )


def allowed(tier: list[Json], policies: list[Json], pod: Someone, direction: str) -> Pairs:
    """By both: what the tier accepts, and of what it leaves to NetworkPolicies that which they allow."""
    left = decided(tier, pod, direction, "") | decided(tier, pod, direction, "Pass")
    return decided(tier, pod, direction, "Accept") | (left & brute_force.allowed(policies, pod, direction))


def own_pods() -> list[Someone]:
    """As `brute_force.own_pods`, in a namespace that policies may select by a label."""
    return [Someone(one.ip, one.labels, OWN, HERE, one.named_ports) for one in brute_force.own_pods()]
