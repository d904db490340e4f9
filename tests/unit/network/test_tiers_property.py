"""The Admin tier: what may be accepted or denied, and that our own denial closes all but the holes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stanch.network.isolate import Isolation, isolation_policy
from stanch.network.models import Direction
from stanch.network.selectors import LabelSelector
from stanch.network.tier_deny import CLUSTER, Inexpressible, deny_rules, deny_spec
from stanch.network.tiers import AdminTier
from tests.unit.network import brute_force, brute_force_tiers, made
from tests.unit.network.brute_force import OWN, Someone, matches
from tests.unit.network.brute_force_tiers import HERE, decided, own_pods

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.network.made import MadeHole

Json = dict[str, Any]
PODS = own_pods()
EVERYBODY: st.SearchStrategy[Json] = st.just({"namespaces": {}})
CLUSTER_PEERS = st.one_of(
    EVERYBODY,
    st.builds(lambda spaces: {"namespaces": spaces}, made.SPACES),
    st.builds(
        lambda spaces, pods: {"pods": {"namespaceSelector": spaces, "podSelector": pods}},
        made.SPACES,
        made.selectors("role"),
    ),
)
NETWORKS = st.lists(
    st.sampled_from(["0.0.0.0/0", "::/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.128.0/17", "fd00:1::/32"]),
    min_size=1, max_size=2, unique=True,
).map(lambda blocks: {"networks": blocks})  # fmt: skip
NUMBERED = [
    {"tcp": {"destinationPort": {"number": 80}}},
    {"tcp": {"destinationPort": {"range": {"start": 1, "end": 80}}}},
    {"tcp": {"destinationPort": {"range": {"start": 80, "end": 65535}}}},
    {"udp": {"destinationPort": {"number": 53}}},
    {"sctp": {"destinationPort": {"number": 80}}},
]
NAMED = [{"destinationNamedPort": "http"}, {"destinationNamedPort": "dns"}]
SUBJECTS = st.one_of(
    EVERYBODY,
    st.builds(lambda spaces: {"namespaces": spaces}, made.SPACES),
    st.builds(
        lambda pods: {"pods": {"namespaceSelector": {}, "podSelector": pods}}, made.selectors("app", "tier")
    ),
)


def tier_rules(direction: str, *, plain: bool) -> st.SearchStrategy[Json]:
    peers = CLUSTER_PEERS if plain or direction == "Ingress" else st.one_of(CLUSTER_PEERS, NETWORKS)
    protocols = st.sampled_from(NUMBERED if plain else NUMBERED + NAMED)
    return st.fixed_dictionaries(
        {
            "action": st.sampled_from(["Accept", "Accept", "Deny", "Pass"]),
            "from" if direction == "Ingress" else "to": st.lists(peers, min_size=1, max_size=2),
        },
        optional={"protocols": st.lists(protocols, min_size=1, max_size=2)},
    )


@st.composite
def tiers(draw: st.DrawFn, *, plain: bool = False, highest: int = 0) -> list[Json]:
    """ClusterNetworkPolicies; `plain` ones are about pods alone, and about all pods of a namespace."""
    specs = st.fixed_dictionaries(
        {
            "tier": st.sampled_from(["Admin", "Admin", "Admin", "Baseline"]),
            "priority": st.integers(highest, 3),
            "subject": EVERYBODY if plain else SUBJECTS,
        },
        optional={
            way.lower(): st.lists(tier_rules(way, plain=plain), max_size=3) for way in ("Ingress", "Egress")
        },
    )
    return [
        {"kind": CLUSTER, "metadata": {"name": f"tier-{number}"}, "spec": spec}
        for number, spec in enumerate(draw(st.lists(specs, min_size=1, max_size=3)))
    ]


def isolated(selector: Json, way: str, holes: list[MadeHole]) -> Isolation:
    parsed = LabelSelector.model_validate(selector)
    return Isolation(parsed, frozenset({Direction(way)}), tuple(hole.hole for hole in holes))


def pods_of(selector: Json) -> list[Someone]:
    """One of each kind; what ports have names on it decides what ingress to it means."""
    return [pod for pod in PODS if matches(selector, pod.labels or {})]


def opened(holes: list[MadeHole], way: str, pod: Someone) -> brute_force.Pairs:
    return brute_force.of_rules([hole.rule for hole in holes if hole.direction == way], way, pod)


WAYS = st.sampled_from(["Ingress", "Egress"])
FEW = made.examples(60)


@FEW
@given(tiers(), made.OWN_SELECTORS, WAYS, made.HOLES, st.data())
def test_what_is_not_said_to_be_accepted_or_denied_is_not(
    policies: list[Json], selector: Json, way: str, holes: list[MadeHole], data: st.DataObject
) -> None:
    assert_nothing_is_left_out(policies, selector, way, holes, data)


@pytest.mark.long
@made.examples(1500)
@given(tiers(), made.OWN_SELECTORS, WAYS, made.HOLES, st.data())
def test_at_length_what_is_not_said_to_be_accepted_or_denied_is_not(
    policies: list[Json], selector: Json, way: str, holes: list[MadeHole], data: st.DataObject
) -> None:
    assert_nothing_is_left_out(policies, selector, way, holes, data)


def assert_nothing_is_left_out(
    policies: list[Json], selector: Json, way: str, holes: list[MadeHole], data: st.DataObject
) -> None:
    assume(pods_of(selector))
    tier = AdminTier.of(policies, isolated(selector, way, holes), HERE)
    pod = data.draw(st.sampled_from(pods_of(selector)))
    if not tier.accepting():
        assert decided(policies, pod, way, "Accept") <= opened(holes, way, pod)
    if not tier.denying():
        assert not decided(policies, pod, way, "Deny") & opened(holes, way, pod)


PLAIN_HOLES = made.HOLES.map(
    lambda holes: [hole for hole in holes if "http" not in str(hole.rule) and "dns" not in str(hole.rule)]
)


@FEW
@given(tiers(plain=True), WAYS, PLAIN_HOLES)
def test_what_is_said_to_be_accepted_is_where_nothing_is_left_open(
    policies: list[Json], way: str, holes: list[MadeHole]
) -> None:
    """No false alarm, where policies mean whole namespaces and pods alone, and ports have no names."""
    pod = PODS[0]
    told = AdminTier.of(policies, isolated({}, way, holes), HERE).accepting()
    assert bool(told) == bool(decided(policies, pod, way, "Accept") - opened(holes, way, pod))


def ours(isolation: Isolation) -> Iterator[Json]:
    rules = {}
    for way in isolation.directions:
        try:
            rules[way] = deny_rules(CLUSTER, isolation, OWN, way)
        except Inexpressible:
            continue
    spec = deny_spec(CLUSTER, isolation, OWN, rules)
    if rules:
        yield {"kind": CLUSTER, "metadata": {"name": "ours"}, "spec": spec}


@FEW
@given(tiers(highest=1), made.OWN_SELECTORS, WAYS, made.HOLES, st.data())
def test_asked_first_ours_leaves_the_holes_open_and_nothing_else(
    others: list[Json], selector: Json, way: str, holes: list[MadeHole], data: st.DataObject
) -> None:
    """Whatever others of a later priority accept, pass or deny, and together with our NetworkPolicy."""
    holes = [hole for hole in holes if hole.rule.get("from" if way == "Ingress" else "to")]
    isolation = isolated(selector, way, holes)
    denial = list(ours(isolation))
    assume(denial and pods_of(selector))
    pod = data.draw(st.sampled_from(pods_of(selector)))
    policy = isolation_policy(isolation, base="x", namespace=OWN, labels={}, annotations={})

    assert AdminTier.of([*others, *denial], isolation, HERE).accepting() == ()
    tier = [*others, *denial]
    assert not decided(tier, pod, way, "Accept")
    assert brute_force_tiers.allowed(tier, [policy], pod, way) == opened(holes, way, pod)
