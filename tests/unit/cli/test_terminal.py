"""On a terminal: colours, unless nobody wants them, and a screen that is drawn anew in place."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.incident_server import api_server
from tests.installation import ROOT
from tests.unit.cli.made import HELD, raw

if TYPE_CHECKING:
    from pathlib import Path


def seen(directory: Path, *arguments: str, **environment: str) -> str:
    """What a terminal of 120 columns was sent."""
    body = raw(conditions=[HELD], summary="contained: llm-chat replicas 3→0; held")
    with api_server([body], directory) as kubeconfig:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "stanch", "status", "--kubeconfig", kubeconfig, "-n", "chat", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env={
                "PYTHONPATH": str(ROOT / "operator"),
                "PATH": os.environ["PATH"],
                "TERM": "xterm-256color",
                "COLUMNS": "120",
                "LINES": "50",
                **environment,
            },
        )
        os.close(theirs)
        text = b""
        try:
            while piece := os.read(ours, 65536):
                text += piece
        except OSError:  # Linux says so when the other end is closed
            pass
        os.close(ours)
        assert process.wait(timeout=60) == 0
    return text.decode()


def test_what_stands_is_green(tmp_path: Path) -> None:
    assert "\x1b[32mContained\x1b[0m" in seen(tmp_path)


def test_no_colour_is_heeded(tmp_path: Path) -> None:
    assert "\x1b[32m" not in seen(tmp_path, NO_COLOR="1")


def test_what_is_at_rest_is_watched_no_longer(tmp_path: Path) -> None:
    told = seen(tmp_path, "toxic-output", "--watch")
    assert "contained: llm-chat replicas 3→0; held" in told
    assert "\x1b[1A\x1b[2K" in told
    assert "Next: once the cause is gone" in told
