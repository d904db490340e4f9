"""Looks go on in the background, end in time, and never raise: whatever cannot be asked is a reading."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from stanch.api.v1alpha1.evidence import EvidenceRecord
from stanch.api.v1alpha1.incident import Target
from stanch.api.v1alpha1.recovery import ReleaseStage
from stanch.errors import Forbidden, Unavailable
from stanch.evidence.take import Taken
from stanch.kube.resources import JOBS, ObjectRef
from stanch.prometheus.client import PromClient
from stanch.prometheus.samples import QueryFailed, Reason, Sample, Samples
from stanch.queue import Key
from stanch.verification import measure
from stanch.verification.answers import TIME, age_of
from stanch.verification.jobs import job_name
from stanch.verification.measure import Measurer
from stanch.verification.reading import Answer, Reading
from tests.unit.signals.fake_cluster import FakeCluster
from tests.unit.signals.fake_prometheus import answers, hangs, serving, vector
from tests.unit.verification.looks import HEALTHY, SUITE, TOXICITY, check
from tests.unit.verification.test_jobs import cron_job
from tests.unit.verification.workloads import GOOD, Json, deployment, meta, pod, subject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from stanch.verification.reading import Subject
    from tests.unit.signals.fake_prometheus import Handler

KEY = Key("chat", "toxic")
ALERTS: Json = {"name": "alerts", "alertCleared": {"matchers": ['alertname="Toxic"']}}
INTEGRITY: Json = {"name": "integrity", "integrity": {}}
HTTP: Json = {"name": "http", "http": {"port": 1, "timeout": "1s"}}


class FakePrometheus:
    """As far as a look goes: answers by the words of the query. It evaluates nothing."""

    def __init__(self) -> None:
        self.answers: dict[str, str | QueryFailed] = {}
        self.asked: list[str] = []
        self.hang = False

    async def query(self, expression: str, *, most: int = 1000) -> Samples:
        assert most >= 1000
        self.asked.append(expression)
        if self.hang:
            await asyncio.Event().wait()
        answer = self.answers.get(expression)
        if isinstance(answer, QueryFailed):
            raise answer
        if answer is None and expression == TIME:
            answer = str(datetime.now(UTC).timestamp())
        return (Sample((), float(answer), answer),) if answer is not None else ()


RECORD = EvidenceRecord(
    location="file:///evidence",
    head="sha256:" + "0" * 64,
    items=3,
    size=9,
    collected_at=datetime(2026, 1, 2, tzinfo=UTC),
    complete=True,
)


class FakeCollector:
    """Keeps nothing, and says what it was asked to keep."""

    def __init__(self) -> None:
        self.taken: list[Sequence[ObjectRef]] = []
        self.result = Taken(RECORD, "EvidenceCollected", "")

    async def take(
        self, incident: ObjectRef, uid: str, targets: Sequence[ObjectRef], *, seconds: float
    ) -> Taken:
        assert (incident.namespace, incident.name, uid, seconds > 0) == ("chat", "toxic", "uid-toxic", True)
        self.taken.append(targets)
        return self.result


class Stage:
    """One incident on probation: a Deployment with a ready pod, which a test may change."""

    def __init__(self, prometheus: Any = None) -> None:
        self.cluster = FakeCluster()
        self.prometheus = FakePrometheus() if prometheus is None else prometheus
        self.enqueued: asyncio.Queue[Key] = asyncio.Queue()
        self.subject = replace(subject(), since=datetime.now(UTC))
        self.collector = FakeCollector()
        self.measurer = self.anew(self.prometheus)
        self.workload = self.cluster.add(deployment())
        between = {"kind": "ReplicaSet", "metadata": meta("llm-rs", self.workload, labels={"app": "llm"})}
        self.replica_set = self.cluster.add(between)
        self.pod = self.cluster.add(self._pod())

    def anew(self, prometheus: Any) -> Measurer:
        """As a process that has just started has it."""
        kube: Any = self.cluster
        collector: Any = self.collector
        return Measurer(kube, prometheus, collector, _now, self.enqueued.put_nowait)

    def _pod(self) -> Json:
        body = pod(since=-60)
        return body | {"metadata": meta("llm-1", self.replica_set, labels={"app": "llm"})}

    def begin(self, *checks: Json, about: Subject | None = None) -> None:
        self.measurer.begin(KEY, about or self.subject, [check(one) for one in checks])

    async def look(self, *checks: Json) -> dict[str, Reading]:
        """One look at each, until all have ended."""
        self.begin(*checks)
        async with asyncio.timeout(5):
            for _ in checks:
                assert await self.enqueued.get() == KEY
        found = dict(self.measurer.readings(KEY))
        self.measurer.taken(KEY, found)
        return found

    async def one(self, body: Json) -> Reading:
        return (await self.look(body))[body["name"]]


def _now() -> datetime:
    return datetime.now(UTC)


async def test_every_check_is_looked_at_and_told_of() -> None:
    stage = Stage()
    stage.prometheus.answers = {"toxicity": "0.004"}
    stage.subject = replace(stage.subject, condemned=frozenset({"image/bad"}))
    began = _now()
    found = await stage.look(TOXICITY, HEALTHY, ALERTS, INTEGRITY)
    assert {name: one.answer for name, one in found.items()} == {
        "toxicity": Answer.HOLDS,
        "healthy": Answer.HOLDS,
        "alerts": Answer.HOLDS,
        "integrity": Answer.HOLDS,
    }
    assert all(began <= one.at <= _now() for one in found.values())


async def test_the_targets_are_read_once_for_all_of_them() -> None:
    stage = Stage()
    await stage.look(TOXICITY, HEALTHY, ALERTS, INTEGRITY)
    assert stage.cluster.asked == {"get deployments": 1, "list replicasets": 1, "list pods": 1}


async def test_a_check_that_is_looked_at_is_not_looked_at_twice() -> None:
    stage = Stage()
    stage.begin(HEALTHY)
    stage.begin(HEALTHY)
    await stage.enqueued.get()
    stage.begin(HEALTHY)
    await asyncio.sleep(0.01)
    assert stage.cluster.asked["get deployments"] == 1, "a reading waits to be taken"
    stage.measurer.taken(KEY, stage.measurer.readings(KEY))
    assert stage.measurer.readings(KEY) == {}
    assert (await stage.one(HEALTHY)).answer is Answer.HOLDS


async def test_only_what_was_judged_is_taken() -> None:
    stage = Stage()
    first = await stage.look(HEALTHY)
    await _told(stage, HEALTHY)
    stage.measurer.taken(KEY, first)
    assert stage.measurer.readings(KEY).keys() == {"healthy"}, "a newer one is nobody's yet"


async def _told(stage: Stage, body: Json) -> None:
    stage.begin(body)
    await stage.enqueued.get()


async def test_a_slow_check_keeps_up_no_other() -> None:
    stage = Stage()
    stage.prometheus.hang = True
    stage.begin(TOXICITY, HEALTHY)
    await stage.enqueued.get()
    assert stage.measurer.readings(KEY).keys() == {"healthy"}
    stage.measurer.taken(KEY, stage.measurer.readings(KEY))
    await _told(stage, HEALTHY)
    stage.begin(TOXICITY, HEALTHY)
    await asyncio.sleep(0.01)
    assert stage.prometheus.asked.count("toxicity") == 1
    stage.measurer.forget(KEY)
    await asyncio.sleep(0)


async def test_what_is_forgotten_is_cut() -> None:
    stage = Stage()
    stage.prometheus.hang = True
    stage.begin(TOXICITY)
    await asyncio.sleep(0.01)
    stage.measurer.forget(KEY)
    stage.measurer.forget(KEY)
    await asyncio.sleep(0.01)
    assert stage.measurer.readings(KEY) == {}
    assert stage.enqueued.empty()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("change", [{"stage": ReleaseStage.FULL}, {"attempt": 2}, {"uid": "uid-other"}])
async def test_another_stage_begins_from_nothing(change: dict[str, Any]) -> None:
    stage = Stage()
    stage.prometheus.hang = True
    stage.begin(TOXICITY)
    await asyncio.sleep(0.01)
    stage.prometheus.hang = False
    stage.prometheus.answers = {"toxicity": "0"}
    stage.begin(TOXICITY, about=replace(stage.subject, **change))
    async with asyncio.timeout(1):
        await stage.enqueued.get()
    assert stage.measurer.readings(KEY)["toxicity"].answer is Answer.HOLDS


async def test_no_look_lasts_longer_than_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "LONGEST_LOOK", 0.05)
    stage = Stage()
    stage.prometheus.hang = True
    reading = await stage.one(TOXICITY)
    assert (reading.answer, reading.reason) == (Answer.BROKEN, "Timeout")


async def test_an_api_server_that_does_not_answer_breaks_every_check() -> None:
    stage = Stage()
    stage.cluster.before["list pods"] = _raising(Unavailable("Unavailable", "connection refused", 1.0))
    found = await stage.look(TOXICITY, HEALTHY)
    assert {(one.answer, one.message) for one in found.values()} == {(Answer.BROKEN, "connection refused")}


async def test_an_object_that_cannot_be_understood_breaks_it_too() -> None:
    stage = Stage()
    stage.cluster.add(stage.pod | {"status": {"phase": 7}})
    reading = await stage.one(HEALTHY)
    assert (reading.answer, reading.reason) == (Answer.BROKEN, "NotUnderstood")


async def test_a_defect_proves_nothing_and_ends_no_one_else(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.cluster.before["get deployments"] = _raising(KeyError("a defect"))
    stage.begin(HEALTHY)
    await asyncio.sleep(0.01)
    assert stage.measurer.readings(KEY) == {}
    stage.cluster.before.clear()
    assert (await stage.one(HEALTHY)).answer is Answer.HOLDS


def _raising(error: Exception) -> Callable[[], None]:
    def do() -> None:
        raise error

    return do


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
    stage.cluster.before["create jobs"] = _raising(Forbidden("Forbidden", "jobs.batch is forbidden"))
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
