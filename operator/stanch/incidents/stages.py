"""Giving back stage by stage, each proven before the next: probation, full, and only then for good. Pure.

A stage is containment made weaker: the journal's changes are recorded anew for it (`StepStatus.eased`) before
anything is written, and held, watched and put right like any others. What the stage gives back is undone as a
release undoes it. A stage that fails is undone by making the journal as strong as it was: from then on this
is a containment like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

from stanch.actions.protocol import Leniency
from stanch.actions.registry import ACTIONS
from stanch.api.schema import seconds
from stanch.api.v1alpha1.hold import Rule, hold_key
from stanch.api.v1alpha1.incident import AIIncident, DesiredState
from stanch.api.v1alpha1.recovery import ReleaseMode, ReleaseRule, ReleaseStage, Verification
from stanch.api.v1alpha1.status import (
    GIVEN_BACK,
    AskedBy,
    CheckOutcome,
    Phase,
    ReleaseStatus,
    StepState,
    StepStatus,
    VerificationStatus,
)
from stanch.holds import entries as holds
from stanch.incidents.containment import gave_up, keys_of, wanted_hold
from stanch.incidents.facts import (
    Act,
    Decision,
    DropHold,
    EnsureHold,
    Facts,
    GiveBackHold,
    Item,
    Limits,
    Measure,
    items_of,
)
from stanch.incidents.journal import FAILED, Progress, advance
from stanch.incidents.record import BEGUN, DONE
from stanch.incidents.release import give_back
from stanch.incidents.story import Told, tell
from stanch.status.phase import Course
from stanch.verification.judge import judge
from stanch.verification.reading import Subject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stanch.api.v1alpha1.hold import Held, HeldEntry
    from stanch.api.v1alpha1.status import AIIncidentStatus, Change
    from stanch.verification.judge import Judged

UNDER_WAY = frozenset({ReleaseStage.PROBATION, ReleaseStage.FULL})
_NEXT = {ReleaseStage.PROBATION: ReleaseStage.FULL, ReleaseStage.FULL: ReleaseStage.PASSED}
_FAILS = {CheckOutcome.FAILED, CheckOutcome.INCONCLUSIVE, CheckOutcome.ERROR}


class Way(Enum):
    """What is to become of an incident now."""

    STAY = auto()
    STAGED = auto()
    AT_ONCE = auto()


def way_of(incident: AIIncident, now: datetime) -> Way:
    """A person's word, a policy's turn, or neither. What proof is asked for is given back by stages.

    A change of mind before anything was contained needs no proof: there was nothing to recover from. Nor does
    deleting the incident, which needs the verb `release` as well.
    """
    standing = incident.status.release
    asked = incident.spec.desired_state is DesiredState.RELEASED
    if _needs_no_proof(incident):
        return Way.AT_ONCE
    if under_way(incident):
        return Way.STAGED
    if asked and (standing is None or standing.generation != incident.metadata.generation):
        return Way.STAGED if rules_of(incident) is not None and _was_contained(incident) else Way.AT_ONCE
    due = tries_at(incident)
    return Way.STAGED if due is not None and due <= now else Way.STAY


def _needs_no_proof(incident: AIIncident) -> bool:
    """Given back already, or to be without more ado."""
    status, spec = incident.status, incident.spec
    return (
        incident.metadata.deletion_timestamp is not None
        or status.phase in GIVEN_BACK
        or (status.phase is Phase.RELEASING and not under_way(incident))
        or (spec.skip_verification and spec.desired_state is DesiredState.RELEASED)
        or (status.release is None and gave_up(incident))
    )


def under_way(incident: AIIncident) -> bool:
    return looked_at(incident.status)


def looked_at(status: AIIncidentStatus) -> bool:
    """Whether checks of a stage are looked at."""
    return status.release is not None and status.release.stage in UNDER_WAY


def rules_of(incident: AIIncident) -> Verification | None:
    """What has to be shown: as the policy had it when the plan was made."""
    plan = incident.status.plan
    return plan.policy.verification if plan is not None and plan.policy is not None else None


def release_rule(incident: AIIncident) -> ReleaseRule:
    plan = incident.status.plan
    return (plan.policy.release if plan is not None and plan.policy is not None else None) or ReleaseRule()


def tries_at(incident: AIIncident) -> datetime | None:
    """When the policy tries to release by itself; None when it does not, or no more."""
    status, rule = incident.status, release_rule(incident)
    by_itself = rule.mode is ReleaseMode.AUTOMATIC and incident.spec.release_mode is not ReleaseMode.MANUAL
    if not by_itself or rules_of(incident) is None or status.phase is not Phase.CONTAINED:
        return None
    tried = status.release.attempt if status.release is not None else 0
    since = status.release.since if status.release is not None else _contained_at(incident)
    if since is None or tried >= rule.attempts:
        return None
    return since + timedelta(seconds=seconds(rule.after) * (1 << tried))


def shares(facts: Facts) -> str:
    """Another incident that holds something of this one's; empty when none does."""
    ours = holds.held_by(_objects_held(facts), facts.name).values()
    others = {name for entry in ours for name in entry.incidents} - {facts.name} - facts.ghosts
    return min(others, default="")


def _contains_it_too(facts: Facts) -> str:
    """Another incident that holds, in whatever way, an object that this one holds; empty when none does."""
    held = _objects_held(facts)
    ours = holds.objects(holds.held_by(held, facts.name))
    others = {
        name for key, entry in held.items() if holds.objects((key,)) <= ours for name in entry.incidents
    }
    return min(others - {facts.name} - facts.ghosts, default="")


def _objects_held(facts: Facts) -> Held:
    """A version that several condemn is no object that several contain."""
    condemned = hold_key(Rule.CONDEMNED, "")
    return {key: entry for key, entry in facts.held.items() if not key.startswith(condemned)}


def decide(facts: Facts, now: datetime, limits: Limits) -> Decision:
    """Raises ValueError when nothing has to be proven: a defect of the caller."""
    rules, standing = rules_of(facts.incident), facts.incident.status.release
    if rules is None:
        raise ValueError(f"{facts.name} has no verification")
    if standing is None or standing.stage not in UNDER_WAY:
        return _turn(facts, _begun(facts.incident, now), VerificationStatus(), now)
    why = _taken_back(facts, standing)
    if why:
        return _fail(facts, standing, why, _standing_checks(facts), now)
    judged = judge(_standing_checks(facts), facts.readings, rules, began=standing.since, now=now)
    outcome = judged.status.outcome
    if outcome is CheckOutcome.PASSED:
        further = standing.model_copy(update={"stage": _NEXT[standing.stage], "since": now})
        passed = further.stage is ReleaseStage.PASSED
        return _turn(facts, further, judged.status if passed else VerificationStatus(), now)
    if outcome in _FAILS:
        return _fail(facts, standing, judged.status.message, judged.status, now)
    return _Stage(facts, standing, rules, judged, now).work(limits)


def _was_contained(incident: AIIncident) -> bool:
    return _contained_at(incident) is not None


def _contained_at(incident: AIIncident) -> datetime | None:
    times = incident.status.timestamps
    return times.contained if times is not None else None


def _standing_checks(facts: Facts) -> VerificationStatus:
    return facts.incident.status.verification or VerificationStatus()


def _begun(incident: AIIncident, now: datetime) -> ReleaseStatus:
    asked = incident.spec.desired_state is DesiredState.RELEASED
    before = incident.status.release
    return ReleaseStatus(
        stage=ReleaseStage.PROBATION,
        asked_by=AskedBy.PERSON if asked else AskedBy.POLICY,
        generation=incident.metadata.generation,
        attempt=(before.attempt if before is not None else 0) + 1,
        since=now,
    )


def _taken_back(facts: Facts, standing: ReleaseStatus) -> str:
    """Why whoever asked for it does so no more; empty while they do."""
    spec = facts.incident.spec
    if standing.asked_by is AskedBy.PERSON and spec.desired_state is DesiredState.CONTAINED:
        return "withdrawn: spec.desiredState is Contained again"
    if standing.asked_by is AskedBy.POLICY and spec.release_mode is ReleaseMode.MANUAL:
        return "withdrawn: spec.releaseMode is Manual"
    other = _contains_it_too(facts)
    return f"AIIncident {other} contains it as well by now" if other else ""


def _turn(facts: Facts, release: ReleaseStatus, verification: VerificationStatus, now: datetime) -> Decision:
    """The next stage, recorded with its journal before anything of it is written."""
    steps = facts.incident.status.steps
    items = {item.id: item for item in items_of(facts.incident)}
    if release.stage in UNDER_WAY:
        steps = tuple(_eased(facts, items, step, release.stage, now) for step in steps)
    else:
        steps = tuple(_proven(items, step) for step in steps)
    told = Told(
        steps=steps,
        plan=facts.incident.status.plan,
        course=Course(releasing=True),
        hold_stands=True,
        contests=facts.contests,
        release=release,
        verification=verification,
    )
    return Decision(tell(facts, told, now), again=True)


def _eased(
    facts: Facts, items: Mapping[str, Item], step: StepStatus, stage: ReleaseStage, now: datetime
) -> StepStatus:
    """The entry as the stage has it. What had not begun does not begin now."""
    item = items.get(step.id)
    if item is None or item.action not in ACTIONS or not (step.state in BEGUN or step.eased is not None):
        return step
    changes = _changes(facts, item, step, stage, now)
    if step.state in DONE or changes is None or changes == step.changes:
        return step.model_copy(update={"eased": stage})
    return step.model_copy(
        update={
            "eased": stage,
            "changes": changes,
            "state": StepState.RECORDED,
            "reason": str(stage),
            "message": "",
            "contested_at": None,
            "applied_at": None,
            "effective_at": None,
        }
    )


def _proven(items: Mapping[str, Item], step: StepStatus) -> StepStatus:
    """The entry as containment recorded it: that, and not the stages, is what is given back for good."""
    item = items.get(step.id)
    if step.eased is None or item is None or item.action not in ACTIONS:
        return step
    return step.model_copy(update={"eased": None, "changes": ACTIONS[item.action].tightens(step.changes)})


def _changes(
    facts: Facts, item: Item, step: StepStatus, stage: ReleaseStage, now: datetime
) -> tuple[Change, ...] | None:
    return ACTIONS[item.action].eases(step.changes, facts.ask(item, step, now), _leniency(facts, item, stage))


def _leniency(facts: Facts, item: Item, stage: ReleaseStage) -> Leniency:
    reborn = any(
        other.target == item.target
        and other.step.member is not None
        and other.action in ACTIONS
        and ACTIONS[other.action].ends_pods(other.step.member)
        for other in items_of(facts.incident)
    )
    return Leniency(stage, release_rule(facts.incident).probation, reborn)


def _fail(
    facts: Facts, standing: ReleaseStatus, why: str, verification: VerificationStatus, now: datetime
) -> Decision:
    """Contained again: what the stages gave back is recorded anew, what they made weaker is as it was."""
    items = {item.id: item for item in items_of(facts.incident)}
    told = Told(
        steps=tuple(_again(items, step) for step in facts.incident.status.steps),
        plan=facts.incident.status.plan,
        course=Course(),
        contests=facts.contests,
        release=standing.model_copy(
            update={"stage": ReleaseStage.FAILED, "since": now, "message": why[:2048]}
        ),
        verification=verification,
    )
    return Decision(tell(facts, told, now), again=True)


def _again(items: Mapping[str, Item], step: StepStatus) -> StepStatus:
    item = items.get(step.id)
    if step.eased is None or item is None or item.action not in ACTIONS:
        return step
    given_back = step.state in DONE
    changes = () if given_back else ACTIONS[item.action].tightens(step.changes)
    if not given_back and changes == step.changes and step.state in BEGUN:
        return step.model_copy(update={"eased": None})
    return step.model_copy(
        update={
            "eased": ReleaseStage.FAILED,
            "changes": changes,
            "undo": None,
            "state": StepState.RECORDED,
            "reason": "ReleaseFailed",
            "message": "",
            "contested_at": None,
            "applied_at": None,
            "effective_at": None,
        }
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """A step that stands in the stage, weaker or as it was."""

    item: Item
    progress: Progress
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Stage:
    """One look at a stage that is under way."""

    facts: Facts
    standing: ReleaseStatus
    rules: Verification
    judged: Judged
    now: datetime

    def work(self, limits: Limits) -> Decision:
        """What stays is held, then what goes is undone, what is weaker let in, what is in place looked at."""
        kept = self._kept()
        tries = tuple(attempt for one in kept for attempt in one.progress.tries)
        if tries:
            return Decision(acts=tries)
        journal = {one.item.id: one.progress.entry for one in kept}
        wanted = frozenset(key for one in kept for key in one.keys)
        acts = self._holding(wanted)
        if acts:
            return self._decision(self._steps({}), kept, acts)
        outcomes = [give_back(self.facts, item, step, self.now) for item, step in reversed(self._going())]
        acts = tuple(act for outcome in outcomes for act in outcome.acts)
        if acts:
            return self._decision(self._steps(journal), kept, acts)
        journal |= {outcome.entry.id: outcome.entry for outcome in outcomes}
        steps = self._steps(journal)
        if self._ours().keys() - wanted:
            return self._decision(steps, kept, (DropHold(),))
        return self._look(steps, kept, limits)

    def _look(self, steps: tuple[StepStatus, ...], kept: Sequence[_Kept], limits: Limits) -> Decision:
        failed = next((one for one in steps if _fell_short(one)), None)
        if failed is not None:
            why = f"{failed.action} of {failed.target.name}: {failed.message or failed.reason}"
            return _fail(self.facts, self.standing, why, self.judged.status, self.now)
        acts: list[Act] = [act for one in kept for act in (*one.progress.changing, *one.progress.acts)]
        verification = self.judged.status
        in_place = not acts and all(
            one.progress.entry.state in {StepState.EFFECTIVE, StepState.SKIPPED, *FAILED} for one in kept
        )
        if verification.since is None and in_place:
            verification = verification.model_copy(update={"since": self.now})
        due = tuple(
            check
            for check in self.rules.checks
            if check.name in self.judged.due and check.name not in self.facts.measuring
        )
        if due:
            acts.append(Measure(self._subject(), due))
        looks = [one.progress.look_again for one in kept if one.progress.look_again is not None]
        return self._decision(
            steps,
            kept,
            tuple(acts),
            verification=verification,
            look_again=min(
                [*looks, self.judged.look_again or limits.rejudge_seconds, limits.rejudge_seconds]
            ),
        )

    def _kept(self) -> list[_Kept]:
        kept: list[_Kept] = []
        for item, step in self._standing_steps():
            if step.state in DONE or _changes(self.facts, item, step, self.standing.stage, self.now) is None:
                continue
            progress = advance(item, ACTIONS[item.action], self.facts, self.now)
            kept.append(_Kept(item, progress, keys_of(self.facts, item, progress, self.now)))
        return kept

    def _going(self) -> list[tuple[Item, StepStatus]]:
        return [
            (item, step)
            for item, step in self._standing_steps()
            if step.state in DONE or _changes(self.facts, item, step, self.standing.stage, self.now) is None
        ]

    def _standing_steps(self) -> list[tuple[Item, StepStatus]]:
        items = {item.id: item for item in items_of(self.facts.incident)}
        return [(items[step.id], step) for step in self.facts.incident.status.steps if step.eased is not None]

    def _ours(self) -> Mapping[str, HeldEntry]:
        return holds.held_by(self.facts.held, self.facts.name)

    def _holding(self, wanted: frozenset[str]) -> tuple[Act, ...]:
        """What stays is held before anything else is let go."""
        ours = self._ours()
        standing = {key for key, entry in ours.items() if entry.giving_back is None}
        if not (wanted <= standing and (self.facts.holding or not wanted)):
            return (EnsureHold(wanted_hold(self.facts, [wanted], self.now)),)
        if standing - wanted:
            return (GiveBackHold(self.facts.ghosts, wanted),)
        return ()

    def _steps(self, journal: Mapping[str, StepStatus]) -> tuple[StepStatus, ...]:
        return tuple(journal.get(step.id, step) for step in self.facts.incident.status.steps)

    def _decision(
        self,
        steps: tuple[StepStatus, ...],
        kept: Sequence[_Kept],
        acts: tuple[Act, ...],
        *,
        verification: VerificationStatus | None = None,
        look_again: float | None = None,
    ) -> Decision:
        told = Told(
            steps=steps,
            plan=self.facts.incident.status.plan,
            course=Course(releasing=True),
            hold_stands=True,
            contests=(*self.facts.contests, *(one for step in kept for one in step.progress.contests)),
            release=self.standing,
            verification=verification or self.judged.status,
        )
        return Decision(tell(self.facts, told, self.now), acts, look_again)

    def _subject(self) -> Subject:
        incident = self.facts.incident
        return Subject(
            namespace=incident.metadata.namespace,
            name=incident.metadata.name,
            uid=incident.metadata.uid,
            targets=incident.spec.targets,
            stage=self.standing.stage,
            attempt=self.standing.attempt,
            known_good=incident.spec.known_good,
            condemned=holds.condemned(self.facts.held)
            | frozenset(version for step in incident.status.steps for version in step.condemned),
            since=self.judged.status.since or self.now,
        )


def _fell_short(step: StepStatus) -> bool:
    """A step that stood when the release began, and stands no more."""
    return step.eased is not None and step.state in FAILED and not step.optional
