"""The standing tests leave out no action, and each case says how somebody would undo it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stanch.actions.registry import ACTIONS
from stanch.api.v1alpha1.steps import Step, default_steps
from stanch.incidents.facts import action_of
from tests.cases import CASES

if TYPE_CHECKING:
    from tests.standing import Case


def actions(case: Case) -> list[str]:
    steps = tuple(Step.model_validate(step) for step in case.steps)
    return [action_of(step) for step in steps or default_steps(case.target.partition("/")[0])]


def test_every_action_has_a_case_and_one_case_is_a_plan_of_five_steps() -> None:
    assert {action for case in CASES for action in actions(case)} == ACTIONS.keys()
    assert max(len(actions(case)) for case in CASES) == 5
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_case_says_what_is_denied_and_what_is_put_right(case: Case) -> None:
    assert any(undoing.denied for undoing in case.undoings)
    assert any(undoing.righted for undoing in case.undoings)
    for undoing in case.undoings:
        assert undoing.told if undoing.denied else undoing.righted, undoing
    assert len({(each.who, each.told) for each in case.undoings}) == len(case.undoings)
