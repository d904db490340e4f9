"""An effect whose cause was read too early is looked at again, so that it is told as somebody's act."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import pytest

from stanch.actions.objects import Obj
from stanch.actions.protocol import Ask, Judgement, Observation, Plain, Verdict
from stanch.api.v1alpha1.incident import Target
from stanch.api.v1alpha1.status import ObjectReference, StepState, StepStatus
from stanch.incidents.gather import _with_its_cause
from tests.unit.actions.cluster_objects import ask, body
from tests.unit.incidents.in_memory import TARGET

if TYPE_CHECKING:
    from stanch.actions.protocol import Intent
    from stanch.kube.client import Kube

EFFECTIVE = StepStatus(
    id="0",
    action="Torn",
    target=ObjectReference(api_version="apps/v1", kind="ReplicaSet", name="llm"),
    state=StepState.EFFECTIVE,
)


@dataclass
class Torn(Plain):
    """Its looks show objects of these versions, and an effect that is gone."""

    versions: list[str]
    generations: list[int]
    looks: list[Observation] = field(default_factory=list)
    name = "Torn"
    timeout = timedelta(minutes=1)

    async def observe(self, kube: Kube, ask: Ask) -> Observation:  # noqa: ARG002 - the protocol's
        at = min(len(self.looks), len(self.versions) - 1)
        there = body("ReplicaSet", resourceVersion=self.versions[at], generation=self.generations[at])
        self.looks.append(Observation(Obj(TARGET.resource, there)))
        return self.looks[-1]

    def plan(self, seen: Observation, ask: Ask) -> tuple[Intent, ...]:  # noqa: ARG002 - the protocol's
        return ()

    def judge(self, seen: Observation, ask: Ask) -> Judgement:  # noqa: ARG002 - the protocol's
        return Judgement(Verdict.PENDING, "StillAllowed", "its rights are back")


@pytest.mark.parametrize(
    ("versions", "generations", "looks"),
    [
        (["7", "7"], [1, 1], 2),
        (["7", "8", "8"], [1, 1, 1], 2),  # its status alone
        (["7", "8", "8"], [1, 2, 2], 3),
        (["7", "8", "8"], [0, 0, 0], 3),  # of a kind that counts no generations
        (["1", "2", "3", "4", "5"], [0, 0, 0, 0, 0], 4),  # not for ever
    ],
)
async def test_it_looks_until_two_looks_agree_on_what_is_asked_for(
    versions: list[str], generations: list[int], looks: int
) -> None:
    action = Torn(versions, generations)
    asked = ask(Target(kind="ReplicaSet", name="llm"), record=EFFECTIVE)

    seen = await _with_its_cause(cast("Kube", None), action, asked)

    assert len(action.looks) == looks
    agreed = action.looks[-1] if looks > 2 else action.looks[0]
    assert seen.target == agreed.target
