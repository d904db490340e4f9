"""What the sandbox runs, read from the Go module that pins it: versions are changed in go.mod, only there."""

from __future__ import annotations

import hashlib
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import SandboxError

MODULE_DIRECTORY = Path(__file__).parent / "controlplane"

ETCD = "etcd"
APISERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
KUBECTL = "kubectl"
KWOK = "kwok"
KUBERNETES_SERVERS = (APISERVER, CONTROLLER_MANAGER, SCHEDULER)
PARTS = (ETCD, *KUBERNETES_SERVERS, KUBECTL, KWOK)

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Pins:
    """Versions without their leading v, and the digest of everything a build depends on."""

    kubernetes: str
    etcd: str
    kwok: str
    go: str
    digest: str

    @property
    def kubernetes_minor(self) -> str:
        return ".".join(self.kubernetes.split(".")[:2])


@dataclass(frozen=True)
class Platform:
    os: str
    architecture: str

    def __str__(self) -> str:
        return f"{self.os}-{self.architecture}"

    @classmethod
    def here(cls) -> Platform:
        machine = platform.machine().lower()
        if machine not in _ARCHITECTURES:
            raise SandboxError(
                f"no Kubernetes for a {machine} processor: use a machine with an amd64 or arm64 one"
            )
        return cls(platform.system().lower(), _ARCHITECTURES[machine])


def read(module: Path = MODULE_DIRECTORY) -> Pins:
    text = (module / "go.mod").read_text()
    digest = hashlib.sha256()
    for source in sorted([*module.glob("*.go"), module / "go.mod", module / "go.sum"]):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return Pins(
        kubernetes=_required(text, "k8s.io/kubernetes"),
        etcd=_required(text, "go.etcd.io/etcd/server/v3"),
        kwok=_required(text, "sigs.k8s.io/kwok"),
        go=_directive(text, r"^go (\S+)$"),
        digest=digest.hexdigest()[:16],
    )


def _required(go_mod: str, module: str) -> str:
    return _directive(go_mod, rf"^\s*(?:require )?{re.escape(module)} v(\S+)")


def _directive(go_mod: str, pattern: str) -> str:
    found = re.search(pattern, go_mod, re.MULTILINE)
    if found is None:
        raise SandboxError(f"sandbox/controlplane/go.mod has no line matching {pattern!r}: restore the file")
    return found.group(1)
