"""What people type for a workload, a policy and a step."""

from __future__ import annotations

import pytest

from stanch.api.v1alpha1.incident import AIIncidentSpec, Category, Severity
from stanch.cli.request import Request
from stanch.cli.workloads import StepName, policy_of, target_of


@pytest.mark.parametrize(
    ("text", "kind", "api_version"),
    [
        ("deploy/x", "Deployment", "apps/v1"),
        ("deployment/x", "Deployment", "apps/v1"),
        ("Deployment/x", "Deployment", "apps/v1"),
        ("deployments.apps/x", "Deployment", "apps/v1"),
        ("sts/x", "StatefulSet", "apps/v1"),
        ("ds/x", "DaemonSet", "apps/v1"),
        ("rs/x", "ReplicaSet", "apps/v1"),
        ("job/x", "Job", "batch/v1"),
        ("cronjob/x", "CronJob", "batch/v1"),
        ("cj/x", "CronJob", "batch/v1"),
    ],
)
def test_a_workload_is_named_as_for_kubectl(text: str, kind: str, api_version: str) -> None:
    target = target_of(text)
    assert (target.kind, target.name, target.api_version) == (kind, "x", api_version)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("llm-chat", "a workload looks like deploy/llm-chat"),
        ("deploy/", "a workload looks like deploy/llm-chat"),
        ("pod/x", "a Pod cannot be contained by itself; name its controller"),
        ("svc/x", "a svc cannot be contained; a workload is one of Deployment"),
        ("deploy/No_Name", "String should match pattern"),
        ("deploy/a/b", "String should match pattern"),
    ],
)
def test_what_is_no_workload_is_told_with_what_is(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        target_of(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("chat", "ContainmentPolicy"),
        ("cpol/chat", "ContainmentPolicy"),
        ("ccpol/chat", "ClusterContainmentPolicy"),
        ("clustercontainmentpolicies/chat", "ClusterContainmentPolicy"),
    ],
)
def test_a_policy_of_the_cluster_says_so(text: str, kind: str) -> None:
    assert policy_of(text).kind == kind
    assert policy_of(text).name == "chat"


def test_a_policy_of_another_kind_is_none() -> None:
    with pytest.raises(ValueError, match="a policy is a name, or ccpol/"):
        policy_of("networkpolicy/chat")


@pytest.mark.parametrize("name", StepName)
def test_every_step_that_can_be_named_is_that_step(name: StepName) -> None:
    (member,) = name.step.wire().keys() - {"onFailure", "optional", "timeout"}
    assert member.lower() == name.replace("-", "")


def test_one_line_is_an_incident_with_nothing_in_it_that_nobody_said() -> None:
    manifest = Request("deploy/llm-chat").manifest("chat")
    assert manifest["metadata"] == {"generateName": "llm-chat-", "namespace": "chat"}
    assert set(manifest["spec"]) == {
        *("title", "category", "severity", "targets", "mode", "desiredState", "deletionPolicy"),
    }
    said = Request(
        "cj/nightly",
        "It leaks",
        Category.DATA_BREACH,
        Severity.CRITICAL,
        steps=[StepName.SUSPEND],
        dry_run=True,
    )
    spec = AIIncidentSpec.model_validate(said.manifest("chat")["spec"])
    assert (spec.title, spec.category, spec.severity, spec.mode) == (
        "It leaks",
        "DataBreach",
        "Critical",
        "DryRun",
    )
    assert spec.steps is not None
    assert spec.steps[0].suspend is not None


def test_a_long_name_leaves_room_for_what_makes_it_one_of_its_own() -> None:
    prefix = Request(f"deploy/{'a' * 39}-{'b' * 60}").manifest("chat")["metadata"]["generateName"]
    assert prefix == f"{'a' * 39}-"


def test_a_policy_has_its_own_steps() -> None:
    with pytest.raises(ValueError, match="give --policy or --step, not both"):
        Request("deploy/x", policy="chat", steps=[StepName.ISOLATE]).manifest("chat")
