"""The reference is what the program says: it cannot lag behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.cli import generate
from stanch.cli.ending import MEANING, Exit
from tests.installation import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_every_command_is_there_with_its_flags_and_how_it_ends() -> None:
    page = generate.reference()
    asked = ("status", "plan", "plan release", "contain", "approve", "release", "close", "evidence verify")
    for command in asked:
        section = page.partition(f"## stanch {command}\n")[2].partition("\n## ")[0]
        assert "Ends with 0 " in section, command
        assert "`-n, --namespace`" in section
        assert "`--context`" in section
    assert set(MEANING) == set(Exit)
    assert "| `--severity` | `High` | How bad it is. One of `Critical`, `High`" in page


def test_what_differs_fails_the_check_until_it_is_written_anew(tmp_path: Path) -> None:
    assert generate.run(["--check"]) == 0
    here = ["--root", str(tmp_path)]
    assert generate.run([*here, "--check"]) == 1
    assert generate.run(here) == 0
    assert (tmp_path / generate.PAGE).read_bytes() == (ROOT / generate.PAGE).read_bytes()
    assert generate.run([*here, "--check"]) == 0
