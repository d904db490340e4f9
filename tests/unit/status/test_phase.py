from __future__ import annotations

from itertools import product

import pytest

from stanch.api.v1alpha1.status import ObjectReference, Phase, StepState, StepStatus
from stanch.status.phase import Course, phase_of

S = StepState


def step(state: StepState, *, optional: bool = False) -> StepStatus:
    target = ObjectReference(api_version="apps/v1", kind="Deployment", name="llm")
    return StepStatus(id="0", action="ScaleToZero", target=target, state=state, optional=optional)


@pytest.mark.parametrize(
    ("states", "phase"),
    [
        ([S.PLANNED], Phase.CONTAINING),
        ([S.RECORDED], Phase.CONTAINING),
        ([S.APPLIED, S.EFFECTIVE], Phase.CONTAINING),
        ([S.INCONCLUSIVE, S.EFFECTIVE], Phase.CONTAINING),
        ([S.EFFECTIVE, S.EFFECTIVE], Phase.CONTAINED),
        ([S.EFFECTIVE, S.INEFFECTIVE], Phase.CONTAINMENT_FAILED),
        ([S.EFFECTIVE, S.REFUSED], Phase.CONTAINMENT_FAILED),
        ([S.RECORDED, S.INEFFECTIVE], Phase.CONTAINMENT_FAILED),
        ([], Phase.DETECTED),
    ],
)
def test_what_the_steps_make_of_the_incident(states: list[StepState], phase: Phase) -> None:
    assert phase_of([step(state) for state in states], Course()) is phase


@pytest.mark.parametrize("failed", [S.INEFFECTIVE, S.REFUSED])
def test_an_optional_step_that_fails_leaves_it_partially_contained(failed: StepState) -> None:
    assert phase_of([step(S.EFFECTIVE), step(failed, optional=True)], Course()) is Phase.PARTIALLY_CONTAINED
    assert phase_of([step(S.APPLIED), step(failed, optional=True)], Course()) is Phase.CONTAINING


@pytest.mark.parametrize("states", list(product(StepState, repeat=2)))
def test_contained_is_never_said_while_a_step_is_not_seen_effective(states: tuple[StepState, ...]) -> None:
    phase = phase_of([step(state) for state in states], Course())

    assert (phase is Phase.CONTAINED) == (states == (S.EFFECTIVE, S.EFFECTIVE))


@pytest.mark.parametrize("states", list(product(StepState, repeat=2)))
def test_released_is_said_when_all_is_given_back_and_the_hold_is_gone(states: tuple[StepState, ...]) -> None:
    steps = [step(state) for state in states]
    given_back = all(state in {S.UNDONE, S.PASSED_ON, S.REFUSED, S.PLANNED, S.SKIPPED} for state in states)

    assert phase_of(steps, Course(releasing=True)) is Phase.RELEASING
    expected = Phase.RELEASED if given_back else Phase.RELEASING
    assert phase_of(steps, Course(releasing=True, hold_gone=True)) is expected


@pytest.mark.parametrize("state", StepState)
def test_a_rejection_and_a_dry_run_say_so_whatever_the_steps(state: StepState) -> None:
    assert phase_of([step(state)], Course(rejected=True)) is Phase.REJECTED
    assert phase_of([step(state)], Course(dry_run=True)) is Phase.DETECTED
