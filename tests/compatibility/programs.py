"""Which programs a run is made with: each is asked for its version."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from sandbox import binaries, helm, versions
from tests.compatibility.results import Programs

if TYPE_CHECKING:
    from pathlib import Path


def versions_here() -> Programs:
    """Of the Kubernetes that STANCH_KUBERNETES chooses, built when it is not there.

    Raises:
        SandboxError: a program is to be had nowhere.
    """
    found = binaries.find()
    return Programs(
        kubernetes=_says(found[versions.APISERVER]),
        kubectl=_says(found[versions.KUBECTL], "version", "--client"),
        etcd=_says(found[versions.ETCD]),
        kwok=_says(found[versions.KWOK]),
        helm=_says(helm.find(), "version"),
        prometheus=_installed("prometheus"),
        alertmanager=_installed("prometheus-alertmanager") or _installed("alertmanager"),
        python=platform.python_version(),
    )


def _installed(name: str) -> str:
    path = shutil.which(name)
    return _says(path) if path else ""


def _says(program: Path | str, *arguments: str) -> str:
    """The first version in what it says; Prometheus says it on either stream."""
    command = [program, *(arguments or ["--version"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
    return found.group() if found else ""
