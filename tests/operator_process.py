"""The operator as its own process under its own account, and what people do with kubectl around it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.cluster import Cluster, Kubectl

ROOT = Path(__file__).resolve().parents[1]
WITHIN = 60.0  # seconds; what is waited for takes milliseconds on an idle machine
_POLL = 0.1  # seconds
_TAIL = 60  # lines of the operator's log
_SHORT = {
    "retry-seconds": "0.5",
    "sweep-seconds": "2",
    "rejudge-seconds": "1",
    "canary-seconds": "2",
    "policy-seconds": "2",
    "drill-seconds": "1",
}
Json = dict[str, Any]


def eventually(
    look: Callable[[], bool], what: str, within: float = WITHIN, seen: Callable[[], str] = str
) -> None:
    """Look until it is so. `seen` is asked, when it never is, for what was there instead."""
    deadline = time.monotonic() + within
    while not look():
        assert time.monotonic() < deadline, f"not within {within:.0f} s: {what}\n{seen()}"
        time.sleep(_POLL)


@dataclass
class OperatorProcess:
    """`stanch run` with short timings and ports of its own choice. What it logs is kept in `log`.

    Killed and started again, it finds the lease its own: waiting for a lease is a story of test_leader.py.
    """

    kubeconfig: Path
    log: Path
    flags: dict[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    _identity: str = field(default_factory=lambda: f"test-{secrets.token_hex(4)}")
    _process: subprocess.Popen[bytes] | None = None
    _begin: int = 0

    def start(self) -> None:
        assert self._process is None, "it runs already"
        own = {"kubeconfig": str(self.kubeconfig), "identity": self._identity}
        flags = {**_SHORT, **own, "http-host": "127.0.0.1", "http-port": "0"}
        command = [sys.executable, "-m", "stanch", "run"]
        command += [f"--{name}={value}" for name, value in {**flags, **self.flags}.items()]
        self._begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment, "PYTHONPATH": str(ROOT / "operator")},
            )

    def wait_ready(self) -> None:
        """Until it leads, watches, and has seen its hold deny (another one may lead on a shared cluster)."""
        try:
            eventually(self._ready, "the operator is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from error

    def kill(self) -> None:
        """SIGKILL: nothing is said, nothing is released."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: the lease is released."""
        assert self._end(signal.SIGTERM) == 0, f"the operator did not end well\n{self.tail()}"

    def pause(self) -> None:
        """SIGSTOP: as a machine that is suspended, or out of processor time."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def ends(self, within: float = WITHIN) -> int:
        """The exit code of an operator that ends by itself."""
        assert self._process is not None, "it does not run"
        process, self._process = self._process, None
        return process.wait(timeout=within)

    @property
    def identity(self) -> str:
        """How the Lease, and the user agent in the audit log, name it."""
        return self._identity

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def most_memory_mib(self) -> float:
        """The largest resident set that this process has had so far."""
        assert self._process is not None, "it does not run"
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        (size,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(size) / 1024

    @property
    def port(self) -> int:
        """Of probes and metrics."""
        port = self._port()
        assert port is not None, "it does not say where it listens"
        return port

    def metric(self, name: str) -> float | None:
        """The value of a metric without labels; None while it cannot be read."""
        lines = (self._ask("/metrics") or "").splitlines()
        return next((float(line.split()[1]) for line in lines if line.startswith(f"{name} ")), None)

    def metrics(self) -> str | None:
        """All of them, as Prometheus reads them; None while they cannot be read."""
        return self._ask("/metrics")

    def tail(self) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-_TAIL:])

    def _end(self, number: signal.Signals) -> int:
        self._signal(number)
        return self.ends()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)

    def _ready(self) -> bool:
        assert self.running, f"the operator ended by itself\n{self.tail()}"
        standing = self._ask("/readyz")
        if standing is None:
            return False
        return standing.startswith("standby") or self.metric("stanch_hold_proven") == 1

    def _ask(self, path: str) -> str | None:
        port = self._port()
        if port is None:
            return None
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                body: bytes = answer.read()
        except (URLError, OSError):
            return None
        return body.decode()

    def _port(self) -> int | None:
        """The port it says it listens on, in the log of this run."""
        with self.log.open("rb") as log:
            log.seek(self._begin)
            for line in log:
                if b"probes and metrics are served" in line and line.endswith(b"\n"):
                    return int(json.loads(line)["port"])
        return None


@dataclass(frozen=True)
class Space:
    """A namespace of one test and an administrator's kubectl in it."""

    name: str
    kubectl: Kubectl
    cluster: Cluster

    def __call__(self, *arguments: str, stdin: Json | None = None, as_: Path | None = None) -> str:
        """What a command that has to succeed printed."""
        text = None if stdin is None else json.dumps(stdin)
        return self.kubectl("-n", self.name, *arguments, stdin=text, as_=as_, check=True).stdout

    def refused(self, *arguments: str, stdin: Json | None = None, as_: Path | None = None) -> str:
        """What a command that must not succeed was told."""
        text = None if stdin is None else json.dumps(stdin)
        said = self.kubectl("-n", self.name, *arguments, stdin=text, as_=as_)
        assert said.returncode != 0, f"kubectl {' '.join(arguments)} went through: {said.stdout}"
        return said.stderr

    def until_denied(self, why: str, *arguments: str) -> str:
        """Try until it is denied for that reason; what was said then."""
        said: list[str] = []

        def denied() -> bool:
            said.append(self.kubectl("-n", self.name, *arguments).stderr)
            return why in said[-1]

        eventually(denied, f"kubectl {' '.join(arguments)} is denied: {why}")
        return said[-1]

    def until_allowed(self, *arguments: str) -> None:
        """Try until it goes through."""

        def allowed() -> bool:
            return self.kubectl("-n", self.name, *arguments).returncode == 0

        eventually(allowed, f"kubectl {' '.join(arguments)} goes through")

    def elsewhere(self, namespace: str) -> Space:
        return Space(namespace, self.kubectl, self.cluster)

    def get(self, *what: str) -> Json:
        answer: Json = json.loads(self("get", *what, "-o", "json"))
        return answer

    def create(self, manifest: Json) -> None:
        self("create", "-f", "-", stdin=manifest)

    def running(self, kind: str, name: str, pods: int) -> None:
        """Wait until all pods of the workload are ready."""
        path = "{.status.numberReady}" if kind == "DaemonSet" else "{.status.readyReplicas}"
        self.wait(f"{kind}/{name}", path, str(pods))

    def wait(self, what: str, path: str, value: str, within: float = WITHIN) -> None:
        said = self.kubectl(
            "-n", self.name, "wait", what, f"--for=jsonpath={path}={value}", f"--timeout={within}s"
        )
        assert said.returncode == 0, (
            f"{what} {path} is not {value} within {within:.0f} s: {said.stderr}\n"
            f"{self.kubectl('-n', self.name, 'get', what, '-o', 'yaml').stdout}"
        )

    def incident(self, name: str, *targets: str, **spec: Any) -> None:
        """Create an AIIncident; targets are `Kind/name`."""
        base = {
            "title": "Toxic output above policy threshold",
            "category": "OutputPolicyViolation",
            "severity": "Critical",
            "targets": [
                {
                    "apiVersion": "batch/v1" if kind in {"Job", "CronJob"} else "apps/v1",
                    "kind": kind,
                    "name": target,
                }
                for kind, _, target in (each.partition("/") for each in targets)
            ],
        }
        manifest = {
            "apiVersion": "stanch.dev/v1alpha1",
            "kind": "AIIncident",
            "metadata": {"name": name},
            "spec": base | spec,
        }
        self.create(manifest)

    def wait_phase(self, name: str, phase: str, within: float = WITHIN) -> Json:
        """The incident's status in that phase."""
        self.wait(f"aii/{name}", "{.status.phase}", phase, within)
        return self.status(name)

    def wait_condition(self, name: str, type_: str, reason: str, within: float = WITHIN) -> Json:
        """That condition of the incident, once it has this reason."""
        path = f'{{.status.conditions[?(@.type=="{type_}")].reason}}'
        self.wait(f"aii/{name}", path, reason, within)
        return condition(self.status(name), type_)

    def wait_held(self, name: str, status: str = "True", within: float = WITHIN) -> Json:
        path = '{.status.conditions[?(@.type=="Held")].status}'
        self.wait(f"aii/{name}", path, status, within)
        return self.status(name)

    def contain(self, name: str, *targets: str, **spec: Any) -> Json:
        self.incident(name, *targets, **spec)
        self.wait_phase(name, "Contained")
        return self.wait_held(name)

    def release(self, name: str) -> Json:
        self.let_go(name)
        return self.wait_phase(name, "Released")

    def let_go(self, name: str) -> None:
        """Ask for the release, without waiting."""
        self("patch", "aii", name, "--type=merge", "-p", '{"spec":{"desiredState":"Released"}}')

    def status(self, name: str) -> Json:
        status: Json = self.get("aii", name).get("status", {})
        return status

    def describe(self, name: str) -> str:
        return self("describe", "aii", name)

    def wait_event(self, reason: str) -> None:
        """Events are written after the status, when there is time."""

        def told() -> bool:
            return reason in {event["reason"] for event in self.get("events")["items"]}

        eventually(told, f"an Event says {reason}")

    def gone(self, what: str) -> None:
        self("wait", what, "--for=delete", f"--timeout={WITHIN}s")

    def pods(self) -> list[Json]:
        items: list[Json] = self.get("pods")["items"]
        return items

    def user(self, name: str) -> Path:
        """A colleague who may do everything; names tell people apart."""
        return self.cluster.kubeconfig_for_user(name, ["system:masters"])


def condition(status: Json, type_: str) -> Json:
    return next(each for each in status["conditions"] if each["type"] == type_)


def shape(obj: Json) -> str:
    """What has to come back byte by byte: spec and labels."""
    return json.dumps({"spec": obj["spec"], "labels": obj["metadata"].get("labels")}, sort_keys=True)


def workload(kind: str, name: str, replicas: int | None = 3, **spec: Any) -> Json:
    """A model server. `pod` adds to its pod spec, `annotations` to its pods (sandbox/config/kwok.yaml)."""
    labels = {"app": name}
    pod = {"containers": [{"name": "server", "image": "registry.example.test/llm:2.4.0"}]}
    template = {
        "metadata": {"labels": labels, "annotations": spec.pop("annotations", {})},
        "spec": pod | spec.pop("pod", {}),
    }
    base: Json = {"selector": {"matchLabels": labels}, "template": template}
    if kind != "DaemonSet":
        base["replicas"] = replicas
    if kind == "StatefulSet":
        base["serviceName"] = name
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": spec.pop("labels", {"team": "chat"})},
        "spec": base | spec,
    }


def autoscaler(name: str, kind: str = "Deployment", **spec: Any) -> Json:
    base = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": name},
        "minReplicas": 2,
        "maxReplicas": 10,
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": base | spec,
    }


def install(kubectl: Kubectl) -> None:
    """As the README says for an operator outside the cluster. Safe to repeat."""
    kubectl("apply", "-k", str(ROOT / "manifests" / "out-of-cluster"), check=True)


@contextmanager
def running(
    cluster: Cluster, log: Path, environment: Mapping[str, str] | None = None, **flags: str
) -> Iterator[OperatorProcess]:
    """The operator on a cluster where Stanch is installed, with flags such as `receiver_port`."""
    kubeconfig = cluster.kubeconfig_for_service_account("stanch-system", "stanch")
    process = OperatorProcess(
        kubeconfig, log, {name.replace("_", "-"): value for name, value in flags.items()}, environment or {}
    )
    process.start()
    try:
        process.wait_ready()
        yield process
    finally:
        if process.running:
            process.stop()


@contextmanager
def fresh_space(cluster: Cluster, kubectl: Kubectl, operator: OperatorProcess) -> Iterator[Space]:
    """A namespace, gone afterwards with all in it. The log's end is printed: pytest shows it on failure."""
    space = Space(f"chat-{secrets.token_hex(4)}", kubectl, cluster)
    kubectl("create", "namespace", space.name, check=True)
    yield space
    print(operator.tail())  # noqa: T201 - captured by pytest
    kubectl("-n", space.name, "delete", "aii", "--all", "--wait=false")
    kubectl("delete", "namespace", space.name, "--wait=false", check=True)


@pytest.fixture(scope="module")
def operator(
    cluster: Cluster,
    kubectl: Kubectl,
    once: Callable[[str, Callable[[], None]], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OperatorProcess]:
    """Stanch installed on the run's cluster, and an operator for this module."""
    once("operator-installed", lambda: install(kubectl))
    with running(cluster, tmp_path_factory.mktemp("operator") / "operator.log") as process:
        yield process


@pytest.fixture
def workspace(cluster: Cluster, kubectl: Kubectl, operator: OperatorProcess) -> Iterator[Space]:
    """A fresh namespace on the run's cluster, with the operator watching."""
    with fresh_space(cluster, kubectl, operator) as fresh:
        yield fresh
