"""The shell of the operator on a control plane of its own, whose parts are stopped."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.cluster import kubectl_of
from tests.installation import ROOT, User
from tests.integration.shell_process import OperatorProcess
from tests.integration.test_crds import incident

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox import Sandbox
    from tests.cluster import OwnSandbox


@pytest.fixture(scope="module")
def sandbox(own_sandbox: OwnSandbox) -> Sandbox:
    return own_sandbox(nodes=0)


@pytest.fixture(scope="module")
def admin(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> User:
    kubectl = kubectl_of(sandbox, tmp_path_factory.mktemp("kubectl"))
    return User(kubectl, sandbox.admin_kubeconfig)


def install_crds(admin: User) -> None:
    admin("apply", "-k", str(ROOT / "crds"))
    admin("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")


def start(sandbox: Sandbox, log: Path, **settings: str) -> OperatorProcess:
    return OperatorProcess(sandbox.admin_kubeconfig, "default", log, settings=settings)


def test_before_the_crds_exist_it_waits_and_then_works(sandbox: Sandbox, admin: User, tmp_path: Path) -> None:
    admin("delete", "crd", "--all")
    with start(sandbox, tmp_path / "log") as operator:
        operator.waits_for_log("the watches cannot start yet")
        assert operator.get("/readyz") == (503, "not ready\n")
        assert operator.get("/healthz")[0] == 200
        install_crds(admin)
        operator.is_ready_as("leading")
        admin("create", "-f", "-", stdin=incident("early"))
        operator.hears(reconcile="early")


def test_a_short_outage_of_the_api_server_is_survived(sandbox: Sandbox, admin: User, tmp_path: Path) -> None:
    install_crds(admin)
    patient = {"lease_seconds": "90", "renew_deadline_seconds": "80"}
    with start(sandbox, tmp_path / "log", sweep_seconds="3600", **patient) as operator:
        operator.is_ready_as("leading")
        sandbox.apiserver.kill()
        time.sleep(2)
        sandbox.apiserver.start()
        admin("create", "-f", "-", stdin=incident("after-restart"))
        operator.hears(reconcile="after-restart")
        operator.is_ready_as("leading")


@pytest.mark.long
def test_an_outage_longer_than_the_renew_deadline_ends_the_leader(
    sandbox: Sandbox, admin: User, tmp_path: Path
) -> None:
    install_crds(admin)
    quick = {"lease_seconds": "10", "renew_deadline_seconds": "8", "retry_seconds": "0.5"}
    with start(sandbox, tmp_path / "log", **quick) as operator:
        operator.is_ready_as("leading")
        sandbox.apiserver.stop()
        try:
            assert operator.wait() == 1
        finally:
            sandbox.apiserver.start()
        assert "leadership lost" in operator.logged
    with start(sandbox, tmp_path / "next", **quick) as successor:
        successor.is_ready_as("leading")


def test_a_crd_that_is_deleted_ends_the_process_instead_of_leaving_it_blind(
    sandbox: Sandbox, admin: User, tmp_path: Path
) -> None:
    install_crds(admin)
    with start(sandbox, tmp_path / "log") as operator:
        operator.is_ready_as("leading")
        admin("delete", "crd", "aiincidents.stanch.dev")
        assert operator.wait(timeout=90) == 1
