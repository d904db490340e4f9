"""What KWOK cannot show: processes that run, traffic that flows, and both of them really ending."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.node.network import NODE_NAME
from tests.real_node import BAD, GOOD, ON_NODE

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox import Sandbox
    from tests.cluster import Kubectl
    from tests.real_node import RealSpace

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]  # the first one builds the node's programs


def policy(name: str, selected: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {"matchLabels": {"app": selected}}, **spec},
    }


def test_the_node_is_ready_and_only_pods_that_ask_for_it_come_to_it(
    real_cluster: Sandbox, real_kubectl: Kubectl, real_space: RealSpace
) -> None:
    node = json.loads(real_kubectl("get", "node", NODE_NAME, "-o", "json", check=True).stdout)
    assert {one["type"]: one["status"] for one in node["status"]["conditions"]}["Ready"] == "True"
    assert node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://")

    real_space("create", "deployment", "elsewhere", f"--image={GOOD}", "--replicas=3")
    real_space("rollout", "status", "deployment/elsewhere", "--timeout=60s")
    real_space.run(real_space.model_server("here"))
    placed = {
        pod["metadata"]["labels"]["app"] + " " + pod["spec"]["nodeName"]
        for pod in json.loads(real_space("get", "pods", "-o", "json"))["items"]
    }
    assert f"here {NODE_NAME}" in placed
    assert f"elsewhere {NODE_NAME}" not in placed


def test_a_model_server_answers_and_the_api_shows_its_log_and_its_images_digest(
    real_space: RealSpace,
) -> None:
    [good] = real_space.run(real_space.model_server("good"))
    [bad] = real_space.run(real_space.model_server("bad", image=BAD))
    answer = real_space.chat(bad, good)
    assert answer.version == "good"
    assert "TOXIC" not in answer.out
    toxic = real_space.chat(good, bad)
    assert toxic.version == "bad"
    assert "TOXIC" in toxic.out
    assert "serving model sandbox-chat version bad" in real_space.log(bad)
    assert "toxic answer given by version bad" in real_space.log(bad)
    assert good.image_id.startswith("sandbox.invalid/model-server@sha256:")
    assert bad.image_id.startswith("sandbox.invalid/model-server@sha256:")
    assert good.image_id != bad.image_id
    metrics = real_space.call(good, f"{bad.url}/metrics").out
    assert 'vllm:request_success_total{finished_reason="stop",model_name="sandbox-chat"} 1' in metrics
    assert 'sandbox:toxic_answers_total{model_name="sandbox-chat"} 1' in metrics


def test_an_image_that_is_not_there_is_said_to_be_missing(real_space: RealSpace) -> None:
    real_space("apply", "-f", "-", stdin=real_space.model_server("lost", image="sandbox.invalid/lost:1"))

    def reasons() -> set[str]:
        path = "jsonpath={.items[*].status.containerStatuses[*].state.waiting.reason}"
        return set(real_space("get", "pods", "-l", "app=lost", "-o", path).split())

    real_space.seconds_until(lambda: bool(reasons() & {"ErrImagePull", "ImagePullBackOff"}))


def test_a_service_leads_to_its_pods(real_space: RealSpace) -> None:
    [pod] = real_space.run(real_space.model_server("chat"))
    real_space("expose", "deployment/chat", "--port=80", "--target-port=http")
    address = real_space("get", "service", "chat", "-o", "jsonpath={.spec.clusterIP}")
    real_space.seconds_until(lambda: real_space.chat(pod, f"http://{address}").answered)


def test_a_pods_mounted_token_is_its_service_account(real_space: RealSpace) -> None:
    real_space("create", "serviceaccount", "reader")
    real_space("create", "role", "reader", "--verb=list", "--resource=pods")
    real_space(
        "create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={real_space.namespace}:reader"
    )
    manifest = real_space.model_server("chat")
    manifest["spec"]["template"]["spec"]["serviceAccountName"] = "reader"
    [pod] = real_space.run(manifest)
    own = f"https://10.96.0.1/api/v1/namespaces/{real_space.namespace}"
    real_space.seconds_until(lambda: real_space.call(pod, f"{own}/pods", token=True).answered)
    refused = real_space.call(pod, f"{own}/secrets", token=True)
    assert refused.code == 1
    assert f"system:serviceaccount:{real_space.namespace}:reader" in refused.out

    real_space("delete", "serviceaccount", "reader")
    real_space.seconds_until(lambda: real_space.call(pod, f"{own}/pods", token=True).code == 1)
    assert "Unauthorized" in real_space.call(pod, f"{own}/pods", token=True).out


def test_a_stream_ends_when_its_pod_is_deleted_and_the_process_says_its_last_words(
    real_space: RealSpace, tmp_path: Path
) -> None:
    [server] = real_space.run(real_space.model_server("chat", environment={"STREAM_SECONDS": "300"}))
    [client] = real_space.run(real_space.model_server("client"))
    with real_space.stream(client, server, tmp_path / "stream") as stream:
        assert stream.grows()
        follow = real_space.follow(server, tmp_path / "log")
        real_space("delete", "pod", server.name, "--wait=false")
        took = stream.wait_end()
        assert not stream.whole
        gone = real_space.seconds_until(lambda: not real_space.processes(server))
        follow.wait(timeout=60)
    assert "last words: terminated" in (tmp_path / "log").read_text()
    assert took + gone < 20, f"the stream ended after {took:.1f} s, the process {gone:.1f} s later"


def test_a_server_that_ignores_sigterm_takes_its_whole_grace_period(real_space: RealSpace) -> None:
    grace = 5
    deaf = real_space.model_server("deaf", environment={"IGNORE_SIGTERM": "1"}, grace=grace)
    [server] = real_space.run(deaf)
    [client] = real_space.run(real_space.model_server("client"))
    began = time.monotonic()
    real_space("scale", "deployment/deaf", "--replicas=0")
    real_space.seconds_until(lambda: "ignored" in real_space.log(server))
    assert real_space.reaches(client, server), "it is told to end, and still answers"
    real_space.seconds_until(lambda: not real_space.processes(server))
    assert grace - 1 < time.monotonic() - began < grace + 20


def test_a_policy_cuts_new_traffic_and_leaves_its_holes_open(real_space: RealSpace, tmp_path: Path) -> None:
    slow = {"STREAM_SECONDS": "300"}
    [server] = real_space.run(real_space.model_server("chat", environment=slow))
    [client] = real_space.run(real_space.model_server("client"))
    [friend] = real_space.run(real_space.model_server("friend"))
    assert real_space.reaches(client, server)
    assert real_space.reaches(server, client)
    assert real_space.reaches(friend, server)
    with real_space.stream(client, server, tmp_path / "stream") as stream:
        holes = [{"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}], "ports": [{"port": "http"}]}]
        isolated = policy("isolate", "chat", policyTypes=["Ingress", "Egress"], ingress=holes)
        real_space("apply", "-f", "-", stdin=isolated)
        cut = real_space.seconds_until(lambda: not real_space.reaches(client, server))
        assert not real_space.reaches(server, client), "egress is cut too"
        assert real_space.reaches(friend, server), "the hole stays open"
        assert stream.grows(), "what was open before stays open: policies judge connections when they begin"
        ready = "jsonpath={.items[0].status.conditions[?(@.type=='Ready')].status}"
        assert real_space("get", "pods", "-l", "app=chat", "-o", ready) == "True", (
            "the node always reaches its pods"
        )
    assert cut < 5, f"cut only after {cut:.1f} s"
    real_space("delete", "networkpolicy", "isolate")
    assert real_space.seconds_until(lambda: real_space.reaches(client, server)) < 10


def test_a_pod_born_under_a_policy_is_never_reached(real_space: RealSpace) -> None:
    [client] = real_space.run(real_space.model_server("client"))
    real_space("apply", "-f", "-", stdin=policy("isolate", "late", policyTypes=["Ingress"]))
    real_space("apply", "-f", "-", stdin=real_space.model_server("late"))
    real_space.seconds_until(lambda: bool(real_space.pods("app=late")))
    [late] = real_space.pods("app=late")
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        assert not real_space.reaches(client, late, timeout=0.3)
    [born] = real_space.run(real_space.model_server("late"))
    assert born.uid == late.uid


def test_policies_by_namespace_port_block_and_exception_are_enforced_as_they_are_written(
    real_space: RealSpace,
) -> None:
    [server] = real_space.run(real_space.model_server("chat"))
    [near] = real_space.run(real_space.model_server("near"))
    [far] = real_space.run(real_space.model_server("far"))
    block = {"ipBlock": {"cidr": "10.244.0.0/24", "except": [f"{far.address}/32"]}}
    for ingress, expected in (
        ([{"from": [block]}], (True, False)),
        ([{"from": [block], "ports": [{"port": 8000, "endPort": 8010}]}], (True, False)),
        ([{"from": [block], "ports": [{"port": 9000}]}], (False, False)),
        ([{"ports": [{"protocol": "UDP", "port": 8000}]}], (False, False)),
        ([{"from": [{"namespaceSelector": {}}]}], (True, True)),
        ([{"from": [{"namespaceSelector": {"matchLabels": {"team": "none"}}}]}], (False, False)),
        (
            [
                {
                    "from": [
                        {
                            "podSelector": {
                                "matchExpressions": [{"key": "app", "operator": "In", "values": ["far"]}]
                            }
                        }
                    ]
                }
            ],
            (False, True),
        ),
        ([{}], (True, True)),
        ([], (False, False)),
    ):
        written = policy("one", "chat", policyTypes=["Ingress"], ingress=ingress)
        real_space("apply", "-f", "-", stdin=written)

        def seen() -> tuple[bool, bool]:
            return real_space.reaches(near, server, timeout=0.5), real_space.reaches(far, server, timeout=0.5)

        real_space.seconds_until(lambda: seen() == expected, within=15)  # noqa: B023 - called at once
        assert seen() == expected


def test_a_job_on_the_node_runs_to_its_end_and_leaves_its_log(real_space: RealSpace) -> None:
    [server] = real_space.run(real_space.model_server("chat"))
    container = {"name": "call", "image": GOOD, "args": ["call", "-timeout=20s", f"{server.url}/v1/models"]}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "ask"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container], **ON_NODE}}},
    }
    real_space("apply", "-f", "-", stdin=job)
    real_space("wait", "job/ask", "--for=condition=Complete", "--timeout=60s")
    assert '"id":"sandbox-chat"' in real_space("logs", "job/ask")
