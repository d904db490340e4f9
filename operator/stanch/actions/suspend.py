"""Suspend: run no pod of a Job, or of a CronJob and of every Job that it has started.

The Job controller deletes the pods of a suspended Job. They count neither as failed nor as done: their work
begins again when the Job is resumed, and so does its deadline.
https://kubernetes.io/docs/concepts/workloads/controllers/job/#suspending-a-job
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic import Field

from stanch.actions.objects import LabelSelector, Meta, Obj, Pod
from stanch.actions.protocol import (
    Ask,
    Edit,
    Intent,
    Judgement,
    Leniency,
    Observation,
    Plain,
    Refusal,
    Verdict,
)
from stanch.actions.target import uncontrolled
from stanch.api.v1alpha1.base import ApiModel
from stanch.kube.resources import CRONJOBS, JOBS, PODS, ObjectRef
from stanch.plans.changes import all_in_place, field_change, lookup, pointer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stanch.api.v1alpha1.status import Change
    from stanch.api.v1alpha1.steps import StepMember
    from stanch.kube.client import Kube

RESOURCES = {resource.kind: resource for resource in (JOBS, CRONJOBS)}
UID_LABEL = "batch.kubernetes.io/controller-uid"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
MOST_OBJECTS = 64
"""As many changes as one journal entry takes."""

_SUSPEND = pointer("spec", "suspend")
_JOB_CONTROLLER = "kubernetes.io/job-controller"
_NOT_ENDED = "status.phase!=Succeeded,status.phase!=Failed"
_UIDS_IN_ONE_QUERY = 50
_SOON = 0.2
_SHOWN = 3


class _Condition(ApiModel):
    type: str
    status: str


class _JobSpec(ApiModel):
    suspend: bool = False
    selector: LabelSelector = Field(default_factory=LabelSelector)
    active_deadline_seconds: int | None = None
    managed_by: str = _JOB_CONTROLLER


class _JobStatus(ApiModel):
    conditions: tuple[_Condition, ...] = ()


class Job(ApiModel):
    metadata: Meta
    spec: _JobSpec
    status: _JobStatus = Field(default_factory=_JobStatus)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def ended(self) -> str:
        """`Complete` or `Failed`; empty while it may still run pods."""
        return next((type_ for type_ in ("Complete", "Failed") if self._holds(type_)), "")

    @property
    def seen_suspended(self) -> bool:
        """Whether its controller says so, not only its spec."""
        return self.spec.suspend and self._holds("Suspended")

    def _holds(self, type_: str) -> bool:
        return any(one.type == type_ and one.status == "True" for one in self.status.conditions)


@dataclass(frozen=True)
class Runs(Observation):
    """`related` are the Jobs of a CronJob; `pods`, of all of them, those that have not ended."""

    @property
    def jobs(self) -> tuple[tuple[Obj, Job], ...]:
        return tuple((obj, Job.model_validate(obj.json)) for obj in self.objects if obj.resource == JOBS)

    @property
    def unended(self) -> tuple[tuple[Obj, Job], ...]:
        return tuple((obj, job) for obj, job in self.jobs if not job.ended)


class Suspend(Plain):
    name = "Suspend"
    timeout = timedelta(minutes=10)
    kinds = frozenset(RESOURCES)

    async def observe(self, kube: Kube, ask: Ask) -> Runs:
        """The CronJob, then its Jobs, then their pods: no pod of an older order is overlooked."""
        resource = RESOURCES.get(ask.target.kind)
        body = await kube.get(ObjectRef(resource, ask.namespace, ask.target.name)) if resource else None
        if resource is None or body is None:
            return Runs(None)
        target = Obj(resource, body)
        jobs: tuple[Obj, ...] = ()
        if resource == CRONJOBS:
            listed = [Obj(JOBS, item) for item in await kube.list(JOBS, ask.namespace)]
            jobs = tuple(job for job in listed if _owned(job, target.meta.uid))
        seen = Runs(target, jobs)
        return Runs(target, jobs, await _pods(kube, ask.namespace, [job for _, job in seen.jobs]))

    def plan(self, seen: Runs, ask: Ask) -> tuple[Intent, ...] | Refusal:
        target = _suspendable(seen, ask)
        if isinstance(target, Refusal):
            return target
        # The CronJob first: it starts no more Jobs while those it has started are suspended.
        cron_job = (target,) if target.resource == CRONJOBS else ()
        jobs = (obj for obj, _ in seen.unended if obj.meta.deletion_timestamp is None)
        intents = tuple(_suspend(obj, target) for obj in (*cron_job, *jobs))
        touched = {intent.obj.meta.uid for intent in intents}
        if ask.record is not None:
            touched |= {change.object.uid or "" for change in ask.record.changes}
        if len(touched) > MOST_OBJECTS:
            return Refusal(
                "TooManyJobs",
                f"it has {len(touched) - 1} Jobs to suspend, and {MOST_OBJECTS - 1} can be recorded; "
                "set spec.suspend of the CronJob and delete Jobs that are not needed first",
            )
        return intents

    def judge(self, seen: Runs, ask: Ask) -> Judgement:
        """Effective when the Job controller has suspended all that has not ended, and no pod is left."""
        if seen.target is None:
            return Judgement(Verdict.EFFECTIVE, "TargetGone", f"the {ask.target.kind} no longer exists")
        awake = [job for _, job in seen.unended if not job.seen_suspended]
        if awake:
            return Judgement(Verdict.PENDING, "JobsNotSuspended", _not_suspended(awake), _SOON)
        if seen.pods:
            return Judgement(Verdict.PENDING, "PodsRunning", _left(seen.pods), _SOON)
        if seen.target.resource == JOBS and not seen.unended:
            return Judgement(Verdict.EFFECTIVE, "JobFinished", "the Job has ended and no pod is left")
        told = "; ".join(["suspended, no pod is left", *_remarks(seen)])
        return Judgement(Verdict.EFFECTIVE, "Suspended", told)

    def ends_pods(self, member: StepMember) -> bool:  # noqa: ARG002 - the protocol's
        return True

    def eases(
        self,
        changes: tuple[Change, ...],
        ask: Ask,
        leniency: Leniency,
    ) -> None:
        """A Job runs or does not: on probation it runs."""

    def stands(self, change: Change, obj: Obj, ask: Ask) -> bool:  # noqa: ARG002 - the protocol's
        """A Job that has ended is left as it is."""
        over = obj.resource == JOBS and bool(Job.model_validate(obj.json).ended)
        return over or all_in_place(change.fields, obj.json)


async def _pods(kube: Kube, namespace: str, jobs: Sequence[Job]) -> tuple[Pod, ...]:
    """Those that have not ended. A Job with `manualSelector` has no label of its own on its pods."""
    usual = {job.metadata.uid for job in jobs if UID_LABEL in job.spec.selector.match_labels}
    queries = {job.spec.selector.query() for job in jobs if job.metadata.uid not in usual}
    ordered = sorted(usual)
    for first in range(0, len(ordered), _UIDS_IN_ONE_QUERY):
        queries.add(f"{UID_LABEL} in ({','.join(ordered[first : first + _UIDS_IN_ONE_QUERY])})")
    answers = await asyncio.gather(
        *(
            kube.list(PODS, namespace, label_selector=query, field_selector=_NOT_ENDED)
            for query in sorted(queries)
        )
    )
    uids = {job.metadata.uid for job in jobs}
    pods = {item["metadata"]["uid"]: Pod.model_validate(item) for items in answers for item in items}
    return tuple(pod for pod in pods.values() if (owner := pod.metadata.controller) and owner.uid in uids)


def _owned(job: Obj, uid: str) -> bool:
    """Also one that was made by hand: `kubectl create job --from` names no controller."""
    return any(owner.uid == uid for owner in job.meta.owner_references)


def _suspendable(seen: Runs, ask: Ask) -> Obj | Refusal:
    if ask.target.kind not in RESOURCES:
        return Refusal(
            "KindNotSuspendable", f"a {ask.target.kind} cannot be suspended; scale it to zero instead"
        )
    target = uncontrolled(seen.target)
    ended = next((job.ended for obj, job in seen.jobs if obj is target), "")
    if ended:
        return Refusal("JobFinished", f"the Job has ended ({ended}): there is nothing left to suspend")
    return target


def _suspend(obj: Obj, target: Obj) -> Edit:
    change = field_change(obj.json, _SUSPEND, True)
    which = "" if obj is target else f"Job {obj.meta.name}: "
    before = "true" if change.before else "false"
    return Edit(obj, (change,), "; ".join([f"{which}suspend {before} → true", *_caveats(obj)]))


def _caveats(obj: Obj) -> list[str]:
    """What release cannot give back, or others may try to."""
    job = Job.model_validate(obj.json) if obj.resource == JOBS else None
    told = []
    if job is not None and job.spec.active_deadline_seconds is not None:
        told.append(f"its deadline of {job.spec.active_deadline_seconds} s begins anew when it is resumed")
    queue = _queue(obj)
    if queue:
        told.append(f"Kueue manages it (queue {queue}): when it tries to resume it, that is denied")
    return told


def _queue(obj: Obj) -> str:
    path = pointer("spec", "jobTemplate", "metadata", "labels", QUEUE_LABEL)
    return obj.meta.labels.get(QUEUE_LABEL) or lookup(obj.json, path) or ""


def _remarks(seen: Runs) -> list[str]:
    """Each once, with the first object it holds for."""
    told: dict[str, str] = {}
    for obj in (*((seen.target,) if seen.target else ()), *(obj for obj, _ in seen.unended)):
        for caveat in _caveats(obj):
            told.setdefault(caveat, f"{obj.resource.kind} {obj.meta.name}: {caveat}")
    return list(told.values())[:_SHOWN]


def _not_suspended(awake: Sequence[Job]) -> str:
    names = _some(
        job.name
        if job.spec.managed_by == _JOB_CONTROLLER
        else f"{job.name} (managed by {job.spec.managed_by})"
        for job in awake
    )
    which = "its controller has" if len(awake) == 1 else "their controllers have"
    return f"{which} not yet suspended {names}"


def _left(pods: Sequence[Pod]) -> str:
    names = _some(pod.metadata.name + (" (terminating)" if pod.terminating else "") for pod in pods)
    return f"{len(pods)} pod{'s' if len(pods) != 1 else ''} left: {names}"


def _some(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
