"""Cluster-wide policies that are asked before NetworkPolicies: the Admin tier.

The policy of the lowest priority number is asked first, and of its rules the first that matches decides:
Accept and Deny for good, Pass leaves it to NetworkPolicies. Of two policies of one priority either may be
asked first, and so may either API where two are served. https://network-policy-api.sigs.k8s.io/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from stanch.network.models import Direction
from stanch.network.parsing import Json, Unreadable, name_of, understand
from stanch.network.tier_models import TierPolicy
from stanch.network.traffic import NAMESPACE_NAME, Cover, PeerSet, ports_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from stanch.network.holes import Hole
    from stanch.network.isolate import Isolation
    from stanch.network.selectors import Box
    from stanch.network.tier_models import Meant
    from stanch.network.traffic import Ports

    _Part = tuple[tuple[Ports, ...], tuple[PeerSet, ...]]

HIGHEST = 0
"""The priority that comes before all others."""
# Baseline is asked after NetworkPolicies, and never for pods that one of them selects.
_BASELINE = "Baseline"
_NOT_ACCEPTING = frozenset({"Deny", "Pass"})
_NOT_DENYING = frozenset({"Accept", "Allow", "Pass"})


@dataclass(frozen=True, slots=True)
class _Line:
    """One rule, as far as it concerns the isolated `pods`."""

    policy: str
    priority: int
    place: int
    action: str
    pods: Box
    meant: Meant

    def before(self, other: _Line) -> bool:
        """Whether it is surely asked first."""
        if self.policy == other.policy:
            return self.place < other.place
        return self.policy.split()[0] == other.policy.split()[0] and self.priority < other.priority


@dataclass(frozen=True, slots=True)
class AdminTier:
    """As pods that are isolated meet it; `obscure`: why policies are not understood."""

    isolation: Isolation
    namespace: Mapping[str, str]
    """The labels of their namespace."""
    lines: Mapping[Direction, Sequence[_Line]]
    obscure: tuple[str, ...]

    @classmethod
    def of(cls, policies: Iterable[Json], isolation: Isolation, namespace: Mapping[str, str]) -> Self:
        lines: dict[Direction, list[_Line]] = {way: [] for way in Direction if way in isolation.directions}
        obscure: list[str] = []
        for raw in policies:
            policy = f"{raw.get('kind', 'policy')} {name_of(raw)}"
            try:
                spec = understand(TierPolicy, raw, policy).spec
            except Unreadable as error:
                obscure.append(error.message)
                continue
            subject = spec.pods(namespace)
            pods = None if subject is None else isolation.selector.box & subject
            if spec.tier == _BASELINE or pods is None or pods.empty:
                continue
            for direction, found in lines.items():
                rules = enumerate(spec.rules(direction))
                found.extend(
                    _Line(policy, spec.priority, place, action, pods, meant)
                    for place, (action, meant) in rules
                )
        return cls(isolation, namespace, lines, tuple(obscure))

    def accepting(self) -> tuple[str, ...]:
        """In words, those that may accept more than the holes. One that is not understood may."""
        ways: dict[str, list[str]] = {}
        for direction, lines in self.lines.items():
            holes = [_open(hole, self.namespace) for hole in self._holes(direction)]
            for line in lines:
                decided = Cover((*holes, *self._decided(direction, line, by=_NOT_ACCEPTING)))
                accepts = line.action not in _NOT_ACCEPTING
                if accepts and not _includes(decided, line.meant.ports, line.meant.may):
                    ways.setdefault(line.policy + _rank(line), []).append(direction.lower())
        accepted = (
            f"{policy} accepts {' and '.join(dict.fromkeys(those))} before NetworkPolicies are asked"
            for policy, those in ways.items()
        )
        return (*self.obscure, *accepted)

    def denying(self) -> dict[Direction, str]:
        """By direction, who may deny what a hole opens: passing that by would open what is closed."""
        told: dict[Direction, str] = {}
        for direction in self.lines:
            for hole in self._holes(direction):
                who = self._denies(direction, *_open(hole, self.namespace))
                if who:
                    told.setdefault(direction, f"{who} may deny what {hole.name} opens")
        return told

    def _denies(self, direction: Direction, ports: tuple[Ports, ...], peers: tuple[PeerSet, ...]) -> str:
        for line in self.lines[direction]:
            concerned = any(one.meets(other) for one in ports for other in line.meant.ports) and any(
                one.meets(other) for one in peers for other in line.meant.may
            )
            decided = Cover(tuple(self._decided(direction, line, by=_NOT_DENYING)))
            if line.action not in _NOT_DENYING and concerned and not _includes(decided, ports, peers):
                return line.policy
        return "a policy that is not understood" if self.obscure else ""

    def _holes(self, direction: Direction) -> list[Hole]:
        return [hole for hole in self.isolation.holes if hole.direction is direction]

    def _decided(self, direction: Direction, line: _Line, *, by: frozenset[str]) -> Iterator[_Part]:
        """What such rules surely decide, of the pods that a line is about, before it is asked."""
        for earlier in self.lines[direction]:
            if earlier.action in by and earlier.before(line) and line.pods.within([earlier.pods]):
                yield earlier.meant.ports, earlier.meant.surely


def about(
    policies: Iterable[Json], labels: Mapping[str, str], namespace: Mapping[str, str]
) -> Iterator[Json]:
    """Those that apply to a pod with exactly these labels, or may as they are not understood."""
    for raw in policies:
        try:
            subject = understand(TierPolicy, raw, name_of(raw)).spec.pods(namespace)
        except Unreadable:
            yield raw
            continue
        if subject is not None and all(labels.get(key) in values for key, values in subject.items()):
            yield raw


def _rank(line: _Line) -> str:
    return f", of priority {HIGHEST}, which none surely comes before," if line.priority == HIGHEST else ""


def _open(hole: Hole, namespace: Mapping[str, str]) -> _Part:
    name = namespace.get(NAMESPACE_NAME, "")
    peers = tuple(PeerSet.of(peer, name) for peer in hole.rule.peers or (None,))
    return ports_of(hole.rule), peers


def _includes(cover: Cover, ports: Iterable[Ports], peers: Sequence[PeerSet]) -> bool:
    return all(cover.includes(those, one) for one in ports for those in peers)
