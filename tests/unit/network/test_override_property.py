"""`others: Override`, judged by the brute-force model: nobody else notices, nothing of ours stays open."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.network.isolate import Isolation, isolation_policy, possible_leaks
from stanch.network.models import Direction
from stanch.network.override import Neutralisation, PolicyEdit, neutralise
from stanch.network.selectors import LabelSelector
from stanch.plans.changes import back, forward
from tests.unit.network import brute_force, made

if TYPE_CHECKING:
    from tests.unit.network.brute_force import Pairs, Someone
    from tests.unit.network.made import Json, MadeHole

PODS = brute_force.own_pods()
BOTH = ("Ingress", "Egress")
MARKS: dict[str, Any] = {"labels": {"stanch.dev/incident": "i"}, "annotations": {}}


@dataclass(frozen=True)
class Workload:
    selector: Json
    directions: list[str]
    holes: list[MadeHole]

    @property
    def isolation(self) -> Isolation:
        return Isolation(
            LabelSelector.model_validate(self.selector),
            frozenset(Direction(direction) for direction in self.directions),
            tuple(hole.hole for hole in self.holes),
        )

    def isolates(self, pod: Someone, direction: str) -> bool:
        assert pod.labels is not None
        return direction in self.directions and brute_force.matches(self.selector, pod.labels)

    def open_on_purpose(self, pod: Someone, direction: str) -> Pairs:
        rules = [hole.rule for hole in self.holes if hole.direction == direction]
        return brute_force.of_rules(rules, direction, pod)


WORKLOADS = st.lists(
    st.builds(Workload, made.OWN_SELECTORS, made.DIRECTIONS, made.HOLES), min_size=1, max_size=2
)


def plan(policies: list[Json], workloads: list[Workload]) -> Neutralisation:
    return neutralise(
        made.parsed(policies),
        [workload.isolation for workload in workloads],
        base="incident",
        max_parts=64,
        **MARKS,
    )


def ours(workloads: list[Workload]) -> list[Json]:
    return [
        isolation_policy(workload.isolation, base=f"w{number}", namespace=brute_force.OWN, **MARKS)
        for number, workload in enumerate(workloads)
    ]


def patched(document: Json, ops: list[Json]) -> Json:
    result: Json = jsonpatch.apply_patch(copy.deepcopy(document), ops)
    return result


def writes(policies: list[Json], edits: tuple[PolicyEdit, ...]) -> list[list[Json]]:
    """The policies after each single write of the edits, in the order of the writes."""
    now = list(policies)
    states = [now]
    for edit in edits:
        for addition in edit.additions:
            now = [*now, addition]
            states.append(now)
        now = [
            patched(one, forward([edit.change], one)) if one["metadata"]["name"] == edit.policy.name else one
            for one in now
        ]
        states.append(now)
    return states


def rights(policies: list[Json], pod: Someone, direction: str) -> Pairs:
    return brute_force.allowed(policies, pod, direction)


@made.examples(60)
@given(made.policies(), WORKLOADS)
def test_others_notice_nothing_and_ours_keep_the_holes_alone(
    policies: list[Json], workloads: list[Workload]
) -> None:
    assert_cut_off_alone(policies, workloads)


@pytest.mark.long
@made.examples(1000)
@given(made.policies(most=4), WORKLOADS)
def test_at_length_others_notice_nothing_and_ours_keep_the_holes_alone(
    policies: list[Json], workloads: list[Workload]
) -> None:
    assert_cut_off_alone(policies, workloads)


def assert_cut_off_alone(policies: list[Json], workloads: list[Workload]) -> None:
    """After every single write for the others, after the last one for ours."""
    done = plan(policies, workloads)
    assert not done.refusals
    states = writes(policies, done.edits)

    for pod in PODS:
        for direction in BOTH:
            isolating = [one for one in workloads if one.isolates(pod, direction)]
            before = rights(policies, pod, direction)
            if not isolating:
                for state in states:
                    assert rights([*state, *ours(workloads)], pod, direction) == before
            else:
                holes = frozenset().union(*(one.open_on_purpose(pod, direction) for one in isolating))
                assert rights([*states[-1], *ours(workloads)], pod, direction) == holes


@made.examples(60)
@given(made.policies(), WORKLOADS)
def test_the_way_back_ends_with_the_same_bytes_and_no_other_pod_notices(
    policies: list[Json], workloads: list[Workload]
) -> None:
    edits = plan(policies, workloads).edits
    now = writes(policies, edits)[-1]
    for edit in reversed(edits):
        now = [
            patched(one, back([edit.change], one).ops) if one["metadata"]["name"] == edit.policy.name else one
            for one in now
        ]
        for addition in reversed(edit.additions):
            assert_others_unchanged(policies, now, workloads)
            now = [one for one in now if one["metadata"]["name"] != addition["metadata"]["name"]]
    assert now == policies


def assert_others_unchanged(before: list[Json], now: list[Json], workloads: list[Workload]) -> None:
    for pod in PODS:
        for direction in BOTH:
            if not any(workload.isolates(pod, direction) for workload in workloads):
                assert rights(now, pod, direction) == rights(before, pod, direction)


@made.examples(60)
@given(made.policies(), WORKLOADS)
def test_done_again_it_has_nothing_to_do(policies: list[Json], workloads: list[Workload]) -> None:
    after = writes(policies, plan(policies, workloads).edits)[-1]

    assert not plan(after, workloads).edits
    assert not any(possible_leaks(made.parsed(after), workload.isolation) for workload in workloads)


@made.examples(60)
@given(made.policies(), WORKLOADS)
def test_our_own_policy_is_left_alone(policies: list[Json], workloads: list[Workload]) -> None:
    own = ours(workloads[:1])[0]["metadata"]["name"]

    edits = plan([*policies, *ours(workloads[:1])], workloads[:1]).edits

    assert own not in {edit.policy.name for edit in edits}


@made.examples(60)
@given(made.policies(most=2), st.builds(Workload, made.OWN_SELECTORS, made.DIRECTIONS, made.HOLES))
def test_a_policy_that_lets_nothing_beyond_the_holes_through_is_left_alone(
    policies: list[Json], workload: Workload
) -> None:
    for edit in plan(policies, [workload]).edits:
        raw = edit.policy.raw
        leaking = [
            pod
            for pod in PODS
            for direction in BOTH
            if workload.isolates(pod, direction)
            and brute_force.isolates(raw, direction)
            and brute_force.selects(raw, pod.labels or {})
            and brute_force.of_rules(raw["spec"].get(direction.lower(), []), direction, pod)
            - workload.open_on_purpose(pod, direction)
        ]
        named = [ports for leak in edit.leaks for ports in leak.ports if ports.name]
        assert leaking or named


@made.examples(60)
@given(made.policies(), WORKLOADS)
def test_every_added_policy_is_one_the_api_server_would_take(
    policies: list[Json], workloads: list[Workload]
) -> None:
    names = [
        addition["metadata"]["name"]
        for edit in plan(policies, workloads).edits
        for addition in edit.additions
        if made.parsed([addition])
    ]

    assert len(names) == len(set(names))
    assert all(len(name) <= 63 for name in names)
