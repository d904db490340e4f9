"""ScaleToZero: what it plans, what it takes for effective, whom it hurries, what it holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from stanch.actions.objects import LabelSelector, Obj, Pod
from stanch.actions.protocol import Edit, Observation, Refusal, Verdict
from stanch.actions.scale_to_zero import NODE_SELECTOR_KEY, ScaleToZero
from stanch.api.v1alpha1.incident import Target, TargetKind
from stanch.api.v1alpha1.steps import ScaleToZero as Member
from stanch.api.v1alpha1.steps import Terminate
from stanch.plans.changes import lookup
from tests.unit.actions.cluster_objects import ask, obj, owned_by, pod

ACTION = ScaleToZero()
ASK = ask(Target(kind=TargetKind.DEPLOYMENT, name="llm"))
SCALED = ["Deployment", "StatefulSet", "ReplicaSet"]
KINDS = [*SCALED, "DaemonSet"]


def plan(seen: Observation) -> tuple[Edit, ...]:
    intents = ACTION.plan(seen, ASK)
    assert not isinstance(intents, Refusal), intents
    assert all(isinstance(intent, Edit) for intent in intents)
    return cast("tuple[Edit, ...]", intents)


def after(intent: Edit) -> dict[str, Any]:
    return {field.path: field.after for field in intent.fields}


@pytest.mark.parametrize("kind", SCALED)
def test_the_count_of_the_main_resource_goes_to_zero(kind: str) -> None:
    (intent,) = plan(Observation(obj(kind)))

    assert after(intent) == {"/spec/replicas": 0}
    assert [field.before for field in intent.fields] == [3]
    assert intent.diff == "replicas 3 → 0"


def test_a_daemonset_selects_a_node_that_does_not_exist() -> None:
    (intent,) = plan(Observation(obj("DaemonSet")))

    assert after(intent)["/spec/template/spec/nodeSelector"] == {NODE_SELECTOR_KEY: "true"}
    assert "no node has" in intent.diff


def test_a_daemonset_keeps_the_selector_it_has() -> None:
    template = {"template": {"spec": {"nodeSelector": {"gpu": "a100"}}}}
    (intent,) = plan(Observation(obj("DaemonSet", spec=template)))

    assert after(intent)["/spec/template/spec/nodeSelector/stanch.dev~1contained"] == "true"


def test_volumes_are_kept_in_the_same_write_as_the_count() -> None:
    policy = {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete", "whenDeleted": "Retain"}}
    (intent,) = plan(Observation(obj("StatefulSet", spec=policy)))

    paths = list(after(intent))
    retain = "/spec/persistentVolumeClaimRetentionPolicy/whenScaled"
    assert after(intent)[retain] == "Retain"
    assert paths.index(retain) < paths.index("/spec/replicas")
    assert "volumes kept" in intent.diff


def test_an_autoscaler_is_frozen_before_the_workload_is_stopped() -> None:
    hpa = obj("HorizontalPodAutoscaler")
    freeze, stop = plan(Observation(obj("Deployment"), (hpa,)))

    assert freeze.obj is hpa
    assert after(freeze)["/spec/behavior"] == {"scaleUp": {"selectPolicy": "Disabled"}}
    assert freeze.diff == "HorizontalPodAutoscaler llm: scale-up unset → Disabled"
    assert stop.obj.resource.kind == "Deployment"


def test_an_autoscaler_with_behaviour_loses_only_its_policy() -> None:
    behaviour = {"behavior": {"scaleUp": {"selectPolicy": "Max", "policies": []}}}
    freeze, _ = plan(Observation(obj("Deployment"), (obj("HorizontalPodAutoscaler", spec=behaviour),)))

    assert after(freeze)["/spec/behavior/scaleUp/selectPolicy"] == "Disabled"
    assert lookup(freeze.obj.json, "/spec/behavior/scaleUp/selectPolicy") == "Max"


@pytest.mark.parametrize(
    ("target", "reason", "says"),
    [
        (None, "TargetNotFound", "no such object"),
        (
            obj("Deployment", deletionTimestamp="2026-01-02T03:04:05Z"),
            "TargetTerminating",
            "being deleted",
        ),
        (
            obj("ReplicaSet", ownerReferences=owned_by(obj("Deployment", "owner"))),
            "TargetOwned",
            "Deployment owner controls it",
        ),
    ],
)
def test_what_cannot_be_stopped_is_refused_with_the_reason(
    target: Obj | None, reason: str, says: str
) -> None:
    refusal = ACTION.plan(Observation(target), ASK)

    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert says in refusal.message


def stopped(kind: str, **status: Any) -> Obj:
    spec = {} if kind == "DaemonSet" else {"replicas": 0}
    return obj(kind, spec=spec, status={"observedGeneration": 1, **status})


def running(*pods: Pod) -> tuple[Pod, ...]:
    return pods


@pytest.mark.parametrize("kind", KINDS)
def test_effective_is_no_pod_left_and_none_to_come(kind: str) -> None:
    judgement = ACTION.judge(Observation(stopped(kind)), ASK)

    assert (judgement.verdict, judgement.reason) == (Verdict.EFFECTIVE, "NoPodsLeft")
    assert judgement.look_again is None


def kept(name: str, phase: str = "Running") -> Pod:
    return pod(
        name, phase=phase, deletionTimestamp="2026-01-02T03:04:05Z", finalizers=["example.test/archive"]
    )


def test_a_pod_that_has_ended_and_stands_all_the_same_is_named() -> None:
    judgement = ACTION.judge(Observation(stopped("Deployment"), pods=(kept("a", "Failed"),)), ASK)

    assert judgement.verdict is Verdict.EFFECTIVE
    assert judgement.message == (
        "no pod is left that may run; ended: a (terminating, finalizer example.test/archive)"
    )


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_no_pod_left(phase: str) -> None:
    seen = Observation(stopped("Deployment"), pods=(pod("llm-1", phase=phase),))

    assert ACTION.judge(seen, ASK).verdict is Verdict.EFFECTIVE


@pytest.mark.parametrize(
    ("seen", "reason", "says"),
    [
        (
            Observation(obj("Deployment", spec={"replicas": 0}, generation=2)),
            "ControllerBehind",
            "not yet seen Deployment llm",
        ),
        (Observation(stopped("Deployment", replicas=2)), "StillScaled", "Deployment llm still counts pods"),
        (
            Observation(stopped("StatefulSet", replicas=1), pods=(kept("a"),)),
            "PodsRunning",
            "a (terminating, finalizer example.test/archive)",
        ),
        (Observation(obj("StatefulSet")), "StillScaled", "StatefulSet llm"),
        (Observation(stopped("DaemonSet", desiredNumberScheduled=2)), "StillScaled", "DaemonSet llm"),
        (
            Observation(stopped("Deployment"), (obj("ReplicaSet", "llm-5d", spec={"replicas": 1}),)),
            "StillScaled",
            "ReplicaSet llm-5d",
        ),
        (
            Observation(stopped("Deployment"), (obj("ReplicaSet", "llm-5d", generation=3),)),
            "ControllerBehind",
            "ReplicaSet llm-5d",
        ),
        (Observation(stopped("Deployment"), pods=(pod("a"),)), "PodsRunning", "1 pod left: a"),
        (
            Observation(stopped("Deployment"), pods=(pod("a", phase="Unknown"), pod("b", phase="Pending"))),
            "PodsRunning",
            "2 pods left: a, b",
        ),
        (
            Observation(stopped("Deployment"), pods=(pod("a", deletionTimestamp="2026-01-02T03:04:05Z"),)),
            "PodsRunning",
            "a (terminating)",
        ),
        (
            Observation(stopped("Deployment"), pods=(kept("a"),)),
            "PodsRunning",
            "a (terminating, finalizer example.test/archive)",
        ),
        (
            Observation(stopped("Deployment"), pods=tuple(pod(name) for name in "abcde")),
            "PodsRunning",
            "5 pods left: a, b, c and 2 more",
        ),
    ],
)
def test_pending_says_what_is_still_there_and_looks_again(seen: Observation, reason: str, says: str) -> None:
    judgement = ACTION.judge(seen, ASK)

    assert (judgement.verdict, judgement.reason) == (Verdict.PENDING, reason)
    assert says in judgement.message
    assert judgement.look_again is not None


def test_a_frozen_autoscaler_does_not_count_as_wanting_pods() -> None:
    hpa = obj("HorizontalPodAutoscaler", generation=5, status={})

    assert ACTION.judge(Observation(stopped("Deployment"), (hpa,)), ASK).verdict is Verdict.EFFECTIVE


def test_a_target_that_is_gone_runs_nothing() -> None:
    judgement = ACTION.judge(Observation(None), ASK)

    assert (judgement.verdict, judgement.reason) == (Verdict.EFFECTIVE, "TargetGone")


ENDING = pod("ending", deletionTimestamp="2026-01-02T03:04:05Z", deletionGracePeriodSeconds=30)
ENDING_NOW = pod("now", deletionTimestamp="2026-01-02T03:04:05Z", deletionGracePeriodSeconds=1)
ENDED = pod("ended", phase="Succeeded")
PODS = (pod("live"), ENDING, ENDING_NOW, ENDED)


@pytest.mark.parametrize(
    ("kind", "terminate", "doomed"),
    [
        ("Deployment", Terminate.GRACEFUL, {}),
        ("DaemonSet", Terminate.GRACEFUL, {}),
        ("StatefulSet", Terminate.GRACEFUL, {"live": None}),
        ("Deployment", Terminate.IMMEDIATE, {"live": 1, "ending": 1}),
        ("StatefulSet", Terminate.IMMEDIATE, {"live": 1, "ending": 1}),
        ("DaemonSet", Terminate.IMMEDIATE, {"live": 1, "ending": 1}),
    ],
)
def test_who_is_hurried(kind: str, terminate: Terminate, doomed: dict[str, int | None]) -> None:
    """One second of grace, never zero: with zero the API server forgets a pod whose processes run on."""
    asked = replace(ASK, member=Member(terminate=terminate))

    hurried = ACTION.hurry(Observation(obj(kind), pods=PODS), asked)

    assert {one.name: one.grace_period_seconds for one in hurried} == doomed
    assert {one.uid for one in hurried} == {f"uid-{name}" for name in doomed}


@pytest.mark.parametrize(
    ("terminate", "doomed"), [(Terminate.GRACEFUL, {}), (Terminate.IMMEDIATE, {"live": 1})]
)
def test_who_is_ended_before_the_controller_gives_it_all_its_grace(
    terminate: Terminate, doomed: dict[str, int | None]
) -> None:
    asked = replace(ASK, member=Member(terminate=terminate))
    born = pod("born", phase="Pending")

    rushed = ACTION.rush(Observation(obj("Deployment"), pods=(*PODS, born)), asked)

    assert {one.name: one.grace_period_seconds for one in rushed} == doomed


def test_what_is_held() -> None:
    seen = Observation(obj("Deployment"), (obj("HorizontalPodAutoscaler"), obj("ReplicaSet", "llm-5d")))

    assert ACTION.hold(seen, ASK) == {
        "Stopped apps/deployments/llm",
        "Stopped apps/replicasets/llm-5d",
        "Stopped autoscaling/horizontalpodautoscalers/llm",
    }


def test_nothing_is_held_of_what_is_not_there() -> None:
    assert ACTION.hold(Observation(None), ASK) == frozenset()


@pytest.mark.parametrize("kind", ["Job", "CronJob"])
def test_a_kind_without_replicas_is_refused(kind: str) -> None:
    target = Target(api_version="batch/v1", kind=TargetKind(kind), name="llm")

    refusal = ACTION.plan(Observation(None), replace(ASK, target=target))

    assert isinstance(refusal, Refusal)
    assert (refusal.reason, "suspend it instead" in refusal.message) == ("KindNotScalable", True)


def test_an_object_is_found_by_identity_never_by_name() -> None:
    target = obj("Deployment")
    seen = Observation(target)

    assert seen.find(target.meta.uid) is target
    assert seen.find("uid-of-the-one-before") is None
    assert replace(seen, target=None).find(target.meta.uid) is None


@pytest.mark.parametrize(
    ("selector", "query"),
    [
        ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2"),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, "a in (1,2)"),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, "a notin (1)"),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, "a"),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, "!a"),
        (
            {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]},
            "a=1,b",
        ),
        ({}, ""),
    ],
)
def test_a_selector_as_the_list_request_says_it(selector: dict[str, Any], query: str) -> None:
    assert LabelSelector.model_validate(selector).query() == query
