"""What containment does to processes, tokens and traffic, seen on a real node; the API only says so."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.integration.accounts import binding, role, subject
from tests.integration.on_the_node import people, real_operator
from tests.real_node import BAD, PORT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.operator_process import Json, Space
    from tests.real_node import Pod, RealSpace

__all__ = ["people", "real_operator"]  # fixtures

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]  # the first one may build the node's programs

TOKENS_REMEMBERED = 10.0  # seconds an API server goes on accepting a token that it has just checked
BUSY = 10.0  # seconds more, for a machine that has other things to do


def contained_at(status: Json) -> datetime:
    return datetime.fromisoformat(status["timestamps"]["contained"])


def last_seen(look: Callable[[], bool], on: RealSpace, within: float) -> datetime:
    """When it was last seen to be so; returns when it is no more."""
    seen = datetime.now(UTC)

    def over() -> bool:
        nonlocal seen
        before = datetime.now(UTC)
        if not look():
            return True
        seen = before
        return False

    on.seconds_until(over, within=within)
    return seen


@pytest.mark.parametrize(("terminate", "grace"), [("Graceful", 4), ("Immediate", 300)])
def test_streams_end_and_contained_is_not_claimed_before_the_last_process_is_gone(
    people: Space, real_space: RealSpace, tmp_path: Path, terminate: str, grace: int
) -> None:
    deaf = {"IGNORE_SIGTERM": "1", "STREAM_SECONDS": "600"}
    [server] = real_space.run(real_space.model_server("chat", environment=deaf, grace=grace))
    [client] = real_space.run(real_space.model_server("client"))
    with real_space.stream(client, server, tmp_path / "stream") as stream:
        people.incident("toxic", "Deployment/chat", steps=[{"scaleToZero": {"terminate": terminate}}])
        alive = last_seen(lambda: bool(real_space.processes(server)), real_space, within=60)
        stream.wait_end()
        assert not stream.whole

    status = people.wait_phase("toxic", "Contained")
    assert contained_at(status) > alive
    assert [entry["type"] for entry in status["timeline"]].count("Contained") == 1
    left = {pod["status"]["phase"] for pod in people.get("pods", "-l", "app=chat")["items"]}
    assert left <= {"Succeeded", "Failed"}


def test_a_pod_of_a_contained_workload_that_others_keep_from_going_is_told_apart_by_its_processes(
    people: Space, real_space: RealSpace
) -> None:
    """With a finalizer the pod stands; the kubelet says that its containers have ended."""
    held_up = real_space.model_server("chat", environment={"IGNORE_SIGTERM": "1"}, grace=4)
    held_up["spec"]["template"]["metadata"]["finalizers"] = ["example.test/archive"]
    [server] = real_space.run(held_up)
    people.incident("toxic", "Deployment/chat", steps=[{"scaleToZero": {}}])

    alive = last_seen(lambda: bool(real_space.processes(server)), real_space, within=30)
    status = people.wait_phase("toxic", "Contained")
    assert contained_at(status) > alive
    [pod] = people.get("pods", "-l", "app=chat")["items"]
    assert pod["status"]["phase"] in {"Succeeded", "Failed"}
    people("patch", "pod", server.name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def test_the_token_in_a_running_pod_stops_working_and_a_new_pods_works_after_release(
    people: Space, real_space: RealSpace
) -> None:
    people("create", "serviceaccount", "llm")
    people.create(role("reader"))
    people.create(binding("reader", "reader", subject(people)))
    manifest = real_space.model_server("chat")
    manifest["spec"]["template"]["spec"]["serviceAccountName"] = "llm"
    [pod] = real_space.run(manifest)
    secrets = f"https://10.96.0.1/api/v1/namespaces/{people.name}/secrets"

    def reads(as_: Pod) -> bool:
        return real_space.call(as_, secrets, token=True).answered

    real_space.seconds_until(lambda: reads(pod))

    people.incident("rogue", "Deployment/chat", steps=[{"revokeServiceAccount": {}}])
    people.gone("serviceaccount/llm")
    gone = datetime.now(UTC)
    # It is used all the time, so that the API server remembers it as long as it ever does.
    last = last_seen(lambda: reads(pod), real_space, within=TOKENS_REMEMBERED + BUSY)
    assert (last - gone).total_seconds() < TOKENS_REMEMBERED + BUSY / 2
    assert "Unauthorized" in real_space.call(pod, secrets, token=True).out
    assert contained_at(people.wait_phase("rogue", "Contained")) > last
    assert real_space.processes(pod), "the pod itself goes on"

    people.release("rogue")
    assert not reads(pod), "its token is of the account that was"
    people("rollout", "restart", "deployment/chat")
    people("rollout", "status", "deployment/chat", "--timeout=60s")
    [again] = [one for one in real_space.pods("app=chat") if one.uid != pod.uid]
    real_space.seconds_until(lambda: reads(again))


def poisoned(on: RealSpace) -> tuple[Pod, str]:
    """The good version, then the bad one; somebody who asks, and the address that is asked."""
    [client] = on.run(on.model_server("client"))
    on.run(on.model_server("chat"))
    on("expose", "deployment/chat", "--port=80", f"--target-port={PORT}")
    on.run(on.model_server("chat", image=BAD))
    address = on("get", "service", "chat", "-o", "jsonpath={.spec.clusterIP}")
    on.seconds_until(lambda: answers(on, client, f"http://{address}") == "bad")
    return client, f"http://{address}"


def answers(on: RealSpace, client: Pod, url: str) -> str:
    """The model version that answers; empty for no answer."""
    called = on.chat(client, url)
    if not called.answered:
        return ""
    assert ("TOXIC" in called.out) == (called.version == "bad")
    return called.version


def test_rolling_back_moves_traffic_to_the_good_version(people: Space, real_space: RealSpace) -> None:
    client, url = poisoned(real_space)
    steps = [{"rollback": {"to": {"lastKnownGood": True}}}]
    people.incident("toxic", "Deployment/chat", steps=steps)

    last = None
    while (status := people.status("toxic")).get("phase") != "Contained":
        assert status.get("phase") in {None, "Detected", "Containing"}
        asked = datetime.now(UTC)
        if answers(real_space, client, url) == "bad":
            last = asked
    assert last is None or contained_at(status) > last
    assert {answers(real_space, client, url) for _ in range(10)} == {"good"}
    denied = people.refused("set", "image", "deployment/chat", f"server={BAD}")
    assert f"{BAD} is condemned by AIIncident toxic" in denied

    people.release("toxic")
    assert {answers(real_space, client, url) for _ in range(3)} == {"good"}


def test_rolling_back_to_an_image_that_cannot_be_pulled_is_ineffective_and_says_why(
    people: Space, real_space: RealSpace
) -> None:
    client, url = poisoned(real_space)
    steps = [{"rollback": {"to": {"image": {"tag": "never-built"}}}}]
    people.incident("toxic", "Deployment/chat", steps=steps)

    status = people.wait_phase("toxic", "ContainmentFailed")
    (step,) = status["steps"]
    assert (step["state"], step["reason"]) == ("Ineffective", "RolloutStuck")
    (stuck,) = [
        pod["metadata"]["name"]
        for pod in people.get("pods", "-l", "app=chat")["items"]
        if "never-built" in json.dumps(pod["spec"])
    ]
    assert f"pod {stuck}: container server: " in step["message"]
    assert "ImagePull" in step["message"]
    assert "still run digest/sha256:" in step["message"]
    assert answers(real_space, client, url) == "bad", "which is why nothing else may be said"
    people.release("toxic")
