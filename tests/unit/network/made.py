"""Policies, selectors and holes, made up: `raw` JSON for both readings, parsed for the one under test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from stanch.network.facts import NamedPort, NamespaceFacts, PodFacts
from stanch.network.holes import Hole
from stanch.network.models import Direction, EgressRule, IngressRule, NetworkPolicy, Protocol
from tests.unit.network.brute_force import NAME, OWN, Someone

Json = dict[str, Any]


def examples(number: int) -> settings:
    """How long one takes depends on what the brute-force model has already enumerated."""
    return settings(max_examples=number, deadline=None, suppress_health_check=[HealthCheck.too_slow])


VALUES = st.lists(st.sampled_from(["x", "y"]), min_size=1, max_size=2, unique=True)


def _expressions(key: st.SearchStrategy[str]) -> st.SearchStrategy[Json]:
    return st.one_of(
        st.builds(lambda key, op, values: {"key": key, "operator": op, "values": values},
                  key, st.sampled_from(["In", "NotIn"]), VALUES),
        st.builds(lambda key, op: {"key": key, "operator": op},
                  key, st.sampled_from(["Exists", "DoesNotExist"])),
    )  # fmt: skip


def selectors(*keys: str) -> st.SearchStrategy[Json]:
    key = st.sampled_from(keys)
    return st.fixed_dictionaries(
        {},
        optional={
            "matchLabels": st.dictionaries(key, st.sampled_from(["x", "y"]), min_size=1, max_size=2),
            "matchExpressions": st.lists(_expressions(key), min_size=1, max_size=3),
        },
    )


OWN_SELECTORS = selectors("app", "tier")
SPACES = st.one_of(
    selectors("env"),
    st.sampled_from([OWN, "web"]).map(lambda name: {"matchLabels": {NAME: name}}),
    st.just({"matchExpressions": [{"key": NAME, "operator": "NotIn", "values": [OWN]}]}),
    st.just({"matchExpressions": [{"key": NAME, "operator": "Exists"}]}),
)
BLOCKS = st.sampled_from(
    [
        {"cidr": "10.0.0.0/8"},
        {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]},
        {"cidr": "10.1.0.0/16", "except": ["10.1.0.0/24", "10.1.2.0/24"]},
        {"cidr": "10.1.0.0/16"},
        {"cidr": "10.1.0.0/17"},
        {"cidr": "10.1.128.0/17"},
        {"cidr": "fd00::/8", "except": ["fd00:1::/32"]},
        {"cidr": "fd00:1::/32"},
    ]
)
PEERS = st.one_of(
    st.builds(lambda pods: {"podSelector": pods}, selectors("role")),
    st.builds(lambda spaces: {"namespaceSelector": spaces}, SPACES),
    st.builds(
        lambda pods, spaces: {"podSelector": pods, "namespaceSelector": spaces}, selectors("role"), SPACES
    ),
    st.builds(lambda block: {"ipBlock": block}, BLOCKS),
)
PORTS = st.sampled_from(
    [
        {"port": 80},
        {"protocol": "TCP", "port": 53},
        {"protocol": "UDP", "port": 53},
        {"protocol": "TCP", "port": 80, "endPort": 81},
        {"protocol": "TCP", "port": 1, "endPort": 80},
        {"protocol": "TCP", "port": 81, "endPort": 65535},
        {"protocol": "TCP", "port": "http"},
        {"protocol": "UDP", "port": "dns"},
        {"protocol": "SCTP"},
        {"protocol": "TCP"},
        {},
    ]
)


def rules(direction: str) -> st.SearchStrategy[Json]:
    peers = "from" if direction == "Ingress" else "to"
    return st.fixed_dictionaries(
        {},
        optional={
            peers: st.lists(PEERS, min_size=1, max_size=2),
            "ports": st.lists(PORTS, min_size=1, max_size=2),
        },
    )


@st.composite
def policies(draw: st.DrawFn, most: int = 3) -> list[Json]:
    specs = st.fixed_dictionaries(
        {"podSelector": OWN_SELECTORS},
        optional={
            "policyTypes": st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"], []]),
            "ingress": st.lists(rules("Ingress"), max_size=2),
            "egress": st.lists(rules("Egress"), max_size=2),
        },
    )
    return [
        {"metadata": {"name": f"policy-{number}", "namespace": OWN, "uid": f"u{number}"}, "spec": spec}
        for number, spec in enumerate(draw(st.lists(specs, max_size=most)))
    ]


@dataclass(frozen=True)
class MadeHole:
    direction: str
    rule: Json

    @property
    def hole(self) -> Hole:
        direction = Direction(self.direction)
        kind = IngressRule if direction is Direction.INGRESS else EgressRule
        return Hole("made", direction, kind.model_validate(self.rule))


HOLES = st.lists(
    st.sampled_from(["Ingress", "Egress"]).flatmap(
        lambda direction: rules(direction).map(lambda rule: MadeHole(direction, rule))
    ),
    max_size=3,
)
DIRECTIONS = st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]])


def parsed(items: list[Json]) -> list[NetworkPolicy]:
    return [NetworkPolicy.parse(item) for item in items]


def facts(someone: Someone, name: str = "pod") -> PodFacts:
    assert someone.labels is not None
    return PodFacts(
        someone.namespace,
        name,
        someone.labels,
        ports=tuple(
            NamedPort(name, Protocol(protocol), port) for name, protocol, port in someone.named_ports
        ),
    )


def namespace(someone: Someone) -> NamespaceFacts:
    return NamespaceFacts(someone.namespace, someone.namespace_labels)
