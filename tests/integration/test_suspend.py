"""Suspending: a Job, or a CronJob with what it has started, runs no pod until it is given back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.operator_process import condition, eventually, operator, shape, workspace

if TYPE_CHECKING:
    from tests.operator_process import Json, Space

__all__ = ["operator", "workspace"]  # fixtures

RESUME = '{"spec":{"suspend":false}}'
HELD = "held by AIIncident toxic (Critical, OutputPolicyViolation)"
STAYS = f"{HELD} and suspended: spec.suspend stays true"


def pod_template(**annotations: str) -> Json:
    container = {"name": "trainer", "image": "registry.example.test/trainer:1"}
    return {
        "metadata": {"annotations": annotations},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }


def job(name: str = "train", *, labels: Json | None = None, pods: int = 2, **spec: Any) -> Json:
    """Training that does not end."""
    base = {"parallelism": pods, "completions": pods, "template": pod_template()}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels or {"team": "chat"}},
        "spec": base | spec,
    }


def cron_job(name: str = "retrain", schedule: str = "0 0 1 1 *", **spec: Any) -> Json:
    template = {"spec": {"template": pod_template()}} | spec.pop("jobTemplate", {})
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "labels": {"team": "chat"}},
        "spec": {"schedule": schedule, "jobTemplate": template} | spec,
    }


def started(space: Space, name: str, of: str = "retrain", **spec: Any) -> str:
    """A Job that the CronJob started, as its controller makes it."""
    owner = space.get("cronjob", of)
    manifest = job(name, pods=1, **spec)
    manifest["metadata"]["ownerReferences"] = [
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "name": of,
            "uid": owner["metadata"]["uid"],
            "controller": True,
        }
    ]
    space.create(manifest)
    return name


def running(space: Space, *names: str, pods: int) -> None:
    for name in names:
        space.wait(f"job/{name}", "{.status.ready}", str(pods))


def incident(space: Space, kind: str, name: str, **spec: Any) -> None:
    targets = [{"apiVersion": "batch/v1", "kind": kind, "name": name}]
    space.incident("toxic", **({"targets": targets} | spec))


def contain(space: Space, kind: str, name: str, **spec: Any) -> Json:
    incident(space, kind, name, **spec)
    space.wait_phase("toxic", "Contained")
    return space.wait_held("toxic")


@pytest.mark.compatibility("suspend")
def test_a_job_is_suspended_held_and_given_back_as_it_was(workspace: Space) -> None:
    workspace.create(job())
    running(workspace, "train", pods=2)
    before = shape(workspace.get("job", "train"))

    status = contain(workspace, "Job", "train", steps=[{"suspend": {}}])
    assert workspace.pods() == []
    assert workspace.get("job", "train")["spec"]["suspend"] is True
    (step,) = status["steps"]
    assert (step["state"], step["reason"]) == ("Effective", "Suspended")
    assert status["summary"] == "contained: train suspend false→true; held"
    assert status["plan"]["steps"][0]["diff"] == ["suspend false → true"]

    denied = workspace.refused("patch", "job", "train", "--type=merge", "-p", RESUME)
    assert STAYS in denied
    assert f"kubectl patch aii toxic -n {workspace.name}" in denied
    forced = ("apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller", "-f", "-")
    assert STAYS in workspace.refused(*forced, stdin=job(suspend=False))
    assert f"{HELD}: it cannot be deleted" in workspace.refused("delete", "job", "train")
    assert f"{HELD}: it cannot be deleted" in workspace.refused("delete", "jobs", "--all")
    assert "label stanch.dev/held stays" in workspace.refused("label", "job", "train", "stanch.dev/held-")
    workspace("annotate", "job", "train", "note=seen")

    status = workspace.release("toxic")
    assert shape(workspace.get("job", "train")) == before
    assert status["summary"] == "given back: train: suspend true → false"
    running(workspace, "train", pods=2)
    assert workspace.get("holds")["items"] == []


def test_without_a_plan_of_its_own_a_job_is_suspended(workspace: Space) -> None:
    workspace.create(job())
    workspace.create(cron_job())
    running(workspace, "train", pods=2)
    targets = [{"apiVersion": "batch/v1", "kind": kind, "name": name} for kind, name in BOTH]

    workspace.incident("toxic", targets=targets)
    status = workspace.wait_phase("toxic", "Contained")

    assert status["plan"]["source"] == "built-in default"
    assert [step["action"] for step in status["plan"]["steps"]] == ["Suspend", "Suspend"]
    assert workspace.get("cronjob", "retrain")["spec"]["suspend"] is True


BOTH = [("Job", "train"), ("CronJob", "retrain")]


@pytest.mark.compatibility("suspend")
def test_a_cronjob_is_suspended_with_all_it_has_started(workspace: Space) -> None:
    workspace.create(cron_job())
    workspace.create(job("other", pods=1))
    names = [started(workspace, f"retrain-{number}") for number in (1, 2)]
    by_hand = "by-hand"
    workspace("create", "job", by_hand, "--from=cronjob/retrain")
    running(workspace, *names, by_hand, "other", pods=1)
    before = [shape(each) for each in workspace.get("cronjob,job")["items"]]

    status = contain(workspace, "CronJob", "retrain")

    assert [pod["metadata"]["labels"]["job-name"] for pod in workspace.pods()] == ["other"]
    (step,) = status["steps"]
    changed = [(change["object"]["kind"], change["object"]["name"]) for change in step["changes"]]
    assert changed[0] == ("CronJob", "retrain")  # first, so that it starts no more
    assert set(changed[1:]) == {("Job", name) for name in (*names, by_hand)}
    assert STAYS in workspace.refused("patch", "cronjob", "retrain", "--type=merge", "-p", RESUME)
    assert STAYS in workspace.refused("patch", "job", names[0], "--type=merge", "-p", RESUME)
    assert f"{HELD}: it cannot be deleted" in workspace.refused("delete", "cronjob", "retrain")
    another = workspace.refused("create", "job", "another", "--from=cronjob/retrain")
    assert f"{HELD} and suspended: its CronJob starts no Job" in another

    workspace.release("toxic")
    assert [shape(each) for each in workspace.get("cronjob,job")["items"]] == before
    running(workspace, *names, by_hand, "other", pods=1)


def test_what_was_suspended_already_stays_so_when_it_is_given_back(workspace: Space) -> None:
    workspace.create(cron_job(suspend=True))
    started(workspace, "queued", suspend=True)
    before = [shape(each) for each in workspace.get("cronjob,job")["items"]]

    contain(workspace, "CronJob", "retrain")
    assert STAYS in workspace.refused("patch", "job", "queued", "--type=merge", "-p", RESUME)

    workspace.release("toxic")
    assert [shape(each) for each in workspace.get("cronjob,job")["items"]] == before


@pytest.fixture
def unguarded(workspace: Space) -> Json:
    """Somebody for whom admission makes an exception: the operator's own account."""
    return {"as_": workspace.cluster.kubeconfig_for_service_account("stanch-system", "stanch")}


def test_a_job_that_slips_through_is_suspended_as_well(workspace: Space, unguarded: Json) -> None:
    workspace.create(cron_job())
    contain(workspace, "CronJob", "retrain")
    owner = workspace.get("cronjob", "retrain")["metadata"]
    born = job("late", pods=1)
    reference = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "retrain", "uid": owner["uid"]}
    born["metadata"]["ownerReferences"] = [reference | {"controller": True}]
    # Without its owner it is not denied; the owner comes after.
    orphan = json.loads(json.dumps(born))
    owners = orphan["metadata"].pop("ownerReferences")
    workspace.create(orphan)
    workspace(
        "patch", "job", "late", "--type=merge", "-p", json.dumps({"metadata": {"ownerReferences": owners}})
    )

    workspace.wait("job/late", "{.spec.suspend}", "true")
    eventually(lambda: workspace.pods() == [], "its pods are gone")
    workspace.wait_phase("toxic", "Contained")
    workspace.release("toxic")
    workspace.wait("job/late", "{.spec.suspend}", "false")


def test_resuming_that_slips_through_is_seen_at_once_and_put_right(workspace: Space, unguarded: Json) -> None:
    workspace.create(job())
    contain(workspace, "Job", "train")

    workspace("patch", "job", "train", "--type=merge", "-p", RESUME, **unguarded)

    workspace.wait("job/train", "{.spec.suspend}", "true")
    workspace.wait("aii/toxic", "{.status.contested.count}", "1")
    workspace.wait_phase("toxic", "Contained")
    assert "changed Job train /spec/suspend to false" in workspace.status("toxic")["contested"]["lastWhat"]


def test_what_release_cannot_give_back_and_who_may_resume_it_is_told(workspace: Space) -> None:
    workspace.create(job(labels={"kueue.x-k8s.io/queue-name": "gpu"}, activeDeadlineSeconds=3600))
    status = contain(workspace, "Job", "train")
    (diff,) = status["plan"]["steps"][0]["diff"]
    assert "its deadline of 3600 s begins anew when it is resumed" in diff
    assert "Kueue manages it (queue gpu): when it tries to resume it, that is denied" in diff
    assert "Job train: Kueue manages it (queue gpu)" in status["steps"][0]["message"]


def test_a_pod_that_does_not_end_is_told_and_not_contained(workspace: Space) -> None:
    template = pod_template(**{"sandbox.stanch.dev/terminate": "never"})
    workspace.create(job(template=template))
    running(workspace, "train", pods=2)
    incident(workspace, "Job", "train", steps=[{"suspend": {}, "timeout": "2s"}])

    status = workspace.wait_phase("toxic", "ContainmentFailed")
    assert "2 pods left: train-" in status["steps"][0]["message"]
    assert "(terminating)" in status["steps"][0]["message"]
    workspace("delete", "pods", "--all", "--force", "--grace-period=0")
    workspace.wait_phase("toxic", "Contained")


def test_a_pod_that_lingers_is_over_when_its_containers_have_ended(workspace: Space) -> None:
    workspace.create(job(pods=1))
    running(workspace, "train", pods=1)
    (pod,) = workspace.pods()
    name = pod["metadata"]["name"]
    finalizers = {"finalizers": [*pod["metadata"]["finalizers"], "example.test/slow"]}
    workspace("patch", "pod", name, "--type=merge", "-p", json.dumps({"metadata": finalizers}))
    incident(workspace, "Job", "train")
    workspace.wait("aii/toxic", "{.status.steps[0].reason}", "PodsRunning")
    assert workspace.status("toxic")["phase"] == "Containing"

    # What a kubelet reports; the nodes of the sandbox wait for finalizers.
    over = '{"status":{"phase":"Failed"}}'
    workspace("patch", "pod", name, "--subresource=status", "--type=merge", "-p", over)
    workspace.wait_phase("toxic", "Contained")
    workspace("patch", "pod", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def test_a_job_that_selects_its_pods_by_hand(workspace: Space) -> None:
    labels = {"app": "train"}
    template = pod_template()
    template["metadata"]["labels"] = labels
    workspace.create(job(manualSelector=True, selector={"matchLabels": labels}, template=template))
    running(workspace, "train", pods=2)
    contain(workspace, "Job", "train")
    assert workspace.pods() == []


def ended(space: Space) -> None:
    template = pod_template(**{"sandbox.stanch.dev/complete-after": "0s"})
    space.create(job(template=template))
    space("wait", "job/train", "--for=condition=Complete", "--timeout=60s")


def owned(space: Space) -> None:
    space.create(cron_job())
    started(space, "train")


def of_another_kind(space: Space) -> None:
    selector = {"app": "train"}
    template = pod_template()
    template["metadata"]["labels"] = selector
    template["spec"]["restartPolicy"] = "Always"
    spec = {"selector": {"matchLabels": selector}, "template": template, "replicas": 1}
    space.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "train"}, "spec": spec})


REFUSED = {
    "it has ended": (ended, "Job", "JobFinished", "the Job has ended (Complete)"),
    "its CronJob": (owned, "Job", "TargetOwned", "CronJob retrain controls it"),
    "no such Job": (lambda _: None, "Job", "TargetNotFound", "there is no such object"),
    "a Deployment": (of_another_kind, "Deployment", "KindNotSuspendable", "scale it to zero instead"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_suspended_is_refused_and_nothing_changed(workspace: Space, case: str) -> None:
    prepare, kind, reason, says = REFUSED[case]
    prepare(workspace)
    before = [shape(each) for each in workspace.get("cronjob,job,deployment")["items"]]
    api_version = "apps/v1" if kind == "Deployment" else "batch/v1"
    targets = [{"apiVersion": api_version, "kind": kind, "name": "train"}]

    workspace.incident("toxic", targets=targets, steps=[{"suspend": {}}])
    accepted = condition(workspace.wait_phase("toxic", "Rejected"), "Accepted")

    assert accepted["reason"] == reason
    assert says in accepted["message"]
    assert [shape(each) for each in workspace.get("cronjob,job,deployment")["items"]] == before
    assert workspace.get("holds")["items"] == []


def test_two_incidents_on_one_cronjob_give_it_back_together(workspace: Space) -> None:
    workspace.create(cron_job())
    started(workspace, "retrain-1")
    running(workspace, "retrain-1", pods=1)
    before = [shape(each) for each in workspace.get("cronjob,job")["items"]]
    contain(workspace, "CronJob", "retrain")
    targets = [{"apiVersion": "batch/v1", "kind": "CronJob", "name": "retrain"}]
    workspace.incident("again", targets=targets)
    workspace.wait_phase("again", "Contained")

    workspace.release("toxic")
    assert workspace.get("job", "retrain-1")["spec"]["suspend"] is True
    workspace.release("again")
    assert [shape(each) for each in workspace.get("cronjob,job")["items"]] == before


def test_a_cronjob_with_a_name_as_long_as_may_be(workspace: Space) -> None:
    name = "c" * 52
    workspace.create(cron_job(name))
    started(workspace, "j" * 63, name)
    running(workspace, "j" * 63, pods=1)
    contain(workspace, "CronJob", name)
    assert workspace.pods() == []
    workspace.release("toxic")
    running(workspace, "j" * 63, pods=1)
