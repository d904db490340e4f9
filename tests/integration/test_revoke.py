"""RevokeServiceAccount by deleting the account: tokens refused, re-creation held off, all given back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.accounts import (
    account,
    authenticated,
    binding,
    granted,
    manifest,
    may,
    rejection,
    reviewed,
    role,
    serve,
    step,
    subject,
)
from tests.operator_process import eventually, operator, workspace

if TYPE_CHECKING:
    from tests.operator_process import Json, Space

__all__ = ["granted", "operator", "workspace"]  # fixtures


def job_pod() -> Json:
    return {
        "serviceAccountName": "llm",
        "restartPolicy": "Never",
        "containers": [{"name": "job", "image": "registry.example.test/job:1"}],
    }


@pytest.mark.compatibility("revoke")
def test_an_account_is_deleted_held_off_and_given_back_as_it_was(workspace: Space) -> None:
    workspace.create(account())
    workspace.create(role("reader"))
    workspace.create(binding("reader", "reader", subject(workspace)))
    serve(workspace)
    before = workspace.get("sa", "llm")
    pods = [pod["metadata"]["uid"] for pod in workspace.pods()]
    stolen = workspace.cluster.kubeconfig_for_service_account(workspace.name, "llm")
    assert authenticated(workspace, stolen)
    assert reviewed(workspace, stolen)

    workspace.incident("rogue", "Deployment/llm-chat", steps=[{"revokeServiceAccount": {}}])
    # Whoever uses the token all the time keeps it in the API server's cache: the slowest case.
    while workspace.status("rogue").get("phase") != "Contained":
        authenticated(workspace, stolen)
        assert workspace.status("rogue").get("phase") in {None, "Containing", "Contained"}
    assert not authenticated(workspace, stolen)
    assert not reviewed(workspace, stolen)
    status = workspace.wait_held("rogue")
    assert step(status)["reason"] == "TokensRefused"
    assert "credentials that AWS issued already" in status["plan"]["steps"][0]["diff"][0]

    denied = workspace.refused("create", "-f", "-", stdin=account())
    assert "held by AIIncident rogue" in denied
    colleague = workspace.user("colleague")
    assert "cannot be created again" in workspace.refused("create", "sa", "llm", as_=colleague)
    workspace("create", "sa", "another")
    assert [pod["metadata"]["uid"] for pod in workspace.pods()] == pods

    workspace.release("rogue")
    after = workspace.get("sa", "llm")
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert json.dumps(manifest(after)) == json.dumps(manifest(before))
    assert may(workspace, "list", "secrets")
    assert not authenticated(workspace, stolen), "a token of the first account belongs to nobody any more"
    again = workspace.cluster.kubeconfig_for_service_account(workspace.name, "llm")
    assert authenticated(workspace, again)


@pytest.mark.long
def test_other_workloads_under_the_account_are_named_before_they_lose_it(workspace: Space) -> None:
    workspace.create(account())
    for name in ("llm-chat", "billing"):
        serve(workspace, name)
    workspace.create(
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "nightly"},
            "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": job_pod()}}}},
        }
    )
    before = workspace.get("sa", "llm")

    workspace.incident("rogue", "Deployment/llm-chat", steps=[{"revokeServiceAccount": {}}])
    said = rejection(workspace, "rogue")
    assert "AccountShared" in said
    assert "ServiceAccount llm is also used by CronJob/nightly, Deployment/billing" in said
    assert workspace.get("sa", "llm") == before

    accepting = [{"revokeServiceAccount": {"shared": "Accept"}}]
    workspace.contain("accepted", "Deployment/llm-chat", steps=accepting)
    workspace.gone("sa/llm")
    workspace.release("accepted")
    assert manifest(workspace.get("sa", "llm")) == manifest(before)


@pytest.mark.parametrize("kind", ["CronJob", "Job"])
@pytest.mark.long
def test_the_account_of_a_job_is_revoked_as_well(workspace: Space, kind: str) -> None:
    workspace.create(account())
    job: Json = {"template": {"spec": job_pod()}}
    cron_job: Json = {"schedule": "0 3 * * *", "jobTemplate": {"spec": job}}
    spec = cron_job if kind == "CronJob" else job | {"suspend": True}
    metadata = {"name": "nightly"}
    workspace.create({"apiVersion": "batch/v1", "kind": kind, "metadata": metadata, "spec": spec})
    target = {"apiVersion": "batch/v1", "kind": kind, "name": "nightly"}

    workspace.contain("rogue", targets=[target], steps=[{"revokeServiceAccount": {}}])
    workspace.gone("sa/llm")
    workspace.release("rogue")
    assert workspace.get("sa", "llm")["metadata"]["labels"] == {"team": "chat"}


def test_tokens_that_could_not_be_given_back_are_not_taken_unless_somebody_says_so(workspace: Space) -> None:
    workspace.create(account())
    serve(workspace)
    annotations = {"kubernetes.io/service-account.name": "llm"}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "llm-legacy", "annotations": annotations},
        "type": "kubernetes.io/service-account-token",
    }
    workspace.create(secret)

    workspace.incident("rogue", "Deployment/llm-chat", steps=[{"revokeServiceAccount": {}}])
    said = rejection(workspace, "rogue")
    assert "LegacyTokens: " in said
    assert "Secrets llm-legacy hold tokens of ServiceAccount llm" in said
    workspace.get("sa", "llm")
    workspace.get("secret", "llm-legacy")

    irreversible = [{"revokeServiceAccount": {"irreversible": "Accept"}}]
    status = workspace.contain("accepted", "Deployment/llm-chat", steps=irreversible)
    assert "token Secrets llm-legacy go with it for good" in status["plan"]["steps"][0]["diff"][0]
    eventually(lambda: not workspace.get("secrets")["items"], "the token controller deletes the Secret")
    workspace.release("accepted")
    assert workspace.get("sa", "llm")["metadata"]["labels"] == {"team": "chat"}


def test_the_default_account_is_not_deleted(workspace: Space) -> None:
    serve(workspace, under="default")
    workspace.incident("rogue", "Deployment/llm-chat", steps=[{"revokeServiceAccount": {}}])
    said = rejection(workspace, "rogue")
    assert "DefaultAccount" in said
    assert "method DeleteBindings" in said


@pytest.mark.parametrize("method", ["DeleteAccount", "DeleteBindings"])
def test_a_dry_run_shows_what_would_be_revoked_and_changes_nothing(workspace: Space, method: str) -> None:
    workspace.create(account())
    serve(workspace)
    before = workspace.get("sa", "llm")
    steps = [{"revokeServiceAccount": {"method": method}}]
    workspace.incident("drill", "Deployment/llm-chat", mode="DryRun", steps=steps)
    status = workspace.wait_phase("drill", "Detected")
    assert status["plan"]["steps"][0]["diff"][0].startswith("ServiceAccount llm ")
    assert workspace.get("sa", "llm") == before


@pytest.mark.parametrize("method", ["DeleteAccount", "DeleteBindings"])
@pytest.mark.usefixtures("granted")
@pytest.mark.long
def test_two_incidents_on_one_account_give_it_back_with_the_last(workspace: Space, method: str) -> None:
    reader = f"reader-{workspace.name}"
    workspace.create(account())
    workspace.create(role(reader))
    workspace.create(binding("alone", reader, subject(workspace)))
    serve(workspace)
    before = [manifest(workspace.get("sa", "llm")), manifest(workspace.get("rolebinding", "alone"))]
    steps = [{"revokeServiceAccount": {"method": method}}]

    def revoked() -> bool:
        gone = workspace.kubectl("-n", workspace.name, "get", "sa", "llm").returncode != 0
        return gone if method == "DeleteAccount" else not may(workspace, "list", "secrets")

    for name in ("first", "second"):
        workspace.contain(name, "Deployment/llm-chat", steps=steps)
        assert revoked()
    status = workspace.release("first")
    assert "stays contained by second" in status["summary"]
    assert revoked()
    workspace.release("second")
    assert [
        manifest(workspace.get("sa", "llm")),
        manifest(workspace.get("rolebinding", "alone")),
    ] == before


@pytest.mark.long
def test_a_namespace_that_is_deleted_meanwhile_does_not_wait_for_the_account(workspace: Space) -> None:
    """Nothing can be created in it any more: there is nobody left to give the account back to."""
    workspace.create(account())
    serve(workspace)
    workspace.incident("rogue", "Deployment/llm-chat", steps=[{"revokeServiceAccount": {}}])
    workspace.gone("sa/llm")

    workspace("delete", "namespace", workspace.name, "--wait=false")
    workspace("wait", f"namespace/{workspace.name}", "--for=delete", "--timeout=60s")
    workspace("create", "namespace", workspace.name)  # the fixture deletes it
