"""`kubectl stanch`, as a person has it: the real kubectl finds the real program on the PATH."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.cluster import Said
from tests.operator_process import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster import Cluster

_PROGRAMS = {
    "kubectl-stanch": "-m stanch",
    "kubectl_complete-stanch": "-c 'from stanch.cli.completion import main; main()'",
}


@dataclass(frozen=True)
class Plugin:
    """`kubectl stanch …` as somebody, with a home of its own."""

    kubectl: Path
    kubeconfig: Path
    directory: Path

    def __call__(self, *arguments: str, stdin: str | None = None, **environment: str) -> Said:
        done = subprocess.run(
            [self.kubectl, *(("stanch", *arguments) if arguments[0] != "__complete" else arguments)],
            env=self.environment | environment,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = Said(done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in said.stderr, said.stderr
        return said

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{self.directory}:{self.kubectl.parent}:{os.environ['PATH']}",
            "HOME": str(self.directory),
            "KUBECONFIG": str(self.kubeconfig),
            "PYTHONPATH": str(ROOT / "operator"),
        }


def plugin(cluster: Cluster, kubeconfig: Path, directory: Path) -> Plugin:
    """Installed in `directory`, as `pip install stanch` leaves it."""
    for name, how in _PROGRAMS.items():
        program = directory / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {how} "$@"\n')
        program.chmod(0o755)
    return Plugin(cluster.kubectl, kubeconfig, directory)
