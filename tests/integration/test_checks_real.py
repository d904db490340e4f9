"""On a real node health, digests and what a suite says are what a kubelet tells, and no test."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from stanch.api.v1alpha1.record import KnownGood
from stanch.kube.client import Kube
from stanch.settings import Settings
from stanch.verification.reading import Answer
from stanch.versions.images import digest_of
from tests.installation import ROOT
from tests.integration.looking import HEALTHY, INTEGRITY, SUITE, Stage, kept
from tests.operator_process import install
from tests.real_node import BAD, GOOD, ON_NODE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sandbox import Sandbox
    from tests.cluster import Kubectl
    from tests.real_node import RealSpace

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

Json = dict[str, Any]

GRANT = str(ROOT / "manifests" / "rbac" / "verification-jobs.yaml")


@pytest.fixture(scope="module")
def account(real_cluster: Sandbox, real_kubectl: Kubectl) -> Iterator[Path]:
    """The operator's, with the right to create Jobs."""
    install(real_kubectl)
    real_kubectl("apply", "-f", GRANT, check=True)
    yield real_cluster.kubeconfig_for_service_account("stanch-system", "stanch")
    real_kubectl("delete", "-f", GRANT, check=True)


@pytest.fixture
async def stage(real_space: RealSpace, account: Path, tmp_path: Path) -> AsyncIterator[Stage]:
    kube = await Kube.connect(Settings(kubeconfig=account))
    yield Stage(real_space, real_space.namespace, kube, tmp_path / "evidence")
    await kube.close()


def suite(url: str) -> Json:
    """Asks the server for a completion, prints the answer, and fails where there is none."""
    command = ["/modelserver", "call", "-timeout=5s", "-body", '{"messages": []}', url]
    container = {"name": "evals", "image": GOOD, "command": command}
    pod = {"spec": {"restartPolicy": "Never", "containers": [container], **ON_NODE}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "evals"},
        "spec": {
            "schedule": "0 0 31 2 *",
            "suspend": True,
            "jobTemplate": {"spec": {"backoffLimit": 0, "template": pod}},
        },
    }


async def test_a_server_that_crashes_is_no_recovery(real_space: RealSpace, stage: Stage) -> None:
    [server] = real_space.run(real_space.model_server("llm-chat"))
    assert (await stage.until(Answer.HOLDS, HEALTHY)).message == "1 of 1 pods ready"
    os.kill(real_space.processes(server)[0], signal.SIGKILL)
    await stage.until(Answer.FAILS, HEALTHY)
    real_space("rollout", "status", "deployment/llm-chat", "--timeout=60s")
    reading = await stage.until(Answer.FAILS, HEALTHY)
    assert reading.reason == "Restarted", "it is ready again, and that is not enough"


async def test_an_image_that_cannot_be_had_is_told_in_the_kubelets_words(
    real_space: RealSpace, stage: Stage
) -> None:
    body = real_space.model_server("llm-chat", image="registry.example.test/none:1")
    real_space("apply", "-f", "-", stdin=body)
    reading = await stage.until(Answer.FAILS, HEALTHY, within=120)
    assert reading.reason == "PodTrouble"
    assert "ImagePullBackOff" in reading.message
    assert (await stage.look(INTEGRITY)).reason == "NothingServes"


async def test_the_digest_that_runs_is_the_one_that_is_known(real_space: RealSpace, stage: Stage) -> None:
    [server] = real_space.run(real_space.model_server("llm-chat"))
    good = digest_of(server.image_id)
    known = KnownGood.model_validate({"images": [good]})
    stage.subject = replace(stage.subject, known_good=known)
    assert (await stage.until(Answer.HOLDS, INTEGRITY)).reason == "Intact"
    real_space.run(real_space.model_server("llm-chat", image=BAD))
    assert (await stage.until(Answer.FAILS, INTEGRITY)).reason == "OtherImage"


async def test_what_a_suite_really_said_is_kept(real_space: RealSpace, stage: Stage) -> None:
    [server] = real_space.run(real_space.model_server("llm-chat"))
    real_space("apply", "-f", "-", stdin=suite(f"{server.url}/v1/chat/completions"))
    reading = await stage.until(Answer.HOLDS, SUITE)
    assert reading.evidence is not None
    assert '"system_fingerprint":"good"' in kept(reading.evidence.location)["log"].read_text()


async def test_a_suite_that_fails_says_why(real_space: RealSpace, stage: Stage) -> None:
    [server] = real_space.run(real_space.model_server("llm-chat"))
    real_space("apply", "-f", "-", stdin=suite(f"{server.url}/none"))
    reading = await stage.until(Answer.FAILS, SUITE)
    assert "BackoffLimitExceeded" in reading.message
    assert reading.evidence is not None
    assert "404" in kept(reading.evidence.location)["log"].read_text()
