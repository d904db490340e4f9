"""What the sandbox runs, read from the Go modules that pin it: versions are changed in go.mod, only there.

Beside the module of the whole control plane there is one for each older Kubernetes, with its servers and its
kubectl: `kubernetes-1.36` runs when STANCH_KUBERNETES is 1.36. etcd and KWOK are the same for all.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import SandboxError

MODULE_DIRECTORY = Path(__file__).parent / "controlplane"
CHOICE = "STANCH_KUBERNETES"
_OLDER = "kubernetes-"  # and the minor: the directory of an older one's module

ETCD = "etcd"
APISERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
KUBECTL = "kubectl"
KWOK = "kwok"
KUBERNETES_SERVERS = (APISERVER, CONTROLLER_MANAGER, SCHEDULER)
PARTS = (ETCD, *KUBERNETES_SERVERS, KUBECTL, KWOK)
OF_KUBERNETES = (*KUBERNETES_SERVERS, KUBECTL)  # what an older Kubernetes has of its own

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Pins:
    """Versions without their leading v, and the digest of everything that a build of `module` depends on."""

    module: Path
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
    shared = (MODULE_DIRECTORY / "go.mod").read_text()
    digest = hashlib.sha256()
    for source in sorted([*module.glob("*.go"), module / "go.mod", module / "go.sum"]):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return Pins(
        module=module,
        kubernetes=_required(text, "k8s.io/kubernetes"),
        etcd=_required(shared, "go.etcd.io/etcd/server/v3"),
        kwok=_required(shared, "sigs.k8s.io/kwok"),
        go=_directive(text, r"^go (\S+)$"),
        digest=digest.hexdigest()[:16],
    )


def modules() -> dict[str, Path]:
    """Minor (`1.36`) → the module that pins it, newest first."""
    older = {path.name.removeprefix(_OLDER): path for path in MODULE_DIRECTORY.parent.glob(f"{_OLDER}*")}
    found = {read().kubernetes_minor: MODULE_DIRECTORY, **older}
    return dict(sorted(found.items(), key=lambda each: _numbers(each[0]), reverse=True))


def chosen() -> Path:
    """The module of the Kubernetes to run: STANCH_KUBERNETES' when it is set, else the newest.

    Raises:
        SandboxError: none pins that one.
    """
    wanted = os.environ.get(CHOICE)
    if not wanted:
        return MODULE_DIRECTORY
    known = modules()
    if wanted not in known:
        raise SandboxError(f"{CHOICE} is {wanted!r}: set it to one of {', '.join(known)}")
    return known[wanted]


def _numbers(minor: str) -> tuple[int, ...]:
    return tuple(int(number) for number in minor.split("."))


def _required(go_mod: str, module: str) -> str:
    return _directive(go_mod, rf"^\s*(?:require )?{re.escape(module)} v(\S+)")


def _directive(go_mod: str, pattern: str) -> str:
    found = re.search(pattern, go_mod, re.MULTILINE)
    if found is None:
        raise SandboxError(f"a go.mod of the sandbox has no line matching {pattern!r}: restore the file")
    return found.group(1)
