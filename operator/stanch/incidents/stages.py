"""Giving back stage by stage, each proven before the next: probation, full, and only then for good. Pure.

A stage is containment made weaker: the journal's changes are recorded anew for it (`StepStatus.eased`) before
anything is written, and held, watched and put right like any others. What the stage gives back is undone as a
release undoes it. A stage that fails is undone by making the journal as strong as it was: from then on this
is a containment like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.actions.protocol import Leniency
from stanch.actions.registry import ACTIONS
from stanch.api.v1alpha1.incident import DesiredState
from stanch.api.v1alpha1.recovery import ReleaseMode, ReleaseStage
from stanch.api.v1alpha1.status import (
    AskedBy,
    CheckOutcome,
    ReleaseStatus,
    StepState,
    StepStatus,
    VerificationStatus,
)
from stanch.holds import entries as holds
from stanch.incidents.acts import Act, Decision, DropHold, EnsureHold, GiveBackHold, Measure
from stanch.incidents.containment import keys_of, wanted_hold
from stanch.incidents.facts import Facts, Item, Limits, items_of
from stanch.incidents.journal import FAILED, Progress, advance
from stanch.incidents.record import BEGUN, DONE
from stanch.incidents.release import give_back
from stanch.incidents.story import Told, tell
from stanch.incidents.ways import UNDER_WAY, also_contained_by, release_rule, rules_of
from stanch.status.phase import Course
from stanch.verification.judge import judge
from stanch.verification.reading import Subject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from stanch.api.v1alpha1.hold import HeldEntry
    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.api.v1alpha1.recovery import Verification
    from stanch.api.v1alpha1.status import Change
    from stanch.verification.judge import Judged

_NEXT = {ReleaseStage.PROBATION: ReleaseStage.FULL, ReleaseStage.FULL: ReleaseStage.PASSED}
_FAILS = {CheckOutcome.FAILED, CheckOutcome.INCONCLUSIVE, CheckOutcome.ERROR}


def decide(facts: Facts, now: datetime, limits: Limits) -> Decision:
    """Raises ValueError when nothing has to be proven: a defect of the caller."""
    rules, standing = rules_of(facts.incident), facts.incident.status.release
    if rules is None:
        raise ValueError(f"{facts.name} has no verification")
    if standing is None or standing.stage not in UNDER_WAY:
        return _begin(facts, now)
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


def _begin(facts: Facts, now: datetime) -> Decision:
    release, other = _begun(facts.incident, now), also_contained_by(facts)
    if not other:
        return _turn(facts, release, VerificationStatus(), now)
    why = (
        f"AIIncident {other} contains it as well: what comes back could not be proven; release {other} "
        "first, or set spec.skipVerification"
    )
    return _fail(facts, release, why, VerificationStatus(), now)


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
    other = also_contained_by(facts)
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
