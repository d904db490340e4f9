"""Rollback: run another version of a workload's image or model, and let the bad one run nowhere.

What is condemned is denied to every pod of the namespace. What is neither condemned nor the version that was
rolled back to, a fix, is nobody's business here: it may be deployed and is not fought about.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stanch.actions.protocol import (
    BEHIND,
    Ask,
    Doomed,
    Edit,
    Intent,
    Judgement,
    Leniency,
    Plain,
    Refusal,
    Verdict,
)
from stanch.actions.rollout import (
    SOON,
    Tainted,
    Versions,
    condemned_by,
    left_behind,
    look,
    still_runs,
    template_of,
)
from stanch.actions.target import uncontrolled
from stanch.api.v1alpha1.hold import HELD_LABEL, Rule, hold_key
from stanch.api.v1alpha1.status import Change, ChangeType, StepState
from stanch.api.v1alpha1.steps import Condemn, OnRelease
from stanch.api.v1alpha1.steps import Rollback as RollbackStep
from stanch.kube.resources import DAEMONSETS, DEPLOYMENTS, STATEFULSETS
from stanch.plans.changes import field_change, keys_of, lookup, stands
from stanch.versions.choice import Chosen, Refused, Standing, choose
from stanch.versions.condemned import MOST, carries, condemn, digests
from stanch.versions.diff import clean, diff, field_changes, put
from stanch.versions.wording import changed

if TYPE_CHECKING:
    from stanch.actions.objects import Obj
    from stanch.api.v1alpha1.steps import StepMember
    from stanch.kube.client import Kube

Json = dict[str, Any]

RESOURCES = {resource.kind: resource for resource in (DEPLOYMENTS, STATEFULSETS, DAEMONSETS)}
_TEMPLATE = ("spec", "template")
_MOST_FIELDS = 60


class Rollback(Plain):
    name = "Rollback"
    timeout = timedelta(minutes=15)
    kinds = frozenset(RESOURCES)

    async def observe(self, kube: Kube, ask: Ask) -> Versions:
        return await look(kube, RESOURCES.get(ask.target.kind), ask)

    def plan(self, seen: Versions, ask: Ask) -> tuple[Intent, ...] | Refusal:
        workload = _versioned(seen.target, ask)
        if isinstance(workload, Refusal):
            return workload
        standing = _recorded(workload, ask)
        if standing is not None and ask.record is not None and ask.record.changes:
            if workload.meta.uid != standing.object.uid:
                return _again(workload, standing, ask)
            if not _moved_on(workload, standing):
                return (_as_recorded(workload, standing),)
        elif standing is not None:
            return _shared(seen, workload, standing, ask)
        return _anew(seen, workload, ask)

    def condemns(self, seen: Versions, ask: Ask) -> tuple[str, ...]:
        workload = seen.target
        if workload is None:
            return ()
        versions = _versions(seen, workload, ask)
        if versions is None:
            return ()
        keys = condemn(*versions, _member(ask).locator).keys
        found = digests(seen.bodies, keys)
        return tuple(sorted({*found, *keys[: MOST - len(found)]}))

    def stands(self, change: Change, obj: Obj, ask: Ask) -> bool:
        """Not when it carries or runs what is condemned, and not while it is as it was before."""
        gaps = [each for each in change.fields if not stands(each, obj.json)]
        if not gaps:
            return True
        if isinstance(obj, Tainted) or carries(template_of(obj), condemned_by(ask)):
            return False
        return any(lookup(obj.json, each.path) != each.before for each in gaps)

    def judge(self, seen: Versions, ask: Ask) -> Judgement:
        """Effective when the rollout is complete and no pod that may still run is of a condemned version.

        Once it is, only a condemned version is news: scaling and fixes roll out as their owners like.
        """
        workload = seen.target
        if workload is None:
            return Judgement(Verdict.EFFECTIVE, "TargetGone", "the workload no longer exists")
        if not workload.observed:
            which = f"{workload.resource.kind} {workload.meta.name}"
            return Judgement(Verdict.PENDING, BEHIND, f"its controller has not yet seen {which}", SOON)
        unfinished = still_runs(seen, condemned_by(ask))
        if unfinished is not None:
            return unfinished
        progress = seen.rollout()
        was_effective = ask.record is not None and ask.record.state is StepState.EFFECTIVE
        if was_effective or progress.done:
            return _done(workload, ask)
        verdict = Verdict.INEFFECTIVE if progress.stuck else Verdict.PENDING
        return Judgement(verdict, progress.reason, progress.message, SOON)

    def ends_pods(self, member: StepMember) -> bool:  # noqa: ARG002 - the protocol's
        return True

    def hurry(self, seen: Versions, ask: Ask) -> tuple[Doomed, ...]:  # noqa: ARG002 - the protocol's
        return left_behind(seen)

    def restores(self, ask: Ask) -> bool:
        return _member(ask).on_release is OnRelease.RESTORE

    def eases(
        self,
        changes: tuple[Change, ...],
        ask: Ask,
        leniency: Leniency,  # noqa: ARG002 - the protocol's
    ) -> tuple[Change, ...] | None:
        """The good version stays; where the bad one is to come back, that is the one to prove."""
        return None if self.restores(ask) else changes

    def keeps(self, ask: Ask) -> frozenset[str]:
        if _member(ask).condemn is not Condemn.PERMANENT:
            return frozenset()
        return frozenset(hold_key(Rule.CONDEMNED, version) for version in condemned_by(ask))


def _member(ask: Ask) -> RollbackStep:
    """Raises TypeError when the step is another one: a defect of the caller."""
    if not isinstance(ask.member, RollbackStep):
        raise TypeError(f"not a Rollback step: {ask.member!r}")
    return ask.member


def _versioned(workload: Obj | None, ask: Ask) -> Obj | Refusal:
    if ask.target.kind not in RESOURCES:
        return Refusal(
            "KindHasNoVersions",
            f"a {ask.target.kind} does not replace its pods when its pod template changes; "
            "name the Deployment, StatefulSet or DaemonSet",
        )
    return uncontrolled(workload)


def _recorded(workload: Obj, ask: Ask) -> Change | None:
    """What this incident or, before it has a record, another one rolled this workload back with."""
    return next(
        (
            change
            for change in ask.changes
            if change.type is ChangeType.UPDATE
            and (change.object.kind, change.object.name) == (workload.resource.kind, workload.meta.name)
        ),
        None,
    )


def _oftemplate_of(change: Change) -> list[tuple[list[str], Any, Any]]:
    """The keys below the pod template, before and after."""
    fields = [(keys_of(each.path), each.before, each.after) for each in change.fields]
    return [(keys[2:], before, after) for keys, before, after in fields if tuple(keys[:2]) == _TEMPLATE]


def _moved_on(workload: Obj, change: Change) -> bool:
    """Recorded, not yet written, and changed by somebody since."""
    return HELD_LABEL not in workload.meta.labels and any(
        not stands(each, workload.json) and lookup(workload.json, each.path) != each.before
        for each in change.fields
    )


def _as_recorded(workload: Obj, change: Change) -> Edit:
    fields = tuple(each for each in change.fields if tuple(keys_of(each.path)[:2]) == _TEMPLATE)
    return Edit(workload, fields, "as recorded", Rule.KEPT)


def _again(workload: Obj, change: Change, ask: Ask) -> tuple[Intent, ...]:
    """The workload was deleted and made again: nothing to do, unless it carries what is condemned."""
    if not carries(template_of(workload), condemned_by(ask)):
        return ()
    fields = tuple(
        field_change(workload.json, each.path, each.after)
        for each in change.fields
        if tuple(keys_of(each.path)[:2]) == _TEMPLATE and not stands(each, workload.json)
    )
    return (Edit(workload, fields, "as the one by that name before", Rule.KEPT),)


def _shared(seen: Versions, workload: Obj, change: Change, ask: Ask) -> tuple[Intent, ...] | Refusal:
    """Another incident has rolled it back: this one holds what that one did, or asks for something else."""
    edit = _as_recorded(workload, change)
    if workload.meta.uid != change.object.uid:
        return _anew(seen, workload, ask)
    if _member(ask).to.last_known_good:
        return (edit,)
    chosen = _choose(seen, workload, ask)
    good = _with(template_of(workload), change, after=True)
    if isinstance(chosen, Refused) and chosen.reason != "AlreadyCurrent":
        return Refusal(chosen.reason, chosen.message)
    if isinstance(chosen, Chosen) and chosen.template != good:
        return Refusal(
            "RolledBackOtherwise",
            f"another incident has rolled it back to another version than {chosen.what}; release that first",
        )
    return (edit,)


def _anew(seen: Versions, workload: Obj, ask: Ask) -> tuple[Intent, ...] | Refusal:
    chosen = _choose(seen, workload, ask)
    if isinstance(chosen, Refused):
        return Refusal(chosen.reason, chosen.message)
    fields = field_changes(diff(template_of(workload), chosen.template), *_TEMPLATE)
    if len(fields) > _MOST_FIELDS:
        return Refusal(
            "DifferenceTooLarge",
            f"{chosen.what} differs in {len(fields)} fields, and {_MOST_FIELDS} can be recorded; "
            "name an image or a model version",
        )
    told = changed(template_of(workload), chosen.template, _member(ask).locator)
    return (Edit(workload, fields, f"to {chosen.what}: {told}"[:1000], Rule.KEPT),)


def _choose(seen: Versions, workload: Obj, ask: Ask) -> Chosen | Refused:
    member = _member(ask)
    standing = Standing(
        template_of(workload),
        seen.revisions,
        paused=lookup(workload.json, "/spec/paused") is True,
        history_limit=lookup(workload.json, "/spec/revisionHistoryLimit"),
    )
    return choose(standing, member.to, member.locator, ask.condemned)


def _versions(seen: Versions, workload: Obj, ask: Ask) -> tuple[Json, Json] | None:
    """The bad pod template and the good one."""
    template = template_of(workload)
    change = _recorded(workload, ask)
    if change is not None and change.object.uid == workload.meta.uid:
        return _with(template, change, after=False), _with(template, change, after=True)
    chosen = _choose(seen, workload, ask)
    return (template, chosen.template) if isinstance(chosen, Chosen) else None


def _with(template: Json, change: Change, *, after: bool) -> Json:
    for keys, before, wanted in _oftemplate_of(change):
        template = put(template, keys, wanted if after else before)
    return clean(template)


def _done(workload: Obj, ask: Ask) -> Judgement:
    change = _recorded(workload, ask)
    template = clean(template_of(workload))
    if change is not None and _with(template, change, after=True) != template:
        message = "a version that is neither condemned nor the one rolled back to runs"
        return Judgement(Verdict.EFFECTIVE, "FixedForward", message)
    return Judgement(Verdict.EFFECTIVE, "RolledBack", "every pod runs the version that was rolled back to")
