"""What was learnt: as flags, over what was written before, or asked for on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from datetime import date
from typing import TYPE_CHECKING

import pytest

from stanch.api.v1alpha1.record import Resolution
from stanch.cli.close import follow_up, with_said
from tests.incident_server import api_server
from tests.installation import ROOT
from tests.unit.cli.made import raw

if TYPE_CHECKING:
    from pathlib import Path

CLOSE = (sys.executable, "-m", "stanch", "close", "-n", "chat", "toxic-output")
BEFORE = Resolution.model_validate(
    {
        "determination": "Suspected",
        "rootCause": "unknown",
        "impact": "nobody",
        "lessons": {"wentWell": ["quick"], "wentWrong": ["no test"]},
    }
)


def test_what_was_written_before_stays_unless_it_is_said_anew() -> None:
    said = with_said(
        BEFORE,
        {"determination": "Confirmed", "rootCause": "the filter was off", "summary": None},
        {"wentWell": ["very quick"], "wentWrong": None},
        [follow_up("Test it; Ines")],
    )
    resolution = Resolution.model_validate(said)
    assert (resolution.determination, resolution.root_cause) == ("Confirmed", "the filter was off")
    assert resolution.impact == "nobody"
    assert (resolution.lessons.went_well, resolution.lessons.went_wrong) == (("very quick",), ("no test",))
    assert [each.owner for each in resolution.actions] == ["Ines"]


def test_nothing_said_is_nothing_written() -> None:
    assert with_said(None, {"determination": None}, {"wentWell": None}, []) == {}


@pytest.mark.parametrize(
    ("text", "due"), [("Test it; Ines", None), ("Test it ;Ines; 2026-01-16", date(2026, 1, 16))]
)
def test_what_is_to_be_done_has_an_owner_and_perhaps_a_day(text: str, due: date | None) -> None:
    made = follow_up(text)
    assert (made.what, made.owner, made.due) == ("Test it", "Ines", due)


@pytest.mark.parametrize("text", ["Test it", "Test it; Ines; soon", "a; b; 2026-01-16; c"])
def test_what_is_no_action_is_told_how_one_looks(text: str) -> None:
    with pytest.raises(ValueError, match="it looks like 'what; owner'"):
        follow_up(text)


def test_on_a_terminal_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    """A mistyped determination is asked for again. The server here takes no writes: that is told, too."""
    answers = b"Maybe\nConfirmed\nThe filter was off.\n\n\nIt was night.\n"
    with api_server([raw("Released")], tmp_path) as kubeconfig:
        ours, theirs = pty.openpty()
        os.write(ours, answers)
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "stanch",
                "close",
                "-n",
                "chat",
                "toxic-output",
                "--kubeconfig",
                kubeconfig,
            ],
            stdin=theirs,
            env={"PYTHONPATH": str(ROOT / "operator"), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        os.close(ours)
        os.close(theirs)
    for question in (
        "What did it turn out to be",
        "Why did it happen?",
        "What went well?",
        "Where were we lucky?",
    ):
        assert question in done.stdout
    assert "'Maybe' is not one of 'Suspected'" in done.stdout + done.stderr
    assert done.returncode != 0
    assert "nothing was closed" in done.stderr
