"""The exercises that drills of policies have left behind. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.meta import ObjectMeta

if TYPE_CHECKING:
    from stanch.policies.match import Policy

DRILL_LABEL = "stanch.dev/drill"


class _Object(ApiModel):
    kind: str
    name: str


class _Spec(ApiModel):
    policy_ref: _Object | None = None
    exercise: bool = False
    exercise_enforce: bool = False


class _Status(ApiModel):
    phase: str = ""
    summary: str = ""


class Drilled(ApiModel):
    """As much of an AIIncident as tells whether it is the exercise of a drill, and what came of it."""

    metadata: ObjectMeta
    spec: _Spec
    status: _Status = _Status()


def of_drill(one: Drilled, policy: Policy, drill: str) -> bool:
    """Whether it is an exercise by that policy that changes nothing; anybody may set labels that say so."""
    ref = one.spec.policy_ref
    return (
        one.metadata.labels.get(DRILL_LABEL) == drill
        and one.spec.exercise
        and not one.spec.exercise_enforce
        and not one.metadata.finalizers
        and ref is not None
        and (ref.kind, ref.name) == (policy.kind, policy.metadata.name)
        and policy.metadata.namespace in {"", one.metadata.namespace}
    )
