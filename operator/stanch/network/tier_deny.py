"""Our own policy of the Admin tier: asked before all others, it denies everything and passes the holes by.

A hole is passed on to NetworkPolicies, ours among them, and not accepted: nothing is opened by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.network.models import LAST_PORT, Direction
from stanch.network.tier_models import EVERY_BLOCK
from stanch.network.tiers import HIGHEST
from stanch.network.traffic import NAMESPACE_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stanch.network.holes import Hole
    from stanch.network.isolate import Isolation
    from stanch.network.models import Peer, Port
    from stanch.network.parsing import Json

CLUSTER = "ClusterNetworkPolicy"
ADMIN = "AdminNetworkPolicy"
_EVERYBODY: dict[Direction, list[Json]] = {
    # What comes from elsewhere than pods no policy of this tier accepts: NetworkPolicies cut it off.
    Direction.INGRESS: [{"namespaces": {}}],
    Direction.EGRESS: [{"namespaces": {}}, {"networks": list(EVERY_BLOCK)}],
}
_PEERS = {Direction.INGRESS: "from", Direction.EGRESS: "to"}


class Inexpressible(ValueError):
    """A hole that a policy of this kind cannot leave open exactly."""


def deny_rules(kind: str, isolation: Isolation, namespace: str, direction: Direction) -> list[Json]:
    """Raises Inexpressible: a hole must not be closed, nor more than the hole be passed by."""
    holes = (hole for hole in isolation.holes if hole.direction is direction)
    deny = {"name": "all else", "action": "Deny", _PEERS[direction]: _EVERYBODY[direction]}
    return [*(_passed(kind, hole, namespace) for hole in holes), deny]


def deny_spec(kind: str, isolation: Isolation, namespace: str, rules: Mapping[Direction, list[Json]]) -> Json:
    """In the form in which the API server stores it. Without rules it says nothing about any traffic."""
    pods = {"namespaceSelector": _named(namespace), "podSelector": isolation.selector.wire()}
    tier = {"tier": "Admin"} if kind == CLUSTER else {}
    lists = {direction.lower(): list(found) for direction, found in rules.items()}
    return {**tier, "priority": HIGHEST, "subject": {"pods": pods}, **lists}


def _named(namespace: str) -> Json:
    return {"matchLabels": {NAMESPACE_NAME: namespace}}


def _passed(kind: str, hole: Hole, namespace: str) -> Json:
    peers = [_peer(hole, peer, namespace) for peer in hole.rule.peers]
    rule: Json = {"name": hole.name, "action": "Pass", _PEERS[hole.direction]: peers}
    if hole.rule.ports:
        outside = any(peer.ip_block is not None for peer in hole.rule.peers)
        if any(isinstance(port.port, str) for port in hole.rule.ports) and (outside or kind == ADMIN):
            raise Inexpressible(f"{hole.name} names a port, and that cannot be left open there")
        write = _protocol if kind == CLUSTER else _port
        rule["protocols" if kind == CLUSTER else "ports"] = [write(port) for port in hole.rule.ports]
    return rule


def _peer(hole: Hole, peer: Peer, namespace: str) -> Json:
    if peer.ip_block is None:
        spaces = _named(namespace) if peer.namespace_selector is None else peer.namespace_selector.wire()
        pods = peer.pod_selector.wire() if peer.pod_selector is not None else {}
        return {"pods": {"namespaceSelector": spaces, "podSelector": pods}}
    if hole.direction is Direction.INGRESS or peer.ip_block.excluded:
        raise Inexpressible(f"{hole.name} is {peer.ip_block.text}, and that cannot be left open there")
    return {"networks": [peer.ip_block.text]}


def _protocol(port: Port) -> Json:
    """Of a ClusterNetworkPolicy."""
    if isinstance(port.port, str):
        return {"destinationNamedPort": port.port}
    first, last = _ends(port)
    one: Json = {"number": first} if first == last else {"range": {"start": first, "end": last}}
    return {port.protocol.lower(): {"destinationPort": one}}


def _port(port: Port) -> Json:
    """Of an AdminNetworkPolicy."""
    first, last = _ends(port)
    if first == last:
        return {"portNumber": {"protocol": port.protocol.value, "port": first}}
    return {"portRange": {"protocol": port.protocol.value, "start": first, "end": last}}


def _ends(port: Port) -> tuple[int, int]:
    if not isinstance(port.port, int):
        return 1, LAST_PORT
    return port.port, port.end_port or port.port
