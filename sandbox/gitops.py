"""Definitions of Flux's and Argo CD's kinds, from their public Go modules, with the checksums of go.sum."""

from __future__ import annotations

import re
from pathlib import Path

from sandbox import binaries, gobuild, versions
from sandbox.progress import Progress

_MODULE = Path(__file__).parent / "gitops"
_REQUIRED = re.compile(r"^\s+(\S+) (v\S+)$", re.MULTILINE)
_WANTED = (
    "manifests/crds/application-crd.yaml",
    "config/crd/bases/*_helmreleases.yaml",
    "config/crd/bases/*_kustomizations.yaml",
    "config/crd/bases/*_ocirepositories.yaml",
)


def definitions(progress: Progress | None = None) -> list[Path]:
    """A file for each CustomResourceDefinition that manifests/flux and manifests/argocd need.

    Raises:
        BuildError: no Go toolchain, no module, or not the one that go.sum has.
    """
    progress = progress or Progress()
    go = gobuild.toolchain(versions.read().go, binaries.Sources().cache, progress)
    required = [f"{name}@{version}" for name, version in _REQUIRED.findall((_MODULE / "go.mod").read_text())]
    with progress.step("Go modules with the kinds of Flux and Argo CD"):
        modules = gobuild.download(go, _MODULE, required)
    return sorted(file for module in modules for wanted in _WANTED for file in module.glob(wanted))
