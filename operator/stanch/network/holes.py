"""What stays open on purpose, as rules of our own policy; traffic within them is no leak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.network.models import Direction, Peer, Port, Protocol, Rule
from stanch.network.selectors import LabelSelector
from stanch.network.traffic import NAMESPACE_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DNS_LABELS = {"k8s-app": "kube-dns"}
DNS_PORTS = (53,)


@dataclass(frozen=True)
class Hole:
    """`name` is for people; `rule` is as in a NetworkPolicy of the isolated workload's namespace."""

    name: str
    direction: Direction
    rule: Rule


def pods_in(namespace: str, selector: LabelSelector) -> Peer:
    return Peer(
        namespace_selector=LabelSelector(match_labels={NAMESPACE_NAME: namespace}), pod_selector=selector
    )


def dns(
    namespace: str = "kube-system",
    labels: Mapping[str, str] | None = None,
    ports: Sequence[int] = DNS_PORTS,
) -> Hole:
    """Egress to the cluster's DNS. `ports` are those of the DNS pods, which may differ from the Service's."""
    selector = LabelSelector(match_labels=dict(DNS_LABELS if labels is None else labels))
    both = (Protocol.UDP, Protocol.TCP)
    return Hole(
        "DNS",
        Direction.EGRESS,
        Rule(
            peers=(pods_in(namespace, selector),),
            ports=tuple(Port(protocol=protocol, port=port) for port in ports for protocol in both),
        ),
    )


def scraping(namespace: str, selector: LabelSelector, port: int | str) -> Hole:
    """Ingress from whatever collects metrics, on the workload's metrics port by number or name."""
    return Hole(
        "metrics",
        Direction.INGRESS,
        Rule(peers=(pods_in(namespace, selector),), ports=(Port(protocol=Protocol.TCP, port=port),)),
    )


def named(name: str, direction: Direction, peers: Sequence[Peer], ports: Sequence[Port] = ()) -> Hole:
    """Traffic with these peers, on every port when none is given. Raises ValueError without a peer."""
    if not peers:
        raise ValueError(f"hole {name!r} names no peer: it would open the workload to everyone")
    return Hole(name, direction, Rule(peers=tuple(peers), ports=tuple(ports)))
