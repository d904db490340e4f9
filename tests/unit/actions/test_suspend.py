"""Suspend: what it plans, refuses and takes for effective."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from stanch.actions.objects import Obj
from stanch.actions.protocol import Edit, Refusal, Verdict
from stanch.actions.suspend import MOST_OBJECTS, UID_LABEL, Runs
from stanch.actions.suspend import Suspend as Action
from stanch.api.v1alpha1.incident import Target, TargetKind
from stanch.api.v1alpha1.status import Change, ObjectReference, StepState, StepStatus
from stanch.api.v1alpha1.steps import Suspend
from stanch.kube.resources import CRONJOBS, JOBS, PODS
from tests.unit.actions.cluster_objects import ask, obj, owned_by, pod, pod_body

if TYPE_CHECKING:
    from stanch.actions.protocol import Ask
    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef, Resource

Json = dict[str, Any]
ACTION = Action()


def asked(kind: TargetKind = TargetKind.JOB, **more: Any) -> Ask:
    target = Target(api_version="batch/v1", kind=kind, name="train")
    return ask(target, Suspend(), **more)


def condition(type_: str, status: str = "True") -> Json:
    return {"type": type_, "status": status}


SUSPENDED = {"conditions": [condition("Suspended")]}
RESUMED = {"conditions": [condition("Suspended", "False")]}


def job(name: str = "train", *, spec: Json | None = None, status: Json | None = None, **more: Any) -> Obj:
    metadata = {
        "name": name,
        "namespace": "chat",
        "uid": f"uid-{name}",
        "resourceVersion": "7",
        "generation": 1,
        **more,
    }
    default = {"suspend": False, "selector": {"matchLabels": {UID_LABEL: f"uid-{name}"}}}
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": default | (spec or {}),
        "status": status or {},
    }
    return Obj(JOBS, body)


def cron_job(**spec: Any) -> Obj:
    metadata = {"name": "train", "namespace": "chat", "uid": "uid-cron", "resourceVersion": "7"}
    body = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata,
        "spec": {"suspend": False, "jobTemplate": {"spec": {}}} | spec,
    }
    return Obj(CRONJOBS, body)


def edits(seen: Runs, ask: Ask) -> list[Edit]:
    intents = ACTION.plan(seen, ask)
    assert not isinstance(intents, Refusal), intents
    return cast("list[Edit]", list(intents))


@pytest.mark.parametrize("before", [True, False, None])
def test_a_job_is_suspended_whatever_it_was(before: bool | None) -> None:  # noqa: FBT001 - a case
    target = job(spec={"suspend": before} if before is not None else {})
    if before is None:
        del target.json["spec"]["suspend"]
    (edit,) = edits(Runs(target), asked())

    (change,) = edit.fields
    assert (change.path, change.before, change.after) == ("/spec/suspend", before, True)


def test_a_cronjob_is_suspended_before_the_jobs_it_started_and_those_that_ended_are_left() -> None:
    related = (
        job("one"),
        job("two", spec={"suspend": True}, status=SUSPENDED),
        job("over", status={"conditions": [condition("Complete")]}),
        job("broken", status={"conditions": [condition("Failed")]}),
        job("going", deletionTimestamp="2026-01-02T03:04:05Z"),
        job("failing", status={"conditions": [condition("FailureTarget")]}),
    )
    planned = edits(Runs(cron_job(), related), asked(TargetKind.CRON_JOB))

    assert [edit.ref.name for edit in planned] == ["train", "one", "two", "failing"]
    assert planned[0].diff == "suspend false → true"
    assert planned[2].diff == "Job two: suspend true → true"


@pytest.mark.parametrize(
    ("target", "kind", "reason", "says"),
    [
        (None, TargetKind.JOB, "TargetNotFound", "no such object"),
        (job(deletionTimestamp="2026-01-02T03:04:05Z"), TargetKind.JOB, "TargetTerminating", "deleted"),
        (job(ownerReferences=owned_by(cron_job())), TargetKind.JOB, "TargetOwned", "CronJob train controls"),
        (job(status={"conditions": [condition("Complete")]}), TargetKind.JOB, "JobFinished", "(Complete)"),
        (job(status={"conditions": [condition("Failed")]}), TargetKind.JOB, "JobFinished", "(Failed)"),
        *(
            (None, kind, "KindNotSuspendable", f"a {kind} cannot be suspended; scale it to zero instead")
            for kind in TargetKind
            if kind not in {"Job", "CronJob"}
        ),
    ],
)
def test_what_cannot_be_suspended_is_refused(
    target: Obj | None, kind: TargetKind, reason: str, says: str
) -> None:
    api_version = "batch/v1" if kind in {"Job", "CronJob"} else "apps/v1"
    refusal = ACTION.plan(
        Runs(target), ask(Target(api_version=api_version, kind=kind, name="train"), Suspend())
    )

    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert says in refusal.message


def test_more_jobs_than_can_be_recorded_are_refused_with_the_number() -> None:
    enough = tuple(job(f"j{number}") for number in range(MOST_OBJECTS - 1))
    asks = asked(TargetKind.CRON_JOB)
    assert len(edits(Runs(cron_job(), enough), asks)) == MOST_OBJECTS

    refusal = ACTION.plan(Runs(cron_job(), (*enough, job("more"))), asks)
    assert isinstance(refusal, Refusal)
    assert refusal.message.startswith("it has 64 Jobs to suspend, and 63 can be recorded")


def test_jobs_that_are_recorded_and_gone_count_too() -> None:
    reference = {"api_version": "batch/v1", "kind": "Job"}
    gone = tuple(
        Change(object=ObjectReference(**reference, name=f"g{number}", uid=f"uid-g{number}"))
        for number in range(MOST_OBJECTS)
    )
    target = ObjectReference(api_version="batch/v1", kind="CronJob", name="train")
    record = StepStatus(id="0", action="Suspend", target=target, state=StepState.EFFECTIVE, changes=gone)
    refusal = ACTION.plan(Runs(cron_job()), asked(TargetKind.CRON_JOB, record=record, changes=gone))

    assert isinstance(refusal, Refusal)
    assert refusal.reason == "TooManyJobs"


ON = {"suspend": True}
LIVE = (pod("train-x", "uid-train"),)
JUDGED: dict[str, tuple[Runs, Verdict, str, str]] = {
    "gone": (Runs(None), Verdict.EFFECTIVE, "TargetGone", "the Job no longer exists"),
    "nobody has seen it": (
        Runs(job(spec=ON)),
        Verdict.PENDING,
        "JobsNotSuspended",
        "its controller has not yet suspended train",
    ),
    "resumed once": (Runs(job(spec=ON, status=RESUMED)), Verdict.PENDING, "JobsNotSuspended", "train"),
    "somebody resumed it, and its controller lags behind": (
        Runs(job(status=SUSPENDED)),
        Verdict.PENDING,
        "JobsNotSuspended",
        "train",
    ),
    "managed by others": (
        Runs(job(spec=ON | {"managedBy": "kueue.x-k8s.io/multikueue"})),
        Verdict.PENDING,
        "JobsNotSuspended",
        "train (managed by kueue.x-k8s.io/multikueue)",
    ),
    "pods are left": (
        Runs(job(spec=ON, status=SUSPENDED), (), LIVE),
        Verdict.PENDING,
        "PodsRunning",
        "1 pod left: train-x",
    ),
    "suspended": (
        Runs(job(spec=ON, status=SUSPENDED)),
        Verdict.EFFECTIVE,
        "Suspended",
        "suspended, no pod is left",
    ),
    "ended, but for a pod": (
        Runs(job(status={"conditions": [condition("Failed")]}), (), LIVE),
        Verdict.PENDING,
        "PodsRunning",
        "1 pod left",
    ),
    "ended": (
        Runs(job(status={"conditions": [condition("Complete")]})),
        Verdict.EFFECTIVE,
        "JobFinished",
        "the Job has ended and no pod is left",
    ),
    "a cron job of which one job is not yet seen": (
        Runs(cron_job(**ON), (job("one", spec=ON, status=SUSPENDED), job("two", spec=ON))),
        Verdict.PENDING,
        "JobsNotSuspended",
        "its controller has not yet suspended two",
    ),
    "a cron job": (
        Runs(cron_job(**ON), (job("one", spec=ON, status=SUSPENDED),)),
        Verdict.EFFECTIVE,
        "Suspended",
        "suspended, no pod is left",
    ),
    "a cron job that runs nothing": (
        Runs(cron_job(**ON)),
        Verdict.EFFECTIVE,
        "Suspended",
        "suspended, no pod is left",
    ),
}


@pytest.mark.parametrize("case", JUDGED)
def test_effective_is_what_controllers_and_pods_show(case: str) -> None:
    seen, verdict, reason, says = JUDGED[case]

    judgement = ACTION.judge(seen, asked())

    assert (judgement.verdict, judgement.reason) == (verdict, reason)
    assert says in judgement.message


def test_many_that_are_left_are_told_in_a_line() -> None:
    seen = Runs(
        job(spec=ON, status=SUSPENDED), (), tuple(pod(f"train-{number}", "uid-train") for number in range(5))
    )
    assert ACTION.judge(seen, asked()).message == "5 pods left: train-0, train-1, train-2 and 2 more"


QUEUE = {"kueue.x-k8s.io/queue-name": "gpu"}


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (job(spec={"activeDeadlineSeconds": 60}), "its deadline of 60 s begins anew when it is resumed"),
        (job(labels=QUEUE), "Kueue manages it (queue gpu)"),
        (cron_job(jobTemplate={"metadata": {"labels": QUEUE}, "spec": {}}), "Kueue manages it (queue gpu)"),
    ],
)
def test_what_comes_with_it_is_told_before_and_after(target: Obj, says: str) -> None:
    (edit,) = edits(Runs(target), asked())
    assert says in edit.diff
    body = {**target.json, "spec": {**target.json["spec"], **ON}, "status": SUSPENDED}
    assert says in ACTION.judge(Runs(Obj(target.resource, body)), asked()).message


def test_a_job_that_has_ended_meanwhile_is_left_as_it_is() -> None:
    (edit,) = edits(Runs(job()), asked())
    change = Change(object=job().reference, fields=edit.fields)

    assert not ACTION.stands(change, job(), asked())
    assert ACTION.stands(change, job(spec=ON), asked())
    assert ACTION.stands(change, job(status={"conditions": [condition("Failed")]}), asked())


@dataclass
class Cluster:
    """Answers like the API server, and notes what it was asked."""

    objects: dict[Resource, list[Json]]
    asked: list[tuple[Resource, str, str]] = field(default_factory=list)

    async def get(self, ref: ObjectRef) -> Json | None:
        return next(
            (each for each in self.objects.get(ref.resource, []) if each["metadata"]["name"] == ref.name),
            None,
        )

    async def list(
        self, resource: Resource, _namespace: str, *, label_selector: str = "", field_selector: str = ""
    ) -> list[Json]:
        self.asked.append((resource, label_selector, field_selector))
        return self.objects.get(resource, [])


async def look(cluster: Cluster, ask: Ask) -> Runs:
    return await ACTION.observe(cast("Kube", cluster), ask)


async def test_only_jobs_and_pods_of_the_cronjob_are_looked_at() -> None:
    mine, by_hand, other = "uid-mine", "uid-by-hand", "uid-other"
    owner = owned_by(cron_job())
    informal = [{key: value for key, value in owner[0].items() if key != "controller"}]
    jobs = [
        job("mine", ownerReferences=owner).json,
        job("by-hand", ownerReferences=informal).json,
        job("other").json,
    ]
    pods = [pod_body("a", mine), pod_body("b", by_hand), pod_body("c", other), pod_body("d")]
    cluster = Cluster({CRONJOBS: [cron_job().json], JOBS: jobs, PODS: pods})

    seen = await look(cluster, asked(TargetKind.CRON_JOB))

    assert [obj.meta.name for obj, _ in seen.jobs] == ["mine", "by-hand"]
    assert [one.metadata.name for one in seen.pods] == ["a", "b"]
    (_, labels, fields) = cluster.asked[-1]
    assert labels == f"{UID_LABEL} in (uid-by-hand,uid-mine)"
    assert fields == "status.phase!=Succeeded,status.phase!=Failed"


async def test_a_job_that_selects_by_hand_and_a_great_many_jobs_are_asked_for_apart() -> None:
    owner = owned_by(cron_job())
    jobs = [job(f"j{number:03}", ownerReferences=owner).json for number in range(101)]
    by_hand = {"manualSelector": True, "selector": {"matchLabels": {"app": "train"}}}
    jobs.append(job("by-hand", spec=by_hand, ownerReferences=owner).json)
    pods = [pod_body("x", "uid-by-hand"), pod_body("y", "uid-j100")]
    cluster = Cluster({CRONJOBS: [cron_job().json], JOBS: jobs, PODS: pods})

    seen = await look(cluster, asked(TargetKind.CRON_JOB))

    queries = [labels for resource, labels, _ in cluster.asked if resource == PODS]
    assert len(queries) == 4
    assert "app=train" in queries
    assert sorted(one.metadata.name for one in seen.pods) == ["x", "y"]  # each once


async def test_what_is_no_job_is_not_looked_for() -> None:
    cluster = Cluster({})
    seen = await look(cluster, ask(Target(kind=TargetKind.DEPLOYMENT, name="train"), Suspend()))
    assert seen == Runs(None)
    assert cluster.asked == []


def test_a_deployment_is_no_job() -> None:
    assert Runs(obj("Deployment")).jobs == ()
