"""What each kind of check asks, and that nothing but its answer is proof."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from stanch.api.v1alpha1.incident import Target
from stanch.errors import Forbidden
from stanch.evidence.take import Taken
from stanch.kube.resources import JOBS, ObjectRef
from stanch.prometheus.client import PromClient
from stanch.prometheus.samples import QueryFailed, Reason
from stanch.verification.answers import TIME, age_of
from stanch.verification.jobs import job_name
from stanch.verification.reading import Answer
from tests.unit.signals.fake_prometheus import answers, hangs, serving, vector
from tests.unit.verification.looks import HEALTHY, SUITE, TOXICITY, check
from tests.unit.verification.test_jobs import cron_job
from tests.unit.verification.workloads import GOOD, Json, deployment, meta, pod, subject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.unit.signals.fake_prometheus import Handler

from tests.unit.verification.probation import ALERTS, HTTP, INTEGRITY, KEY, RECORD, Stage, raising


@pytest.mark.parametrize("body", [TOXICITY, ALERTS, INTEGRITY, HTTP])
async def test_a_workload_at_zero_proves_nothing(body: Json) -> None:
    stage = Stage()
    stage.prometheus.answers = {"toxicity": "0"}
    stage.cluster.remove(stage.pod)
    stage.cluster.add(deployment(0))
    reading = await stage.one(body)
    assert (reading.answer, reading.reason) == (Answer.UNKNOWN, "NothingServes")
    assert stage.prometheus.asked == []


async def test_a_condemned_version_fails_before_it_is_ready() -> None:
    stage = Stage()
    stage.cluster.add(stage.pod | {"status": {"phase": "Pending"}})
    stage.subject = replace(stage.subject, condemned=frozenset({"image/registry.example.test/llm:2.3.1"}))
    assert (await stage.one(INTEGRITY)).reason == "Condemned"


async def test_pods_of_others_are_nobodys() -> None:
    stage = Stage()
    other = pod("other", containerStatuses=[]) | {"metadata": meta("other", labels={"app": "llm"})}
    stage.cluster.add(other)
    stage.subject = replace(stage.subject, known_good=subject(known_good={"images": [GOOD]}).known_good)
    reading = await stage.one(INTEGRITY)
    assert (reading.answer, reading.message[:17]) == (Answer.HOLDS, "nothing in 1 pods")


async def test_without_a_prometheus_its_checks_are_broken() -> None:
    stage = Stage()
    stage.measurer = stage.anew(None)
    found = await stage.look(TOXICITY, ALERTS)
    assert {one.answer for one in found.values()} == {Answer.BROKEN}
    assert all("--prometheus-url" in one.message for one in found.values())


async def test_all_that_a_check_needs_is_asked() -> None:
    stage = Stage()
    rule = TOXICITY["prometheus"] | {"metrics": ["up"], "traffic": {"query": "asked", "atLeast": "5"}}
    stage.prometheus.answers = {"toxicity": "0", "asked": "9", age_of("up"): "3"}
    assert (await stage.one(TOXICITY | {"prometheus": rule})).answer is Answer.HOLDS
    assert sorted(stage.prometheus.asked) == sorted(["toxicity", "asked", age_of("up"), TIME])


@asynccontextmanager
async def watched_by(behave: Callable[[Handler], None]) -> AsyncIterator[Stage]:
    """With the real client, and a fake server that misbehaves."""
    with serving(behave) as fake:
        yield Stage(PromClient(fake.url, None, None, 0.3))


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (hangs, "Timeout"),
        (answers(b"", 500), "ServerError"),
        (answers(b"", 502), "ServerError"),
        (answers(b'{"status":"error","errorType":"bad_data","error":"parse error"}', 400), "BadQuery"),
        (answers(b"", 401), "Unauthorized"),
        (answers(b"<html>", 404), "NotPrometheus"),
        (answers(b"<html>"), "NotPrometheus"),
        (answers(vector(({}, "1.5"))), "ClockSkew"),
    ],
)
@pytest.mark.parametrize("body", [TOXICITY, ALERTS])
async def test_a_prometheus_that_misbehaves_proves_nothing(
    body: Json, behave: Callable[[Handler], None], reason: str
) -> None:
    async with watched_by(behave) as stage:
        reading = await stage.one(body)
    assert (reading.answer, reading.reason) == (Answer.BROKEN, reason)


@pytest.mark.parametrize("body", [TOXICITY, ALERTS])
async def test_a_prometheus_that_is_down_proves_nothing(body: Json) -> None:
    with serving(hangs) as fake:
        url = fake.url
    reading = await Stage(PromClient(url, None, None, 0.3)).one(body)
    assert (reading.answer, reading.reason) == (Answer.BROKEN, "PrometheusUnreachable")


async def test_one_that_fails_midway_does_not_either() -> None:
    stage = Stage()
    stage.prometheus.answers = {"toxicity": "0", TIME: QueryFailed(Reason.TIMEOUT, "no answer in time")}
    assert (await stage.one(TOXICITY)).answer is Answer.BROKEN
    assert (await stage.one(ALERTS)).answer is Answer.BROKEN


def suite(stage: Stage) -> ObjectRef:
    return ObjectRef(JOBS, "chat", job_name(stage.subject, "suite"))


def ends(stage: Stage, condition: str) -> None:
    """As the Job controller tells."""
    job = stage.cluster.objects[suite(stage)]
    told = {"type": condition, "status": "True", "reason": "R", "message": "m"}
    job["status"] = {"conditions": [told]}


async def test_a_job_is_made_of_the_cron_job_and_runs() -> None:
    stage = Stage()
    stage.cluster.add(cron_job())
    reading = await stage.one(SUITE)
    assert (reading.answer, reading.evidence) == (Answer.RUNNING, None)
    assert stage.cluster.objects[suite(stage)]["metadata"]["annotations"]["a"] == "b"


@pytest.mark.parametrize(("condition", "answer"), [("Complete", Answer.HOLDS), ("Failed", Answer.FAILS)])
async def test_when_it_has_ended_what_it_said_is_kept(condition: str, answer: Answer) -> None:
    stage = Stage()
    stage.cluster.add(cron_job())
    await stage.one(SUITE)
    ends(stage, condition)
    reading = await stage.one(SUITE)
    assert (reading.answer, reading.evidence) == (answer, RECORD)
    assert stage.collector.taken == [[suite(stage)]]
    assert stage.cluster.asked["create jobs"] == 1


async def test_how_it_ended_counts_when_it_cannot_be_kept() -> None:
    stage = Stage()
    stage.cluster.add(cron_job())
    await stage.one(SUITE)
    ends(stage, "Complete")
    stage.collector.result = Taken(None, "EvidenceNotStored", "the store is full")
    reading = await stage.one(SUITE)
    assert (reading.answer, reading.evidence) == (Answer.HOLDS, None)
    assert reading.message.endswith("what it said was not kept: the store is full")


async def test_a_process_that_starts_anew_goes_on_with_the_job_that_runs() -> None:
    stage = Stage()
    stage.cluster.add(cron_job())
    await stage.one(SUITE)
    stage.measurer = stage.anew(stage.prometheus)
    assert (await stage.one(SUITE)).answer is Answer.RUNNING
    assert stage.cluster.asked["create jobs"] == 1


async def test_a_job_by_that_name_that_is_not_ours_is_not_believed() -> None:
    stage = Stage()
    forged = {"kind": "Job", "metadata": meta(job_name(stage.subject, "suite"))}
    stage.cluster.add(forged | {"status": {"conditions": [{"type": "Complete", "status": "True"}]}})
    reading = await stage.one(SUITE)
    assert (reading.answer, reading.reason) == (Answer.BROKEN, "JobNotOurs")


async def test_a_missing_cron_job_is_told() -> None:
    reading = await Stage().one(SUITE)
    assert (reading.answer, reading.reason) == (Answer.BROKEN, "CronJobNotFound")
    assert "CronJob chat/evals" in reading.message


async def test_without_the_right_to_create_jobs_it_says_how_to_give_it() -> None:
    stage = Stage()
    stage.cluster.add(cron_job())
    stage.cluster.before["create jobs"] = raising(Forbidden("Forbidden", "jobs.batch is forbidden"))
    reading = await stage.one(SUITE)
    assert (reading.answer, reading.reason) == (Answer.BROKEN, "JobForbidden")
    assert "kubectl apply -f manifests/rbac/verification-jobs.yaml" in reading.message


async def test_no_job_is_begun_before_there_is_anything_to_evaluate() -> None:
    stage = Stage()
    stage.cluster.add(cron_job())
    stage.cluster.remove(stage.pod)
    assert (await stage.one(SUITE)).answer is Answer.RUNNING
    assert stage.cluster.asked["create jobs"] == 0
    stage.cluster.add(stage.pod)
    await stage.one(SUITE)
    assert stage.cluster.asked["create jobs"] == 1


async def test_of_a_cron_job_nothing_has_to_run_meanwhile() -> None:
    stage = Stage()
    stage.cluster.add(cron_job())
    target = Target.model_validate({"apiVersion": "batch/v1", "kind": "CronJob", "name": "evals"})
    stage.subject = replace(stage.subject, targets=(target,))
    await stage.one(SUITE)
    assert stage.cluster.asked["create jobs"] == 1


async def test_a_check_of_a_newer_version_proves_nothing() -> None:
    stage = Stage()
    stage.measurer.begin(KEY, stage.subject, [check(HEALTHY).model_copy(update={"healthy": None})])
    await stage.enqueued.get()
    assert stage.measurer.readings(KEY)["healthy"].reason == "UnknownCheck"
