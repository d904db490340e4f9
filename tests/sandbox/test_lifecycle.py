"""A sandbox ends with those who use it, and its parts can be stopped, killed and started again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox import Sandbox
from sandbox.errors import StartError
from sandbox.process import Identity, read_identity
from tests.cluster import kubectl_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster import Kubectl, OwnSandbox

ROOT = Path(__file__).parents[2]

USER = """
import sys, time
from pathlib import Path
from sandbox import Sandbox
Sandbox.start(Path(sys.argv[1]))
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def own(own_sandbox: OwnSandbox) -> Sandbox:
    return own_sandbox()


@pytest.fixture
def own_kubectl(own: Sandbox, tmp_path: Path) -> Kubectl:
    return kubectl_of(own, tmp_path)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Of a sandbox started by another process; whatever a failed test left in it is ended."""
    yield tmp_path
    left = Sandbox.attach(tmp_path)
    if left is not None:
        left.stop()


def processes(directory: Path) -> list[Identity]:
    found = [read_identity(file) for file in (directory / "run").glob("*.pid")]
    return [identity for identity in found if identity is not None]


def wait_gone(processes: list[Identity], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while alive := [identity for identity in processes if identity.alive()]:
        assert time.monotonic() < deadline, f"still running: {alive}"
        time.sleep(0.05)


def user_of(directory: Path) -> subprocess.Popen[str]:
    """Another process that uses the sandbox in `directory`; returned when it is up."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(directory)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_an_api_server_that_was_killed_comes_back_at_the_same_address_with_the_same_objects(
    own: Sandbox, own_kubectl: Kubectl
) -> None:
    own_kubectl("create", "configmap", "kept", "--from-literal=a=b", check=True)
    own.apiserver.kill(signal.SIGKILL)
    refused = own_kubectl("get", "configmap", "kept")
    assert refused.returncode != 0
    assert "refused" in refused.stderr

    own.apiserver.start()
    found = own_kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}", check=True)
    assert found.stdout == "b"


def test_a_paused_api_server_answers_nobody_until_it_goes_on(own: Sandbox, own_kubectl: Kubectl) -> None:
    own.apiserver.kill(signal.SIGSTOP)
    silent = own_kubectl("--request-timeout=2s", "get", "--raw=/healthz")
    own.apiserver.kill(signal.SIGCONT)
    assert silent.returncode != 0
    own.apiserver.wait_ready()
    own_kubectl("get", "--raw=/healthz", check=True)


def test_etcd_restarted_loses_nothing(own: Sandbox, own_kubectl: Kubectl) -> None:
    own_kubectl("create", "configmap", "before", check=True)
    own.etcd.restart()
    own.apiserver.wait_ready()
    deadline = time.monotonic() + 60  # the API server finds its connections broken one by one
    while (said := own_kubectl("get", "configmap", "before")).returncode != 0:
        assert time.monotonic() < deadline, said.stderr
    own_kubectl("create", "configmap", "after", check=True)


def test_controllers_stopped_do_nothing_and_started_again_catch_up(
    own: Sandbox, own_kubectl: Kubectl
) -> None:
    own.controller_manager.stop()
    own_kubectl("create", "deployment", "late", "--image=registry.example/model:1", check=True)
    own.controller_manager.start()
    own_kubectl("rollout", "status", "deployment/late", "--timeout=60s", check=True)


def test_it_listens_on_the_loopback_only(own: Sandbox) -> None:
    listening = {}
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, state = row.split()[1], row.split()[3]
            host, port = address.split(":")
            if state == "0A":  # TCP_LISTEN
                listening[int(port, 16)] = host
    ours = [
        own.ports.etcd,
        own.ports.etcd_peer,
        own.ports.apiserver,
        own.ports.controller_manager,
        own.ports.scheduler,
        own.ports.kwok,
    ]
    assert {port: listening[port] for port in ours} == dict.fromkeys(
        ours, "0100007F"
    )  # 127.0.0.1, little endian


def test_it_ends_when_its_user_is_killed(directory: Path) -> None:
    user = user_of(directory)
    parts = processes(directory)
    assert len(parts) == 5
    assert all(part.alive() for part in parts)
    end(user)
    wait_gone(parts)


def test_it_stays_for_the_users_who_are_left(directory: Path) -> None:
    first = user_of(directory)
    parts = processes(directory)
    second = user_of(directory)
    end(first)
    sandbox = Sandbox.attach(directory)
    assert sandbox is not None
    time.sleep(1.5)  # longer than it takes to end
    assert all(part.alive() for part in parts)
    assert sandbox.apiserver.ready()
    end(second)
    wait_gone(parts)


def test_a_part_that_does_not_start_says_why_and_nothing_is_left_running(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"(?s)kube-apiserver ended by itself.*unknown flag: --no-such-flag"):
        Sandbox.start(tmp_path, apiserver_flags=["--no-such-flag=1"])
    sandbox = Sandbox.attach(tmp_path)
    assert sandbox is not None
    assert [part.name for part in sandbox.parts if part.identity is not None] == []


def test_up_leaves_it_running_a_second_up_finds_it_and_down_removes_it(directory: Path) -> None:
    def sandbox(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sandbox", *arguments, "--dir", str(directory)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert sandbox("status").returncode == 1
    first = sandbox("up", "--nodes=1")
    assert first.returncode == 0, first.stderr
    assert str(directory / "kubeconfig") in first.stdout
    parts = processes(directory)

    second = sandbox("up")
    assert second.returncode == 0, second.stderr
    assert processes(directory) == parts
    assert sandbox("status").returncode == 0
    attached = Sandbox.attach(directory)
    assert attached is not None
    kubectl = kubectl_of(attached, directory)
    assert len(json.loads(kubectl("get", "nodes", "-o", "json", check=True).stdout)["items"]) == 1

    attached.scheduler.kill()
    assert sandbox("status").returncode == 1
    assert sandbox("up").returncode == 0
    assert sandbox("status").returncode == 0

    parts = processes(directory)
    assert sandbox("down").returncode == 0
    assert [part for part in parts if part.alive()] == []
    assert not (directory / "kubeconfig").exists()
    assert sandbox("down").returncode == 0
