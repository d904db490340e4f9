"""CollectEvidence: keep what is in force and what was said before anything is changed.

Evidence never stands between a Critical incident and its containment: what cannot be taken within the step's
time is told, and the plan goes on. What no store took is taken again, less and less often, until one does.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stanch.actions.objects import Obj
from stanch.actions.protocol import Ask, Intent, Judgement, Observation, Plain, Refusal, Verdict
from stanch.actions.target import NOT_FOUND
from stanch.kube.resources import AIINCIDENTS, CHANGEABLE, ObjectRef

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from stanch.actions.protocol import Errand, Tools
    from stanch.api.v1alpha1.status import StepStatus
    from stanch.kube.client import Kube

_BUSY = "no evidence was taken: the operator was busy with that of other targets"
_NOT_STORED = "EvidenceNotStored"
_TRIED = frozenset({"EvidenceNotConfigured", _NOT_STORED})
_AGAIN = timedelta(minutes=1)
_LONGEST = timedelta(hours=1)
_KNOCK_SECONDS = 2.0


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
            return NOT_FOUND
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
        entry = ask.record
        if entry is not None and entry.reason in _TRIED and not _due(entry, ask.now):
            return None
        tried = entry.attempts if entry is not None else 0
        incident = ObjectRef(AIINCIDENTS, ask.namespace, ask.incident)
        return _Take(incident, ask.uid, _target(ask), ask.timeout.total_seconds(), tried, ask.now)


def _due(entry: StepStatus, now: datetime) -> bool:
    """Its `applied_at` is when it was tried last."""
    since = entry.applied_at
    return entry.reason == _NOT_STORED and (since is None or now >= since + _pause(entry.attempts))


def _pause(tried: int) -> timedelta:
    return min(_AGAIN * (1 << min(max(tried - 1, 0), 10)), _LONGEST)


@dataclass(frozen=True, slots=True)
class _Take:
    incident: ObjectRef
    uid: str
    target: ObjectRef
    seconds: float
    tried: int
    """How often it was tried in vain."""
    at: datetime

    async def run(self, tools: Tools) -> Mapping[str, Any]:
        """Waiting until there is room counts as well: the step has its time and no more.

        A later try first knocks: putting right what somebody undoes does not wait for a store that hangs.
        """
        if self.tried and not await tools.collector.answers(seconds=_KNOCK_SECONDS):
            return self._in_vain("no evidence was taken: the store still does not answer")
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.seconds
        try:
            async with asyncio.timeout_at(deadline):
                await tools.slots.acquire()
        except TimeoutError:
            return self._in_vain(f"{_BUSY} for {self.seconds:g} s")
        try:
            taken = await tools.collector.take(
                self.incident, self.uid, [self.target], seconds=max(deadline - clock(), 0.0)
            )
        finally:
            tools.slots.release()
        if taken.reason == _NOT_STORED:
            return self._in_vain(taken.message)
        late = f"late, taken at the try no. {self.tried + 1}: " if self.tried else ""
        return {"evidence": taken.record, "reason": taken.reason, "message": (late + taken.message)[:1000]}

    def _in_vain(self, why: str) -> Mapping[str, Any]:
        tried = self.tried + 1
        again = f"; tried again after {_pause(tried).total_seconds() / 60:g} min"
        return {
            "reason": _NOT_STORED,
            "message": why[: 1000 - len(again)] + again,
            "attempts": tried,
            "applied_at": self.at,
        }


def _target(ask: Ask) -> ObjectRef:
    resource = CHANGEABLE[ask.target.api_version, ask.target.kind]
    return ObjectRef(resource, ask.namespace, ask.target.name)
