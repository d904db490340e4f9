"""The sets that rules are made of: ports and peers, and whether one set lies within others.

Exact, with one choice where Kubernetes leaves it open: whether an IP block covers pods is a network plugin's
own affair, so pods are never taken to lie within IP blocks, nor IP blocks within pods.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from stanch.network.models import LAST_PORT, Direction, IPBlock, Peer, Port, Protocol, Rule
from stanch.network.selectors import PRESENT, Box, LabelSelector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stanch.network.facts import Address, NamespaceFacts, PodFacts

# IP version, first and last address.
Run = tuple[int, int, int]
NAMESPACE_NAME = "kubernetes.io/metadata.name"


@dataclass(frozen=True, slots=True)
class Ports:
    """`first` to `last` of a protocol; `protocol` None is all traffic, that without ports (ICMP) included.

    With `name`, a port of the serving pod that is known only there, so it may be any number.
    """

    protocol: Protocol | None = None
    first: int = 1
    last: int = LAST_PORT
    name: str = ""

    @classmethod
    def of(cls, port: Port) -> Ports:
        match port.port:
            case None:
                return cls(port.protocol)
            case int(number):
                return cls(port.protocol, number, port.end_port or number)
            case name:
                return cls(port.protocol, name=name)

    def resolved(self, pod: PodFacts) -> Iterator[Ports]:
        """The numbers that a named port has on this pod; other ports as they are."""
        if not self.name:
            yield self
        for port in pod.ports if self.name else ():
            if (port.name, port.protocol) == (self.name, self.protocol):
                yield Ports(self.protocol, port.port, port.port)

    def holds(self, first: int, last: int, like: Ports) -> bool:
        """Whether `first` to `last`, a part of `like`, is part of this."""
        if self.protocol is None:
            return True
        if self.protocol is not like.protocol:
            return False
        return self.name == like.name if self.name else self.first <= first and last <= self.last

    def admits(self, protocol: Protocol | None, number: int) -> bool:
        if self.protocol is None:
            return True
        return self.protocol is protocol and not self.name and self.first <= number <= self.last

    def meets(self, other: Ports) -> bool:
        """Whether both may be about the same traffic."""
        if self.protocol is None or other.protocol is None:
            return True
        known = not (self.name or other.name)
        apart = known and (self.last < other.first or other.last < self.first)
        return self.protocol is other.protocol and not apart

    @property
    def text(self) -> str:
        if self.protocol is None:
            return "every port"
        if self.name:
            return f"{self.protocol} port {self.name!r}"
        if (self.first, self.last) == (1, LAST_PORT):
            return f"every {self.protocol} port"
        return f"{self.protocol} {self.first}" + (f"-{self.last}" if self.last != self.first else "")


def ports_of(rule: Rule) -> tuple[Ports, ...]:
    return tuple(Ports.of(port) for port in rule.ports) or (Ports(),)


@dataclass(frozen=True)
class Other:
    """The other side of a connection: a pod with its namespace, or addresses outside the cluster."""

    ips: tuple[Address, ...] = ()
    pod: PodFacts | None = None
    namespace: NamespaceFacts | None = None

    def matched_by(self, peer: Peer, namespace: str) -> bool:
        """`namespace`: the policy's own. A pod counts with its labels and with its addresses."""
        if peer.ip_block is not None:
            return any(peer.ip_block.contains(ip) for ip in self.ips)
        if self.pod is None or self.namespace is None:
            return False
        if peer.namespace_selector is None:
            near = self.pod.namespace == namespace
        else:
            near = peer.namespace_selector.matches(self.namespace.labels)
        return near and (peer.pod_selector is None or peer.pod_selector.matches(self.pod.labels))


@dataclass(frozen=True)
class PeerSet:
    """Everyone, or pods by their and their namespace's labels, or runs of addresses."""

    everyone: bool = False
    pods: Box | None = None
    addresses: tuple[Run, ...] = ()

    @classmethod
    def of(cls, peer: Peer | None, namespace: str) -> PeerSet:
        """`namespace`: the policy's own, in which a peer without namespaceSelector lies."""
        if peer is None:
            return cls(everyone=True)
        if peer.ip_block is not None:
            return cls(addresses=tuple(_runs(peer.ip_block)))
        spaces = peer.namespace_selector or LabelSelector()
        if peer.namespace_selector is None:
            spaces = LabelSelector(match_labels={NAMESPACE_NAME: namespace})
        pods = peer.pod_selector or LabelSelector()
        box = Box({f"pod {key}": values for key, values in pods.box.items()})
        box &= {f"namespace {key}": values for key, values in spaces.box.items()}
        return cls(pods=box & {f"namespace {NAMESPACE_NAME}": PRESENT})

    def within(self, covers: Sequence[PeerSet]) -> bool:
        """Whether everybody in this set is in one of `covers`."""
        if any(cover.everyone for cover in covers):
            return True
        if self.everyone:
            return False
        if self.pods is not None:
            return self.pods.within([cover.pods for cover in covers if cover.pods is not None])
        left = self.addresses
        for cover in covers:
            for run in cover.addresses:
                left = tuple(_without(left, run))
        return not left

    def meets(self, other: PeerSet) -> bool:
        """Whether somebody may be in both; a pod may have any address."""
        if self.pods is not None and other.pods is not None:
            return not (self.pods & other.pods).empty
        if self.addresses and other.addresses:
            return any(
                mine[0] == theirs[0] and mine[1] <= theirs[2] and theirs[1] <= mine[2]
                for mine in self.addresses
                for theirs in other.addresses
            )
        return True


@dataclass(frozen=True)
class Cover:
    """Rules of one direction, prepared for asking what lies within them."""

    parts: tuple[tuple[tuple[Ports, ...], tuple[PeerSet, ...]], ...]

    @classmethod
    def of(cls, rules: Iterable[Rule], direction: Direction, namespace: str, pod: PodFacts | None) -> Cover:
        """`pod`: the one whose named ports ingress goes to; None for any pod, whatever its ports."""
        return cls(
            tuple(
                (
                    effective_ports(rule, direction, pod),
                    tuple(PeerSet.of(peer, namespace) for peer in rule.peers or (None,)),
                )
                for rule in rules
            )
        )

    def includes(self, peers: PeerSet, ports: Ports) -> bool:
        """Whether all traffic with these peers on these ports lies within the rules."""
        return all(
            peers.within(
                [
                    peer
                    for theirs, covers in self.parts
                    if any(one.holds(first, last, ports) for one in theirs)
                    for peer in covers
                ]
            )
            for first, last in self._cut(ports)
        )

    def _cut(self, ports: Ports) -> Iterator[tuple[int, int]]:
        """`ports` cut where a range of the rules begins or ends: no piece lies in a range only partly."""
        edges = {ports.first, ports.last + 1}
        for theirs, _ in self.parts:
            for one in theirs:
                edges |= {edge for edge in (one.first, one.last + 1) if ports.first < edge <= ports.last}
        ordered = sorted(edges)
        for first, after in pairwise(ordered):
            yield first, after - 1


def effective_ports(rule: Rule, direction: Direction, pod: PodFacts | None) -> tuple[Ports, ...]:
    """A rule's ports; for ingress to a known pod its named ones by number. Empty: no traffic at all."""
    if direction is Direction.EGRESS or pod is None:
        return ports_of(rule)
    return tuple(dict.fromkeys(one for ports in ports_of(rule) for one in ports.resolved(pod)))


def _runs(block: IPBlock) -> Iterator[Run]:
    runs: list[Run] = [
        (block.cidr.version, int(block.cidr.network_address), int(block.cidr.broadcast_address))
    ]
    for hole in block.excluded:
        runs = list(_without(runs, (hole.version, int(hole.network_address), int(hole.broadcast_address))))
    yield from runs


def _without(runs: Iterable[Run], taken: Run) -> Iterator[Run]:
    version, low, high = taken
    for run in runs:
        if run[0] != version or high < run[1] or run[2] < low:
            yield run
            continue
        if run[1] < low:
            yield (version, run[1], low - 1)
        if high < run[2]:
            yield (version, high + 1, run[2])
