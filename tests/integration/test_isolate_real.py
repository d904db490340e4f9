"""Isolate where traffic flows: a kubelet, an enforcer of NetworkPolicies, and model servers that talk.

How long each cut took is printed (`pytest -s`), from the creation of the incident to the last byte.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.operator_process import Space, install, running
from tests.real_node import PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sandbox import Sandbox
    from tests.cluster import Kubectl
    from tests.operator_process import OperatorProcess
    from tests.real_node import Pod, RealSpace

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]  # the first one builds the node's programs

Json = dict[str, Any]
LLM = "Deployment/llm-chat"


@pytest.fixture(scope="module")
def operator(
    real_cluster: Sandbox, real_kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    install(real_kubectl)
    with running(real_cluster, tmp_path_factory.mktemp("operator") / "operator.log") as process:
        yield process


@pytest.fixture
def space(real_space: RealSpace, operator: OperatorProcess) -> Iterator[Space]:
    yield Space(real_space.namespace, real_space.kubectl, real_space.cluster)
    print(operator.tail())  # noqa: T201 - captured by pytest
    real_space.kubectl("-n", real_space.namespace, "delete", "aii", "--all", "--wait=false")


@pytest.fixture
def llm(real_space: RealSpace) -> Pod:
    [pod] = real_space.run(real_space.model_server("llm-chat", grace=2))
    return pod


@pytest.fixture
def client(real_space: RealSpace) -> Pod:
    [pod] = real_space.run(real_space.model_server("client", grace=2))
    return pod


def step(**isolate: Any) -> Json:
    return {"steps": [{"isolate": isolate}]}


def say(what: str, seconds: float) -> None:
    print(f"\nmeasured: {what}: {seconds * 1000:.0f} ms")  # noqa: T201 - what it is for


def cut(space: Space, real_space: RealSpace, what: str, look: Callable[[], bool], **isolate: Any) -> float:
    """Seconds from the creation of the incident until `look()` is true."""
    began = time.monotonic()
    space.incident("toxic", LLM, **step(**isolate))
    real_space.seconds_until(look)
    taken = time.monotonic() - began
    say(what, taken)
    return taken


def test_nothing_reaches_the_workload_and_it_reaches_nothing(
    space: Space, real_space: RealSpace, llm: Pod, client: Pod
) -> None:
    assert real_space.reaches(client, llm)
    assert real_space.reaches(llm, client)

    taken = cut(space, real_space, "in cut", lambda: not real_space.reaches(client, llm, timeout=0.2))
    out = real_space.seconds_until(lambda: not real_space.reaches(llm, client, timeout=0.2))
    say("out cut, after that", out)
    assert taken < 15, "the way in is cut within the time of a few writes, on a busy machine too"
    space.wait_phase("toxic", "Contained")
    for _ in range(3):
        assert not real_space.reaches(client, llm, timeout=0.3)
        assert not real_space.reaches(llm, client, timeout=0.3)
    assert real_space.processes(llm), "its process is alive, to be looked at"

    # One that is born later is cut off from its first moment.
    real_space("scale", "deployment/llm-chat", "--replicas=2")
    real_space("rollout", "status", "deployment/llm-chat", "--timeout=60s")
    for pod in real_space.pods("app=llm-chat"):
        assert not real_space.reaches(client, pod, timeout=0.3)

    space.release("toxic")
    opened = real_space.seconds_until(lambda: real_space.reaches(client, llm, timeout=0.5))
    say("open again after the release", opened)
    assert real_space.reaches(llm, client)


@pytest.mark.parametrize(("way", "closed"), [("Ingress", "in"), ("Egress", "out")])
def test_one_direction_is_cut_and_the_other_goes_on(  # noqa: PLR0913, PLR0917 - who talks to whom
    space: Space, real_space: RealSpace, llm: Pod, client: Pod, way: str, closed: str
) -> None:
    there, back = ((client, llm), (llm, client)) if closed == "in" else ((llm, client), (client, llm))
    cut(
        space,
        real_space,
        f"{closed} cut",
        lambda: not real_space.reaches(*there, timeout=0.2),
        direction=[way],
    )
    space.wait_phase("toxic", "Contained")
    assert real_space.reaches(*back)
    assert not real_space.reaches(*there, timeout=0.3)


def test_an_open_connection_lives_on_unless_it_is_to_be_ended(
    space: Space, real_space: RealSpace, client: Pod, tmp_path: Path
) -> None:
    server = real_space.model_server("llm-chat", environment={"STREAM_SECONDS": "300"}, grace=60)
    [llm] = real_space.run(server)
    with real_space.stream(client, llm, tmp_path / "first") as stream:
        status = space.contain("toxic", LLM, **step())
        assert "connections that were open may live on" in status["steps"][0]["message"]
        assert not real_space.reaches(client, llm, timeout=0.3)
        assert stream.grows(), "this enforcer, as many, judges a connection when it begins"
        space.release("toxic")
        space("delete", "aii", "toxic")

        began = time.monotonic()
        space.incident("toxic", LLM, **step(terminateConnections=True))
        stream.wait_end()
        say("an open connection ended", time.monotonic() - began)
        assert not stream.whole
    space.wait_phase("toxic", "Contained")
    # Its object may be there a moment longer, as one that has ended.
    left = {each["metadata"]["uid"]: each["status"]["phase"] for each in space.pods()}
    assert left.get(llm.uid, "gone") in {"gone", "Succeeded", "Failed"}
    assert not real_space.processes(llm)
    real_space("rollout", "status", "deployment/llm-chat", "--timeout=60s")
    for pod in real_space.pods("app=llm-chat"):
        assert not real_space.reaches(client, pod, timeout=0.3)


def test_the_holes_stay_open_and_nothing_beside_them(
    space: Space, real_space: RealSpace, llm: Pod, client: Pod
) -> None:
    [scraper] = real_space.run(real_space.model_server("prometheus"))
    [mirror] = real_space.run(real_space.model_server("mirror"))
    allow = {
        "metrics": {"podSelector": {"matchLabels": {"app": "prometheus"}}, "port": "http"},
        "peers": [
            {
                "direction": ["Egress"],
                "podSelector": {"matchLabels": {"app": "mirror"}},
                "ports": [{"port": PORT}],
            }
        ],
    }
    cut(
        space,
        real_space,
        "cut, but for holes",
        lambda: not real_space.reaches(client, llm, timeout=0.2),
        allow=allow,
    )
    space.wait_phase("toxic", "Contained")
    assert real_space.call(scraper, f"{llm.url}/metrics").answered
    assert real_space.reaches(llm, mirror)
    assert not real_space.reaches(llm, client, timeout=0.3)
    assert not real_space.reaches(llm, scraper, timeout=0.3)
    assert not real_space.reaches(mirror, llm, timeout=0.3)


def test_a_policy_that_lets_others_in_is_overridden_for_this_workload_alone(
    space: Space, real_space: RealSpace, llm: Pod, client: Pod
) -> None:
    [web] = real_space.run(real_space.model_server("web"))
    everyone = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "everyone"},
        "spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]},
    }
    real_space("apply", "-f", "-", stdin=everyone)
    space.incident("toxic", LLM, **step())
    failed = space.wait_phase("toxic", "ContainmentFailed")
    assert "NetworkPolicy everyone allows ingress" in failed["steps"][0]["message"]
    assert real_space.reaches(client, llm), "Report tells the truth: it is reachable still"
    space.release("toxic")
    space("delete", "aii", "toxic")

    cut(
        space,
        real_space,
        "cut, with Override",
        lambda: not real_space.reaches(client, llm, timeout=0.2),
        others="Override",
    )
    space.wait_phase("toxic", "Contained")
    assert real_space.reaches(client, web)
    assert not real_space.reaches(client, llm, timeout=0.3)
    space.release("toxic")
    real_space.seconds_until(lambda: real_space.reaches(client, llm, timeout=0.5))
    stored = json.loads(real_space("get", "networkpolicies", "-o", "json"))["items"]
    assert [(one["metadata"]["name"], one["spec"]["podSelector"]) for one in stored] == [("everyone", {})]
