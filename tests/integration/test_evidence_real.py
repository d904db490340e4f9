"""On a real node evidence holds what the containers really said, before containment ends them."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.operator_process import Space, condition, install, running
from tests.real_node import BAD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox import Sandbox
    from tests.cluster import Kubectl
    from tests.operator_process import Json
    from tests.real_node import Pod, RealSpace

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def _operator(
    real_cluster: Sandbox, real_kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    install(real_kubectl)
    directory = tmp_path_factory.mktemp("operator")
    environment = {"STANCH_EVIDENCE_URL": f"file://{directory}"}
    with running(real_cluster, directory / "operator.log", environment):
        yield


@pytest.fixture
def people(real_space: RealSpace, _operator: None) -> Space:
    """Who reports incidents in the namespace."""
    return Space(real_space.namespace, real_space.kubectl, real_space.cluster)


@dataclass(frozen=True)
class Evidence:
    """One collection, by what its manifest says."""

    directory: Path

    @classmethod
    def of(cls, status: Json) -> Evidence:
        (record,) = status["evidence"]
        return cls(Path(record["location"].removeprefix("file://")))

    @property
    def items(self) -> list[Json]:
        items: list[Json] = json.loads((self.directory / "manifest.json").read_text())["items"]
        return items

    def logs(self, pod: Pod) -> dict[str, str]:
        """By instance of the container, current or previous."""
        return {
            item["source"]["instance"]: (self.directory / item["name"]).read_text()
            for item in self.items
            if item["kind"] == "log" and item["source"]["name"] == pod.name
        }

    def objects(self, kind: str) -> list[Json]:
        names = [item["name"] for item in self.items if item["kind"] == kind]
        return [json.loads((self.directory / name).read_text()) for name in names]


def restarts(space: RealSpace, name: str) -> int:
    path = "jsonpath={.items[0].status.containerStatuses[0].restartCount}"
    return int(space("get", "pods", "-l", f"app={name}", "-o", path) or 0)


def test_the_last_words_of_the_container_before_and_what_the_one_now_says_are_kept(
    real_space: RealSpace, people: Space
) -> None:
    [client] = real_space.run(real_space.model_server("client"))
    [server] = real_space.run(real_space.model_server("chat", image=BAD))
    real_space.chat(client, server)
    os.kill(real_space.processes(server)[0], signal.SIGTERM)
    real_space.seconds_until(lambda: restarts(real_space, "chat") == 1)
    real_space("rollout", "status", "deployment/chat", "--timeout=60s")
    [server] = real_space.pods("app=chat")
    for _ in range(3):
        real_space.chat(client, server)
    said = ("logs", server.name, "--timestamps")
    before, now = real_space(*said, "--previous"), real_space(*said)

    status = people.contain("toxic", "Deployment/chat", severity="High")

    assert real_space.processes(server) == [], "nobody can ask the containers any more"
    told = condition(status, "EvidenceCollected")
    assert (told["status"], told["reason"]) == ("True", "EvidenceCollected"), told["message"]
    evidence = Evidence.of(status)
    assert evidence.logs(server) == {"previous": before, "current": now}
    assert "last words: terminated after 1 answers, 1 of them toxic" in before.splitlines()[-1]
    assert now.count("toxic answer given by version bad") == 3
    (pod,) = evidence.objects("pod")
    assert pod["metadata"]["uid"] == server.uid
    assert pod["status"]["containerStatuses"][0]["imageID"] == server.image_id
    people.release("toxic")


def test_a_container_that_never_came_up_has_said_why(real_space: RealSpace, people: Space) -> None:
    real_space("apply", "-f", "-", stdin=real_space.model_server("chat", environment={"TOXIC": "very"}))
    real_space.seconds_until(lambda: bool(real_space.pods("app=chat")) and restarts(real_space, "chat") > 0)
    [server] = real_space.pods("app=chat")

    status = people.contain("broken", "Deployment/chat", severity="High")

    said = Evidence.of(status).logs(server)
    assert any("last words: TOXIC is no number" in log for log in said.values()), said
    people.release("broken")
