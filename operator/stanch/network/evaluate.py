"""What the policies of a namespace still allow to and from pods.

Policies add up: a pod that some policy selects in a direction is allowed what any such policy allows, and
everything when none does (https://kubernetes.io/docs/concepts/services-networking/network-policies/).
No policy can cut a pod off from the node it runs on, nor from itself; that is not listed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stanch.network.models import Direction, NetworkPolicy, Peer, Protocol, Rule
from stanch.network.traffic import Cover, Other, PeerSet, Ports, effective_ports

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stanch.network.facts import PodFacts
    from stanch.network.holes import Hole

_NAMED = 3


@dataclass(frozen=True)
class Allowance:
    """Traffic that one rule of a policy allows; `policy` None: no policy selects the pods, all is allowed.

    No `peers`: everyone. `pods` are the names of the pods it holds for; none: for any pod it may select.
    """

    policy: str | None
    namespace: str
    direction: Direction
    peers: tuple[Peer, ...]
    ports: tuple[Ports, ...]
    pods: tuple[str, ...] = field(default=(), compare=False)

    def admits(self, other: Other, protocol: Protocol | None, number: int) -> bool:
        """`number` is ignored without a protocol: traffic that has no ports."""
        if self.peers and not any(other.matched_by(peer, self.namespace) for peer in self.peers):
            return False
        ports: Iterable[Ports] = self.ports
        if self.direction is Direction.EGRESS:
            # Where it goes decides what a port's name means; an address outside has no names.
            ports = [
                one for given in self.ports for one in (given.resolved(other.pod) if other.pod else (given,))
            ]
        return any(one.admits(protocol, number) for one in ports)

    @property
    def text(self) -> str:
        """`NetworkPolicy web allows egress to 10.0.0.0/8 on TCP 443`."""
        way = "ingress from" if self.direction is Direction.INGRESS else "egress to"
        if self.policy is None:
            return f"no NetworkPolicy restricts {self.direction.lower()}"
        peers = _some([peer.text for peer in self.peers], "peers") or "everyone"
        return (
            f"NetworkPolicy {self.policy} allows {way} {peers} on "
            f"{_some([ports.text for ports in self.ports], 'port ranges')}"
        )


@dataclass(frozen=True)
class Evaluation:
    """`leaks`: the allowances that go beyond the holes, with those of their peers and ports that do.

    `host_network`: pods that share their node's network, to which policies do not apply.
    """

    allowances: tuple[Allowance, ...]
    leaks: tuple[Allowance, ...]
    host_network: tuple[str, ...]


def evaluate(
    policies: Sequence[NetworkPolicy],
    pods: Iterable[PodFacts],
    *,
    directions: Iterable[Direction] = tuple(Direction),
    holes: Sequence[Hole] = (),
) -> Evaluation:
    """Exact for these pods. `policies`: all of their namespace, our own included."""
    groups: dict[object, list[PodFacts]] = {}
    for pod in pods:
        alike = (pod.namespace, frozenset(pod.labels.items()), pod.ports)
        groups.setdefault(alike, []).append(pod)
    wanted = tuple(dict.fromkeys(directions))
    allowed: dict[Allowance, dict[str, None]] = {}
    leaking: dict[Allowance, dict[str, None]] = {}
    for group in groups.values():
        names = dict.fromkeys(pod.name for pod in group)
        for direction in wanted:
            mine = list(_allowances(policies, group[0], direction))
            cover = Cover.of(open_on_purpose(holes, direction), direction, group[0].namespace, group[0])
            for allowance in mine:
                allowed.setdefault(allowance, {}).update(names)
                for leak in beyond(allowance, cover):
                    leaking.setdefault(leak, {}).update(names)
    return Evaluation(
        allowances=_with_pods(allowed),
        leaks=_with_pods(leaking),
        host_network=tuple(
            sorted(pod.name for group in groups.values() for pod in group if pod.host_network)
        ),
    )


def open_on_purpose(holes: Iterable[Hole], direction: Direction) -> list[Rule]:
    return [hole.rule for hole in holes if hole.direction is direction]


def policy_allowances(
    policy: NetworkPolicy, direction: Direction, pod: PodFacts | None = None
) -> Iterator[Allowance]:
    """By its rules, to the pods it selects: to `pod`, or to any, whatever their named ports."""
    for rule in policy.rules(direction):
        if ports := effective_ports(rule, direction, pod):
            yield Allowance(policy.name, policy.namespace, direction, rule.peers, ports)


def beyond(allowance: Allowance, cover: Cover) -> Iterator[Allowance]:
    """The parts of an allowance that do not lie within `cover`: peers with the ports that go beyond it."""
    peers_by_ports: dict[tuple[Ports, ...], list[Peer]] = {}
    for peer in allowance.peers or (None,):
        peers = PeerSet.of(peer, allowance.namespace)
        ports = tuple(one for one in allowance.ports if not cover.includes(peers, one))
        if ports:
            peers_by_ports.setdefault(ports, []).extend([peer] if peer else [])
    for ports, leaking in peers_by_ports.items():
        yield Allowance(allowance.policy, allowance.namespace, allowance.direction, tuple(leaking), ports)


def _allowances(
    policies: Sequence[NetworkPolicy], pod: PodFacts, direction: Direction
) -> Iterator[Allowance]:
    selecting = [policy for policy in policies if direction in policy.directions and policy.selects(pod)]
    if not selecting:
        yield Allowance(None, pod.namespace, direction, (), (Ports(),))
    for policy in selecting:
        yield from policy_allowances(policy, direction, pod)


def _with_pods(found: dict[Allowance, dict[str, None]]) -> tuple[Allowance, ...]:
    return tuple(
        Allowance(one.policy, one.namespace, one.direction, one.peers, one.ports, tuple(names))
        for one, names in found.items()
    )


def _some(texts: Sequence[str], what: str) -> str:
    more = len(texts) - _NAMED
    return ", ".join(texts[:_NAMED]) + (f" and {more} more {what}" if more > 0 else "")
