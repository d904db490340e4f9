"""TAB, in a real bash."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.incident_server import api_server
from tests.installation import ROOT
from tests.unit.cli.made import raw

if TYPE_CHECKING:
    from pathlib import Path

TAB = """
source <(stanch completion bash)
_stanch_completion stanch
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH with the program on it."""
    program = tmp_path / "stanch"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m stanch "$@"\n')
    program.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def completed(path: str, *words: str) -> list[str]:
    """What bash would offer for the last of these words."""
    line = " ".join(shlex.quote(word) for word in ("stanch", *words))
    typed = f"COMP_WORDS=({line}); COMP_CWORD={len(words)}\n"
    done = subprocess.run(
        ["bash", "--norc", "-c", typed + TAB],
        env={"PATH": path, "PYTHONPATH": str(ROOT / "operator"), "HOME": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("rel",), ["release"]),
        (("evidence", ""), ["verify", "list"]),
        (("contain", "deploy/x", "--seve"), ["--severity"]),
        (("contain", "deploy/x", "--severity", "C"), ["Critical"]),
        (("status", "-o", ""), ["table", "wide", "json", "yaml"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
        (("release", "--kubeconfig", "/nowhere", ""), []),
    ],
)
def test_what_is_begun_is_completed(path: str, words: tuple[str, ...], offered: list[str]) -> None:
    assert completed(path, *words) == offered


def test_incidents_are_completed_by_name(path: str, tmp_path: Path) -> None:
    bodies = [raw(metadata={"name": name}) for name in ("leak-81d2e", "toxic-7f3c9", "toxic-91aa0")]
    with api_server(bodies, tmp_path) as kubeconfig:
        offered = completed(path, "release", "-n", "chat", "--kubeconfig", kubeconfig, "toxic")
    assert offered == ["toxic-7f3c9", "toxic-91aa0"]


@pytest.mark.parametrize(
    ("shell", "says"), [("zsh", "#compdef stanch"), ("fish", "complete --command stanch")]
)
def test_other_shells_have_a_script_of_their_own(path: str, shell: str, says: str) -> None:
    script = subprocess.run(
        ["stanch", "completion", shell],
        env={"PATH": path, "PYTHONPATH": str(ROOT / "operator")},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert says in script
    assert "_STANCH_COMPLETE" in script
