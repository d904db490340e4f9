"""CollectEvidence: keep what is in force and what was said before anything is changed.

Evidence never stands between a Critical incident and its containment: what cannot be taken within the step's
time is told, and the plan goes on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stanch.actions.objects import Obj
from stanch.actions.protocol import Ask, Intent, Judgement, Observation, Plain, Refusal, Verdict
from stanch.kube.resources import AIINCIDENTS, CHANGEABLE, ObjectRef

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stanch.actions.protocol import Errand, Tools
    from stanch.kube.client import Kube

_BUSY = "no evidence was taken: the operator was busy with that of other targets"
_TRIED = frozenset({"EvidenceNotConfigured", "EvidenceNotStored"})


class CollectEvidence(Plain):
    name = "CollectEvidence"
    timeout = timedelta(seconds=20)
    essential = False

    async def observe(self, kube: Kube, ask: Ask) -> Observation:
        ref = _target(ask)
        body = await kube.get(ref)
        return Observation(Obj(ref.resource, body) if body else None)

    def plan(self, seen: Observation, ask: Ask) -> tuple[Intent, ...] | Refusal:  # noqa: ARG002 - the protocol's
        if seen.target is None:
            return Refusal("TargetNotFound", "there is no such object in the incident's namespace")
        return ()

    def judge(self, seen: Observation, ask: Ask) -> Judgement:  # noqa: ARG002 - the protocol's
        """What the errand brought back, which stands in the journal entry."""
        entry = ask.record
        if entry is not None and entry.evidence is not None:
            reason = "EvidenceCollected" if entry.evidence.complete else "EvidenceIncomplete"
            return Judgement(Verdict.EFFECTIVE, reason, entry.message)
        if entry is not None and entry.reason in _TRIED:
            return Judgement(Verdict.INEFFECTIVE, entry.reason, entry.message)
        return Judgement(Verdict.PENDING, "Collecting", "evidence is being taken")

    def errand(self, seen: Observation, ask: Ask) -> Errand | None:  # noqa: ARG002 - the protocol's
        incident = ObjectRef(AIINCIDENTS, ask.namespace, ask.incident)
        return _Take(incident, ask.uid, _target(ask), ask.timeout.total_seconds())


@dataclass(frozen=True, slots=True)
class _Take:
    incident: ObjectRef
    uid: str
    target: ObjectRef
    seconds: float

    async def run(self, tools: Tools) -> Mapping[str, Any]:
        """Waiting until there is room counts as well: the step has its time and no more."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.seconds
        try:
            async with asyncio.timeout_at(deadline):
                await tools.slots.acquire()
        except TimeoutError:
            return {"reason": "EvidenceNotStored", "message": f"{_BUSY} for {self.seconds:g} s"}
        try:
            taken = await tools.collector.take(
                self.incident, self.uid, [self.target], seconds=max(deadline - clock(), 0.0)
            )
        finally:
            tools.slots.release()
        return {"evidence": taken.record, "reason": taken.reason, "message": taken.message[:1000]}


def _target(ask: Ask) -> ObjectRef:
    resource = CHANGEABLE[ask.target.api_version, ask.target.kind]
    return ObjectRef(resource, ask.namespace, ask.target.name)
