"""Stanch installed the way a user installs it, and people who may do different things there."""

from __future__ import annotations

import json
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import Sandbox
from sandbox.locks import exclusive
from stanch.api.v1alpha1.hold import ContainmentHoldSpec, HeldEntry, Holder
from tests.cluster import kubectl_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster import Cluster, Kubectl, Said

ROOT = Path(__file__).resolve().parents[1]
_IN_FORCE_WITHIN = 60.0  # seconds; measured: 0.2


@dataclass(frozen=True)
class User:
    """The real kubectl, as one user."""

    kubectl: Kubectl
    kubeconfig: Path

    def run(self, *arguments: str, stdin: object = None) -> Said:
        """Run one command; `stdin` is an object for `-f -`."""
        text = None if stdin is None else json.dumps(stdin)
        return self.kubectl(*arguments, as_=self.kubeconfig, stdin=text)

    def __call__(self, *arguments: str, stdin: object = None) -> str:
        """As `run`, for a command that has to succeed; returns what it printed."""
        text = None if stdin is None else json.dumps(stdin)
        return self.kubectl(*arguments, as_=self.kubeconfig, stdin=text, check=True).stdout

    def until_may(self, verb: str, resource: str, namespace: str) -> None:
        """A binding is in force a moment after it is written."""
        deadline = time.monotonic() + _IN_FORCE_WITHIN
        while (answer := self.run("auth", "can-i", verb, resource, "-n", namespace)).stdout.strip() != "yes":
            assert time.monotonic() < deadline, f"the binding is not in force: {answer}"

    def get(self, *arguments: str) -> Any:
        """One object as JSON."""
        return json.loads(self("get", *arguments, "-o", "json"))


@dataclass(frozen=True)
class Installed:
    """CRDs, roles and admission policies stand; the operator is the caller's to run, as its own account."""

    cluster: Cluster
    kubectl: Kubectl
    admin: User
    operator: User

    def user(self, name: str, *, role: str | None = None, namespace: str = "default") -> User:
        """A person, with a ClusterRole in one namespace."""
        if role is not None:
            binding = f"--clusterrole={role}", f"--user={name}", f"--namespace={namespace}"
            self.admin("create", "rolebinding", f"{name}-{role}".replace("@", "-"), *binding)
        person = User(self.kubectl, self.cluster.kubeconfig_for_user(name))
        if role is not None:
            person.until_may("get", "aiincidents", namespace)  # every role that tests give may
        return person

    def service_account(self, namespace: str, name: str) -> User:
        return User(self.kubectl, self.cluster.kubeconfig_for_service_account(namespace, name))


def install(cluster: Cluster, kubectl: Kubectl) -> Installed:
    """`kubectl apply -k`, then wait until the admission policies deny. Safe to repeat."""
    admin = User(kubectl, cluster.admin_kubeconfig)
    admin("apply", "-k", str(ROOT / "manifests" / "out-of-cluster"))
    operator = User(kubectl, cluster.kubeconfig_for_service_account("stanch-system", "stanch"))
    installed = Installed(cluster, kubectl, admin, operator)
    _wait_in_force(installed)
    return installed


def _wait_in_force(installed: Installed) -> None:
    """The policy with a parameter comes into force last: try to undo a hold until that is denied."""
    namespace = f"install-{uuid.uuid4().hex[:8]}"
    installed.admin("create", "namespace", namespace)
    inside = f"--namespace={namespace}"
    installed.admin("create", "deployment", "held", "--image=none", "--replicas=0", inside)
    hold(installed, namespace, "Stopped apps/deployments/held")
    deadline = time.monotonic() + _IN_FORCE_WITHIN
    scale = ("scale", "deployment/held", "--replicas=1", "--dry-run=server", inside)
    while (
        answer := installed.admin.run(*scale)
    ).returncode == 0 or "held by AIIncident" not in answer.stderr:
        assert time.monotonic() < deadline, f"the hold is not in force: {answer}"
        time.sleep(0.05)
    installed.admin("delete", "namespace", namespace, "--wait=false")


@contextmanager
def stamping(kubectl: Kubectl, namespace: str) -> Iterator[None]:
    """With manifests/stamps in force: an API server takes some time to know what it is to stamp."""
    folder = str(ROOT / "manifests" / "stamps")
    kubectl("apply", "-k", folder, check=True)
    probe = {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "AIIncident",
        "metadata": {"name": "probe"},
        "spec": {
            "title": "Is it stamped?",
            "category": "Other",
            "severity": "Informational",
            "mode": "DryRun",
            "targets": [{"kind": "Deployment", "name": "none"}],
        },
    }
    create = "-n", namespace, "create", "--dry-run=server", "-o", "yaml", "-f", "-"

    def until(*, stamps: bool) -> None:
        deadline = time.monotonic() + _IN_FORCE_WITHIN
        while True:
            said = kubectl(*create, stdin=json.dumps(probe))
            if said.returncode == 0 and ("stanch.dev/requested-by" in said.stdout) == stamps:
                return
            assert time.monotonic() < deadline, f"it is {'not ' if stamps else ''}stamped: {said}"
            time.sleep(0.2)

    until(stamps=True)
    try:
        yield
    finally:
        kubectl("delete", "-k", folder, check=True)
        until(stamps=False)


def hold(
    installed: Installed,
    namespace: str,
    *keys: str,
    incidents: tuple[str, ...] = ("leak-81d2e",),
    giving_back: str | None = None,
) -> None:
    """Hold by hand, as the operator would: label the namespace, write the ContainmentHold."""
    holder = Holder(why="High, DataBreach", since=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    entry = HeldEntry(incidents, dict.fromkeys(incidents, holder), giving_back)
    installed.operator("label", "namespace", namespace, "stanch.dev/holding=true", "--overwrite")
    manifest = {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "ContainmentHold",
        "metadata": {"name": "stanch", "namespace": namespace},
        "spec": ContainmentHoldSpec.of(dict.fromkeys(keys, entry)).wire(),
    }
    installed.operator("apply", "--server-side", "-f", "-", stdin=manifest)


@pytest.fixture(scope="session")
def quiet_cluster(
    request: pytest.FixtureRequest, pytestconfig: pytest.Config, run_directory: Path
) -> Iterator[Cluster]:
    """A second cluster, where no operator runs: it would act on the incidents that a test writes by hand."""
    if pytestconfig.getoption("cluster") == "kind":
        yield request.getfixturevalue("cluster")
        return
    sandbox = Sandbox.start(run_directory / "quiet")
    yield sandbox
    sandbox.leave()
    sandbox.wait_end()


@pytest.fixture(scope="session")
def stanch_installed(
    quiet_cluster: Cluster, run_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Installed:
    """Stanch on the quiet cluster."""
    with exclusive(run_directory / "quiet-install.lock"):
        return install(quiet_cluster, kubectl_of(quiet_cluster, tmp_path_factory.mktemp("kubectl")))


@pytest.fixture
def space(stanch_installed: Installed) -> Iterator[str]:
    """The name of a fresh namespace on the quiet cluster."""
    name = f"space-{uuid.uuid4().hex[:8]}"
    stanch_installed.admin("create", "namespace", name)
    yield name
    stanch_installed.admin("delete", "namespace", name, "--wait=false")
