"""Whoever follows the documentation types what is there, and it works: every command of every page is run."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import helm
from tests.alerting import Receiver
from tests.cluster import kubectl_of
from tests.docs.commands import ROOT, Command, commands, pages
from tests.operator_process import Space, eventually, install, running, workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox import Sandbox
    from tests.cluster import OwnSandbox
    from tests.operator_process import OperatorProcess

NOT_RUN = {
    "make ": "is what runs this test, or would run it again",
    "docker ": "needs a daemon and a registry; tests/image builds what it would",
    "kind ": "there is no container engine in the tests",
    "kubectl -n stanch-system port-forward ": "KWOK runs no pods: the test's own operator is asked",
    "kubectl -n stanch-system logs ": "KWOK's pods have no logs",
    "(cd manifests/operator && kustomize ": "edits the checkout",
}
ENDLESS = ("stanch run ", "-w")
"""What goes on until it is ended: that it goes on for some seconds is what is seen."""
SECONDS = 90
WATCHED_SECONDS = 5
ME = "bob@example.test"


@dataclass
class Reader:
    """Somebody who may do everything, with a shell in a checkout."""

    sandbox: Sandbox
    chat: Space
    home: Path
    receiver: Receiver
    stands_for: dict[str, Callable[[], str]] = field(default_factory=dict)
    """What a page has as an example, and what it is here, by the time that it is typed."""

    def types(self, command: Command) -> None:
        text = command.text
        for example, actual in self.stands_for.items():
            if example in text:
                text = text.replace(example, actual())
        endless = any(part in text for part in ENDLESS)
        try:
            said = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", text],
                cwd=self.home,
                env=self.environment,
                input="y\n",
                capture_output=True,
                text=True,
                check=False,
                timeout=WATCHED_SECONDS if endless else SECONDS,
            )
        except subprocess.TimeoutExpired:
            assert endless, f"{command} does not end"
            return
        if command.denied:
            assert "held by AIIncident" in said.stderr, (
                f"{command}\nwas not denied:\n{said.stderr}{said.stdout}"
            )
            return
        assert said.returncode == 0, f"{command}\nended with {said.returncode}:\n{said.stderr}{said.stdout}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "HOME": str(self.home),
            "PATH": f"{self.home / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "operator"),
            "KUBECONFIG": str(self.sandbox.kubeconfig_for_user(ME, ["system:masters"])),
            "STANCH_HTTP_PORT": "0",
        }

    def policy(self, name: str, **spec: Any) -> None:
        base = {"selector": {"matchLabels": {"team": "chat"}}, "steps": [{"scaleToZero": {}}]}
        self.chat.create(
            {
                "apiVersion": "stanch.dev/v1alpha1",
                "kind": "ContainmentPolicy",
                "metadata": {"name": name},
                "spec": base | spec,
            }
        )

    def status(self, name: str) -> Any:
        return self.chat.status(name)


def contained(reader: Reader) -> None:
    reader.chat.contain("toxic-output", "Deployment/llm-chat")


def proven(reader: Reader) -> None:
    healthy = {"checks": [{"name": "healthy", "healthy": {}}], "initialDelay": "2m"}
    reader.policy("chat-guard", verification=healthy)
    reader.chat.contain("toxic-output", "Deployment/llm-chat", policyRef={"name": "chat-guard"})


def drilled(reader: Reader) -> None:
    reader.policy("chat-guard", drills=[{"name": "weekly", "schedule": "0 9 * * 1"}])


def approved(reader: Reader) -> None:
    reader.policy("chat-guard", guardrails={"approval": {"required": "Always"}})
    for name in ("drift", "second"):
        target = f"Deployment/{'llm-chat' if name == 'drift' else 'embedder'}"
        reader.chat.incident(name, target, policyRef={"name": "chat-guard"}, severity="Medium")
        reader.chat.wait_phase(name, "AwaitingApproval")
    reader.stands_for["patch aii drift"] = lambda: "patch aii second"  # the other way, for another incident
    reader.stands_for["91c0a2b3c4d5e6f7"] = lambda: str(reader.status("second")["plan"]["hash"])


def leaked(reader: Reader) -> None:
    reader.chat.contain("leak", "Deployment/llm-chat", category="DataBreach")


def reported(reader: Reader) -> None:
    contained(reader)
    reader.chat.release("toxic-output")

    def kept() -> str:
        reader.chat.wait_event("ReportStored")
        (html,) = (
            Path(one["location"].removeprefix("file://"))
            for one in reader.status("toxic-output")["reports"]
            if one["location"].endswith(".html")
        )
        (reader.home / html.name).write_bytes(html.read_bytes())
        return html.name

    reader.stands_for["report-a29d37e9cc422628.html"] = kept


def in_git(reader: Reader) -> None:
    policies = reader.home / "policies"
    policies.mkdir()
    sample = (ROOT / "manifests" / "samples" / "policy.yaml").read_text()
    (policies / "policy.yaml").write_text(sample.replace("namespace: demo", "namespace: chat"))
    reader.chat("create", "namespace", "argocd")


def with_prometheus_operator(reader: Reader) -> None:
    """Its CRDs, as far as these manifests need them."""
    for kind in ("PrometheusRule", "ServiceMonitor"):
        name = f"{kind.lower()}s.monitoring.coreos.com"
        reader.chat("apply", "-f", "-", stdin=_definition(name, kind))
        reader.chat.wait(f"crd/{name}", '{.status.conditions[?(@.type=="Established")].status}', "True")
    eventually(
        lambda: "servicemonitors" in reader.chat("api-resources", "--api-group=monitoring.coreos.com"),
        "the API server knows ServiceMonitors",
    )
    for namespace in ("monitoring", "gateway"):
        reader.chat.kubectl("create", "namespace", namespace)


def _definition(name: str, kind: str) -> Any:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name},
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": name.partition(".")[0], "singular": kind.lower()},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }


def anew(reader: Reader) -> None:
    """On a cluster from which everything is taken, by the page before or, in another process, here.

    KWOK runs no container: tests/integration/test_chart.py has somebody run that of the hook.
    """
    reader.stands_for["helm uninstall"] = lambda: "helm uninstall --no-hooks"
    for part in ("admission", "default"):
        reader.chat.kubectl("delete", "-k", str(ROOT / "manifests" / part), "--ignore-not-found")
    reader.chat.kubectl("wait", "namespace/stanch-system", "--for=delete", "--timeout=60s")


def at_home(reader: Reader) -> None:
    """Stanch is there already: docs/how-to/install.md is followed on a cluster without it."""
    reader.stands_for["helm install"] = lambda: "helm template"
    reader.chat.kubectl("apply", "-f", str(ROOT / "manifests" / "samples" / "llm-chat.yaml"), check=True)


def first_time(reader: Reader) -> None:
    """The test's operator has a certificate and a token of its own."""
    receiver = reader.receiver
    reader.stands_for |= {
        "--cacert tls.crt": lambda: f"--cacert {receiver.endpoint.ca_file}",
        "cat demo.tokens": lambda: f"cat {receiver.token}",
        "https://localhost:8443/alerts": lambda: receiver.route.url,
        "kubectl create namespace stanch-system": lambda: "kubectl get namespace stanch-system",
    }


def nothing(_: Reader) -> None:
    pass


SCENES: dict[str, Callable[[Reader], None]] = {
    "docs/actions/collect-evidence.md": contained,
    "docs/actions/isolate.md": nothing,
    "docs/how-to/approvals.md": approved,
    "docs/how-to/drills.md": drilled,
    "docs/how-to/evidence.md": contained,
    "docs/how-to/gitops.md": in_git,
    "docs/how-to/image.md": nothing,
    "docs/how-to/on-call.md": contained,
    "docs/how-to/prometheus.md": lambda reader: reader.policy("chat"),
    "docs/how-to/regulatory-clocks.md": leaked,
    "docs/how-to/release.md": proven,
    "docs/how-to/report.md": reported,
    "docs/how-to/roles.md": nothing,
    "docs/how-to/sinks.md": contained,
    "docs/how-to/triggers.md": with_prometheus_operator,
    "docs/how-to/verification.md": proven,
    "README.md": at_home,
    "docs/how-to/high-availability.md": nothing,
    "docs/troubleshooting.md": contained,
    "docs/tutorial.md": first_time,
    "docs/how-to/kubectl.md": drilled,
    "docs/how-to/observability.md": with_prometheus_operator,
    "docs/operations.md": nothing,  # it ends with nothing installed
    "docs/how-to/install.md": anew,
}
"""What a page takes for granted, in the order in which they are read."""


@dataclass(frozen=True)
class Installed:
    sandbox: Sandbox
    operator: OperatorProcess
    receiver: Receiver
    home: Path


@pytest.fixture(scope="module")
def installed(own_sandbox: OwnSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    directory = tmp_path_factory.mktemp("reader")
    sandbox = own_sandbox()
    kubectl = kubectl_of(sandbox, directory)
    install(kubectl)
    (directory / "evidence").mkdir()
    environment = {"STANCH_EVIDENCE_URL": f"file://{directory / 'evidence'}"}
    receiver = Receiver.reserve(directory / "receiver")
    with running(sandbox, directory / "operator.log", environment, **receiver.flags) as process:
        yield Installed(sandbox, process, receiver, directory)


@pytest.fixture
def reader(installed: Installed, tmp_path: Path) -> Iterator[Reader]:
    sandbox = installed.sandbox
    kubectl = kubectl_of(sandbox, installed.home)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "kubectl").symlink_to(sandbox.kubectl)
    (programs / "helm").symlink_to(helm.find())
    for name in ("stanch", "kubectl-stanch"):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m stanch "$@"\n')
        (programs / name).chmod(0o755)
    for name in ("manifests", "crds", "charts"):
        (tmp_path / name).symlink_to(ROOT / name)
    kubectl("create", "namespace", "chat", check=True)
    chat = Space("chat", kubectl, sandbox)
    for name in ("llm-chat", "embedder"):
        chat.create(workload("Deployment", name, 3))
        chat.running("Deployment", name, 3)
    yield Reader(sandbox, chat, tmp_path, installed.receiver)
    print(installed.operator.tail())  # noqa: T201 - captured by pytest
    for namespace in ("chat", "demo"):
        kubectl("delete", "aii", "--all", "-n", namespace, "--timeout=60s")
        kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=60s")


def test_every_page_that_shows_commands_has_a_scene() -> None:
    assert {str(page.relative_to(ROOT)) for page in pages() if commands(page)} == set(SCENES)


@pytest.mark.long
@pytest.mark.parametrize("page", SCENES)
def test_every_command_of_the_page_works(reader: Reader, page: str) -> None:
    SCENES[page](reader)
    for command in commands(ROOT / page):
        if not command.text.startswith(tuple(NOT_RUN)):
            reader.types(command)
