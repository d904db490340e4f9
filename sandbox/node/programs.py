"""The node's own programs, built from Go modules once and kept with the control plane's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox import binaries, gobuild, locks, versions
from sandbox.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NODE_MODULE = Path(__file__).parent / "program"
MODEL_SERVER_MODULE = Path(__file__).parents[1] / "modelserver"


@dataclass(frozen=True)
class Programs:
    """`node` is the kubelet and all that runs beside it; the others are static and go into images."""

    node: Path
    pause: Path
    model_server: Path

    @classmethod
    def among(cls, paths: Mapping[str, Path]) -> Programs:
        return cls(paths["node"], paths["pause"], paths["modelserver"])

    @property
    def paths(self) -> Mapping[str, Path]:
        return {"node": self.node, "pause": self.pause, "modelserver": self.model_server}


def find(progress: Progress | None = None) -> Programs:
    """The programs, built when they are not there; by one process at a time.

    Raises:
        BuildError: no Go toolchain, or it refused.
    """
    progress = progress or Progress()
    cache = binaries.Sources().cache
    pins = versions.read()
    platform = versions.Platform.here()
    label = f"the real node: kubelet, kube-proxy (Kubernetes {pins.kubernetes})"
    node = gobuild.Package(NODE_MODULE, label, link_flags=gobuild.kubernetes_link_flags(pins))
    wanted = {
        "node": node,
        "pause": gobuild.Package(NODE_MODULE, "the pause container", "./pause"),
        "modelserver": gobuild.Package(MODEL_SERVER_MODULE, "the model server"),
    }
    found: dict[str, Path] = {}
    for name, package in wanted.items():
        target = cache / "node" / f"{_digest(package)}-{platform}" / name
        found[name] = target
        if target.exists():
            continue
        with locks.exclusive(
            target.with_suffix(".lock"), on_wait=lambda: progress.say("waiting: another process builds it")
        ):
            if not target.exists():
                go = gobuild.toolchain(pins.go, cache, progress)
                gobuild.compile_program(go, package, target, progress)
    return Programs.among(found)


def _digest(package: gobuild.Package) -> str:
    """Of everything the program is made from."""
    digest = hashlib.sha256(f"{package.path}\0{package.link_flags}".encode())
    for source in _sources(package.module / package.path, package.module):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _sources(package: Path, module: Path) -> Sequence[Path]:
    sums = [path for path in (module / "go.mod", module / "go.sum") if path.exists()]
    return [*sorted(package.glob("*.go")), *sums]
