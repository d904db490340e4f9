"""The sandbox is a real cluster: what a test sees in it, a user would see in theirs."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from sandbox import versions

if TYPE_CHECKING:
    from tests.cluster import Cluster, Kubectl

POD = """
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  annotations: {annotations}
spec:
  containers: [{{name: main, image: "registry.example/model:1"}}]
"""


@pytest.mark.compatibility("kustomize")
def test_the_server_says_the_version_that_is_pinned(kubectl: Kubectl) -> None:
    said = json.loads(kubectl("version", "-o", "json", check=True).stdout)
    expected = f"v{versions.read(versions.chosen()).kubernetes}"
    assert said["serverVersion"]["gitVersion"] == expected
    assert said["clientVersion"]["gitVersion"] == expected


def test_a_deployments_pods_become_ready_and_go_away_when_it_is_scaled_to_zero(
    kubectl: Kubectl, namespace: str
) -> None:
    n = f"--namespace={namespace}"
    kubectl(
        n, "create", "deployment", "llm-chat", "--image=registry.example/model:1", "--replicas=3", check=True
    )
    kubectl(n, "rollout", "status", "deployment/llm-chat", "--timeout=60s", check=True)
    pods = json.loads(kubectl(n, "get", "pods", "-o", "json", check=True).stdout)["items"]
    assert len(pods) == 3
    assert all(pod["spec"]["nodeName"].startswith("node-") for pod in pods)
    assert all(pod["status"]["containerStatuses"][0]["imageID"] for pod in pods)

    kubectl(n, "scale", "deployment/llm-chat", "--replicas=0", check=True)
    kubectl(n, "wait", "pods", "--for=delete", "-l", "app=llm-chat", "--timeout=60s", check=True)
    assert json.loads(kubectl(n, "get", "pods", "-o", "json", check=True).stdout)["items"] == []


def test_a_pod_told_never_to_terminate_stays_until_it_is_forced(kubectl: Kubectl, namespace: str) -> None:
    n = f"--namespace={namespace}"
    manifest = POD.format(name="stubborn", annotations="{sandbox.stanch.dev/terminate: never}")
    kubectl(n, "apply", "-f", "-", stdin=manifest, check=True)
    kubectl(n, "wait", "pod/stubborn", "--for=condition=Ready", "--timeout=60s", check=True)
    kubectl(n, "delete", "pod/stubborn", "--wait=false", check=True)
    refused = kubectl(n, "wait", "pod/stubborn", "--for=delete", "--timeout=3s")
    assert refused.returncode != 0
    assert "timed out" in refused.stderr
    kubectl(n, "delete", "pod/stubborn", "--force", "--grace-period=0", check=True)
    kubectl(n, "wait", "pod/stubborn", "--for=delete", "--timeout=60s", check=True)


def test_a_pod_told_never_to_be_ready_is_scheduled_and_stays_pending(
    kubectl: Kubectl, namespace: str
) -> None:
    n = f"--namespace={namespace}"
    manifest = POD.format(name="loading", annotations="{sandbox.stanch.dev/ready: never}")
    kubectl(n, "apply", "-f", "-", stdin=manifest, check=True)
    kubectl(n, "wait", "pod/loading", "--for=condition=PodScheduled", "--timeout=60s", check=True)
    assert kubectl(n, "wait", "pod/loading", "--for=condition=Ready", "--timeout=2s").returncode != 0
    phase = kubectl(n, "get", "pod/loading", "-o", "jsonpath={.status.phase}", check=True).stdout
    assert phase == "Pending"


def test_a_jobs_pod_completes_when_it_is_told_to(kubectl: Kubectl, namespace: str) -> None:
    n = f"--namespace={namespace}"
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "finetune"},
        "spec": {
            "template": {
                "metadata": {"annotations": {"sandbox.stanch.dev/complete-after": "1s"}},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "main", "image": "registry.example/t:1"}],
                },
            }
        },
    }
    kubectl(n, "apply", "-f", "-", stdin=json.dumps(job), check=True)
    kubectl(n, "wait", "job/finetune", "--for=condition=Complete", "--timeout=60s", check=True)


def test_a_user_without_rights_is_refused_by_rbac_and_one_with_a_binding_is_not(
    cluster: Cluster, kubectl: Kubectl, namespace: str
) -> None:
    n = f"--namespace={namespace}"
    user, group = f"mallory-{namespace}", f"sre/{namespace}"
    alone = cluster.kubeconfig_for_user(user)
    refused = kubectl(n, "get", "pods", as_=alone)
    assert refused.returncode != 0
    assert f'User "{user}" cannot list resource "pods"' in refused.stderr

    kubectl(n, "create", "rolebinding", "viewers", "--clusterrole=view", f"--group={group}", check=True)
    member = cluster.kubeconfig_for_user(user, [group])
    deadline = time.monotonic() + 60  # a binding is in force a moment after it is written
    while (said := kubectl(n, "get", "pods", as_=member)).returncode != 0:
        assert time.monotonic() < deadline, said.stderr
    assert kubectl(n, "get", "pods", as_=alone).returncode != 0


def test_a_service_accounts_kubeconfig_acts_as_that_account(
    cluster: Cluster, kubectl: Kubectl, namespace: str
) -> None:
    n = f"--namespace={namespace}"
    kubectl(n, "create", "serviceaccount", "stanch", check=True)
    account = cluster.kubeconfig_for_service_account(namespace, "stanch")
    said = kubectl("auth", "whoami", "-o", "json", as_=account, check=True)
    assert (
        json.loads(said.stdout)["status"]["userInfo"]["username"]
        == f"system:serviceaccount:{namespace}:stanch"
    )
    assert kubectl(n, "get", "pods", as_=account).returncode != 0


def test_admission_policies_that_deny_and_that_mutate_are_served_as_v1(kubectl: Kubectl) -> None:
    served = kubectl(
        "api-resources", "--api-group=admissionregistration.k8s.io", "-o", "name", check=True
    ).stdout
    versions_served = kubectl("api-versions", check=True).stdout.splitlines()
    assert "admissionregistration.k8s.io/v1" in versions_served
    assert "validatingadmissionpolicies.admissionregistration.k8s.io" in served
    assert "mutatingadmissionpolicies.admissionregistration.k8s.io" in served
