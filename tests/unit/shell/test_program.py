"""`stanch` as a process: what a script learns from how it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.installation import ROOT

TORN_DOWN = """
import atexit, os, sys
atexit.register(os.abort)  # as a thread that is still at work when the interpreter is torn down
from stanch.cli import main
sys.argv = ["stanch", *sys.argv[1:]]
main()
"""


def ended(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", TORN_DOWN, *arguments],
        env={"PYTHONPATH": str(ROOT / "operator"), "PATH": "", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--help",), 0, "Contains AI incidents on Kubernetes."),
        (("evidence", "verify"), 2, "give the name of an AIIncident, or --manifest with --head"),
        (("no-such-command",), 2, "No such command"),
    ],
)
def test_nothing_that_happens_on_the_way_out_replaces_the_exit_code(
    arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = ended(*arguments)
    assert done.returncode == code
    assert said in done.stdout + done.stderr
