"""Rollback: what it takes for effective, and which pods it ends."""

from __future__ import annotations

import pytest

from stanch.actions.protocol import Verdict
from stanch.actions.rollout import Versions
from stanch.api.v1alpha1.status import StepState
from tests.unit.actions.rolled_back import ACTION, Json, asked, pod, rolled_back, version

BACK_OFF = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "llm:2"'}}}
NO_ROOM: Json = {
    "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes: gpu"}
    ]
}
GAVE_UP = {"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}
HINDERED = {
    "conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}]
}
FEW = {"updatedReplicas": 1, "availableReplicas": 2}


@pytest.mark.parametrize(
    ("pods", "status", "verdict", "reason", "says"),
    [
        pytest.param([pod("a", 2), pod("b", 2)], {}, "Effective", "RolledBack", "every pod", id="done"),
        pytest.param(
            [], {"observedGeneration": 0}, "Pending", "ControllerBehind", "not yet seen", id="behind"
        ),
        pytest.param(
            [pod("a", 2), pod("b", 3)],
            {"updatedReplicas": 1},
            "Pending",
            "CondemnedRuns",
            "b still run arg/--revision=r3; 1 of 2 pods are of the new template; of the old one: b",
            id="under way",
        ),
        pytest.param(
            [pod("a", 2), pod("b", 2), pod("c", 3, metadata={"deletionTimestamp": "2026-01-02T03:04:05Z"})],
            {},
            "Pending",
            "CondemnedRuns",
            "c still run",
            id="an old pod that is ending may still answer",
        ),
        pytest.param(
            [pod("a", 2), pod("b", 2), pod("c", 3, phase="Failed")],
            {},
            "Effective",
            "RolledBack",
            "",
            id="ended",
        ),
        pytest.param(
            [pod("a", 2), pod("b", 2), pod("c", 1)],
            {},
            "Pending",
            "RollingOut",
            "of the old one: c",
            id="old, not bad",
        ),
        pytest.param(
            [pod("a", 2), pod("b", 2, ready=False)],
            {"availableReplicas": 1},
            "Pending",
            "NotAvailable",
            "1 of 2 pods are available",
            id="not ready yet",
        ),
        pytest.param(
            [pod("a", 2, ready=False, container=BACK_OFF), pod("b", 3)],
            FEW,
            "Ineffective",
            "RolloutStuck",
            'arg/--revision=r3; pod a: container server: ImagePullBackOff Back-off pulling image "llm:2"',
            id="no such image",
        ),
        pytest.param(
            [pod("a", 2, **NO_ROOM), pod("b", 3)],
            FEW,
            "Pending",
            "CondemnedRuns",
            "pod a: Unschedulable 0/2 nodes: gpu",
            id="no room, perhaps soon",
        ),
        pytest.param(
            [pod("a", 2, **NO_ROOM), pod("b", 3)],
            FEW | GAVE_UP,
            "Ineffective",
            "RolloutStuck",
            "ProgressDeadlineExceeded: ; pod a: Unschedulable",
            id="no room for too long",
        ),
        pytest.param(
            [pod("b", 3)], FEW | HINDERED, "Pending", "CondemnedRuns", "FailedCreate: quota", id="quota"
        ),
        pytest.param(
            [pod("a", 2), pod("b", 3, ready=False, container=BACK_OFF)],
            FEW,
            "Pending",
            "CondemnedRuns",
            "b still run",
            id="trouble of the old version is none",
        ),
    ],
)
def test_effective_is_a_complete_rollout_and_nothing_condemned_running(
    pods: list[Json], status: Json, verdict: str, reason: str, says: str
) -> None:
    observed, what = rolled_back(version(2), *pods, status=status)

    judgement = ACTION.judge(observed, what)

    assert (judgement.verdict, judgement.reason) == (verdict, reason)
    assert says in judgement.message
    assert (judgement.look_again is None) == (judgement.verdict is Verdict.EFFECTIVE)


def test_while_no_revision_is_recorded_yet_no_pod_is_of_the_new_template() -> None:
    observed, what = rolled_back(version(4), pod("a", 2))

    assert ACTION.judge(observed, what).reason == "RollingOut"


@pytest.mark.parametrize(
    ("pods", "status", "now", "reason"),
    [
        ([pod("a", 2), pod("b", 2)], {"replicas": 9, "updatedReplicas": 2}, version(2), "RolledBack"),
        ([pod("a", 2), pod("b", 1)], FEW, version(1), "FixedForward"),
        ([pod("a", 2, ready=False, container=BACK_OFF)], FEW | GAVE_UP, version(2), "RolledBack"),
        ([pod("a", 3)], {}, version(2), "CondemnedRuns"),
    ],
)
def test_once_effective_only_the_condemned_version_is_news(
    pods: list[Json], status: Json, now: Json, reason: str
) -> None:
    observed, what = rolled_back(now, *pods, status=status, state=StepState.EFFECTIVE)

    assert ACTION.judge(observed, what).reason == reason


def test_a_pod_below_the_partition_is_told_not_waited_for() -> None:
    strategy: Json = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}}
    pods = [pod("llm-0", 3), pod("llm-1", 2)]
    observed, what = rolled_back(
        version(2), *pods, kind="StatefulSet", status={"updatedReplicas": 1}, **strategy
    )

    judgement = ACTION.judge(observed, what)

    assert (judgement.verdict, judgement.reason) == (Verdict.INEFFECTIVE, "HeldBackByPartition")
    good, what = rolled_back(
        version(2),
        pod("llm-0", 1),
        pod("llm-1", 2),
        kind="StatefulSet",
        status={"updatedReplicas": 1, "availableReplicas": 1},
        **strategy,
    )
    assert ACTION.judge(good, what).verdict is Verdict.EFFECTIVE


def test_the_workload_is_gone() -> None:
    assert ACTION.judge(Versions(None), asked()).reason == "TargetGone"
    assert ACTION.condemns(Versions(None), asked()) == ()
    assert ACTION.hurry(Versions(None), asked()) == ()


@pytest.mark.parametrize(
    ("kind", "strategy", "pods", "doomed"),
    [
        ("Deployment", {}, [pod("a", 3, ready=False)], []),
        (
            "StatefulSet",
            {},
            [pod("llm-0", 3), pod("llm-1", 3, ready=False), pod("llm-2", 2, ready=False)],
            ["llm-1"],
        ),
        (
            "StatefulSet",
            {"updateStrategy": {"type": "OnDelete"}},
            [pod("llm-0", 3), pod("llm-1", 2)],
            ["llm-0"],
        ),
        ("DaemonSet", {"updateStrategy": {"type": "OnDelete"}}, [pod("a", 3), pod("b", 2)], ["a"]),
        (
            "DaemonSet",
            {"updateStrategy": {"type": "OnDelete"}},
            [pod("a", 3, metadata={"deletionTimestamp": "2026-01-02T03:04:05Z"})],
            [],
        ),
    ],
)
def test_pods_that_no_controller_replaces_are_ended(
    kind: str, strategy: Json, pods: list[Json], doomed: list[str]
) -> None:
    observed, what = rolled_back(version(2), *pods, kind=kind, **strategy)

    assert [each.name for each in ACTION.hurry(observed, what)] == doomed


def test_no_pod_is_ended_before_the_controller_knows_the_new_template() -> None:
    strategy: Json = {"updateStrategy": {"type": "OnDelete"}}
    behind, what = rolled_back(version(4), pod("a", 3), kind="DaemonSet", **strategy)
    assert ACTION.hurry(behind, what) == ()
