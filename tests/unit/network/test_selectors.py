"""Label selectors as sets: what the algebra says is what matching every label map one by one says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stanch.network.selectors import LabelSelector
from tests.unit.network import brute_force, made

if TYPE_CHECKING:
    from tests.unit.network.made import Json

SELECTORS = made.OWN_SELECTORS
EVERY = brute_force.label_maps("app", "tier")


def selected(raw: Json) -> set[int]:
    return {number for number, labels in enumerate(EVERY) if brute_force.matches(raw, labels)}


@given(SELECTORS)
def test_it_matches_what_the_documentation_says(raw: Json) -> None:
    selector = LabelSelector.model_validate(raw)

    assert {number for number, labels in enumerate(EVERY) if selector.matches(labels)} == selected(raw)
    assert selector.satisfiable == bool(selected(raw))


@given(SELECTORS, SELECTORS)
def test_meeting_and_inclusion_are_exact(one: Json, other: Json) -> None:
    first, second = LabelSelector.model_validate(one), LabelSelector.model_validate(other)

    assert first.meets(second) == bool(selected(one) & selected(other))
    assert first.within(second) == (selected(one) <= selected(other))


@given(SELECTORS, st.lists(SELECTORS, max_size=4))
def test_inclusion_in_a_union_is_exact(one: Json, others: list[Json]) -> None:
    union = set().union(*(selected(other) for other in others))
    boxes = [LabelSelector.model_validate(other).box for other in others]

    assert LabelSelector.model_validate(one).box.within(boxes) == (selected(one) <= union)


@given(SELECTORS)
def test_the_negation_holds_exactly_where_the_selector_does_not(raw: Json) -> None:
    if not selected(raw):
        return  # a contradiction: what it excludes is decided before it is negated
    denials = LabelSelector.model_validate(raw).negation()
    denied = set().union(*(selected({"matchExpressions": [denial.wire()]}) for denial in denials))

    assert denied == set(range(len(EVERY))) - selected(raw)


@given(SELECTORS)
def test_it_is_written_as_it_was_read(raw: Json) -> None:
    assert LabelSelector.model_validate(raw).wire() == raw


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param({"key": "app", "operator": "Gt", "values": ["1"]}, id="an operator of node selectors"),
        pytest.param({"key": "app", "operator": "in", "values": ["x"]}, id="another spelling"),
        pytest.param({"key": "app", "operator": "In"}, id="In without values"),
        pytest.param({"key": "app", "operator": "NotIn", "values": []}, id="NotIn without values"),
        pytest.param({"key": "app", "operator": "Exists", "values": ["x"]}, id="Exists with values"),
        pytest.param({"operator": "Exists"}, id="no key"),
        pytest.param({"key": "", "operator": "Exists"}, id="an empty key"),
        pytest.param({"key": "app", "operator": "Exists", "since": "2030"}, id="a field not known yet"),
    ],
)
def test_what_is_not_understood_is_refused(expression: Json) -> None:
    with pytest.raises(ValidationError):
        LabelSelector.model_validate({"matchExpressions": [expression]})


def test_it_reads_well() -> None:
    selector = LabelSelector.model_validate(
        {
            "matchLabels": {"app": "llm"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["gpu", "cpu"]},
                {"key": "stage", "operator": "NotIn", "values": ["test"]},
                {"key": "team", "operator": "Exists"},
                {"key": "canary", "operator": "DoesNotExist"},
            ],
        }
    )

    assert selector.text == "app=llm, tier in (gpu, cpu), stage not in (test), team set, canary unset"
