"""Two operator processes and one Lease on a real API server: at no time do both write."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.integration.shell_process import PATIENCE, OperatorProcess
from tests.integration.test_crds import incident

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Protocol

    from tests.installation import Installed

    class Start(Protocol):
        def __call__(self, identity: str, slow: float = 0.0, /, **settings: str) -> OperatorProcess: ...


QUICK = {"lease_seconds": "8", "renew_deadline_seconds": "6", "retry_seconds": "0.25"}
PATIENT = {"lease_seconds": "180", "renew_deadline_seconds": "120", "retry_seconds": "0.25"}


@pytest.fixture
def namespace(space: str) -> str:
    """On the cluster where Stanch is installed and no other operator runs."""
    return space


@pytest.fixture
def start(stanch_installed: Installed, namespace: str, tmp_path: Path) -> Start:
    stanch_installed.admin("create", "-n", namespace, "-f", "-", stdin=incident("leak"))

    def operator(identity: str, slow: float = 0.0, /, **settings: str) -> OperatorProcess:
        return OperatorProcess(
            stanch_installed.cluster.admin_kubeconfig,
            namespace,
            tmp_path / f"{identity}.log",
            identity=identity,
            write=True,
            slow=slow,
            settings=settings,
        )

    return operator


def versions_written_by(identity: str, installed: Installed, namespace: str) -> list[int]:
    """The resourceVersions of what this process created: the order in which etcd took the writes."""
    listed = installed.admin.get("configmaps", "-n", namespace, "-l", f"writer={identity}")
    return sorted(int(item["metadata"]["resourceVersion"]) for item in listed["items"])


def holder(installed: Installed, namespace: str) -> str:
    lease = installed.admin.get("lease", "stanch", "-n", namespace)
    return str(lease["spec"].get("holderIdentity", ""))


def await_holder(installed: Installed, namespace: str, within: float = PATIENCE) -> str:
    deadline = time.monotonic() + within
    while installed.admin.run("get", "lease", "stanch", "-n", namespace).returncode != 0:
        assert time.monotonic() < deadline, "nobody took the lease"
        time.sleep(0.05)
    return holder(installed, namespace)


def test_when_the_leader_is_killed_another_takes_over(
    start: Start, stanch_installed: Installed, namespace: str
) -> None:
    with start("one", **QUICK) as one:
        one.hears(wrote="leak")
        with start("two", **QUICK) as two:
            two.is_ready_as("standby: one leads")
            one.signal(signal.SIGKILL)
            one.wait()
            two.hears(wrote="leak")
            two.is_ready_as("leading")
    assert max(versions_written_by("one", stanch_installed, namespace)) < min(
        versions_written_by("two", stanch_installed, namespace)
    )


def test_of_two_that_start_together_only_one_writes(
    start: Start, stanch_installed: Installed, namespace: str
) -> None:
    with start("one", **PATIENT) as one, start("two", **PATIENT) as two:
        for operator in (one, two):
            operator.waits_for_log("probes and metrics are served")
        leader = {"one": one, "two": two}[await_holder(stanch_installed, namespace)]
        for _ in range(10):
            leader.hears(wrote="leak")
    written = {name for name in ("one", "two") if versions_written_by(name, stanch_installed, namespace)}
    assert written == {leader.identity}


@pytest.mark.long
def test_a_leader_that_was_stopped_wakes_up_and_ends_without_a_write(
    start: Start, stanch_installed: Installed, namespace: str
) -> None:
    """Stopped while it thinks about its next write, which it would make as soon as it wakes.

    What is on its way already may still arrive: for that every write names the version it was decided on.
    """
    with start("one", 1.0, **QUICK) as one:
        one.hears(wrote="leak")
        with start("two", **QUICK) as two:
            two.is_ready_as("standby: one leads")
            one.said_since()  # what it said before is not news
            one.hears(reconcile="leak")
            one.signal(signal.SIGSTOP)
            two.hears(wrote="leak")
            before = versions_written_by("one", stanch_installed, namespace)
            one.signal(signal.SIGCONT)
            assert one.wait() == 1
            two.hears(wrote="leak")
            assert "leadership lost" in one.logged
            assert versions_written_by("one", stanch_installed, namespace) == before
            assert max(before) < min(versions_written_by("two", stanch_installed, namespace))
            assert holder(stanch_installed, namespace) == "two"


def test_a_clean_stop_hands_over_without_waiting_for_the_lease(
    start: Start, stanch_installed: Installed, namespace: str
) -> None:
    with start("one", **PATIENT) as one:
        one.hears(wrote="leak")
        with start("two", **PATIENT) as two:
            two.is_ready_as("standby: one leads")
            one.signal(signal.SIGTERM)
            assert one.wait() == 0
            two.hears(wrote="leak")  # long before the lease would have expired
    assert max(versions_written_by("one", stanch_installed, namespace)) < min(
        versions_written_by("two", stanch_installed, namespace)
    )


def test_a_standby_ends_at_once_when_asked_and_leaves_the_lease_alone(
    start: Start, stanch_installed: Installed, namespace: str
) -> None:
    with start("one", **PATIENT) as one:
        one.hears(wrote="leak")
        with start("two", **PATIENT) as two:
            two.is_ready_as("standby: one leads")
            two.signal(signal.SIGTERM)
            assert two.wait() == 0
        assert holder(stanch_installed, namespace) == "one"
        one.hears(wrote="leak")


def test_a_leader_whose_lease_is_deleted_or_stolen_ends(
    start: Start, stanch_installed: Installed, namespace: str
) -> None:
    with start("one", **QUICK) as one:
        one.hears(wrote="leak")
        stanch_installed.admin("delete", "lease", "stanch", "-n", namespace)
        assert one.wait() == 1
        assert "the Lease object was deleted" in one.logged
    with start("two", **QUICK) as two:
        two.hears(wrote="leak")
        stolen = json.dumps({"spec": {"holderIdentity": "thief"}})
        stanch_installed.admin("patch", "lease", "stanch", "-n", namespace, "--type=merge", "-p", stolen)
        assert two.wait() == 1
        assert "taken by thief" in two.logged
