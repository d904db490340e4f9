"""What Flux, kpt and Helm's --wait take Stanch's objects for, by the library that they ask: kstatus."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox import gobuild
from sandbox.progress import Progress
from stanch.api.v1alpha1.status import Phase
from tests.unit.health import stored
from tests.unit.health.stored import Json, edited, new

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Judge = Callable[[Sequence[Json]], list[str]]

pytestmark = pytest.mark.long

CURRENT, IN_PROGRESS, FAILED = "Current", "InProgress", "Failed"
INCIDENTS = {
    "dry run": CURRENT,
    "awaiting approval": IN_PROGRESS,
    "containing": IN_PROGRESS,
    "contained": CURRENT,
    "contained, hold not proven": CURRENT,
    "contained, no admission policy": CURRENT,
    "contained, a write is refused": FAILED,
    "partially contained": IN_PROGRESS,
    "containment failed": FAILED,
    "releasing": IN_PROGRESS,
    "released": CURRENT,
    "recovered": CURRENT,
    "closed": CURRENT,
    "rejected": FAILED,
    "duplicate": CURRENT,
}
POLICIES = {
    "ready": CURRENT,
    "suspended": CURRENT,
    "dry run": CURRENT,
    "impossible": FAILED,
    "impossible and suspended": FAILED,
    "cluster, ready": CURRENT,
    "cluster, impossible": FAILED,
}


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    directory = tmp_path_factory.mktemp("judge")
    progress = Progress()
    go = gobuild.toolchain("1.26.0", directory, progress)
    package = gobuild.Package(Path(__file__).with_name("judge"), "the judge of kstatus")
    program = gobuild.compile_program(go, package, directory / "judge", progress)

    def ask(bodies: Sequence[Json]) -> list[str]:
        lines = "".join(json.dumps(body) + "\n" for body in bodies)
        done = subprocess.run([program], input=lines, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.splitlines()

    return ask


@pytest.mark.timeout(900)  # compiling it for the first time takes a minute
def test_every_incident_is_what_its_phase_says(judge: Judge) -> None:
    bodies = stored.incidents()
    assert dict(zip(bodies, judge(list(bodies.values())), strict=True)) == INCIDENTS
    assert {body["status"]["phase"] for body in bodies.values()} == {str(one) for one in Phase}


def test_a_policy_is_current_when_its_plan_can_be_carried_out(judge: Judge) -> None:
    bodies = stored.POLICIES
    assert dict(zip(bodies, judge(list(bodies.values())), strict=True)) == POLICIES


def test_after_an_edit_the_earlier_status_counts_for_nothing(judge: Judge) -> None:
    bodies = [edited(body) for body in (*stored.incidents().values(), *stored.POLICIES.values())]
    assert set(judge(bodies)) == {IN_PROGRESS}


def test_before_anybody_looked_it_is_in_progress(judge: Judge) -> None:
    """Only by the CRD's default: what has no status at all is Current, whatever becomes of it."""
    impossible = stored.POLICIES["impossible"]
    without = {key: value for key, value in impossible.items() if key != "status"}
    assert judge([new(impossible), without]) == [IN_PROGRESS, CURRENT]
