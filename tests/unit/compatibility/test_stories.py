"""How a run tells what came of each story: every one that is marked, and none as passed that was not."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.compatibility.areas import Area
from tests.compatibility.results import ROOT, Outcome, Told

if TYPE_CHECKING:
    from pathlib import Path

STORIES = f"""
import pytest

pytestmark = pytest.mark.compatibility("isolate")

@pytest.fixture
def cluster(tmp_path):
    raise AssertionError(f"kubectl apply {ROOT}/manifests/stamps {{tmp_path}} ended with 1:\\nno matches")

def test_that_passes(): pass
def test_on_a_cluster(cluster): pass
def test_that_is_skipped(): pytest.skip("prometheus is not on the PATH")
def test_that_fails(): assert 1 == 2

@pytest.mark.compatibility("helm")
def test_of_another_area(): pass
"""


_PYTEST = (sys.executable, "-m", "pytest", "-p", "tests.compatibility.plugin", "-p", "no:cacheprovider")


def told(directory: Path, text: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    (directory / "pytest.ini").write_text("[pytest]\nmarkers = compatibility(area): x\n")
    (directory / "test_stories.py").write_text(text)
    target = directory / "stories.json"
    done = subprocess.run(
        [*_PYTEST, f"--stories={target}", "test_stories.py"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, target


def test_each_story_is_told_once_with_what_it_said_and_no_directory_of_this_machine(tmp_path: Path) -> None:
    done, target = told(tmp_path, STORIES)
    assert done.returncode == 1, done.stdout
    stories = {story.test: story for story in Told.model_validate_json(target.read_text()).stories}
    assert {name: story.outcome for name, story in stories.items()} == {
        "test_that_passes": Outcome.PASSED,
        "test_on_a_cluster": Outcome.FAILED,
        "test_that_is_skipped": Outcome.SKIPPED,
        "test_that_fails": Outcome.FAILED,
        "test_of_another_area": Outcome.PASSED,
    }
    assert stories["test_of_another_area"].area is Area.HELM
    assert "prometheus is not on the PATH" in stories["test_that_is_skipped"].said
    said = stories["test_on_a_cluster"].said
    assert "kubectl apply manifests/stamps … ended with 1: no matches" in said


def test_an_area_that_the_table_has_not_is_refused(tmp_path: Path) -> None:
    done, _ = told(tmp_path, STORIES.replace('"helm"', '"hlem"'))
    assert done.returncode not in (0, 1)
    assert "'hlem' is not a valid Area" in done.stdout + done.stderr
