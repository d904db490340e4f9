"""A whole incident with a secret in every place where there may be one: none of them is told to anybody."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.components import free_ports
from tests.alert_sender import alert
from tests.alerting import Receiver
from tests.cluster import kubectl_of
from tests.operator_process import ROOT, eventually, fresh_space, install, running, workload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster import OwnSandbox
    from tests.operator_process import Json, OperatorProcess, Space

pytestmark = pytest.mark.long

NOTICED = "this-is-no-secret"
"""Planted where it has to be found: a search that finds nothing has to be one that could."""


@dataclass
class Canaries:
    """Values that nobody else knows, by where they were put."""

    planted: dict[str, str] = field(default_factory=dict)

    def plant(self, where: str) -> str:
        return self.planted.setdefault(where, f"c4n4ry{secrets.token_hex(12)}")

    def plant_file(self, where: str, path: Path) -> str:
        path.write_text(self.plant(where))
        return str(path)

    def found_in(self, place: bytes) -> set[str]:
        return {where for where, value in self.planted.items() if any(form in place for form in forms(value))}


def forms(value: str) -> set[bytes]:
    """As it is, and as base64 wherever in the encoded text it begins."""
    shifted = (base64.b64encode(b"?" * shift + value.encode())[4:-4] for shift in range(3))
    return {value.encode(), urllib.parse.quote(value).encode(), *shifted}


@contextmanager
def refusing() -> Iterator[tuple[int, list[str]]]:
    """A web service that takes nothing, and says in its answer all that it was told. Its port, and paths."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            paths.append(self.path)
            echo = f"{self.path} {self.headers}".encode() + body
            self.send_response(500, "no")
            self.send_header("Content-Length", str(len(echo)))
            self.end_headers()
            self.wfile.write(echo)

        def log_message(self, *_args: object) -> None:
            """Nothing: what arrived is in `paths`."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port, paths
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Planted:
    canaries: Canaries
    operator: OperatorProcess
    receiver: Receiver
    space: Space
    evidence: Path
    paths: list[str]
    port: int


@pytest.fixture
def planted(own_sandbox: OwnSandbox, tmp_path: Path) -> Iterator[Planted]:
    """An operator that knows secrets of every kind, at log level debug."""
    canaries, directory = Canaries(), tmp_path
    receiver = Receiver.reserve(directory / "receiver")
    receiver.token.write_text(canaries.plant("token of Alertmanager"))
    canaries.planted["token of the API server's audit events"] = receiver.endpoint.token
    (directory / "audit-token").write_text(receiver.endpoint.token)
    sandbox = own_sandbox(audit_webhook=receiver.endpoint.webhook)
    kubectl = kubectl_of(sandbox, directory)
    install(kubectl)
    evidence, store = directory / "evidence", directory / "store"
    evidence.mkdir()
    store.mkdir()
    for name in ("access-key-id", "secret-access-key", "session-token"):
        canaries.plant_file(f"{name} of the evidence store", store / name)
    (nobody,) = free_ports(1)
    with refusing() as (port, paths):
        flags = receiver.flags | {
            "receiver_token_file": str(directory / "audit-token"),
            "prometheus_url": f"http://127.0.0.1:{nobody}",
            "prometheus_interval_seconds": "1",
            "prometheus_token_file": canaries.plant_file("token of Prometheus", directory / "prometheus"),
            "alertmanager_url": f"http://127.0.0.1:{nobody}",
            "alertmanager_token_file": canaries.plant_file("token for Alertmanager", directory / "manager"),
            "cloudevents_url": f"http://127.0.0.1:{port}/{canaries.plant('URL of CloudEvents')}",
            "cloudevents_token_file": canaries.plant_file("token of CloudEvents", directory / "events"),
            "ocsf_url": f"http://127.0.0.1:{port}/ocsf?key={canaries.plant('URL of findings')}",
            "ocsf_token_file": canaries.plant_file("token of findings", directory / "ocsf"),
            "notification_schemas": "json",
            "log_level": "debug",
        }
        environment = {
            "STANCH_EVIDENCE_URL": f"file://{evidence}",
            "STANCH_EVIDENCE_CREDENTIALS_DIR": str(store),
            "AWS_SECRET_ACCESS_KEY": canaries.plant("variable of the operator"),
        }
        with (
            running(sandbox, directory / "operator.log", environment, **flags) as operator,
            fresh_space(sandbox, kubectl, operator) as space,
        ):
            yield Planted(canaries, operator, receiver, space, evidence, paths, port)


def model_server(canaries: Canaries) -> Json:
    """As people write them who have not heard of Secrets. One value is none, and has to be kept."""
    container = {
        "name": "server",
        "image": "registry.example.test/llm:2.4.0",
        "args": [
            f"--api-key={canaries.plant('argument')}",
            "--auth-token",
            canaries.plant("argument after its flag"),
        ],
        "env": [
            {"name": "OPENAI_API_KEY", "value": canaries.plant("variable")},
            {"name": "DATABASE_URL", "value": f"postgres://llm:{canaries.plant('password in a URL')}@db/llm"},
            {"name": "GREETING", "value": NOTICED},
        ],
        "envFrom": [{"secretRef": {"name": "model-keys"}}],
    }
    return workload("Deployment", "llm-chat", 2, pod={"containers": [container]})


def policy() -> Json:
    grave = {"category": "OutputPolicyViolation", "severity": "Critical"}
    return {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "ContainmentPolicy",
        "metadata": {"name": "chat", "annotations": {"about": NOTICED}},
        "spec": {
            "selector": {},
            "triggers": [
                {"name": "toxic", "alert": {"matchers": ['alertname="ToxicOutput"']}} | grave,
                {"name": "drift", "prometheus": {"query": "drift", "operator": "gt", "value": "1"}} | grave,
            ],
            "steps": [{"collectEvidence": {}}, {"scaleToZero": {}}],
            "notifications": [{"name": "oncall", "urlFrom": {"name": "stanch-notifications"}}],
        },
    }


def prepare(planted: Planted) -> None:
    space, canaries = planted.space, planted.canaries
    url = f"json://user:{canaries.plant('password of a notification')}@127.0.0.1:{planted.port}/"
    space("create", "secret", "generic", "stanch-notifications", f"--from-literal=url={url}oncall")
    space("create", "secret", "generic", "model-keys", f"--from-literal=HF={canaries.plant('Secret')}")
    space("create", "role", "reads", "--verb=get", "--resource=secrets")
    space("create", "rolebinding", "reads", "--role=reads", "--serviceaccount=stanch-system:stanch")
    # Not created: kubectl writes the whole manifest into an annotation.
    space("apply", "-f", "-", stdin=model_server(canaries))
    space.create(policy())
    space.running("Deployment", "llm-chat", 2)


def incident_of_an_alert(planted: Planted) -> str:
    """After somebody with another token was refused."""
    space, receiver = planted.space, planted.receiver
    labels = {"alertname": "ToxicOutput", "namespace": space.name, "deployment": "llm-chat", "note": NOTICED}
    toxic = alert(labels, "2026-01-02T03:04:05Z")
    guessed = receiver.token.with_name("guessed")
    planted.canaries.plant_file("token of a stranger", guessed)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        replace(receiver, token=guessed).send(toxic)

    def taken() -> bool:
        receiver.send(toxic)
        return bool(space.get("aii")["items"])

    eventually(taken, "the alert opens an incident", seen=planted.operator.tail)
    (incident,) = space.get("aii")["items"]
    return str(incident["metadata"]["name"])


def stanch(planted: Planted, *arguments: str) -> bytes:
    command = [sys.executable, "-m", "stanch", *arguments, f"--kubeconfig={planted.operator.kubeconfig}"]
    said = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT / "operator")}, capture_output=True, check=False
    )
    return said.stdout + said.stderr


def everything_told(planted: Planted, name: str) -> dict[str, bytes]:
    """All that leaves the operator but to the receivers themselves."""
    space = planted.space
    told = {
        kind: space("get", kind, "-A", "-o", "json").encode()
        for kind in ("events", "aii", "holds", "cpol", "ccpol", "leases")
    }
    files = [path for path in planted.evidence.rglob("*") if path.is_file()]
    return told | {
        "log": planted.operator.log.read_bytes(),
        "metrics": (planted.operator.metrics() or "").encode(),
        "report": stanch(planted, "report", "-n", space.name, name),
        "report as JSON": stanch(planted, "report", "-n", space.name, name, "--format=json"),
        "evidence": b"\n".join(f"{path}\n".encode() + path.read_bytes() for path in files),
    }


def failing(space: Space, name: str) -> set[str]:
    return {one["sink"] for one in space.status(name).get("deliveries", []) if "failingSince" in one}


def test_no_secret_is_in_logs_events_status_evidence_reports_or_metrics(planted: Planted) -> None:
    space = planted.space
    prepare(planted)
    name = incident_of_an_alert(planted)
    space.wait_phase(name, "Contained")
    space.wait_held(name)
    space.until_denied("held by", "scale", "deployment/llm-chat", "--replicas=2")
    eventually(lambda: "contested" in space.status(name), "the audit events have come")
    eventually(
        lambda: failing(space, name) >= {"cloudevents", "ocsf", "notification/oncall"},
        "every receiver fails",
        seen=lambda: json.dumps(space.status(name).get("deliveries")),
    )
    space("patch", "aii", name, "--type=merge", "-p", json.dumps({"spec": {"resolution": RESOLUTION}}))
    before = everything_told(planted, name)
    space.let_go(name)
    space.wait_phase(name, "Closed")
    space.wait_event("ReportStored")
    told = everything_told(planted, name)

    assert {where: planted.canaries.found_in(place) for where, place in told.items()} == {
        where: set() for where in told
    }
    assert not planted.canaries.found_in(before["holds"] + before["metrics"])
    reached = "".join(planted.paths)
    assert planted.canaries.planted["URL of CloudEvents"] in reached, "the secrets were in use"
    assert "/oncall" in reached
    searched = {"evidence", "cpol"}
    assert {where for where in searched if NOTICED.encode() in told[where]} == searched
    blind = {where for where, place in (before | {"log": told["log"]}).items() if where_it_was(space, place)}
    assert blind == told.keys() - {"ccpol", "leases"}, "each place tells of this very incident"


RESOLUTION: dict[str, Any] = {"determination": "Confirmed", "rootCause": "The filter was off."}


def where_it_was(space: Space, place: bytes) -> bool:
    return space.name.encode() in place


@pytest.mark.parametrize("offset", range(4))
def test_the_search_finds_a_secret_however_it_is_written(offset: int) -> None:
    canaries = Canaries()
    value = canaries.plant("Secret")
    for text in (value, base64.b64encode(f"{'x' * offset}{value}{'y' * offset}".encode()).decode()):
        assert canaries.found_in(f'{{"data": "{text}"}}'.encode()) == {"Secret"}
    assert canaries.found_in(b'{"data": "c4n4ry"}') == set()
