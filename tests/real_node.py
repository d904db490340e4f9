"""A cluster with a real node, and what tests do on it: a pytest plugin named in conftest.py.

Fixtures:
  `real_cluster`   the Sandbox, one for the run: KWOK's nodes and `real-0`. Where none can run, tests that ask
                   for it are skipped and say why; nothing else skips them.
  `real_kubectl`   kubectl for it, as its administrator.
  `real_space`     a `RealSpace`: a fresh namespace there, deleted afterwards.

`RealSpace(cluster, kubectl, namespace)` serves any namespace of a sandbox with a real node:
  `model_server(name, …)`  a Deployment's manifest, to change before it is applied; GOOD and BAD are its
                           images (BAD is model version `bad` and always toxic)
  `run(manifest)`          apply it and wait for its pods: `Pod`s (name, address, container and image id)
  `pods(selector)`         the pods as they are now
  `call(pod, url)`         one request from within the pod's namespaces, to another pod, a Service or the API
                           server (with `token`, as the pod's ServiceAccount): `Called`
  `reaches(pod, other)`    whether a new connection to the other's model server is answered
  `stream(pod, url)`       a context with an open streamed answer: `Stream`; `wait_end` says when it was cut
  `processes(pod)`         ids, on this machine, of the container's processes; empty when the last is gone
  `log(pod)`               what its container said, by the API; `follow(pod, file)` to its end
  `seconds_until(look)`    how long it took until `look()` was true
Pods reach the node real-0 only by `nodeSelector` and toleration `stanch.dev/node=real` (`ON_NODE`).

The environment that makes a model server misbehave (sandbox/modelserver): TOXIC (share of answers, 0 to 1),
SLOW (seconds), STREAM_SECONDS, IGNORE_SIGTERM=1, MODEL_NAME, MODEL_VERSION. Its answers carry the version as
`system_fingerprint`, toxic ones begin with TOXIC.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import Sandbox
from sandbox.node import cgroups
from sandbox.node.availability import real_node_available
from sandbox.node.network import LABEL
from sandbox.node.node import BAD, GOOD, MODEL_SERVER, RealNode
from tests.cluster import kubectl_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.cluster import Kubectl

__all__ = ["BAD", "GOOD", "MODEL_SERVER", "ON_NODE", "PORT", "Called", "Pod", "RealSpace", "Stream"]

PORT = 8000
CHAT = "/v1/chat/completions"
ON_NODE: Mapping[str, Any] = {
    "nodeSelector": {LABEL[0]: LABEL[1]},
    "tolerations": [{"key": LABEL[0], "operator": "Equal", "value": LABEL[1], "effect": "NoSchedule"}],
}
PATIENCE = 60.0  # seconds; a busy machine of two cores


@dataclass(frozen=True)
class Pod:
    name: str
    uid: str
    address: str
    container_id: str
    image_id: str

    @property
    def url(self) -> str:
        return f"http://{self.address}:{PORT}"


@dataclass(frozen=True)
class Called:
    """`code`: 0 for an answer below 400, 1 for another answer, 2 for none or half of one."""

    code: int
    out: str
    err: str

    @property
    def answered(self) -> bool:
        return self.code == 0

    @property
    def version(self) -> str:
        """The model version that a chat completion came from."""
        return str(json.loads(self.out)["system_fingerprint"])


@dataclass(frozen=True)
class Stream:
    """A streamed answer that is being read by a process in a pod's network namespace."""

    process: subprocess.Popen[str]
    output: Path

    @property
    def pieces(self) -> int:
        return self.output.read_text().count("data: ")

    @property
    def whole(self) -> bool:
        return "data: [DONE]" in self.output.read_text()

    @property
    def open(self) -> bool:
        return self.process.poll() is None

    def grows(self, within: float = 3.0) -> bool:
        """Whether another piece arrives, so that traffic flows on the open connection."""
        before = self.pieces
        deadline = time.monotonic() + within
        while self.pieces == before and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.pieces > before

    def wait_end(self, within: float = PATIENCE) -> float:
        """Seconds from now until the connection ended."""
        began = time.monotonic()
        self.process.wait(timeout=within)
        return time.monotonic() - began


@dataclass(frozen=True)
class RealSpace:
    """A namespace of a cluster with a real node."""

    cluster: Sandbox
    kubectl: Kubectl
    namespace: str

    @property
    def node(self) -> RealNode:
        node = self.cluster.node
        assert node is not None, "this sandbox has no real node: Sandbox.start(real_node=True)"
        return node

    def __call__(self, *arguments: str, stdin: object = None) -> str:
        """Kubectl in the namespace, for a command that has to succeed; what it printed."""
        text = None if stdin is None else json.dumps(stdin)
        return self.kubectl(f"--namespace={self.namespace}", *arguments, stdin=text, check=True).stdout

    def model_server(
        self,
        name: str,
        *,
        image: str = GOOD,
        replicas: int = 1,
        environment: Mapping[str, str] | None = None,
        grace: int = 30,
    ) -> dict[str, Any]:
        """A Deployment with pods labelled app=`name`; `grace` is the termination grace period in seconds."""
        container = {
            "name": "server",
            "image": image,
            "ports": [{"name": "http", "containerPort": PORT}],
            "env": [{"name": key, "value": value} for key, value in (environment or {}).items()],
            "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1},
        }
        labels = {"app": name}
        pod = {"containers": [container], "terminationGracePeriodSeconds": grace, **ON_NODE}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }

    def run(self, manifest: Mapping[str, Any]) -> list[Pod]:
        """Apply a workload with pods labelled app=NAME, wait until it is rolled out."""
        name = manifest["metadata"]["name"]
        self("apply", "-f", "-", stdin=manifest)
        self("rollout", "status", f"{manifest['kind'].lower()}/{name}", f"--timeout={PATIENCE:g}s")
        return self.pods(f"app={name}")

    def pods(self, selector: str) -> list[Pod]:
        """Those that have an address and a container, terminating ones too, by name."""
        found = json.loads(self("get", "pods", "--selector", selector, "-o", "json"))["items"]
        pods = []
        for one in found:
            status = one["status"]
            containers = status.get("containerStatuses", [])
            if "podIP" in status and containers and containers[0].get("containerID"):
                first = containers[0]
                pods.append(
                    Pod(
                        one["metadata"]["name"],
                        one["metadata"]["uid"],
                        status["podIP"],
                        first["containerID"],
                        first["imageID"],
                    )
                )
        return sorted(pods, key=lambda pod: pod.name)

    def call(
        self, pod: Pod, url: str, *, body: object = None, timeout: float = 2.0, token: bool = False
    ) -> Called:
        """One request on a new connection, as a process of the pod."""
        said = subprocess.run(
            self._call(pod, url, body, timeout, token=token), capture_output=True, text=True, check=False
        )
        return Called(said.returncode, said.stdout, said.stderr)

    def chat(self, pod: Pod, server: Pod | str, *, timeout: float = 5.0) -> Called:
        """Ask a pod's model server, or the one at a base URL, for a completion."""
        base = server if isinstance(server, str) else server.url
        return self.call(pod, base + CHAT, body={"messages": []}, timeout=timeout)

    def reaches(self, pod: Pod, other: Pod, *, timeout: float = 1.0) -> bool:
        return self.call(pod, f"{other.url}/health", timeout=timeout).answered

    @contextlib.contextmanager
    def stream(self, pod: Pod, server: Pod | str, output: Path) -> Iterator[Stream]:
        """A streamed completion, its first pieces read; `output` is the file that they go to."""
        base = server if isinstance(server, str) else server.url
        command = self._call(pod, base + CHAT, {"messages": [], "stream": True}, 0, token=False)
        with output.open("w") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, text=True)
        stream = Stream(process, output)
        try:
            self.seconds_until(lambda: stream.pieces > 1 or not stream.open)
            assert stream.open, f"no stream: {output.read_text()}"
            yield stream
        finally:
            process.kill()
            process.wait()

    def processes(self, pod: Pod) -> list[int]:
        return cgroups.processes(pod.container_id)

    def log(self, pod: Pod) -> str:
        return self("logs", pod.name)

    def follow(self, pod: Pod, output: Path) -> subprocess.Popen[bytes]:
        """`kubectl logs --follow` into a file: ends with the container, whose last words it has."""
        command = [str(self.cluster.kubectl), f"--namespace={self.namespace}", "logs", "--follow", pod.name]
        environment = {**os.environ, "KUBECONFIG": str(self.cluster.admin_kubeconfig)}
        with output.open("wb") as file:
            process = subprocess.Popen(command, env=environment, stdout=file)
        self.seconds_until(lambda: output.stat().st_size > 0)
        return process

    def seconds_until(self, look: Callable[[], bool], within: float = PATIENCE) -> float:
        """Seconds from now until `look()` is true.

        Raises:
            AssertionError: it was not, `within` seconds later.
        """
        began = time.monotonic()
        while not look():
            assert time.monotonic() - began < within, f"not so after {within:g} s"
            time.sleep(0.02)
        return time.monotonic() - began

    def _call(self, pod: Pod, url: str, body: object, timeout: float, *, token: bool) -> list[str]:
        """In the pod's mount and network namespaces, where the image's program is at /modelserver."""
        processes = self.processes(pod)
        assert processes, f"pod {pod.name} has no process any more"
        enter = ["nsenter", f"--target={processes[0]}", "--mount", "--net", "--", "/modelserver", "call"]
        options = [f"-timeout={timeout}s", *(["-token"] if token else [])]
        return [*enter, *options, *([] if body is None else ["-body", json.dumps(body)]), url]


@pytest.fixture(scope="session")
def real_cluster(run_directory: Path) -> Iterator[Sandbox]:
    available = real_node_available()
    if not available:
        pytest.skip(available.reason)
    sandbox = Sandbox.start(run_directory / "real", real_node=True)
    yield sandbox
    sandbox.leave()
    sandbox.wait_end()


@pytest.fixture(scope="session")
def real_kubectl(real_cluster: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    return kubectl_of(real_cluster, tmp_path_factory.mktemp("kubectl"))


@pytest.fixture
def real_space(real_cluster: Sandbox, real_kubectl: Kubectl) -> Iterator[RealSpace]:
    name = f"real-{secrets.token_hex(5)}"
    real_kubectl("create", "namespace", name, check=True)
    space = RealSpace(real_cluster, real_kubectl, name)
    account = ("get", "serviceaccount", "default", f"--namespace={name}")
    space.seconds_until(lambda: real_kubectl(*account).returncode == 0)
    yield space
    real_kubectl("delete", "namespace", name, "--wait=false", check=True)
