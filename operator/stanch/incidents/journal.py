"""One step on one target: from the plan to the record to what is observed. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto

from stanch.actions.protocol import BEHIND, Action, Ask, Errand, Judgement, Observation, Refusal, Verdict
from stanch.api.v1alpha1.incident import Severity
from stanch.api.v1alpha1.recovery import ReleaseStage
from stanch.api.v1alpha1.status import Change, ObjectReference, Phase, StepState, StepStatus
from stanch.api.v1alpha1.steps import OnFailure
from stanch.incidents.acts import Act, EndPods, RunErrand, TryOut
from stanch.incidents.contest import came_undone, slipped_through
from stanch.incidents.facts import Contest, Facts, Item, allowed
from stanch.incidents.record import BEGUN, EARLIER_FAILED, EARLIER_UNDONE, record, waits
from stanch.incidents.upkeep import missing
from stanch.status.conditions import CONTESTED

_LONGEST = 1000
_CONTEST_MEMORY = timedelta(minutes=10)
_AGAIN = ReleaseStage.FAILED
"""Being contained again after a release that failed."""
FAILED = {StepState.INEFFECTIVE, StepState.REFUSED}


class Turn(Enum):
    """Whether a step may begin: a target's steps are done in the order of the plan."""

    OPEN = auto()
    WAIT = auto()
    SKIP = auto()


@dataclass(frozen=True, slots=True)
class Progress:
    """Where one step stands after looking at it: its journal entry and what it asks for next."""

    entry: StepStatus
    diff: tuple[str, ...] = ()
    tries: tuple[TryOut, ...] = ()
    changing: tuple[Act, ...] = ()
    """What puts the recorded changes in place; waits when it is fought about again and again."""
    acts: tuple[Act, ...] = ()
    contests: tuple[Contest, ...] = ()
    look_again: float | None = None
    waits: bool = False
    """Whether it is recorded and has not begun: an earlier step on the same target is not done."""
    begins: bool = False
    """Whether it has waited until now."""


def next_turn(turn: Turn, item: Item, entry: StepStatus) -> Turn:
    """Whether the step after this one on the same target may begin."""
    if entry.state is StepState.EFFECTIVE or turn is Turn.SKIP:
        return turn
    if entry.state in FAILED:
        goes_on = entry.optional or item.step.on_failure is OnFailure.CONTINUE
        return turn if goes_on else Turn.SKIP
    return Turn.WAIT


def advance(item: Item, action: Action, facts: Facts, now: datetime, turn: Turn = Turn.OPEN) -> Progress:
    """Record what is not recorded, then put in place what is not in place, then judge."""
    entry = _entry(item, action, facts)
    if entry.state is StepState.REFUSED:
        return Progress(entry)
    seen = facts.observations[item.id]
    ask = facts.ask(item, entry, now)
    intents = action.plan(seen, ask)
    if isinstance(intents, Refusal):
        if not entry.changes and entry.state not in BEGUN:
            return Progress(_refused(entry, intents.reason, intents.message, now))
        intents = ()
    diff = tuple(intent.diff for intent in intents)
    known = entry.changes
    recorded = record(item, entry, intents, ask, facts)
    if recorded.tries:
        return Progress(entry, diff, tries=recorded.tries)
    if recorded.refusal and not known:
        return Progress(_refused(entry, "PreflightRefused", recorded.refusal, now), diff)
    if seen.target is not None:
        entry = entry.model_copy(update={"target": seen.target.reference})
    if entry.state is StepState.PLANNED:
        entry = _recorded(entry, diff, action.condemns(seen, ask), now)
    entry = entry.model_copy(update={"changes": recorded.changes, **facts.errands.get(item.id, {})})
    if turn is not Turn.OPEN and not _was_in_force(entry):
        return Progress(_not_yet(entry, turn), diff, waits=True)
    begins = waits(entry)
    if begins:
        entry = entry.model_copy(update={"state": StepState.RECORDED, "reason": "UndoProven"})
    ask = replace(ask, record=entry, changes=entry.changes)
    progress = _pursue(item, action, seen, ask, known, _told(entry, facts))
    progress = replace(progress, diff=diff, begins=begins)
    return _fell_short(progress, recorded.refusal) if recorded.refusal else progress


def _was_in_force(entry: StepStatus) -> bool:
    """What has stopped something once does so again at once, before steps that wait for others."""
    return entry.state in BEGUN or entry.contested_at is not None or entry.eased is not None


def _recorded(
    entry: StepStatus, diff: tuple[str, ...], condemned: tuple[str, ...], now: datetime
) -> StepStatus:
    return entry.model_copy(
        update={
            "state": StepState.RECORDED,
            "reason": "UndoProven",
            "message": "; ".join(diff)[:_LONGEST],
            "condemned": condemned,
            "started_at": now,
        }
    )


def _not_yet(entry: StepStatus, turn: Turn) -> StepStatus:
    skipped = turn is Turn.SKIP
    return entry.model_copy(
        update={
            "state": StepState.SKIPPED if skipped else StepState.RECORDED,
            "reason": EARLIER_FAILED if skipped else EARLIER_UNDONE,
        }
    )


def _fell_short(progress: Progress, refusal: str) -> Progress:
    """What stood before still stands, but something that came later must not be changed."""
    update = {"state": StepState.INEFFECTIVE, "reason": "PreflightRefused", "message": refusal[:_LONGEST]}
    return replace(progress, entry=progress.entry.model_copy(update=update | {"effective_at": None}))


def _told(entry: StepStatus, facts: Facts) -> frozenset[str]:
    """What was told of the contest that is being put right; nothing when none is."""
    since = entry.contested_at
    if since is None or entry.state in BEGUN:
        return frozenset()
    lines = (one for one in facts.incident.status.timeline if one.type == CONTESTED and one.at >= since)
    return frozenset(one.message for one in lines)


def _pursue(  # noqa: PLR0913, PLR0917 - the step, what is seen of it, and what is known of it
    item: Item,
    action: Action,
    seen: Observation,
    ask: Ask,
    known: tuple[Change, ...],
    told: frozenset[str],
) -> Progress:
    entry, now = ask.record, ask.now
    assert entry is not None  # noqa: S101 - `advance` has just set it
    gaps = missing(entry.changes, action, seen, ask)
    if gaps:
        contests = slipped_through(entry, gaps, known, told, now)
        if contests and entry.state in BEGUN:
            entry = _contested(entry, contests, now)
        doomed = action.rush(seen, ask)
        rushed = (EndPods(doomed),) if doomed else ()
        return Progress(entry, changing=(*rushed, *(gap.act for gap in gaps)), contests=contests)
    judgement = action.judge(seen, ask)
    contests = came_undone(entry, seen, judgement, now)
    if contests:
        entry = _contested(entry, contests, now)
    pending = judgement.verdict is Verdict.PENDING
    doomed = action.hurry(seen, ask) if pending else ()
    errand: Errand | None = None if judgement.verdict is Verdict.EFFECTIVE else action.errand(seen, ask)
    acts: list[Act] = [EndPods(doomed)] if doomed else []
    if errand is not None:
        acts.append(RunErrand(item.id, errand))
    return Progress(
        _judged(item, entry, judgement, now),
        acts=tuple(acts),
        contests=contests,
        look_again=_patience(entry, judgement, now),
    )


def _judged(item: Item, entry: StepStatus, judgement: Judgement, now: datetime) -> StepStatus:
    if entry.state is StepState.EFFECTIVE and judgement.reason == BEHIND:
        return entry  # somebody changed something else: no news about what is contained
    applied_at = entry.applied_at or now
    limit = allowed(item)
    state = {
        Verdict.EFFECTIVE: StepState.EFFECTIVE,
        Verdict.PENDING: StepState.APPLIED,
        Verdict.INEFFECTIVE: StepState.INEFFECTIVE,
        Verdict.INCONCLUSIVE: StepState.INCONCLUSIVE,
    }[judgement.verdict]
    message = judgement.message
    if judgement.verdict in {Verdict.PENDING, Verdict.INCONCLUSIVE} and now - applied_at > limit:
        state = StepState.INEFFECTIVE
        message = f"after {int(limit.total_seconds())} s: {message}"
    return entry.model_copy(
        update={
            "state": state,
            "reason": judgement.reason,
            "message": message[:_LONGEST],
            "applied_at": applied_at,
            "effective_at": (entry.effective_at or now) if state is StepState.EFFECTIVE else None,
            "eased": None if state is StepState.EFFECTIVE and entry.eased is _AGAIN else entry.eased,
        }
    )


def _patience(entry: StepStatus, judgement: Judgement, now: datetime) -> float | None:
    """Look often at first, then at a tenth of the time that has passed, up to 5 s."""
    if judgement.look_again is None:
        return None
    waited = (now - (entry.applied_at or now)).total_seconds()
    return min(max(judgement.look_again, waited / 10), 5.0)


def _entry(item: Item, action: Action, facts: Facts) -> StepStatus:
    standing = next((entry for entry in facts.incident.status.steps if entry.id == item.id), None)
    rejected = facts.incident.status.phase is Phase.REJECTED  # and its spec has changed since: tried anew
    if standing is not None and not rejected:
        return standing
    target = ObjectReference(
        api_version=item.target.api_version, kind=item.target.kind, name=item.target.name
    )
    critical = facts.incident.spec.severity is Severity.CRITICAL
    optional = item.step.optional or (critical and not action.essential)
    return StepStatus(
        id=item.id, action=action.name, target=target, state=StepState.PLANNED, optional=optional
    )


def _refused(entry: StepStatus, reason: str, message: str, now: datetime) -> StepStatus:
    return entry.model_copy(
        update={
            "state": StepState.REFUSED,
            "reason": reason,
            "message": message[:_LONGEST],
            "started_at": entry.started_at or now,
        }
    )


def _contested(entry: StepStatus, contests: tuple[Contest, ...], now: datetime) -> StepStatus:
    """Applied anew from here: its time to become effective begins again."""
    lately = entry.contested_at is not None and now - entry.contested_at < _CONTEST_MEMORY
    return entry.model_copy(
        update={
            "state": StepState.RECORDED,
            "reason": "Contested",
            "message": f"{contests[0].by} {contests[0].what}; being put right"[:_LONGEST],
            "attempts": entry.attempts + 1 if lately else 1,
            "contested_at": now,
            "applied_at": None,
        }
    )
