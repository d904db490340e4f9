"""What Flux takes incidents for by the expressions of manifests/flux, by its controller's own code."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from sandbox import gobuild
from sandbox.progress import Progress
from stanch.kube.resources import AIINCIDENTS
from tests.unit.health import stored
from tests.unit.health.stored import Json, edited, new

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Flux = Callable[[Iterable[Json]], list[str]]

pytestmark = pytest.mark.long

SYNC = Path(__file__).parents[3] / "manifests" / "flux" / "sync.yaml"
CURRENT, IN_PROGRESS, FAILED = "Current", "InProgress", "Failed"
INCIDENTS = {
    "dry run": CURRENT,
    "awaiting approval": IN_PROGRESS,
    "containing": IN_PROGRESS,
    "contained": CURRENT,
    "contained, hold not proven": IN_PROGRESS,
    "contained, no admission policy": FAILED,
    "contained, a write is refused": FAILED,
    "partially contained": FAILED,
    "containment failed": FAILED,
    "releasing": IN_PROGRESS,
    "released": CURRENT,
    "recovered": CURRENT,
    "closed": CURRENT,
    "rejected": FAILED,
    "duplicate": CURRENT,
}


def expressions() -> Json:
    (_, policies) = yaml.safe_load_all(SYNC.read_text())
    (check,) = policies["spec"]["healthCheckExprs"]
    assert (check.pop("apiVersion"), check.pop("kind")) == (AIINCIDENTS.api_version, AIINCIDENTS.kind)
    found: Json = check
    return found


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Flux:
    directory = tmp_path_factory.mktemp("flux")
    progress = Progress()
    go = gobuild.toolchain("1.26.0", directory, progress)
    package = gobuild.Package(Path(__file__).with_name("flux"), "Flux's evaluator of health")
    program = gobuild.compile_program(go, package, directory / "flux", progress)

    def ask(bodies: Iterable[Json]) -> list[str]:
        done = subprocess.run(
            [program, json.dumps(expressions())],
            input="".join(json.dumps(body) + "\n" for body in bodies),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return ask


@pytest.mark.timeout(900)  # compiling it for the first time takes a minute
def test_a_drill_in_git_is_ready_when_it_is_contained_and_held(flux: Flux) -> None:
    bodies = stored.incidents()
    assert dict(zip(bodies, flux(bodies.values()), strict=True)) == INCIDENTS


def test_what_nobody_has_looked_at_is_in_progress(flux: Flux) -> None:
    bodies = stored.incidents().values()
    assert set(flux([change(body) for body in bodies for change in (edited, new)])) == {IN_PROGRESS}
