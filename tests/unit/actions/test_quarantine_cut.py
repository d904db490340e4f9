"""Which labels a pod loses, by examples and by every selector there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.actions.quarantine_cut import Claim, claims_of, cut
from stanch.network.models import NetworkPolicy
from stanch.network.selectors import LabelSelector, Operator, Requirement

if TYPE_CHECKING:
    from collections.abc import Mapping

MARKS = {"stanch.dev/quarantined": "toxic", "stanch.dev/held": "true"}
LABELS = {"app": "llm", "pod-template-hash": "abc", "team": "chat"}


def wants(key: str, operator: str, *values: str) -> Requirement:
    return Requirement(key=key, operator=Operator(operator), values=values)


def claim(name: str, *requirements: Requirement, **labels: str) -> Claim:
    return Claim("ReplicaSet", name, LabelSelector(match_labels=labels, match_expressions=requirements))


CUTS: dict[str, tuple[list[Claim], set[str], list[str], list[str]]] = {
    "nothing selects it": ([claim("other", app="other")], set(), [], []),
    "labels": ([claim("rs", app="llm")], {"app"}, ["rs"], []),
    "every label that a selector wants": (
        [claim("rs", wants("pod-template-hash", "Exists"), app="llm")],
        {"app", "pod-template-hash"},
        ["rs"],
        [],
    ),
    "one of several values": ([claim("rs", wants("team", "In", "a", "chat"))], {"team"}, ["rs"], []),
    "labels that only others want stay": (
        [claim("rs", app="llm"), claim("svc", team="other")],
        {"app"},
        ["rs"],
        [],
    ),
    "what it is not cannot be taken away": (
        [claim("rs", wants("team", "NotIn", "other"))],
        set(),
        [],
        ["rs"],
    ),
    "what it has not cannot be taken away": (
        [claim("rs", wants("legacy", "DoesNotExist"))],
        set(),
        [],
        ["rs"],
    ),
    "beside what it is not, what it is": (
        [claim("rs", wants("team", "NotIn", "other"), app="llm")],
        {"app"},
        ["rs"],
        [],
    ),
    "a label whose absence another one waits for": (
        [claim("rs", app="llm"), claim("orphans", wants("app", "DoesNotExist"))],
        {"app"},
        ["rs"],
        ["orphans"],
    ),
    "a label whose absence another one waits for, and one more": (
        [claim("rs", app="llm"), claim("orphans", wants("app", "DoesNotExist"), team="chat")],
        {"app", "team"},
        ["rs"],
        [],
    ),
    "everybody": ([claim("all")], set(), [], ["all"]),
    "our own mark is not taken away": (
        [claim("ours", wants("stanch.dev/quarantined", "Exists"))],
        set(),
        [],
        ["ours"],
    ),
}


@pytest.mark.parametrize("case", CUTS)
def test_the_labels_by_which_it_is_selected_go_and_no_others(case: str) -> None:
    claims, removed, left, stuck = CUTS[case]

    found = cut(LABELS, MARKS, claims)

    assert set(found.removed) == removed
    assert [one.name for one in found.left] == left
    assert [one.name for one in found.stuck] == stuck


KEYS = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from(["x", "y"])
PODS = st.dictionaries(KEYS, VALUES)


@st.composite
def requirements(draw: st.DrawFn) -> Requirement:
    operator = draw(st.sampled_from(Operator))
    some = operator in {Operator.IN, Operator.NOT_IN}
    values = draw(st.lists(VALUES, min_size=1, max_size=2, unique=True)) if some else []
    return wants(draw(KEYS), operator, *values)


@st.composite
def selectors(draw: st.DrawFn) -> LabelSelector:
    return LabelSelector(
        match_labels=draw(st.dictionaries(KEYS, VALUES, max_size=2)),
        match_expressions=tuple(draw(st.lists(requirements(), max_size=3))),
    )


def satisfied(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    """As the documentation of label selectors says, word by word."""
    there, value = requirement.key in labels, labels.get(requirement.key)
    return {
        Operator.IN: there and value in requirement.values,
        Operator.NOT_IN: not there or value not in requirement.values,
        Operator.EXISTS: there,
        Operator.DOES_NOT_EXIST: not there,
    }[requirement.operator]


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        satisfied(requirement, labels) for requirement in selector.match_expressions
    )


def wants_something(selector: LabelSelector) -> bool:
    """Whether there is a label without which it does not select."""
    return bool(selector.match_labels) or any(
        one.operator in {Operator.IN, Operator.EXISTS} for one in selector.match_expressions
    )


@given(PODS, st.lists(selectors(), max_size=5))
def test_afterwards_nothing_selects_it_but_what_wants_no_label(
    labels: dict[str, str], those: list[LabelSelector]
) -> None:
    claims = [Claim("ReplicaSet", str(number), selector) for number, selector in enumerate(those)]

    found = cut(labels, MARKS, claims)

    after = {key: value for key, value in labels.items() if key not in found.removed} | MARKS
    selecting = [one for one in claims if selects(one.selector, after)]
    assert list(found.stuck) == selecting
    assert not any(wants_something(one.selector) for one in selecting)
    assert all(selects(one.selector, labels) and one not in selecting for one in found.left)
    assert set(found.removed) <= labels.keys()


@given(PODS, st.lists(selectors(), max_size=5))
def test_no_label_goes_that_nothing_wants(labels: dict[str, str], those: list[LabelSelector]) -> None:
    claims = [Claim("ReplicaSet", str(number), selector) for number, selector in enumerate(those)]
    named = {key for one in those for key in one.match_labels} | {
        requirement.key
        for one in those
        for requirement in one.match_expressions
        if requirement.operator in {Operator.IN, Operator.EXISTS}
    }
    assert set(cut(labels, MARKS, claims).removed) <= named


def policy(name: str, **spec: object) -> NetworkPolicy:
    return NetworkPolicy.parse(
        {"metadata": {"name": name, "namespace": "chat"}, "spec": {"podSelector": {}, **spec}}
    )


def test_only_policies_that_allow_something_are_to_be_left() -> None:
    policies = [
        policy("denies", policyTypes=["Ingress", "Egress"]),
        policy("lets in", ingress=[{}]),
        policy("lets out", policyTypes=["Egress"], egress=[{"ports": [{"port": 53}]}]),
        policy("lists what it does not cut", policyTypes=["Egress"], ingress=[{}]),
    ]
    assert [one.name for one in claims_of(policies)] == ["lets in", "lets out"]
