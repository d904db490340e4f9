"""The operator's shell on a real API server: what happens reaches the engine, what fails ends the process."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.installation import User, hold
from tests.integration.shell_process import OperatorProcess
from tests.integration.test_crds import incident

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster import Cluster
    from tests.installation import Installed

HELD = "stanch.dev/held=true"


@pytest.fixture
def namespace(space: str) -> str:
    """On the cluster where Stanch is installed and no other operator runs."""
    return space


@pytest.fixture
def operator(stanch_installed: Installed, namespace: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    kubeconfig = stanch_installed.cluster.admin_kubeconfig
    events_alone = {"sweep_seconds": "3600"}
    with OperatorProcess(kubeconfig, namespace, tmp_path / "operator.log", settings=events_alone) as running:
        running.is_ready_as("leading")
        yield running


def make_deployment(user: User, namespace: str, name: str) -> None:
    user("create", "deployment", name, "--image=none", "--replicas=0", "-n", namespace)


def test_an_incident_that_is_created_changed_or_deleted_is_looked_at(
    operator: OperatorProcess, stanch_installed: Installed, namespace: str
) -> None:
    admin = stanch_installed.admin
    admin("create", "-n", namespace, "-f", "-", stdin=incident("leak"))
    operator.hears(reconcile="leak")
    admin("annotate", "aiincident", "leak", "a=b", "-n", namespace)
    operator.hears(reconcile="leak")
    admin("delete", "aiincident", "leak", "-n", namespace)
    operator.hears(reconcile="leak")


def test_of_all_workloads_only_held_ones_are_watched_and_losing_the_label_is_seen(
    operator: OperatorProcess, stanch_installed: Installed, namespace: str
) -> None:
    admin = stanch_installed.admin
    make_deployment(admin, namespace, "free")
    make_deployment(admin, namespace, "held")
    admin("label", "deployment", "held", HELD, "-n", namespace)
    assert operator.hears_any("workload") == "apps/deployments/held"
    admin("annotate", "deployment", "held", "a=b", "-n", namespace)
    assert operator.hears_any("workload") == "apps/deployments/held"
    admin("label", "deployment", "held", "stanch.dev/held-", "-n", namespace)
    assert operator.hears_any("workload") == "apps/deployments/held"
    admin("annotate", "deployment", "free", "a=b", "-n", namespace)
    admin("create", "-n", namespace, "-f", "-", stdin=incident("marker"))
    assert operator.hears_any("reconcile") == "marker"
    assert not any(said.get("workload", "").endswith("/free") for said in operator.said_since())


def test_a_changed_hold_concerns_the_incidents_it_names(
    operator: OperatorProcess, stanch_installed: Installed, namespace: str
) -> None:
    hold(stanch_installed, namespace, "Stopped apps/deployments/llm", incidents=("first", "second"))
    heard: set[str] = set()
    while heard < {"first", "second"}:
        heard.add(operator.hears_any("reconcile"))
    assert heard == {"first", "second"}


def test_the_leader_reports_itself_to_probes_and_prometheus(operator: OperatorProcess) -> None:
    assert operator.get("/healthz") == (200, "ok\n")
    status, metrics = operator.get("/metrics")
    assert status == 200
    assert "stanch_leader 1.0" in metrics
    listed = 'stanch_api_requests_total{code="200",resource="stanch.dev/aiincidents",verb="list"}'
    assert listed in metrics
    assert operator.get("/elsewhere")[0] == 404


def test_asked_to_stop_it_finishes_what_it_does_and_gives_the_lease_back(
    stanch_installed: Installed, namespace: str, tmp_path: Path
) -> None:
    kubeconfig = stanch_installed.cluster.admin_kubeconfig
    stanch_installed.admin("create", "-n", namespace, "-f", "-", stdin=incident("leak"))
    with OperatorProcess(kubeconfig, namespace, tmp_path / "log", write=True, slow=3.0) as operator:
        operator.hears(reconcile="leak")
        operator.signal(signal.SIGTERM)
        operator.hears(wrote="leak")
        assert operator.wait() == 0
        assert "was never" not in operator.logged
        assert "Traceback" not in operator.logged
    lease = stanch_installed.admin.get("lease", "stanch", "-n", namespace)
    assert lease["spec"].get("holderIdentity", "") == ""


def test_work_that_does_not_end_in_time_is_cut_off(
    stanch_installed: Installed, namespace: str, tmp_path: Path
) -> None:
    kubeconfig = stanch_installed.cluster.admin_kubeconfig
    stanch_installed.admin("create", "-n", namespace, "-f", "-", stdin=incident("leak"))
    with OperatorProcess(
        kubeconfig, namespace, tmp_path / "log", write=True, slow=600, settings={"shutdown_seconds": "1"}
    ) as operator:
        operator.hears(reconcile="leak")
        operator.signal(signal.SIGTERM)
        assert operator.wait() == 0
        assert "cut off" in operator.logged


def test_json_logs_are_one_object_a_line_whoever_wrote_them(
    operator: OperatorProcess, stanch_installed: Installed, namespace: str
) -> None:
    stanch_installed.admin("create", "-n", namespace, "-f", "-", stdin=incident("leak"))
    operator.hears(reconcile="leak")
    whole_lines, _, _ = operator.logged.rpartition("\n")
    lines = [json.loads(line) for line in whole_lines.splitlines()]
    assert {"event", "level", "logger", "timestamp"} <= set.intersection(*(set(line) for line in lines))
    assert any(line["logger"].startswith("kopf") for line in lines)
    assert any(line["event"] == "leading" for line in lines)


def test_the_operator_runs_with_the_rights_it_is_given(cluster: Cluster, stanch_installed: Installed) -> None:
    """The watches of the shell need no right that manifests/rbac does not grant."""
    operator = stanch_installed.operator
    for resource in ("aiincidents.stanch.dev", "containmentholds.stanch.dev", "deployments.apps"):
        for verb in ("list", "watch"):
            said = operator.run("auth", "can-i", verb, resource, "--all-namespaces")
            assert said.stdout.strip() == "yes", f"{verb} {resource}: {said}"
    for verb, resource in (("get", "secrets"), ("watch", "customresourcedefinitions.apiextensions.k8s.io")):
        assert operator.run("auth", "can-i", verb, resource, "--all-namespaces").stdout.strip() == "no"
