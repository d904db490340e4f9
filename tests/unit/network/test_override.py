"""`others: Override` on the policies people really write."""

from __future__ import annotations

import time
from typing import Any

import pytest

from stanch.network import holes
from stanch.network.isolate import Isolation
from stanch.network.models import Direction, NetworkPolicy
from stanch.network.override import PART_OF, Neutralisation, neutralise
from stanch.network.selectors import LabelSelector

Json = dict[str, Any]

OPEN = {"policyTypes": ["Egress"], "egress": [{}]}
DNS_RULE = {
    "to": [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
    ],
    "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
}
LLM = {"matchLabels": {"app": "llm"}}


def policy(**spec: Any) -> NetworkPolicy:
    return NetworkPolicy.parse({"metadata": {"name": "web", "namespace": "chat", "uid": "u"}, "spec": spec})


def isolation(selector: Json, *directions: Direction, opened: tuple[holes.Hole, ...] = ()) -> Isolation:
    return Isolation(
        LabelSelector.model_validate(selector), frozenset(directions or {Direction.EGRESS}), opened
    )


def neutralised(one: NetworkPolicy, *isolations: Isolation, max_parts: int = 8) -> Neutralisation:
    return neutralise(
        [one],
        isolations,
        base="incident",
        labels={"stanch.dev/incident": "i"},
        annotations={"stanch.dev/why": "toxic"},
        max_parts=max_parts,
    )


def expressions(one: NetworkPolicy, *isolations: Isolation) -> list[list[Json]]:
    """Of the policy in place, then of each addition."""
    (edit,) = neutralised(one, *isolations).edits
    return [
        edit.change.after,
        *(addition["spec"]["podSelector"].get("matchExpressions", []) for addition in edit.additions),
    ]


def unless(key: str, *values: str) -> Json:
    return {"key": key, "operator": "NotIn", "values": list(values)}


def test_an_allow_for_all_pods_leaves_ours_out() -> None:
    (edit,) = neutralised(policy(podSelector={}, **OPEN), isolation(LLM)).edits

    assert edit.change.path == "/spec/podSelector/matchExpressions"
    assert edit.change.before is None
    assert edit.change.after == [unless("app", "llm")]
    assert edit.additions == ()
    assert [leak.text for leak in edit.leaks] == ["NetworkPolicy web allows egress to everyone on every port"]


def test_what_a_selector_says_it_goes_on_saying() -> None:
    mine = {"key": "tier", "operator": "In", "values": ["gpu", "cpu"]}
    one = policy(podSelector={"matchLabels": {"team": "a"}, "matchExpressions": [mine]}, **OPEN)
    (edit,) = neutralised(one, isolation(LLM)).edits

    assert (edit.change.before, edit.change.after) == ([mine], [mine, unless("app", "llm")])


def test_not_a_and_b_takes_two_policies() -> None:
    (edit,) = neutralised(
        policy(podSelector={}, **OPEN), isolation({"matchLabels": {"app": "llm", "tier": "gpu"}})
    ).edits

    assert edit.change.after == [unless("app", "llm")]
    (addition,) = edit.additions
    assert addition["spec"] == {**OPEN, "podSelector": {"matchExpressions": [unless("tier", "gpu")]}}
    assert addition["metadata"]["labels"] == {"stanch.dev/incident": "i"}
    assert addition["metadata"]["annotations"] == {"stanch.dev/why": "toxic", PART_OF: "web"}


def test_of_a_label_that_the_policy_asks_for_nothing_is_left_to_split() -> None:
    one = policy(podSelector=LLM, **OPEN)

    assert expressions(one, isolation({"matchLabels": {"app": "llm", "tier": "gpu"}})) == [
        [unless("tier", "gpu")]
    ]


@pytest.mark.parametrize(
    ("workload", "left"),
    [
        ({"key": "app", "operator": "In", "values": ["b", "a"]}, [[unless("app", "a", "b")]]),
        (unless("app", "a"), [[{"key": "app", "operator": "In", "values": ["a"]}]]),
        ({"key": "app", "operator": "Exists"}, [[{"key": "app", "operator": "DoesNotExist"}]]),
        ({"key": "app", "operator": "DoesNotExist"}, [[{"key": "app", "operator": "Exists"}]]),
    ],
)
def test_each_operator_has_its_opposite(workload: Json, left: list[list[Json]]) -> None:
    one = policy(podSelector={}, **OPEN)

    assert expressions(one, isolation({"matchExpressions": [workload]})) == left


@pytest.mark.parametrize("workload", [LLM, {}], ids=["of ours alone", "of a workload that is everything"])
def test_a_policy_of_ours_alone_selects_nobody_then(workload: Json) -> None:
    (edit,) = neutralised(policy(podSelector=LLM, **OPEN), isolation(workload)).edits
    selector = LabelSelector.model_validate({**LLM, "matchExpressions": edit.change.after})

    assert not selector.satisfiable
    assert edit.additions == ()


def test_the_direction_that_is_not_isolated_stays_for_our_pods() -> None:
    rules = {"ingress": [{"ports": [{"port": 80}]}], "egress": [{}]}
    one = policy(podSelector={}, policyTypes=["Ingress", "Egress"], **rules)
    (edit,) = neutralised(one, isolation(LLM, Direction.EGRESS)).edits

    assert edit.change.after == [unless("app", "llm")]
    assert [addition["spec"] for addition in edit.additions] == [
        {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": rules["ingress"]}
    ]


def test_two_workloads_are_left_out_together() -> None:
    one = policy(podSelector={}, **OPEN)
    other = isolation({"matchLabels": {"app": "embed"}})

    assert expressions(one, isolation(LLM), other) == [[unless("app", "llm"), unless("app", "embed")]]


def test_a_workload_within_another_costs_no_further_part() -> None:
    inner = isolation({"matchLabels": {"app": "llm", "tier": "gpu"}})

    assert expressions(policy(podSelector={}, **OPEN), inner, isolation(LLM)) == [[unless("app", "llm")]]


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(policy(podSelector={"matchLabels": {"app": "web"}}, **OPEN), id="of other pods"),
        pytest.param(policy(podSelector={}, policyTypes=["Egress"]), id="that denies"),
        pytest.param(policy(podSelector={}, ingress=[{}]), id="of the other direction"),
    ],
)
def test_a_policy_that_is_in_nobody_s_way_is_left_alone(one: NetworkPolicy) -> None:
    assert neutralised(one, isolation(LLM)).edits == ()


def test_a_policy_that_allows_dns_alone_is_left_alone_when_dns_is_opened() -> None:
    one = policy(podSelector={}, policyTypes=["Egress"], egress=[DNS_RULE])

    assert neutralised(one, isolation(LLM, opened=(holes.dns(),))).edits == ()
    assert neutralised(one, isolation(LLM)).edits


def test_a_policy_that_would_fall_into_too_many_parts_is_refused_and_told() -> None:
    wide = isolation({"matchLabels": {f"key-{number}": "v" for number in range(9)}})
    one = policy(podSelector={}, **OPEN)

    (refusal,) = neutralised(one, wide, max_parts=8).refusals
    assert neutralised(one, wide, max_parts=8).edits == ()
    assert refusal.policy.name == "web"
    assert refusal.reason == "leaving out the isolated pods would split it into more than 8 policies"
    assert [leak.policy for leak in refusal.leaks] == ["web"]
    assert len(neutralised(one, wide, max_parts=9).edits[0].additions) == 8


def test_a_hostile_number_of_requirements_ends_at_once() -> None:
    isolations = [
        isolation({"matchLabels": {f"key-{number}": str(one) for number in range(200)}}) for one in range(5)
    ]

    started = time.monotonic()
    found = neutralised(policy(podSelector={}, **OPEN), *isolations)

    assert len(found.refusals) == 1
    assert time.monotonic() - started < 10
