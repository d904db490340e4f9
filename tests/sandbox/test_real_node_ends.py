"""A real node ends with its sandbox: no process, link, mount or cgroup of it stays, however its user went."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox import Sandbox, SandboxError, versions
from sandbox.node import cgroups, programs, remains
from sandbox.node.availability import real_node_available
from sandbox.process import Identity, read_identity
from tests.cluster import kubectl_of
from tests.real_node import RealSpace

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]

USER = """
import sys, time
from pathlib import Path
from sandbox import Sandbox, SandboxError, versions
Sandbox.start(Path(sys.argv[1]), real_node=True)
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Of a sandbox started by another process; whatever a failed test left in it is ended."""
    available = real_node_available()
    if not available:
        pytest.skip(available.reason)
    yield tmp_path
    left = Sandbox.attach(tmp_path)
    if left is not None:
        left.remove()


@pytest.fixture
def user(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the sandbox in `directory`, which is up."""
    command = [sys.executable, "-c", USER, str(directory)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    with process:
        yield process
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def space_of(directory: Path) -> RealSpace:
    sandbox = Sandbox.attach(directory)
    assert sandbox is not None
    return RealSpace(sandbox, kubectl_of(sandbox, directory), "default")


def identity(pid: int) -> Identity:
    found = Identity.of(pid)
    assert found is not None, f"process {pid} has ended already"
    return found


def of_the_node(space: RealSpace) -> list[Identity]:
    """Every process in the node's PID namespace, and those below them in namespaces of their own: pods."""
    own = Path(f"/proc/{space.node.init}/ns/pid").readlink()
    parents, found = {}, set()
    for process in Path("/proc").glob("[0-9]*"):
        pid = int(process.name)
        try:
            parents[pid] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if (process / "ns/pid").readlink() == own:
                found.add(pid)
        except OSError:  # it has ended, or the machine does not let us look
            continue
    while below := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= below
    return [one for pid in sorted(found) if (one := Identity.of(pid)) is not None]


def wait(look: object, seconds: float = 60.0) -> None:
    assert callable(look)
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def links() -> set[str]:
    said = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    return {line.split("@")[0] for line in said.splitlines() if line.startswith("stanch")}


def test_when_its_user_is_killed_nothing_of_the_node_stays(
    directory: Path, user: subprocess.Popen[str]
) -> None:
    space = space_of(directory)
    [pod] = space.run(space.model_server("chat", environment={"IGNORE_SIGTERM": "1"}))
    assert space.processes(pod)
    processes = of_the_node(space)
    assert len(processes) >= 8, "init, containerd, kubelet, kube-proxy, enforcer, a shim, pause, the server"
    link, machine = f"stanch{space.node.init}", space.node.machine.identity
    assert link in links()
    assert machine in cgroups.machines().values()

    end(user)
    wait(lambda: not any(process.alive() for process in processes))
    wait(lambda: link not in links())
    wait(lambda: machine not in cgroups.machines().values())
    wait(lambda: not (directory / "node").exists())


@pytest.mark.long
def test_what_a_crash_leaves_is_swept_by_the_next_run_and_what_is_used_is_not(
    directory: Path, user: subprocess.Popen[str]
) -> None:
    space = space_of(directory)
    processes = of_the_node(space)
    machine = space.node.machine.identity
    remains.sweep()
    assert all(process.alive() for process in processes), "somebody uses it"

    [reaper] = [one for one in reapers(directory) if one.alive()]
    reaper.send(signal.SIGKILL)
    wait(lambda: not reaper.alive())
    end(user)
    remains.sweep()
    wait(lambda: not any(process.alive() for process in processes))
    assert machine not in cgroups.machines().values()
    parts = [read_identity(file) for file in (directory / "run").glob("*.pid")]
    assert [part for part in parts if part is not None and part.alive()] == []


def reapers(directory: Path) -> list[Identity]:
    """The process that ends the sandbox in `directory`, by its command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(directory).encode() in command and any(part.endswith(b"reaper.py") for part in command):
            found.append(identity(int(process.name)))
    return found


@pytest.mark.long
def test_a_kubelet_that_was_killed_comes_back_to_the_same_containers_and_a_node_rebooted_to_new_ones(
    directory: Path,
) -> None:
    with Sandbox.start(directory, nodes=1, real_node=True) as sandbox:
        space = RealSpace(sandbox, kubectl_of(sandbox, directory), "default")
        [pod] = space.run(space.model_server("chat"))
        before = space.processes(pod)
        space.node.kubelet.kill()
        assert space.processes(pod) == before, "containers do not depend on the kubelet"
        space.node.kubelet.start()
        space("rollout", "status", "deployment/chat", "--timeout=60s")
        assert space.processes(pod) == before
        sandbox.stop()
        wait(lambda: not space.processes(pod))

        again = Sandbox.start(directory)
        try:
            back = RealSpace(again, space.kubectl, "default")
            wait(lambda: any(back.processes(one) for one in back.pods("app=chat")))
        finally:
            again.stop()


@pytest.fixture
def asked_anew() -> Iterator[None]:
    real_node_available.cache_clear()
    yield
    real_node_available.cache_clear()


@pytest.mark.usefixtures("asked_anew")
def test_who_is_not_root_is_told_that_a_real_node_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.node.availability.os.geteuid", lambda: 1000)
    monkeypatch.setattr("sandbox.node.availability.sys.platform", "linux")
    assert real_node_available().reason == "a real node needs root: run as root, or use a virtual machine"


@pytest.mark.usefixtures("asked_anew")
def test_missing_packages_are_named_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sandbox.node.availability.os.geteuid", lambda: 0)
    monkeypatch.setattr("sandbox.node.availability.sys.platform", "linux")
    monkeypatch.setattr(
        "sandbox.node.availability.shutil.which", lambda name: None if name == "ctr" else f"/bin/{name}"
    )
    monkeypatch.setattr("sandbox.node.availability.plugin_directory", lambda: None)
    assert real_node_available().reason == (
        "a real node needs the Debian packages containerd containernetworking-plugins: "
        "`make node` installs them"
    )


@pytest.mark.usefixtures("asked_anew")
def test_a_kernel_that_refuses_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.node.availability.os.geteuid", lambda: 0)
    monkeypatch.setattr("sandbox.node.availability.sys.platform", "linux")
    monkeypatch.setattr("sandbox.node.availability._missing_packages", list)
    monkeypatch.setattr("sandbox.node.availability.os.access", lambda *_: True)
    refusal = subprocess.CompletedProcess([], 1, "", "unshare: unshare failed: Operation not permitted\n")
    monkeypatch.setattr("sandbox.node.availability.subprocess.run", lambda *_, **__: refusal)
    assert real_node_available().reason.endswith("unshare: unshare failed: Operation not permitted")


def test_an_unknown_kind_of_node_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_NODE", "reel")
    with pytest.raises(SandboxError, match=r"SANDBOX_NODE is 'reel': set it to `real`"):
        Sandbox.start(tmp_path)


def test_the_node_and_the_control_plane_are_made_of_the_same_modules() -> None:
    control_plane, node = (_required(module) for module in (versions.MODULE_DIRECTORY, programs.NODE_MODULE))
    both = control_plane.keys() & node.keys()
    assert "k8s.io/kubernetes" in both
    different = {module: (control_plane[module], node[module]) for module in both}
    assert {module: pair for module, pair in different.items() if pair[0] != pair[1]} == {}


def _required(module: Path) -> dict[str, str]:
    text = (module / "go.mod").read_text()
    return dict(re.findall(r"^\t(\S+) (v\S+)(?: // indirect)?$", text, re.MULTILINE))
