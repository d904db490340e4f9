"""Who was refused what is in the audit log at once, and at the audit webhook a moment later."""

from __future__ import annotations

import json
import queue
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sandbox import AuditEndpoint
from tests.cluster import kubectl_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox import Sandbox
    from tests.cluster import Kubectl, OwnSandbox

FAILURE = "validation.policy.admission.k8s.io/validation_failure"
POLICY = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicy",
    "metadata": {"name": "frozen"},
    "spec": {
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "resources": ["configmaps"],
                    "operations": ["CREATE"],
                    "resourceNames": ["frozen"],
                }
            ]
        },
        "validations": [{"expression": "false", "message": "frozen by the test"}],
    },
}
BINDING = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicyBinding",
    "metadata": {"name": "frozen"},
    "spec": {"policyName": "frozen", "validationActions": ["Deny", "Audit"]},
}

Received = queue.Queue[tuple[str | None, dict[str, Any]]]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AuditEndpoint]:
    directory = tmp_path_factory.mktemp("audited")
    return directory, AuditEndpoint.reserve(directory)


@pytest.fixture(scope="module")
def received(endpoint: tuple[Path, AuditEndpoint]) -> Iterator[Received]:
    """What a receiver at the reserved address was sent: (Authorization header, event)."""
    events: Received = queue.Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            batch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for event in batch["items"]:
                events.put((self.headers["Authorization"], event))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            pass

    _, reserved = endpoint
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(reserved.certificate.certificate, reserved.certificate.key)
    with ThreadingHTTPServer(("127.0.0.1", reserved.port), Receiver) as server:
        server.daemon_threads = True
        server.block_on_close = False  # the API server keeps its connection
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield events
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def audited(own_sandbox: OwnSandbox, endpoint: tuple[Path, AuditEndpoint], received: Received) -> Sandbox:
    directory, reserved = endpoint
    return own_sandbox(directory=directory, audit_webhook=reserved.webhook)


@pytest.fixture(scope="module")
def kubectl_audited(audited: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    return kubectl_of(audited, tmp_path_factory.mktemp("home"))


def events_of(log: Path) -> list[dict[str, Any]]:
    whole_lines, _, _ = log.read_text().rpartition("\n")
    return [json.loads(line) for line in whole_lines.splitlines()]


def about(events: list[dict[str, Any]], name: str, verb: str) -> list[dict[str, Any]]:
    return [
        event for event in events if event["verb"] == verb and event.get("objectRef", {}).get("name") == name
    ]


def test_a_write_is_in_the_audit_log_when_its_caller_has_the_answer(
    audited: Sandbox, kubectl_audited: Kubectl
) -> None:
    editor = audited.kubeconfig_for_user("alice", ["system:masters"])
    kubectl_audited("create", "configmap", "written", as_=editor, check=True)
    written = about(events_of(audited.audit_log), "written", "create")
    assert [event["user"]["username"] for event in written] == ["alice"]
    assert written[0]["level"] == "Metadata"
    assert "requestObject" not in written[0]


def test_a_denied_write_reaches_the_webhook_with_who_tried_and_why_not(
    audited: Sandbox, kubectl_audited: Kubectl, endpoint: tuple[Path, AuditEndpoint], received: Received
) -> None:
    kubectl_audited("apply", "-f", "-", stdin=yaml.safe_dump_all([POLICY, BINDING]), check=True)
    mallory = audited.kubeconfig_for_user("mallory", ["system:masters"])
    attempts = 0
    while "frozen by the test" not in kubectl_audited("create", "configmap", "frozen", as_=mallory).stderr:
        kubectl_audited("delete", "configmap", "frozen", "--ignore-not-found", check=True)
        attempts += 1
        assert attempts < 100, "the policy never came into force"

    while True:
        token, event = received.get(timeout=60)
        annotations = event.get("annotations", {})
        if FAILURE in annotations:
            break
    assert token == f"Bearer {endpoint[1].token}"
    assert event["user"]["username"] == "mallory"
    assert event["objectRef"]["name"] == "frozen"
    assert event["responseStatus"]["code"] == 422
    assert json.loads(annotations[FAILURE])[0]["message"] == "frozen by the test"
