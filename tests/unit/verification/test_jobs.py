"""The Job of a check is made once for each stage and attempt, is the incident's, and ends by itself."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.recovery import JobCheck, ReleaseStage
from stanch.verification.jobs import Run, job_name, job_of, job_reading
from stanch.verification.reading import Answer
from tests.unit.verification.looks import at
from tests.unit.verification.workloads import Json, meta, subject

RULE = JobCheck.model_validate({"cronJob": "evals"})


def cron_job(**spec: Any) -> Json:
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "evals", "image": "evals:1"}]}}
    template = {
        "metadata": {"labels": {"team": "evals"}, "annotations": {"a": "b"}, "name": "ignored"},
        "spec": {"backoffLimit": 0, "template": pod, **spec},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": meta("evals"),
        "spec": {"schedule": "0 0 31 2 *", "suspend": True, "jobTemplate": template},
    }


def run(*conditions: tuple[str, str], owner: str = "uid-toxic") -> Run:
    body = {
        "metadata": meta("verify-suite-1")
        | {"ownerReferences": [{"kind": "AIIncident", "name": "toxic", "uid": owner}]},
        "status": {"active": 1, "conditions": [_condition(*each) for each in conditions]},
    }
    return Run.parse(body)


def _condition(type_: str, status: str) -> Json:
    return {"type": type_, "status": status, "reason": "BackoffLimitExceeded", "message": "too often"}


def test_it_is_made_as_kubectl_makes_one() -> None:
    job = job_of(cron_job(), subject(), "suite", RULE)
    assert job["metadata"]["annotations"] == {"a": "b", "cronjob.kubernetes.io/instantiate": "manual"}
    assert job["metadata"]["labels"] == {"team": "evals", "stanch.dev/incident": "toxic"}
    assert job["metadata"]["namespace"] == "chat"
    assert job["spec"]["template"] == cron_job()["spec"]["jobTemplate"]["spec"]["template"]
    assert job["spec"]["backoffLimit"] == 0


def test_the_incident_owns_it_without_being_held_up_by_it() -> None:
    (owner,) = job_of(cron_job(), subject(), "suite", RULE)["metadata"]["ownerReferences"]
    assert owner == {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "AIIncident",
        "name": "toxic",
        "uid": "uid-toxic",
        "blockOwnerDeletion": False,
    }


@pytest.mark.parametrize(
    ("own", "timeout", "deadline"),
    [(None, "10m", 600), (60, "10m", 60), (6000, "10m", 600), (None, "1ms", 1)],
)
def test_it_ends_in_time(own: int | None, timeout: str, deadline: int) -> None:
    template = {} if own is None else {"activeDeadlineSeconds": own}
    rule = JobCheck.model_validate({"cronJob": "evals", "timeout": timeout})
    assert job_of(cron_job(**template), subject(), "suite", rule)["spec"]["activeDeadlineSeconds"] == deadline


@pytest.mark.parametrize(("own", "kept"), [(None, 86_400), (3600, 3600), (0, 600)])
def test_it_stays_long_enough_to_be_seen(own: int | None, kept: int) -> None:
    template = {} if own is None else {"ttlSecondsAfterFinished": own}
    job = job_of(cron_job(**template), subject(), "suite", RULE)
    assert job["spec"]["ttlSecondsAfterFinished"] == kept


def test_the_cron_job_is_left_as_it_was_read() -> None:
    body = cron_job()
    job_of(body, subject(), "suite", RULE)["spec"]["template"]["spec"]["containers"].clear()
    assert body == cron_job()


def test_each_stage_and_attempt_runs_its_own() -> None:
    first = subject()
    others = [
        replace(first, stage=ReleaseStage.FULL),
        replace(first, attempt=2),
        replace(first, uid="uid-other"),
    ]
    names = {job_name(one, "suite") for one in (first, *others)} | {job_name(first, "suite2")}
    assert len(names) == 5
    assert job_name(replace(first, since=at(9), name="renamed"), "suite") == job_name(first, "suite")


@given(
    st.from_regex(r"\A[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z"),
    st.from_regex(r"\A[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?\Z"),
)
def test_names_and_labels_are_ones_that_the_server_takes(check: str, incident: str) -> None:
    job = job_of(cron_job(), replace(subject(), name=incident), check, RULE)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", job["metadata"]["name"])
    label = job["metadata"]["labels"]["stanch.dev/incident"]
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", label)


@pytest.mark.parametrize(
    ("conditions", "answer"),
    [
        ([], Answer.RUNNING),
        ([("Complete", "True")], Answer.HOLDS),
        ([("Failed", "True")], Answer.FAILS),
        ([("Suspended", "True")], Answer.RUNNING),
        ([("SuccessCriteriaMet", "True")], Answer.RUNNING),
        ([("FailureTarget", "True")], Answer.RUNNING),
        ([("Complete", "False"), ("Failed", "True")], Answer.FAILS),
        ([("Complete", "Unknown")], Answer.RUNNING),
    ],
)
def test_it_has_passed_when_it_completed(conditions: list[tuple[str, str]], answer: Answer) -> None:
    assert job_reading(run(*conditions), at(60)).answer is answer


def test_why_it_failed_is_told() -> None:
    reading = job_reading(run(("Failed", "True")), at(60))
    assert reading.message == "Job verify-suite-1 failed, BackoffLimitExceeded: too often"


def test_whose_it_is_is_told_by_uid() -> None:
    assert run().owned_by("uid-toxic")
    assert not run(owner="uid-of-one-before").owned_by("uid-toxic")
