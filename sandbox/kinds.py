"""CRDs of other projects, from their public Go modules at the checksums of go.sum."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sandbox import binaries, gobuild, versions
from sandbox.progress import Progress

_HERE = Path(__file__).parent
_REQUIRED = re.compile(r"^\s+(\S+) (v\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Kinds:
    """Whose they are, the Go module that pins them, and patterns of files within what it requires."""

    whose: str
    module: Path
    files: tuple[str, ...]


GITOPS = Kinds(
    "Flux and Argo CD",
    _HERE / "gitops",
    (
        "manifests/crds/application-crd.yaml",
        "config/crd/bases/*_helmreleases.yaml",
        "config/crd/bases/*_kustomizations.yaml",
        "config/crd/bases/*_ocirepositories.yaml",
    ),
)
PLATFORM = Kinds(
    "cert-manager and prometheus-operator",
    _HERE / "kinds",
    ("deploy/crds/*.yaml", "example/prometheus-operator-crd/*.yaml"),
)


def definitions(kinds: Kinds, progress: Progress | None = None) -> list[Path]:
    """Files with CustomResourceDefinitions.

    Raises:
        BuildError: no Go toolchain, no module, or not the one that go.sum has.
    """
    progress = progress or Progress()
    go = gobuild.toolchain(versions.read().go, binaries.Sources().cache, progress)
    pinned = (kinds.module / "go.mod").read_text()
    required = [f"{name}@{version}" for name, version in _REQUIRED.findall(pinned)]
    with progress.step(f"Go modules with the kinds of {kinds.whose}"):
        modules = gobuild.download(go, kinds.module, required)
    return sorted(file for module in modules for wanted in kinds.files for file in module.glob(wanted))
