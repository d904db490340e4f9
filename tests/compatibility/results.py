"""What the runs gave: docs/reference/compatibility.json, from which the page is made."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tests.compatibility.areas import Area

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "reference" / "compatibility.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Story(_Frozen):
    """One test; `said` is how it failed, or why it was skipped."""

    area: Area
    test: str
    outcome: Outcome
    said: str = ""


class Told(_Frozen):
    """What pytest writes of one run."""

    stories: tuple[Story, ...]


class Went(_Frozen):
    """How the stories of one area went."""

    passed: int = 0
    missed: tuple[Story, ...] = ()

    @property
    def told(self) -> int:
        return self.passed + len(self.missed)

    @property
    def good(self) -> bool:
        """Some story was told, and each of them passed."""
        return self.passed > 0 and not self.missed


def went(stories: tuple[Story, ...]) -> dict[Area, Went]:
    """Every area, in the order of the table."""
    passed = [story.area for story in stories if story.outcome is Outcome.PASSED]
    missed = [story for story in stories if story.outcome is not Outcome.PASSED]
    return {
        area: Went(passed=passed.count(area), missed=tuple(each for each in missed if each.area is area))
        for area in Area
    }


class Programs(_Frozen):
    """Versions without their leading v, as each program says; '' where there is none."""

    kubernetes: str
    kubectl: str
    etcd: str
    kwok: str
    helm: str
    prometheus: str
    alertmanager: str
    python: str


class Run(_Frozen):
    date: str
    """YYYY-MM-DD, UTC."""
    programs: Programs
    areas: dict[Area, Went]

    @property
    def minor(self) -> tuple[int, int]:
        major, minor = self.programs.kubernetes.split(".")[:2]
        return int(major), int(minor)

    def of(self, area: Area) -> Went:
        return self.areas.get(area, Went())

    @property
    def supported(self) -> bool:
        return all(self.of(area).good for area in Area if not area.optional)


class Results(_Frozen):
    """One run of each minor, newest first."""

    runs: tuple[Run, ...] = ()

    def with_run(self, run: Run) -> Results:
        """In the place of the one of the same minor."""
        others = [each for each in self.runs if each.minor != run.minor]
        return Results(runs=tuple(sorted([*others, run], key=lambda each: each.minor, reverse=True)))

    def only(self, minors: set[tuple[int, int]]) -> Results:
        """Without those that are not pinned any more."""
        return Results(runs=tuple(run for run in self.runs if run.minor in minors))


def read(path: Path = RESULTS) -> Results:
    return Results.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else Results()


def write(results: Results, path: Path = RESULTS) -> None:
    path.write_text(results.model_dump_json(indent=1, exclude_defaults=True) + "\n", encoding="utf-8")
