"""The real node of one sandbox: its parts are processes, started, awaited, stopped as the control plane's."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox import api, kubeconfig, pki
from sandbox.errors import SandboxError, StartError
from sandbox.node import availability, cgroups, config, network, programs, remains
from sandbox.node.images import Image
from sandbox.process import Component

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Address
    from pathlib import Path

_REGISTRY = "sandbox.invalid"  # RFC 2606: no such name is ever found, so nothing is ever pulled
PAUSE = f"{_REGISTRY}/pause:1"
MODEL_SERVER = f"{_REGISTRY}/model-server"
GOOD = f"{MODEL_SERVER}:good"
BAD = f"{MODEL_SERVER}:bad"

_MASTERS = ["system:masters"]
_PATIENCE = 60.0  # seconds
_POLL = 0.05


@dataclass(frozen=True)
class Control:
    """What the node has to know of the control plane: its administrator, its port, its certificates."""

    admin: api.Api
    port: int
    pki: Path


class RealNode:
    """Node `real-0`: labelled and tainted `stanch.dev/node=real`, so that a pod has to ask for it.

    Its processes are in namespaces that end with `machine`: nothing outlives that process but files in the
    sandbox's directory and an empty cgroup, which `remains` removes.
    """

    def __init__(
        self, directory: Path, link: network.Link, built: programs.Programs, control: Control
    ) -> None:
        self.directory = directory / "node"
        self.link = link
        self._built = built
        self._control = control
        self._root = directory
        program = str(built.node)
        self.machine = Component(
            "node-machine", [program, "machine", str(self.directory)], directory, self._is_mounted
        )
        near, far = f"{link.host}:{control.port}", f"127.0.0.1:{control.port}"
        self.relay = Component(
            "node-relay", [program, "relay", near, far], directory, lambda: _connects(link.host, control.port)
        )
        self.containerd = self._inside(
            "containerd", ["containerd", f"--config={config.HERE}/containerd.toml"], self._runtime_answers
        )
        here = config.HERE
        self.kubelet = self._inside(
            "kubelet",
            [
                program, "kubelet", f"--config={here}/kubelet.yaml",
                f"--kubeconfig={here}/kubelet.kubeconfig", f"--root-dir={here}/kubelet",
                f"--cert-dir={here}/kubelet-pki",
                f"--hostname-override={network.NODE_NAME}", f"--node-ip={link.node}",
                f"--node-labels={'='.join(network.LABEL)}",
            ],
            self._is_ready,
        )  # fmt: skip
        self.kube_proxy = self._inside(
            "kube-proxy",
            [program, "kube-proxy", f"--config={here}/kube-proxy.yaml"],
            lambda: api.plain_answers(config.HEALTH_PORT, "/healthz", str(link.node)),
        )
        self.enforcer = self._inside(
            "enforcer",
            [
                program, "enforcer", f"--kubeconfig={here}/enforcer.kubeconfig",
                f"--node={network.NODE_NAME}", f"--pod-cidr={network.POD_CIDR}",
                f"--ready-file={here}/enforcing",
            ],
            (self.directory / "enforcing").exists,
        )  # fmt: skip

    @property
    def parts(self) -> tuple[Component, ...]:
        return (
            self.machine, self.relay, self.containerd, self.kubelet, self.kube_proxy, self.enforcer,
        )  # fmt: skip

    @property
    def init(self) -> int:
        """The first process of the node's namespaces, by its id on this machine: a target for nsenter.

        Raises:
            SandboxError: the node does not run.
        """
        if self.machine.identity is None:
            raise SandboxError(f"the real node of {self._root} does not run: start the sandbox again")
        return int((self.directory / "init.pid").read_text())

    @property
    def model_server(self) -> Path:
        """The program of the image, for use on this machine: `modelserver call URL` within a namespace."""
        return self._built.model_server

    @property
    def apiserver_flags(self) -> dict[str, object]:
        """What the API server needs beside its own to have a kubelet."""
        certificates = self._control.pki
        return {
            "advertise-address": self.link.host,
            "endpoint-reconciler-type": "lease",
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "kubelet-preferred-address-types": "InternalIP",
            "kubelet-certificate-authority": certificates / "ca.crt",
            "kubelet-client-certificate": certificates / "kubelet-client.crt",
            "kubelet-client-key": certificates / "kubelet-client.key",
        }

    def prepare(self) -> None:
        """Certificates, kubeconfigs and configuration of a new node.

        Raises:
            SandboxError: no real node can run here; the message says why.
        """
        plugins = availability.require_real_node()
        own = self.directory
        own.mkdir(parents=True, exist_ok=True)
        authority = pki.Authority.at(self._control.pki, "sandbox")
        authority.client("kubelet-client", "sandbox:apiserver", _MASTERS)
        serving = authority.server("kubelet-server", [network.NODE_NAME], [str(self.link.node)])
        for source in (serving.certificate, serving.key, authority.pair.certificate):
            shutil.copy(source, own / source.name)
        url = f"https://{self.link.host}:{self._control.port}"
        server = kubeconfig.Server(url, authority.pair.certificate)
        for name, user, groups in (
            ("kubelet", f"system:node:{network.NODE_NAME}", ["system:nodes"]),
            ("kube-proxy", "system:kube-proxy", []),
            ("enforcer", "sandbox:enforcer", _MASTERS),
        ):
            pair = authority.client(f"node-{name}", user, groups)
            kubeconfig.with_certificate(own / f"{name}.kubeconfig", server, user, pair)
        (own / "resolv.conf").touch()
        (own / "containerd.toml").write_text(config.containerd(plugins, PAUSE))
        _write(own / "kube-proxy.yaml", config.kube_proxy(self.link.node))
        _write(own / "cni" / "pods.conflist", config.pod_network())

    def launch(self) -> None:
        """Start what does not run; the API server has to answer. Returns when pods can run.

        Raises:
            StartError: a part did not come up; the message ends with its log.
        """
        if self.machine.identity is None:
            self._make_machine()
        self.relay.start()
        if self.containerd.identity is None:
            self.containerd.start()
            self._import_images()
        for part in self.parts:
            part.launch()
        for part in self.parts:
            part.wait_ready()

    def inside(self, command: Sequence[str | Path]) -> list[str]:
        """The command line that runs `command` in the node's namespaces, as a process of the node."""
        entry = f"--target={self.init}"
        return ["nsenter", entry, "--mount", "--pid", "--net", "--ipc", "--uts", "--", *map(str, command)]

    def run(self, command: Sequence[str | Path]) -> str:
        """Run a command on the node, as with ssh; what it printed.

        Raises:
            SandboxError: it failed.
        """
        done = subprocess.run(self.inside(command), capture_output=True, text=True, check=False)
        if done.returncode:
            raise SandboxError(f"{' '.join(map(str, command))} failed on the node: {done.stderr.strip()}")
        return done.stdout

    def import_image(self, archive: Path, repository: str, digest: str) -> None:
        """Have the image of an OCI archive there, as `repository@digest`.

        Raises:
            SandboxError: containerd did not take it.
        """
        place = self.directory / "images" / archive.name
        shutil.copy(archive, place)
        self._ctr("import", f"--base-name={repository}", f"{config.HERE}/images/{archive.name}")
        self._ctr("tag", "--force", f"{repository}:{archive.stem}", f"{repository}@{digest}")

    def _inside(self, name: str, command: list[str], ready: Callable[[], bool]) -> Component:
        """Started by nsenter, which waits for the part; a SIGTERM for both is for the part to answer."""
        script = 'trap "" TERM; exec nsenter --target="$(cat "$0")" --mount --pid --net --ipc --uts -- "$@"'
        init = str(self.directory / "init.pid")
        return Component(name, ["/bin/sh", "-c", script, init, *command], self._root, ready)

    def _make_machine(self) -> None:
        remains.sweep()
        for mark in ("init.pid", "mounted", "enforcing"):
            (self.directory / mark).unlink(missing_ok=True)
        self.machine.start()
        identity = self.machine.identity
        if identity is None:
            raise StartError(f"node-machine ended at once: see {self.machine.log}")
        self.link.connect(self.init)
        cgroup = cgroups.make(identity)
        _write(self.directory / "kubelet.yaml", config.kubelet(self.link.node, cgroup))

    def _is_mounted(self) -> bool:
        return (self.directory / "mounted").exists()

    def _runtime_answers(self) -> bool:
        """Whether containerd listens, seen through its mount namespace."""
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(f"/proc/{self.init}/root{config.SOCKET}")
            except OSError:
                return False
            return True

    def _import_images(self) -> None:
        images = {
            "pause": Image(PAUSE, self._built.pause),
            "good": Image(GOOD, self._built.model_server, {"MODEL_VERSION": "good"}),
            "bad": Image(BAD, self._built.model_server, {"MODEL_VERSION": "bad", "TOXIC": "1"}),
        }
        for name, image in images.items():
            digest = image.write(self.directory / "images" / f"{name}.tar")
            self._ctr("import", f"{config.HERE}/images/{name}.tar")
            # The name a registry's client would have given it: what the pod's status calls imageID.
            repository = image.name.rpartition(":")[0]
            self._ctr("tag", "--force", image.name, f"{repository}@{digest}")

    def _ctr(self, *arguments: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self.run(["ctr", f"--address={config.SOCKET}", "--namespace=k8s.io", "images", *arguments])
            except SandboxError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL)
            else:
                return

    def _is_ready(self) -> bool:
        try:
            answer = self._control.admin.call("GET", f"/api/v1/nodes/{network.NODE_NAME}")
        except (OSError, http.client.HTTPException):
            return False
        if not answer.ok:
            return False
        status = json.loads(answer.body).get("status", {})
        return any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", []))


def _connects(host: IPv4Address, port: int) -> bool:
    try:
        socket.create_connection((str(host), port), timeout=1).close()
    except OSError:
        return False
    return True


def _write(path: Path, content: Any) -> None:
    """JSON is YAML, and nobody edits these."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
