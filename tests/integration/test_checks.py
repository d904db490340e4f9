"""Checks of recovery on a real API server, with the operator's own account; Prometheus, too, is a real one.

Pods are KWOK's: what they serve over HTTP is a server of this test, and how they fare is told as a kubelet
would.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from stanch.api.v1alpha1.record import KnownGood
from stanch.kube.client import Kube
from stanch.prometheus.client import PromClient
from stanch.settings import Settings
from stanch.verification.jobs import job_name
from stanch.verification.reading import Answer
from tests.installation import ROOT
from tests.integration.looking import HEALTHY, INTEGRITY, SUITE, Stage, kept
from tests.integration.test_crds import policy
from tests.operator_process import eventually
from tests.prometheus import Monitoring, monitoring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.installation import Installed

Json = dict[str, Any]

GRANT = str(ROOT / "manifests" / "rbac" / "verification-jobs.yaml")
IMAGE = "registry.example.test/llm:2.3.1"
DIGEST = "sha256:" + hashlib.sha256(IMAGE.encode()).hexdigest()
"""As KWOK tells it of that image."""


def deployment(**spec: Any) -> Json:
    labels = {"app": "llm-chat"}
    container = {"name": "server", "image": IMAGE, "env": [{"name": "MODEL_VERSION", "value": "2.3.1"}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llm-chat"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


def evals(**template: Any) -> Json:
    """An evaluation suite that only ever runs by hand. KWOK ends its pod with success after a second."""
    container = {"name": "evals", "image": "evals:1"}
    pod = {
        "metadata": {"annotations": {"sandbox.stanch.dev/complete-after": "1s"}},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    spec = {"backoffLimit": 0, "template": pod, **template}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "evals"},
        "spec": {"schedule": "0 0 31 2 *", "suspend": True, "jobTemplate": {"spec": spec}},
    }


def serves(stage: Stage) -> list[str]:
    """The names of the workload's pods, once they are ready."""
    stage("apply", "-f", "-", stdin=deployment())
    stage("rollout", "status", "deployment/llm-chat", "--timeout=60s")
    return stage("get", "pods", "-l", "app=llm-chat", "-o", "jsonpath={.items[*].metadata.name}").split()


@pytest.fixture
async def stage(stanch_installed: Installed, space: str, tmp_path: Path) -> AsyncIterator[Stage]:
    kube = await Kube.connect(Settings(kubeconfig=stanch_installed.operator.kubeconfig))
    in_space = partial(stanch_installed.admin, f"--namespace={space}")
    yield Stage(in_space, space, kube, tmp_path / "evidence")
    await kube.close()


@pytest.fixture
def granted(stanch_installed: Installed, space: str) -> Iterator[None]:
    """While the operator may create Jobs."""
    stanch_installed.admin("apply", "-f", GRANT)
    stanch_installed.operator.until_may("create", "jobs.batch", space)
    yield
    stanch_installed.admin("delete", "-f", GRANT)
    asked = "auth", "can-i", "create", "jobs.batch", "-n", space
    eventually(lambda: stanch_installed.operator.run(*asked).returncode != 0, "the right is taken back")


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"http": {"port": 8000, "timeout": "46s"}}, "a pod has at most 45s to answer"),
        (
            {"prometheus": {"query": "q", "operator": "lt", "value": "1", "metrics": ["rate(q[5m])"]}},
            "what a function gives is always new",
        ),
    ],
)
def test_a_check_that_would_mislead_is_refused_at_once(
    stanch_installed: Installed, space: str, check: Json, words: str
) -> None:
    body = policy(verification={"checks": [check | {"name": "x"}]})
    said = stanch_installed.admin.run("create", "-n", space, "-f", "-", stdin=body)
    assert said.returncode != 0
    assert words in said.stderr


# The workload and its pods


async def test_a_workload_is_healthy_once_it_has_rolled_out(stage: Stage) -> None:
    assert (await stage.look(HEALTHY)).reason == "TargetGone"
    serves(stage)
    reading = await stage.until(Answer.HOLDS, HEALTHY)
    assert reading.message == "2 of 2 pods ready"


async def test_a_container_that_restarts_is_no_recovery(stage: Stage) -> None:
    pod, _ = serves(stage)
    await stage.until(Answer.HOLDS, HEALTHY)
    (container,) = stage.get("pod", pod)["status"]["containerStatuses"]
    ended = {
        "exitCode": 137,
        "reason": "OOMKilled",
        "finishedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    stage.tell(
        pod, {"containerStatuses": [container | {"restartCount": 1, "lastState": {"terminated": ended}}]}
    )
    reading = await stage.look(HEALTHY)
    assert (reading.answer, reading.reason) == (Answer.FAILS, "Restarted")
    assert f"container server of pod {pod}" in reading.message


async def test_a_pod_that_starts_late_is_waited_for_and_one_at_zero_proves_nothing(stage: Stage) -> None:
    template = deployment()["spec"]["template"]
    template["metadata"]["annotations"] = {"sandbox.stanch.dev/ready": "never"}
    stage("apply", "-f", "-", stdin=deployment(replicas=1, template=template))
    eventually(lambda: bool(stage.get("pods")["items"]), "there is a pod")
    assert "0 of 1 pods ready" in (await stage.until(Answer.RUNNING, HEALTHY)).message
    assert (await stage.look(INTEGRITY)).reason == "Starting"
    stage("scale", "deployment/llm-chat", "--replicas=0")
    assert (await stage.until(Answer.UNKNOWN, HEALTHY)).reason in {"NothingServes", "ControllerBehind"}
    assert (await stage.until(Answer.UNKNOWN, INTEGRITY)).reason == "NothingServes"


async def test_what_runs_is_compared_by_digest_and_by_model(stage: Stage) -> None:
    pod, _ = serves(stage)
    assert (await stage.until(Answer.UNKNOWN, INTEGRITY)).reason == "NothingToCompare"
    good = KnownGood.model_validate({"images": [DIGEST], "modelVersion": "2.3.1"})
    stage.subject = replace(stage.subject, known_good=good, condemned=frozenset({f"image/{IMAGE}-bad"}))
    assert (await stage.look(INTEGRITY)).answer is Answer.HOLDS
    bad = f"sha256:{'b' * 64}"
    (container,) = stage.get("pod", pod)["status"]["containerStatuses"]
    stage.tell(pod, {"containerStatuses": [container | {"imageID": f"registry.example.test/llm@{bad}"}]})
    reading = await stage.look(INTEGRITY)
    assert (reading.answer, reading.reason) == (Answer.FAILS, "OtherImage")
    stage.subject = replace(stage.subject, condemned=frozenset({f"digest/{bad}"}))
    assert (await stage.look(INTEGRITY)).reason == "Condemned"


# HTTP


@contextmanager
def model_server(*statuses: int) -> Iterator[tuple[int, list[str]]]:
    """What a fake pod serves on the loopback: its port, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(statuses[min(len(asked), len(statuses)) - 1])
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Tests say what they want to say."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


async def test_every_pod_is_asked_at_its_address(stage: Stage) -> None:
    for pod in serves(stage):
        stage.tell(pod, {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]})
    with model_server(200, 200, 503) as (port, asked):
        rule: Json = {"name": "http", "http": {"port": port, "path": "/health"}}
        assert (await stage.until(Answer.HOLDS, rule)).message == "2 of 2 pods answer 200"
        assert asked == ["/health", "/health"]
        reading = await stage.look(rule)
    assert (reading.answer, reading.value) == (Answer.FAILS, "503")


# Jobs


async def test_without_the_optional_right_no_job_is_created_and_it_says_how(stage: Stage) -> None:
    serves(stage)
    stage("apply", "-f", "-", stdin=evals())
    reading = await stage.look(SUITE)
    assert (reading.answer, reading.reason) == (Answer.BROKEN, "JobForbidden")
    assert "kubectl apply -f manifests/rbac/verification-jobs.yaml" in reading.message
    assert stage.get("jobs")["items"] == []


async def test_an_evaluation_suite_completes_and_is_kept_as_evidence(stage: Stage, granted: None) -> None:
    serves(stage)
    stage("apply", "-f", "-", stdin=evals())
    assert (await stage.look(SUITE)).answer is Answer.RUNNING
    stage.measurer = stage.anew()
    reading = await stage.until(Answer.HOLDS, SUITE)
    (job,) = stage.get("jobs")["items"]
    assert job["metadata"]["name"] == job_name(stage.subject, "suite")
    assert job["metadata"]["labels"]["stanch.dev/incident"] == "toxic"
    assert (job["spec"]["activeDeadlineSeconds"], job["spec"]["ttlSecondsAfterFinished"]) == (120, 86_400)
    assert reading.evidence is not None
    assert {"job", "pod"} <= kept(reading.evidence.location).keys()
    stage("delete", "aiincident", "toxic")
    eventually(lambda: stage.get("jobs")["items"] == [], "the Job went with its incident")


async def test_one_that_takes_too_long_is_ended_and_has_failed(stage: Stage, granted: None) -> None:
    serves(stage)
    pod = evals()["spec"]["jobTemplate"]["spec"]["template"]
    del pod["metadata"]
    stage("apply", "-f", "-", stdin=evals(template=pod))
    reading = await stage.until(Answer.FAILS, SUITE | {"job": {"cronJob": "evals", "timeout": "2s"}})
    assert "DeadlineExceeded" in reading.message
    assert reading.evidence is not None


async def test_a_pod_that_fails_ends_the_suite(stage: Stage, granted: None) -> None:
    serves(stage)
    pod = evals()["spec"]["jobTemplate"]["spec"]["template"]
    del pod["metadata"]
    stage("apply", "-f", "-", stdin=evals(template=pod))
    await stage.look(SUITE)
    selector = f"job-name={job_name(stage.subject, 'suite')}"
    eventually(lambda: bool(stage.get("pods", "-l", selector)["items"]), "the Job has a pod")
    (made,) = stage.get("pods", "-l", selector)["items"]
    stage.tell(made["metadata"]["name"], {"phase": "Failed"})
    assert "BackoffLimitExceeded" in (await stage.until(Answer.FAILS, SUITE)).message


# Prometheus


RULES = [{"alert": "Toxic", "expr": "toxic_share > 0.5", "labels": {"severity": "critical"}}]
TOXICITY: Json = {
    "name": "toxicity",
    "prometheus": {
        "query": "max(toxic_share)",
        "operator": "lt",
        "value": "0.01",
        "metrics": ['toxic_share{app="llm"}'],
        "maxStaleness": "20s",
        "traffic": {"query": "sum(requests)", "atLeast": "10"},
    },
}
CLEARED: Json = {"name": "cleared", "alertCleared": {"matchers": ['alertname="Toxic"', 'app="llm"']}}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitoring]:
    with monitoring(tmp_path_factory.mktemp("prometheus"), rules=RULES) as watched:
        yield watched


async def test_what_prometheus_says_counts_when_it_is_fresh_and_somebody_asks(
    stage: Stage, prometheus: Monitoring
) -> None:
    stage.measurer = stage.anew(PromClient(prometheus.url, None, None, 5))
    serves(stage)
    assert (await stage.until(Answer.UNKNOWN, TOXICITY)).reason == "NoData"
    prometheus.exporter.set("toxic_share", 0.9, app="llm")
    prometheus.exporter.set("requests", 3)
    assert prometheus.until("requests") == 3
    prometheus.until('ALERTS{alertstate="firing"}')
    assert (await stage.look(TOXICITY)).reason == "TooFewRequests"
    prometheus.exporter.set("requests", 300)
    assert (await stage.until(Answer.FAILS, TOXICITY)).message == "0.9 is not < 0.01"
    assert (await stage.look(CLEARED)).message == "firing: Toxic"
    prometheus.exporter.set("toxic_share", 0.001, app="llm")
    assert (await stage.until(Answer.HOLDS, TOXICITY)).message == "0.001 < 0.01"
    assert (await stage.until(Answer.HOLDS, CLEARED)).reason == "NotFiring"
    prometheus.exporter.remove("toxic_share", app="llm")
    assert (await stage.until(Answer.UNKNOWN, TOXICITY)).reason == "NoData"
    assert (await stage.look(CLEARED)).answer is Answer.HOLDS, "which is why it proves nothing alone"


async def test_a_query_that_is_none_is_told_in_prometheus_words(stage: Stage, prometheus: Monitoring) -> None:
    stage.measurer = stage.anew(PromClient(prometheus.url, None, None, 5))
    serves(stage)
    body: Json = {"name": "typo", "prometheus": {"query": "rate(up", "operator": "lt", "value": "1"}}
    reading = await stage.until(Answer.BROKEN, body)
    assert reading.reason == "BadQuery"
    assert "parse error" in reading.message


async def test_a_prometheus_that_is_gone_clears_no_alert(stage: Stage, tmp_path: Path) -> None:
    with monitoring(tmp_path / "prometheus") as watched:
        stage.measurer = stage.anew(PromClient(watched.url, None, None, 5))
        serves(stage)
        await stage.until(Answer.HOLDS, CLEARED)
        watched.prometheus.stop()
        for body in (CLEARED, TOXICITY):
            reading = await stage.look(body)
            assert (reading.answer, reading.reason) == (Answer.BROKEN, "PrometheusUnreachable")
