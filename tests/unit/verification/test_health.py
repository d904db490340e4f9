"""A workload is healthy when its controller and its pods say so; only of what serves can more be said."""

from __future__ import annotations

from typing import Any

import pytest

from stanch.verification.health import health_reading
from stanch.verification.reading import Answer, Reading
from stanch.verification.serving import Seen, not_serving
from tests.unit.verification.looks import SINCE, at
from tests.unit.verification.workloads import (
    Json,
    container,
    deployment,
    pod,
    restarted,
    seen,
    waiting,
)

NOW = at(60)
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
STUCK = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "…"}
DENIED = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}


def health(*those: Seen) -> Reading:
    return health_reading(those, SINCE, NOW)


def test_all_pods_are_ready() -> None:
    reading = health(seen(deployment(2), pod("a"), pod("b")))
    assert (reading.answer, reading.message) == (Answer.HOLDS, "2 of 2 pods ready")


@pytest.mark.parametrize(
    ("those", "answer", "reason"),
    [
        (seen(None), Answer.FAILS, "TargetGone"),
        (seen(deployment(0)), Answer.UNKNOWN, "NothingServes"),
        (seen(deployment(1, observedGeneration=1), pod()), Answer.UNKNOWN, "ControllerBehind"),
        (seen(deployment(1, availableReplicas=0)), Answer.RUNNING, "Starting"),
        (seen(deployment(1, availableReplicas=0), pod(ready=False)), Answer.RUNNING, "Starting"),
        (seen(deployment(1, availableReplicas=0), pod()), Answer.RUNNING, "Starting"),
        (seen(deployment(2, updatedReplicas=1), pod("a"), pod("b")), Answer.RUNNING, "RollingOut"),
        (seen(deployment(1), pod("new"), pod("old")), Answer.RUNNING, "RollingOut"),
        (seen(deployment(1, availableReplicas=0), pod(ready=False, since=40)), Answer.FAILS, "NotReady"),
        (seen(deployment(1, conditions=[STUCK]), pod()), Answer.FAILS, "RolloutStuck"),
        (seen(deployment(1, availableReplicas=0, conditions=[DENIED])), Answer.FAILS, "RolloutStuck"),
    ],
    ids=[
        "gone",
        "at zero",
        "controller behind",
        "no pod yet",
        "not ready yet",
        "not available yet",
        "rolling out",
        "an old one is left",
        "was ready, and is no more",
        "given up",
        "cannot make pods",
    ],
)
def test_what_is_wrong_with_it_is_told(those: Seen, answer: Answer, reason: str) -> None:
    reading = health(those)
    assert (reading.answer, reading.reason) == (answer, reason)


@pytest.mark.parametrize("reason", ["CrashLoopBackOff", "ImagePullBackOff", "CreateContainerConfigError"])
def test_a_container_that_cannot_run_fails_it_at_once(reason: str) -> None:
    broken = pod("b", ready=False, containerStatuses=[waiting(reason)])
    reading = health(seen(deployment(2, availableReplicas=1), pod("a"), broken))
    assert (reading.answer, reading.reason) == (Answer.FAILS, "PodTrouble")
    assert reason in reading.message


def test_a_pod_that_waits_for_a_node_is_waited_for() -> None:
    waits = pod(ready=False, phase="Pending", conditions=[UNSCHEDULABLE], containerStatuses=[])
    reading = health(seen(deployment(1, availableReplicas=0), waits))
    assert (reading.answer, reading.reason) == (Answer.RUNNING, "PodTrouble")
    assert "0/3 nodes" in reading.message


@pytest.mark.parametrize(
    ("seconds", "answer"), [(-3600, Answer.HOLDS), (-1, Answer.HOLDS), (0, Answer.FAILS), (40, Answer.FAILS)]
)
def test_restarts_count_from_when_the_stage_was_in_place(seconds: float, answer: Answer) -> None:
    reading = health(seen(deployment(), pod(containerStatuses=[restarted(seconds)])))
    assert reading.answer is answer


def test_a_restart_whose_time_is_not_told_leaves_it_open() -> None:
    reading = health(seen(deployment(), pod(containerStatuses=[container(restartCount=2)])))
    assert (reading.answer, reading.reason) == (Answer.UNKNOWN, "RestartUnknown")


def test_a_sidecar_counts_as_well() -> None:
    reading = health(seen(deployment(), pod(initContainerStatuses=[restarted(30, "proxy")])))
    assert (reading.answer, reading.reason) == (Answer.FAILS, "Restarted")
    assert "container proxy of pod llm-1 ended at 03:12:30 UTC" in reading.message


def test_of_several_targets_the_worst_counts() -> None:
    reading = health(seen(deployment(), pod()), seen(deployment(0)))
    assert reading.answer is Answer.UNKNOWN
    assert health(seen(deployment(), pod()), seen(deployment(0)), seen(None)).answer is Answer.FAILS


def test_a_stateful_set_is_complete_from_its_partition_on() -> None:
    body = deployment(2, kind="StatefulSet", updatedReplicas=1)
    body["spec"]["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    assert health(seen(body, pod("llm-0"), pod("llm-1"), kind="StatefulSet")).answer is Answer.HOLDS


def test_a_daemon_set_is_counted_by_its_nodes() -> None:
    counts = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}
    body = deployment(kind="DaemonSet", **counts)
    del body["spec"]["replicas"]
    assert health(seen(body, pod("a"), pod("b"), kind="DaemonSet")).answer is Answer.HOLDS
    assert health(seen(body, pod("a"), kind="DaemonSet")).answer is Answer.RUNNING
    body["status"]["desiredNumberScheduled"] = 0
    assert health(seen(body, kind="DaemonSet")).answer is Answer.UNKNOWN


def test_a_replica_set_knows_no_updates() -> None:
    body = deployment(kind="ReplicaSet")
    del body["status"]["updatedReplicas"]
    assert health(seen(body, pod(), kind="ReplicaSet")).answer is Answer.HOLDS


@pytest.mark.parametrize(
    ("status", "pods", "answer"),
    [
        ({"active": 1}, [pod()], Answer.HOLDS),
        ({"active": 1}, [], Answer.RUNNING),
        ({}, [], Answer.UNKNOWN),
        ({"conditions": [{"type": "Complete", "status": "True"}]}, [], Answer.HOLDS),
        ({"active": 1, "conditions": [{"type": "Failed", "status": "True"}]}, [pod()], Answer.FAILS),
        ({"conditions": [{"type": "Failed", "status": "False"}]}, [], Answer.UNKNOWN),
    ],
)
def test_a_job_is_healthy_while_it_runs_or_when_it_completed(
    status: Json, pods: list[Json], answer: Answer
) -> None:
    body = deployment(kind="Job") | {"status": status}
    assert health(seen(body, *pods, kind="Job")).answer is answer


def test_a_cron_job_has_no_health() -> None:
    assert health(seen(deployment(kind="CronJob"), kind="CronJob")).answer is Answer.UNKNOWN


def test_with_a_ready_pod_the_other_checks_can_speak() -> None:
    assert not_serving([seen(deployment(2), pod("a"), pod("b", ready=False))], NOW) is None


@pytest.mark.parametrize(
    ("those", "answer"),
    [
        ([seen(deployment(0))], Answer.UNKNOWN),
        ([seen(None)], Answer.UNKNOWN),
        ([seen(deployment(), pod(ready=False))], Answer.RUNNING),
        ([seen(deployment())], Answer.RUNNING),
        ([seen(deployment(conditions=[DENIED]))], Answer.UNKNOWN),
        (
            [seen(deployment(), pod(ready=False, containerStatuses=[waiting("CrashLoopBackOff")]))],
            Answer.UNKNOWN,
        ),
        ([seen(deployment(), pod(ready=False, since=40))], Answer.UNKNOWN),
        ([seen(deployment(), pod()), seen(deployment(1))], Answer.RUNNING),
        ([seen(deployment(), pod()), seen(None)], Answer.UNKNOWN),
        ([seen(deployment(kind="CronJob"), kind="CronJob")], Answer.UNKNOWN),
        ([seen(deployment(0)), seen(deployment(0))], Answer.UNKNOWN),
    ],
    ids=[
        "at zero",
        "gone",
        "not ready yet",
        "no pod yet",
        "none can be made",
        "crashing",
        "was ready",
        "the other one not yet",
        "the other one gone",
        "nothing between runs",
        "both at zero",
    ],
)
def test_without_one_nothing_can_be_said(those: list[Seen], answer: Answer) -> None:
    reading = not_serving(those, NOW)
    assert reading is not None
    assert (reading.answer, reading.reason) == (
        answer,
        "Starting" if answer is Answer.RUNNING else "NothingServes",
    )


@pytest.mark.parametrize("more", [{"phase": "Succeeded"}, {"phase": "Failed"}, "terminating"])
def test_a_pod_on_its_way_out_serves_nobody(more: Any) -> None:
    body = pod() if more == "terminating" else pod(**more)
    if more == "terminating":
        body["metadata"]["deletionTimestamp"] = "2026-01-02T03:12:00Z"
    assert not_serving([seen(deployment(), body)], NOW) is not None


def test_a_target_that_was_at_zero_before_is_not_waited_for() -> None:
    assert not_serving([seen(deployment(), pod()), seen(deployment(0))], NOW) is None
