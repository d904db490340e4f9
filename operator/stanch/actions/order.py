"""In which order the steps of a plan make sense. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.actions.registry import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stanch.api.v1alpha1.steps import Step


def too_late(steps: Sequence[Step]) -> str:
    """What is wrong with the order, and the way out; empty when nothing is.

    The hold of all steps stands from the start: what ends pods would wait for ever for those it keeps.
    """
    ends = ""
    for member in (step.member for step in steps):
        action = ACTIONS.get(member.action) if member is not None else None
        if member is None or action is None:
            continue
        if ends and action.keeps_pods:
            return f"{ends} ends the pods that {action.name} is to keep; put {action.name} before it"
        if not ends and action.ends_pods(member):
            ends = action.name
    return ""
