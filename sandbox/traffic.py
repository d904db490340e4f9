"""The demo's model server where a real kubelet runs it, and a request that it is answering meanwhile."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from sandbox.errors import SandboxError
from sandbox.node import cgroups
from sandbox.node.network import LABEL
from sandbox.node.node import BAD

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sandbox.node.node import RealNode

_PORT = 8000
_PATIENCE = 30.0  # seconds
_POLL = 0.02
_PIECE = "data: "  # of a streamed answer, as server-sent events
_ENOUGH = 5  # pieces to be a quotation


def on_real_node(manifest: str) -> str:
    """The sample's objects, its Deployment with an image that exists and a place on the real node."""
    documents = list(yaml.safe_load_all(manifest))
    for document in documents:
        if document["kind"] == "Deployment":
            pod = document["spec"]["template"]["spec"]
            pod["nodeSelector"] = {LABEL[0]: LABEL[1]}
            pod["tolerations"] = [{"key": LABEL[0], "value": LABEL[1], "effect": "NoSchedule"}]
            (server,) = pod["containers"]
            del server["args"]
            server["image"] = BAD
            server["env"] = [{"name": "STREAM_SECONDS", "value": "3600"}]
            server["readinessProbe"] = {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1}
    return yaml.safe_dump_all(documents)


@dataclass(frozen=True)
class Traffic:
    """One streamed answer, read by a process of the node, and the containers that could be giving it."""

    containers: tuple[str, ...]
    server: str
    client: subprocess.Popen[str]
    output: Path

    @classmethod
    def begin(cls, node: RealNode, pods: Sequence[Any], output: Path) -> Traffic:
        """Ask the first of `pods` (as the API has them) for a long answer; returns when it flows.

        Raises:
            SandboxError: it does not.
        """
        statuses = [pod["status"] for pod in pods]
        containers = tuple(status["containerStatuses"][0]["containerID"] for status in statuses)
        server = f"{statuses[0]['podIP']}:{_PORT}"
        body = json.dumps({"messages": [], "stream": True})
        url = f"http://{server}/v1/chat/completions"
        with output.open("w") as file:
            command = node.inside([node.model_server, "call", "-timeout=0s", "-body", body, url])
            client = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, text=True)
        traffic = cls(containers, server, client, output)
        deadline = time.monotonic() + _PATIENCE
        while traffic.pieces <= _ENOUGH:
            if client.poll() is not None or time.monotonic() > deadline:
                raise SandboxError(f"the model server at {server} streams nothing: {output.read_text()}")
            time.sleep(_POLL)
        return traffic

    @property
    def pieces(self) -> int:
        return self.output.read_text().count(_PIECE)

    @property
    def said(self) -> str:
        """The first words of the answer."""
        first = self.output.read_text().split(_PIECE)[1 : _ENOUGH + 1]
        deltas = (json.loads(event)["choices"][0]["delta"] for event in first)
        return "".join(delta["content"] for delta in deltas).strip()

    @property
    def toxic_share(self) -> float:
        """Of the one answer that is being given; toxic ones say so."""
        return 1.0 if "TOXIC" in self.output.read_text() else 0.0

    @property
    def flows(self) -> bool:
        return self.client.poll() is None

    def processes(self) -> list[int]:
        """Ids, on this machine, of the workload's processes."""
        return [process for container in self.containers for process in cgroups.processes(container)]
