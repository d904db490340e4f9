"""Sandboxes that start at the same time never get a port of each other's."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.components import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
ASK = "from sandbox.components import free_ports; print(*free_ports(6))"


@pytest.fixture
def nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The record of what was given out, of this test alone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield tmp_path
    monkeypatch.setattr("tempfile.tempdir", None)


@pytest.mark.usefixtures("nobody_else")
def test_ten_processes_that_ask_at_once_get_sixty_ports() -> None:
    def ask(_: int) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", ASK], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    with ThreadPoolExecutor(10) as at_once:
        given = [port for ports in at_once.map(ask, range(10)) for port in ports]
    assert len(set(given)) == len(given) == 60


def test_after_the_last_port_comes_the_first(nobody_else: Path) -> None:
    free_ports(1)
    (record,) = nobody_else.iterdir()
    record.write_text("31998")
    given = free_ports(3)
    assert len(set(given)) == 3
    assert min(given) < 20100
