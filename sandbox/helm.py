"""The real helm: KUBEBUILDER_ASSETS', else built once from its public Go module, else the machine's."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from sandbox import binaries, gobuild, locks, versions
from sandbox.errors import BuildError, SandboxError
from sandbox.progress import Progress

HELM = "helm"
_MODULE = Path(__file__).parent / HELM
_PACKAGE = "helm.sh/helm/v4/cmd/helm"


def find(progress: Progress | None = None) -> Path:
    """Helm's program; built by one process at a time, and kept with the control plane's.

    Raises:
        SandboxError: it is to be had nowhere; the lines before say why it was not built.
    """
    progress = progress or Progress()
    sources = binaries.Sources()
    if sources.assets is not None and os.access(sources.assets / HELM, os.X_OK):
        return sources.assets / HELM
    target = sources.cache / HELM / f"{_digest()}-{versions.Platform.here()}" / HELM
    with locks.exclusive(
        target.with_suffix(".lock"), on_wait=lambda: progress.say("waiting: another process builds helm")
    ):
        if target.exists():
            return target
        try:
            go = gobuild.toolchain(versions.read().go, sources.cache, progress)
            return gobuild.compile_program(go, gobuild.Package(_MODULE, HELM, _PACKAGE), target, progress)
        except BuildError as error:
            progress.say(f"{HELM}: not built: {error}")
    installed = shutil.which(HELM)
    if installed is None:
        raise SandboxError(
            "no helm: not in KUBEBUILDER_ASSETS, not built, not installed. The lines above say why; "
            "install helm, or Go"
        )
    progress.say(f"{HELM}: not built (see above), using {installed}")
    return Path(installed)


def _digest() -> str:
    digest = hashlib.sha256()
    for source in (_MODULE / "go.mod", _MODULE / "go.sum"):
        digest.update(source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
