"""A release of the chart on a cluster of its own: what is contained stays so, whatever Helm does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.charts.chart import CHART, run
from tests.cluster import kubectl_of
from tests.operator_process import ROOT, OperatorProcess, Space, eventually, shape, workload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox import Sandbox
    from tests.cluster import OwnSandbox

pytestmark = pytest.mark.long

NAMESPACE = "safety"  # not the one of the manifests
POLICIES = "validatingadmissionpolicies,validatingadmissionpolicybindings"
HELD = "held by AIIncident leak"
SCALE = ("scale", "deployment/llm-chat", "--replicas=3")


@dataclass(frozen=True)
class Release:
    """Helm on the cluster, as an administrator has it, and the operator that the release is for."""

    sandbox: Sandbox
    chat: Space
    home: Path

    def helm(self, *arguments: str) -> str:
        """What a command that has to succeed said."""
        code, said = run(
            *arguments, f"--namespace={NAMESPACE}", kubeconfig=self.sandbox.admin_kubeconfig, home=self.home
        )
        assert code == 0, f"helm {' '.join(arguments)} ended with {code}:\n{said}"
        return said

    def install(self) -> str:
        return self.helm("install", "guard", str(CHART), "--create-namespace")

    @contextmanager
    def operator(self) -> Iterator[OperatorProcess]:
        """No container runs here: the program beside the release's pods, as the account that the chart made.
        Its lease is its own, as those pods hold none.
        """
        kubeconfig = self.sandbox.kubeconfig_for_service_account(NAMESPACE, "stanch")
        process = OperatorProcess(kubeconfig, self.home / "operator.log", {"namespace": NAMESPACE})
        process.start()
        try:
            process.wait_ready()
            yield process
        finally:
            if process.running:
                process.stop()

    def uninstalls(self) -> tuple[int, str]:
        """`helm uninstall`, with somebody who runs the hook's container, as no kubelet does here."""
        end = threading.Event()
        stand_in = threading.Thread(target=self._run_check, args=(end,), daemon=True)
        stand_in.start()
        try:
            return run(
                "uninstall",
                "guard",
                f"--namespace={NAMESPACE}",
                kubeconfig=self.sandbox.admin_kubeconfig,
                home=self.home,
            )
        finally:
            end.set()
            stand_in.join()

    def _run_check(self, end: threading.Event) -> None:
        """What its pod says is run, as its account; how it ended is written to its status."""
        there = self.chat.elsewhere(NAMESPACE)
        label = "app.kubernetes.io/name=stanch-uninstall-check"
        while not end.wait(0.2):
            for pod in there.get("pods", f"--selector={label}")["items"]:
                if pod["status"].get("phase") != "Running":
                    continue
                spec = pod["spec"]
                kubeconfig = self.sandbox.kubeconfig_for_service_account(
                    NAMESPACE, spec["serviceAccountName"]
                )
                command = [sys.executable, "-m", "stanch", *spec["containers"][0]["args"]]
                done = subprocess.run(
                    [*command, f"--kubeconfig={kubeconfig}"],
                    env={**os.environ, "PYTHONPATH": str(ROOT / "operator"), "COLUMNS": "200"},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                (self.home / "check.txt").write_text(done.stdout + done.stderr)
                phase = "Succeeded" if done.returncode == 0 else "Failed"
                status = json.dumps({"status": {"phase": phase}})
                name = pod["metadata"]["name"]
                there("patch", "pod", name, "--subresource=status", "--type=merge", "-p", status)

    def no_policies(self) -> None:
        eventually(lambda: not self.chat("get", POLICIES, "-o", "name"), "the admission policies are gone")


@pytest.fixture(scope="module")
def release(own_sandbox: OwnSandbox, tmp_path_factory: pytest.TempPathFactory) -> Release:
    sandbox = own_sandbox()
    kubectl = kubectl_of(sandbox, tmp_path_factory.mktemp("kubectl"))
    kubectl("create", "namespace", "chat", check=True)
    chat = Space("chat", kubectl, sandbox)
    chat.create(workload("Deployment", "llm-chat"))
    chat.running("Deployment", "llm-chat", 3)
    return Release(sandbox, chat, tmp_path_factory.mktemp("helm"))


@pytest.mark.compatibility("helm")
def test_a_hold_stands_through_upgrade_and_rollback_and_uninstall_leaves_a_cluster_that_can_be_written(
    release: Release,
) -> None:
    chat = release.chat
    told = release.install()
    assert "release what `kubectl get aii,holds -A` shows" in told
    before = shape(chat.get("deployment", "llm-chat"))

    with release.operator():
        chat.contain("leak", "Deployment/llm-chat", steps=[{"scaleToZero": {}}])
        assert HELD in chat.refused(*SCALE)

        release.helm("upgrade", "guard", str(CHART), "--set=operator.settings.STANCH_PARALLELISM=8")
        assert HELD in chat.refused(*SCALE)
        release.helm("rollback", "guard", "1")
        assert HELD in chat.refused(*SCALE)
        assert chat.wait_held("leak")["phase"] == "Contained"

        chat.release("leak")
        assert shape(chat.get("deployment", "llm-chat")) == before

    code, gone = release.uninstalls()
    assert code == 0, gone
    assert "nothing is contained" in (release.home / "check.txt").read_text()
    kept = {line.split()[1] for line in gone.splitlines() if line.startswith("[")}
    assert {"aiincidents.stanch.dev", "containmentholds.stanch.dev", "stanch-canary"} <= kept, gone
    release.no_policies()
    chat("scale", "deployment/llm-chat", "--replicas=2")
    assert chat.status("leak")["phase"] == "Released", "the record outlives the release"


def test_uninstalled_while_it_contains_nothing_is_held_any_more_and_installing_again_holds_it(
    release: Release,
) -> None:
    chat = release.chat
    chat("scale", "deployment/llm-chat", "--replicas=2")
    release.install()
    with release.operator():
        chat.contain("leak-again", "Deployment/llm-chat", steps=[{"scaleToZero": {}}])
    assert "held by AIIncident leak-again" in chat.refused(*SCALE), "nobody home, still held"

    code, said = release.uninstalls()
    assert code != 0, said
    assert "still contained: chat/leak-again" in (release.home / "check.txt").read_text()
    assert "held by AIIncident leak-again" in chat.refused(*SCALE), "nothing was taken away"

    release.helm("uninstall", "guard", "--no-hooks")
    release.no_policies()
    chat.until_allowed(*SCALE)
    chat.elsewhere("default")("create", "deployment", "other", "--image=none")

    release.install()
    with release.operator():
        chat.until_denied("held by AIIncident leak-again", "scale", "deployment/llm-chat", "--replicas=4")
        chat.wait("deployment/llm-chat", "{.spec.replicas}", "0")
        chat.release("leak-again")
    chat.wait("deployment/llm-chat", "{.spec.replicas}", "2")
