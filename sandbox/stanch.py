"""Stanch on a sandbox, as a user installs it: `python -m sandbox.stanch up | down`.

The operator is a process of this machine and not a pod (no container runs here), but the cluster knows
it as the ServiceAccount of the manifests, with the roles of the manifests.
"""

from __future__ import annotations

import argparse
import http.client
import os
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from sandbox import binaries
from sandbox.audit import AuditEndpoint
from sandbox.cluster import Sandbox
from sandbox.components import free_ports
from sandbox.errors import SandboxError
from sandbox.monitoring import Route
from sandbox.process import Component
from sandbox.progress import clock

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "manifests" / "samples"
NAMESPACE = "stanch-system"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:stanch"
DIRECTORY = Path(".stanch")
DEMO_DIRECTORY = DIRECTORY / "demo"

# A leader that was killed keeps its lease so long; the defaults (15 s) are for networks, this is one machine.
_LEASE = ("--lease-seconds=5", "--renew-deadline-seconds=3.5", "--retry-seconds=0.5")


@dataclass(frozen=True)
class Installation:
    sandbox: Sandbox
    operator: Component


def start(directory: Path, *, real_node: bool | None = None) -> Sandbox:
    """A sandbox that stays until it is ended and sends its audit events to where the operator will listen."""
    endpoint = AuditEndpoint.reserve(directory)
    return Sandbox.start(directory, detached=True, audit_webhook=endpoint.webhook, real_node=real_node)


def install(sandbox: Sandbox) -> Installation:
    """CRDs, roles and admission policies by `kubectl apply -k`; then the operator, until it leads.

    Raises:
        SandboxError: the manifests were refused, or the operator did not become ready.
    """
    kubectl(sandbox, "apply", "-k", str(ROOT / "manifests" / "out-of-cluster"))
    operator = operator_of(sandbox)
    operator.start()
    return Installation(sandbox, operator)


def operator_of(sandbox: Sandbox) -> Component:
    """The operator's process, not started."""
    endpoint = AuditEndpoint.reserve(sandbox.directory)
    tokens = sandbox.layout.pki / "audit-receiver.tokens"
    tokens.touch(mode=0o600)
    tokens.write_text(endpoint.token + "\n")
    alerts = alert_route(sandbox)
    port = _port(sandbox.layout.pki / "operator-port")
    command = [
        sys.executable, "-m", "stanch", "run",
        f"--kubeconfig={sandbox.kubeconfig_for_service_account(NAMESPACE, 'stanch')}",
        f"--namespace={NAMESPACE}", "--http-host=127.0.0.1", f"--http-port={port}",
        f"--receiver-port={endpoint.port}", f"--receiver-token-file={tokens}",
        f"--tls-cert-file={endpoint.certificate.certificate}", f"--tls-key-file={endpoint.certificate.key}",
        f"--signal-credentials-file={_credentials(alerts)}",
        *_LEASE,
    ]  # fmt: skip
    path = {"PYTHONPATH": str(ROOT / "operator")}
    return Component("stanch", command, sandbox.directory, lambda: _answers(port), path)


def alert_route(sandbox: Sandbox) -> Route:
    """Where an Alertmanager sends to, and the token that speaks for every namespace."""
    endpoint = AuditEndpoint.reserve(sandbox.directory)
    token = sandbox.layout.pki / "alerts.token"
    if not token.exists():
        token.touch(mode=0o600)
        token.write_text(secrets.token_urlsafe(32) + "\n")
    return Route(f"https://127.0.0.1:{endpoint.port}/alerts", token, endpoint.ca_file)


def _credentials(route: Route) -> Path:
    path = route.token_file.with_suffix(".yaml")
    speaker = {"name": "alertmanager", "namespaces": ["*"], "tokenFile": str(route.token_file.absolute())}
    path.write_text(yaml.safe_dump({"credentials": [speaker]}))
    return path


def kubectl(sandbox: Sandbox, *arguments: str) -> str:
    """What it printed, as the administrator.

    Raises:
        SandboxError: it failed; the message is what it said.
    """
    done = subprocess.run(
        [sandbox.kubectl, *arguments],
        env={**os.environ, "KUBECONFIG": str(sandbox.admin_kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SandboxError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout


def up(directory: Path) -> int:
    binaries.find()
    began = time.monotonic()
    sandbox = start(directory)
    ready = time.monotonic()
    installation = install(sandbox)
    print(f"Kubernetes is up at {sandbox.server} in {clock(ready - began)}")
    print(f"Stanch is installed and leads, as {ACCOUNT}, {clock(time.monotonic() - ready)} later")
    print(f"  its log: {installation.operator.log}\n")
    print(f"  export KUBECONFIG={sandbox.admin_kubeconfig}")
    print(f"  {sandbox.kubectl} apply -f {SAMPLES / 'llm-chat.yaml'} -f {SAMPLES / 'toxic-output.yaml'}")
    print(f"  {sandbox.kubectl} get aii -A\n\nmake down ends it.")
    return 0


def down() -> int:
    """End what `make up` and `make demo` left up."""
    for directory in (DEMO_DIRECTORY, DIRECTORY):
        sandbox = Sandbox.attach(directory)
        if sandbox is None:
            print(f"nothing is up in {directory}")
            continue
        sandbox.remove()
        print(f"what was up in {directory} has ended, and its files are gone")
    return 0


def _port(record: Path) -> int:
    """The same one every time: whoever comes later looks after the process that runs."""
    if not record.exists():
        record.write_text(str(free_ports(1)[0]))
    return int(record.read_text())


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        # A standby is ready too; here the one that waits for its predecessor's lease is not.
        return answer.status == http.HTTPStatus.OK and b"leading" in answer.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox.stanch", description="Stanch on a cluster here.")
    parser.add_argument("verb", choices=["up", "down"])
    try:
        return up(DIRECTORY) if parser.parse_args().verb == "up" else down()
    except SandboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
