"""What goes out: every transition, in order, to receivers that hang and come back, whoever leads."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.cluster import kubectl_of
from tests.operator_process import ROOT, eventually, fresh_space, install, running, workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox import Sandbox
    from tests.cluster import Kubectl, OwnSandbox
    from tests.operator_process import Json, OperatorProcess, Space

SAMPLE = ROOT / "manifests" / "samples" / "notifications.yaml"
CANARY = "c4n4ry-of-a-secret"
TOKEN = "t0ken"
SLOWEST = 8.0  # seconds; a containment that waited for the receiver would take ten for each entry


@dataclass
class Receiver:
    """A web service at one address, which hangs, is away, or takes what comes."""

    port: int
    posts: list[tuple[str, str, Json]] = field(default_factory=list)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It can be connected to, and that is all."""
        with socket.create_server(("127.0.0.1", self.port)):
            yield

    @contextmanager
    def serving(self) -> Iterator[None]:
        posts = self.posts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posts.append((self.path, self.headers.get("Authorization", ""), json.loads(body)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Nothing: what arrived is in `posts`."""

        with ThreadingHTTPServer(("127.0.0.1", self.port), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()

    def at(self, path: str) -> list[Json]:
        return [body for where, _, body in list(self.posts) if where == path]

    def entries(self) -> list[int]:
        """Numbers of the entries that came as CloudEvents."""
        return [body["data"]["entry"]["seq"] for body in self.at("/events")]


@dataclass(frozen=True)
class Told:
    sandbox: Sandbox
    kubectl: Kubectl
    operator: OperatorProcess
    receiver: Receiver


@pytest.fixture(scope="module")
def told(own_sandbox: OwnSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A cluster of its own, whose operator tells one receiver, which nobody serves yet."""
    directory = tmp_path_factory.mktemp("told")
    sandbox = own_sandbox()
    kubectl = kubectl_of(sandbox, directory)
    install(kubectl)
    with socket.create_server(("127.0.0.1", 0)) as free:
        receiver = Receiver(free.getsockname()[1])
    token = directory / "token"
    token.write_text(TOKEN)
    flags = {
        "cloudevents_url": f"http://127.0.0.1:{receiver.port}/events",
        "cloudevents_token_file": str(token),
        "ocsf_url": f"http://127.0.0.1:{receiver.port}/ocsf",
        "notification_schemas": "json",
    }
    with running(sandbox, directory / "operator.log", None, **flags) as process:
        yield Told(sandbox, kubectl, process, receiver)


@pytest.fixture
def space(told: Told) -> Iterator[Space]:
    told.receiver.posts.clear()
    with fresh_space(told.sandbox, told.kubectl, told.operator) as space:
        space.create(workload("Deployment", "llm-chat", 2))
        space.running("Deployment", "llm-chat", 2)
        yield space


def seconds(contained_in: str) -> float:
    """`412ms` or `1.9s`, as the incident says it."""
    if contained_in.endswith("ms"):
        return float(contained_in.removesuffix("ms")) / 1000
    return float(contained_in.removesuffix("s"))


def numbers(status: Json) -> list[int]:
    return [entry["seq"] for entry in status["timeline"]]


def delivery(space: Space, sink: str) -> Json:
    found: dict[str, Json] = {one["sink"]: one for one in space.status("toxic")["deliveries"]}
    return found[sink]


def in_order(seqs: list[int]) -> bool:
    """Each for the first time after all before it; what comes again is fine."""
    firsts = list(dict.fromkeys(seqs))
    return firsts == list(range(1, len(firsts) + 1))


@pytest.mark.long
def test_every_transition_arrives_although_the_receiver_hangs_and_the_operator_dies(
    told: Told, space: Space
) -> None:
    receiver = told.receiver
    with receiver.hanging():
        status = space.contain("toxic", "Deployment/llm-chat", steps=[{"scaleToZero": {}}])
        assert seconds(status["containedIn"]) < SLOWEST, "containing waits for no receiver"
        eventually(
            lambda: "failingSince" in delivery(space, "cloudevents"),
            "the incident says that its receiver takes nothing",
            within=90,
        )
        assert "has not answered" in delivery(space, "cloudevents")["message"]
        assert delivery(space, "cloudevents")["through"] == 0
        told.operator.kill()
    told.operator.start()
    told.operator.wait_ready()

    with receiver.serving():
        last = numbers(space.status("toxic"))[-1]
        eventually(lambda: last in receiver.entries(), "what happened before arrives", within=90)
        status = space.release("toxic")
        last = numbers(status)[-1]
        eventually(lambda: last in receiver.entries(), "the release arrives")
        eventually(
            lambda: {one["through"] for one in space.status("toxic")["deliveries"]} == {last},
            "the incident says so",
        )

    assert numbers(status) == list(range(1, last + 1))
    assert in_order(receiver.entries())
    assert set(receiver.entries()) == set(numbers(status))
    assert delivery(space, "cloudevents")["dropped"] == 0
    told_by = {event["id"]: event["data"]["entry"]["type"] for event in receiver.at("/events")}
    uid = space.get("aii", "toxic")["metadata"]["uid"]
    assert told_by == {f"{uid}-{entry['seq']}": entry["type"] for entry in status["timeline"]}
    assert {where for where, bearer, _ in receiver.posts if bearer != f"Bearer {TOKEN}"} == {"/ocsf"}
    phases = list(dict.fromkeys(finding["status"] for finding in receiver.at("/ocsf")))
    assert phases == ["Containing", "Contained", "Releasing", "Released"]
    assert {one["finding_info_list"][0]["uid"] for one in receiver.at("/ocsf")} == {uid}


def grant(space: Space) -> None:
    """The sample's Role and RoleBinding, for this namespace."""
    for manifest in yaml.safe_load_all(SAMPLE.read_text()):
        if manifest["kind"] != "Secret":
            manifest["metadata"]["namespace"] = space.name
            space.create(manifest)


def test_people_are_told_through_the_address_in_a_secret_that_is_nowhere_else(
    told: Told, space: Space
) -> None:
    receiver = told.receiver
    url = f"json://127.0.0.1:{receiver.port}/{CANARY}"
    space("create", "secret", "generic", "stanch-notifications", f"--from-literal=url={url}")
    notification = {"name": "oncall", "urlFrom": {"name": "stanch-notifications"}, "atOrAbove": "High"}
    quiet = {"name": "manager", "urlFrom": {"name": "nobody-made-it"}, "atOrAbove": "Critical"}
    policy = {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "ContainmentPolicy",
        "metadata": {"name": "chat"},
        "spec": {"selector": {}, "steps": [{"scaleToZero": {}}], "notifications": [notification, quiet]},
    }
    space.create(policy)
    with receiver.serving():
        space.contain("toxic", "Deployment/llm-chat", severity="High")
        eventually(
            lambda: bool(delivery(space, "notification/oncall")["message"]), "that it may not read the Secret"
        )
        said = delivery(space, "notification/oncall")["message"]
        assert f"may not read Secret {space.name}/stanch-notifications" in said
        assert "manifests/samples/notifications.yaml" in said

        grant(space)
        eventually(lambda: bool(receiver.at(f"/{CANARY}")), "the page arrives", within=90)
        space.release("toxic")
        eventually(lambda: len(receiver.at(f"/{CANARY}")) >= 2, "and the next one")

    titles = list(dict.fromkeys(page["title"] for page in receiver.at(f"/{CANARY}")))
    assert titles == [f"[High] {space.name}/toxic: Contained", f"[High] {space.name}/toxic: Released"]
    sinks = {one["sink"] for one in space.status("toxic")["deliveries"]}
    assert sinks == {"cloudevents", "ocsf", "notification/oncall"}, "it is not severe enough for the manager"
    everything = space("get", "aii,events,cpol", "-o", "yaml") + told.operator.log.read_text()
    assert CANARY not in everything
    assert TOKEN not in everything
