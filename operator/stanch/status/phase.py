"""The phase, derived from the journal by one pure function; nothing else decides on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.api.v1alpha1.status import Phase, StepState, StepStatus
from stanch.api.v1alpha1.steps import CollectEvidence

if TYPE_CHECKING:
    from collections.abc import Sequence

_GIVEN_BACK = {
    StepState.UNDONE,
    StepState.PASSED_ON,
    StepState.REFUSED,
    StepState.PLANNED,
    StepState.SKIPPED,
}
_FAILED = {StepState.INEFFECTIVE, StepState.REFUSED}


@dataclass(frozen=True, slots=True)
class Course:
    """What, beside the journal, the phase depends on."""

    rejected: bool = False
    duplicate: bool = False
    awaiting: bool = False
    dry_run: bool = False
    releasing: bool = False
    hold_gone: bool = False
    proven: bool = False
    """Whether recovery was shown, stage by stage."""
    resolved: bool = False
    """Whether people wrote down what was learnt."""


def phase_of(steps: Sequence[StepStatus], course: Course) -> Phase:
    if course.releasing:
        given_back = all(step.state in _GIVEN_BACK for step in steps)
        return _given_back(course) if given_back and course.hold_gone else Phase.RELEASING
    untouched = _untouched(course)
    if untouched is not None or not steps:
        return untouched or Phase.DETECTED
    if any(step.state in _FAILED and not step.optional for step in steps):
        return Phase.CONTAINMENT_FAILED
    if not all(step.state is StepState.EFFECTIVE or step.state in _FAILED for step in steps):
        return Phase.CONTAINING
    return _settled(steps)


def _given_back(course: Course) -> Phase:
    if course.resolved:
        return Phase.CLOSED
    return Phase.RECOVERED if course.proven else Phase.RELEASED


def _untouched(course: Course) -> Phase | None:
    """Why nothing is changed."""
    if course.rejected:
        return Phase.DUPLICATE if course.duplicate else Phase.REJECTED
    if course.awaiting:
        return Phase.AWAITING_APPROVAL
    return Phase.DETECTED if course.dry_run else None


def _settled(steps: Sequence[StepStatus]) -> Phase:
    """Evidence alone contains nothing, and what contains nothing is not contained in part either."""
    containing = [step for step in steps if step.action != CollectEvidence.action]
    if not containing and all(step.state is StepState.EFFECTIVE for step in steps):
        return Phase.DETECTED
    if not any(step.state is StepState.EFFECTIVE for step in containing):
        return Phase.CONTAINMENT_FAILED
    return (
        Phase.CONTAINED
        if all(step.state is StepState.EFFECTIVE for step in steps)
        else Phase.PARTIALLY_CONTAINED
    )
