"""Rolling back: the version before runs again, nobody can deploy the bad one, anybody a repaired one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from stanch.versions.condemned import carries
from tests.integration.poisoned import (
    HUB,
    LONG,
    PODS,
    contain,
    deploy,
    llm,
    poisoned,
    running,
    template,
)
from tests.operator_process import condition, eventually, operator, shape, workload, workspace

if TYPE_CHECKING:
    from tests.operator_process import Json, Space

__all__ = ["operator", "workspace"]  # fixtures

KINDS = ["Deployment", "StatefulSet", "DaemonSet"]
WAYS: dict[str, tuple[Json, tuple[str, str]]] = {
    "revision": ({"revision": 1}, ("1", "r1")),
    "last known good": ({"lastKnownGood": True}, ("1", "r1")),
    "image": ({"image": {"tag": "1"}}, ("1", "r2")),
    "model version": ({"modelVersion": "r1"}, ("2", "r1")),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_another_version_runs_the_bad_one_is_denied_and_the_good_one_stays(
    workspace: Space, kind: str, way: str
) -> None:
    to, expected = WAYS[way]
    before, bad = poisoned(workspace, kind)

    status = contain(workspace, kind, to=to)

    assert running(workspace) == {expected}
    contained = workspace.get(kind, "llm")
    if expected == ("1", "r1"):
        assert template(contained) == template(before)
    (step,) = status["steps"]
    assert (step["state"], step["reason"]) == ("Effective", "RolledBack")
    assert step["changes"][0]["rule"] == "Kept"
    condemned = set(step["condemned"])
    assert (f"image/{HUB}:2" in condemned) == (expected[0] == "1")
    assert ("arg/r2" in condemned) == (expected[1] == "r1")
    denied = workspace.refused("apply", "-f", "-", stdin=llm(kind, "2"))
    assert "is condemned by AIIncident toxic (Critical, OutputPolicyViolation)" in denied
    assert "cannot be deleted" in workspace.refused("delete", kind, "llm")

    workspace.release("toxic")
    kept = workspace.get(kind, "llm")
    assert kept["spec"] == contained["spec"]
    assert kept["metadata"]["labels"] == bad["metadata"]["labels"]
    assert workspace.get("holds")["items"] == []
    assert running(workspace) == {expected}
    deploy(workspace, llm(kind, "2"), rolled_out=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.compatibility("rollback")
def test_what_is_to_be_restored_comes_back_as_it_was(workspace: Space, kind: str) -> None:
    poisoned(workspace, kind)
    before = shape(workspace.get(kind, "llm"))

    contain(workspace, kind, to={"lastKnownGood": True}, onRelease="Restore")
    assert running(workspace) == {("1", "r1")}
    workspace.release("toxic")

    assert shape(workspace.get(kind, "llm")) == before
    workspace("rollout", "status", f"{kind}/llm", f"--timeout={LONG}s")
    assert running(workspace) == {("2", "r2")}


@pytest.mark.compatibility("rollback")
def test_the_condemned_version_is_denied_from_every_side(workspace: Space) -> None:
    poisoned(workspace, "Deployment")
    deploy(workspace, llm("Deployment", "1", "other"), rolled_out=False)
    contain(workspace, "Deployment")
    bad = llm("Deployment", "2")
    replica_set = llm("ReplicaSet", "2", "sneaky")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare"}, "spec": template(bad)["spec"]}
    by_digest = json.loads(json.dumps(pod))
    (digest,) = [
        key.removeprefix("digest/")
        for key in workspace.status("toxic")["steps"][0]["condemned"]
        if key.startswith("digest/")
    ]
    by_digest["spec"]["containers"][0] |= {"image": f"elsewhere.example.test/innocent@{digest}", "args": []}
    job = {"restartPolicy": "Never", **template(bad)["spec"]}
    cron_job = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "nightly"},
        "spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": {"spec": job}}}},
    }

    refusals = [
        workspace.refused("set", "image", "deployment/llm", f"server={HUB}:2"),
        workspace.refused("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=bad),
        workspace.refused("rollout", "undo", "deployment/llm"),
        workspace.refused("set", "image", "deployment/other", f"server={HUB}:2"),
        workspace.refused("create", "-f", "-", stdin=llm("Deployment", "2", "new-name")),
        workspace.refused("create", "-f", "-", stdin=replica_set),
        workspace.refused("create", "-f", "-", stdin=pod),
        workspace.refused("create", "-f", "-", stdin=by_digest),
        workspace.refused("create", "-f", "-", stdin=cron_job),
        workspace.refused("run", "spelled", "--image=registry.example.test:443/llm:2"),
    ]

    assert all("is condemned by AIIncident toxic" in refusal for refusal in refusals), refusals
    assert "it cannot be deleted" in workspace.refused("replace", "--force", "-f", "-", stdin=bad)
    workspace("scale", "deployment/llm", "--replicas=3")
    workspace.running("Deployment", "llm", 3)
    assert running(workspace) == {("1", "r1")}


def everywhere(version: str) -> Json:
    """A workload that says its version in every place there is."""
    container = {
        "name": "server",
        "image": f"{HUB}:{version}",
        "command": ["serve", f"--model=org/x-{version}"],
        "env": [{"name": "MODEL_VERSION", "value": version}, {"name": "LOG_LEVEL", "value": "info"}],
    }
    pod = {
        "containers": [container],
        "initContainers": [
            {"name": "fetch", "image": f"fetch.example.test/x:{version}", "args": ["--revision", version]}
        ],
        "volumes": [{"name": "weights", "image": {"reference": f"weights.example.test/x:{version}"}}],
    }
    return workload("Deployment", "llm", PODS, pod=pod, annotations={"stanch.dev/model-version": version})


def test_the_api_server_denies_exactly_what_we_say_is_condemned(workspace: Space) -> None:
    for version in ("v1", "v2"):
        deploy(workspace, everywhere(version))
    status = contain(workspace, "Deployment")
    condemned = status["steps"][0]["condemned"]
    harmless = {"name": "server", "image": "innocent.example.test/x:1"}
    pods: list[Json] = [
        {"containers": [harmless]},
        *({"containers": [harmless | more]} for more in _VARIANTS),
        {"containers": [harmless], "initContainers": [harmless | {"name": "init", "image": f"{HUB}:v2"}]},
        *(
            {
                "containers": [harmless],
                "volumes": [{"name": "w", "image": {"reference": f"weights.example.test/x:{v}"}}],
            }
            for v in ("v1", "v2", "v3")
        ),
        *({"metadata": {"stanch.dev/model-version": v}, "containers": [harmless]} for v in ("v1", "v2")),
    ]
    verdicts = []
    for spec in pods:
        annotations = spec.pop("metadata", {})
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "probe", "annotations": annotations},
            "spec": spec,
        }
        said = workspace.kubectl(
            *("-n", workspace.name, "create", "--dry-run=server", "-f", "-"), stdin=json.dumps(pod)
        )
        denied = "is condemned by AIIncident toxic" in said.stderr
        assert denied or said.returncode == 0, said.stderr
        carried = carries(pod, condemned)
        assert denied == bool(carried), (pod, carried, said.stderr)
        assert not denied or any(key in said.stderr for key in carried), (carried, said.stderr)
        verdicts.append(denied)
    assert verdicts.count(True) >= 8
    assert verdicts.count(False) >= 8


_VARIANTS: list[Json] = [
    {"image": f"{HUB}:v2"},
    {"image": f"{HUB}:v1"},
    {"image": "registry.example.test:443/llm:v2"},
    {"image": f"{HUB}:v2@sha256:{'a' * 64}"},
    {"image": "fetch.example.test/x:v2"},
    {"args": ["--model=org/x-v2"]},
    {"args": ["--model", "org/x-v2"]},
    {"command": ["--model=org/x-v2"]},
    {"args": ["--model=org/x-v2.1", " --model=org/x-v2"]},
    {"args": ["--model=org/x-v1"]},
    {"args": ["--revision", "v2"]},
    {"env": [{"name": "MODEL_VERSION", "value": "v2"}]},
    {"env": [{"name": "MODEL_VERSION", "value": "v3"}, {"name": "LOG_LEVEL", "value": "v2"}]},
    {"env": [{"name": "MODEL_VERSION"}]},
    {"env": [{"name": "MODEL_VERSION", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
]


def test_a_repaired_version_may_be_deployed_and_is_not_fought_about(workspace: Space) -> None:
    poisoned(workspace, "Deployment")
    contain(workspace, "Deployment")

    deploy(workspace, llm("Deployment", "3"))

    eventually(lambda: running(workspace) == {("3", "r3")}, "only the repaired version runs")
    workspace.wait("aii/toxic", "{.status.steps[0].reason}", "FixedForward")
    status = workspace.status("toxic")
    assert status["phase"] == "Contained"
    assert status.get("contested", {}).get("count", 0) == 0
    assert "is condemned" in workspace.refused("set", "image", "deployment/llm", f"server={HUB}:2")
    workspace.release("toxic")
    assert template(workspace.get("deployment", "llm"))["spec"]["containers"][0]["image"] == f"{HUB}:3"


def test_what_is_condemned_for_good_outlasts_the_release_until_the_incident_is_deleted(
    workspace: Space,
) -> None:
    poisoned(workspace, "Deployment")
    contain(workspace, "Deployment", to={"revision": 1}, condemn="Permanent")
    workspace.release("toxic")

    denied = workspace.refused("set", "image", "deployment/llm", f"server={HUB}:2")
    assert "is condemned by AIIncident toxic" in denied
    workspace("delete", "deployment", "llm")
    workspace("delete", "aii", "toxic", f"--timeout={LONG}s")
    deploy(workspace, llm("Deployment", "2"))


def test_a_second_incident_does_not_go_back_to_what_the_first_one_condemned(workspace: Space) -> None:
    poisoned(workspace, "Deployment")
    contain(workspace, "Deployment")
    deploy(workspace, llm("Deployment", "3"))

    workspace.incident("again", "Deployment/llm", steps=[{"rollback": {"to": {"revision": 2}}}])

    status = workspace.wait_phase("again", "Rejected")
    accepted = condition(status, "Accepted")
    assert "Deployment" in accepted["message"], accepted


@pytest.mark.parametrize("on_release", ["Keep", "Restore"])
def test_what_two_incidents_roll_back_is_given_back_by_the_last(workspace: Space, on_release: str) -> None:
    poisoned(workspace, "Deployment")
    before = shape(workspace.get("deployment", "llm"))
    member = {"to": {"lastKnownGood": True}, "onRelease": on_release}
    contain(workspace, "Deployment", **member)
    workspace.incident("later", "Deployment/llm", steps=[{"rollback": member}])
    workspace.wait_phase("later", "Contained")
    workspace.wait_held("later")
    assert running(workspace) == {("1", "r1")}

    workspace.release("toxic")
    assert "is condemned" in workspace.refused("set", "image", "deployment/llm", f"server={HUB}:2")
    assert template(workspace.get("deployment", "llm"))["spec"]["containers"][0]["image"] == f"{HUB}:1"

    workspace.release("later")
    assert (shape(workspace.get("deployment", "llm")) == before) == (on_release == "Restore")
    assert workspace.get("holds")["items"] == []
    workspace("set", "image", "deployment/llm", f"server={HUB}:2")
