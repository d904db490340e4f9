"""What is still allowed: the evaluator and a brute-force reading of the manifests agree on everything."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.network.evaluate import Allowance, evaluate
from stanch.network.models import Direction, Protocol
from stanch.network.traffic import Other
from tests.unit.network import brute_force, made
from tests.unit.network.brute_force import TRAFFIC, WORLD, Someone, Traffic

if TYPE_CHECKING:
    from tests.unit.network.made import Json, MadeHole


def other(someone: Someone) -> Other:
    if someone.labels is None:
        return Other(ips=(ip_address(someone.ip),))
    return Other((ip_address(someone.ip),), made.facts(someone), made.namespace(someone))


OTHERS = [other(someone) for someone in WORLD]


def admits(allowance: Allowance, someone: Other, traffic: Traffic) -> bool:
    protocol = None if traffic.protocol == "ICMP" else Protocol(traffic.protocol)
    return allowance.admits(someone, protocol, traffic.port)


def pairs(allowances: list[Allowance]) -> brute_force.Pairs:
    return frozenset(
        (who, what)
        for who, someone in enumerate(OTHERS)
        for what, traffic in enumerate(TRAFFIC)
        if any(admits(allowance, someone, traffic) for allowance in allowances)
    )


PODS = st.sampled_from(brute_force.own_pods())


@made.examples(60)
@given(made.policies(), st.lists(PODS, min_size=1, max_size=2), made.HOLES)
def test_allowances_and_leaks_are_those_of_the_brute_force_model(
    policies: list[Json], pods: list[Someone], holes: list[MadeHole]
) -> None:
    assert_agreed(policies, pods, holes)


@pytest.mark.long
@made.examples(1000)
@given(made.policies(most=4), st.lists(PODS, min_size=1, max_size=2), made.HOLES)
def test_at_length_allowances_and_leaks_are_those_of_the_brute_force_model(
    policies: list[Json], pods: list[Someone], holes: list[MadeHole]
) -> None:
    assert_agreed(policies, pods, holes)


def assert_agreed(policies: list[Json], pods: list[Someone], holes: list[MadeHole]) -> None:
    found = evaluate(
        made.parsed(policies),
        [made.facts(pod, f"pod-{number}") for number, pod in enumerate(pods)],
        holes=[hole.hole for hole in holes],
    )

    for number, pod in enumerate(pods):
        for direction in ("Ingress", "Egress"):
            mine = [
                one for one in found.allowances if one.direction == direction and f"pod-{number}" in one.pods
            ]
            leaks = [one for one in found.leaks if one.direction == direction and f"pod-{number}" in one.pods]
            truth = brute_force.allowed(policies, pod, direction)
            open_on_purpose = brute_force.of_rules(
                [hole.rule for hole in holes if hole.direction == direction], direction, pod
            )

            assert pairs(mine) == truth
            assert truth - open_on_purpose <= pairs(leaks) <= truth
            for leak in leaks:
                assert_no_false_alarm(leak, open_on_purpose)


def assert_no_false_alarm(leak: Allowance, open_on_purpose: brute_force.Pairs) -> None:
    """Each peer with each port that is called a leak lets something through that no hole does."""
    for peer in leak.peers or (None,):
        for ports in leak.ports:
            if ports.name and leak.direction is Direction.EGRESS:
                continue  # any number on pods to come; this world's pods have only a few
            part = Allowance(
                leak.policy, leak.namespace, leak.direction, () if peer is None else (peer,), (ports,)
            )
            assert pairs([part]) - open_on_purpose, part.text
