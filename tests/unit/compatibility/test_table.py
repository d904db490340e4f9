"""docs/reference/compatibility.md is a promise: what is pinned was tried, and nothing else says otherwise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import yaml

from sandbox import versions
from stanch.cli.doctor.installed import HOLDS, NEWEST, OLDEST
from tests.compatibility.areas import Area
from tests.compatibility.page import page
from tests.compatibility.results import ROOT, Outcome, Results, Run, Story, read, went

if TYPE_CHECKING:
    from pathlib import Path

RUNS = {run.programs.kubernetes: run for run in read().runs}
SUPPORTED = sorted(run.minor for run in RUNS.values() if run.supported)


def named(minor: tuple[int, int]) -> str:
    return "{}.{}".format(*minor)


@pytest.mark.parametrize("module", versions.modules().values(), ids=versions.modules())
def test_every_kubernetes_that_is_pinned_has_a_column_of_that_very_version(module: Path) -> None:
    pinned = versions.read(module).kubernetes
    assert pinned in RUNS, f"Kubernetes {pinned} is pinned and was not tried: run `make compatibility`"
    assert RUNS[pinned].programs.kubectl == pinned


def test_nothing_is_missing_from_the_newest() -> None:
    newest = RUNS[versions.read().kubernetes]
    assert {area: newest.of(area).missed for area in Area if not newest.of(area).good} == {}


def test_the_supported_ones_have_no_gap() -> None:
    assert [each[1] for each in SUPPORTED] == list(range(SUPPORTED[0][1], SUPPORTED[-1][1] + 1))


def test_the_doctor_warns_of_what_is_older_or_newer_than_those() -> None:
    assert (SUPPORTED[0], SUPPORTED[-1]) == (OLDEST, NEWEST)


def test_the_chart_refuses_what_cannot_hold_and_what_a_story_failed_on_and_docs_say_the_same() -> None:
    chart = yaml.safe_load((ROOT / "charts" / "stanch" / "Chart.yaml").read_text())
    failed = [run.minor for run in RUNS.values() if not run.supported]
    oldest = max([HOLDS, *((major, minor + 1) for major, minor in failed)])
    assert chart["kubeVersion"] == f">={named(oldest)}.0-0"
    assert oldest <= SUPPORTED[0]
    for document in ("README.md", "docs/how-to/install.md", "docs/tutorial.md"):
        said = re.findall(r"Kubernetes (1\.\d+) or newer", (ROOT / document).read_text())
        assert said == [named(oldest)], document
    readme = (ROOT / "charts" / "stanch" / "README.md").read_text()
    assert f"Needs Kubernetes {named(oldest)} or newer" in readme


def test_stamps_are_refused_by_the_chart_where_they_did_not_pass() -> None:
    oldest = min(run.minor for run in RUNS.values() if run.of(Area.STAMPS).good)
    template = (ROOT / "charts" / "stanch" / "templates" / "admission.yaml").read_text()
    assert f'semverCompare "<{named(oldest)}.0-0"' in template


def told(*outcomes: tuple[Area, Outcome]) -> Run:
    """As the newest, but with other outcomes."""
    stories = tuple(
        Story(area=area, test="test_a_story", outcome=outcome, said="no matches for kind")
        for area, outcome in outcomes
    )
    changed = {area: went(stories)[area] for area, _ in outcomes}
    newest = RUNS[versions.read().kubernetes]
    return newest.model_copy(update={"areas": newest.areas | changed})


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.SKIPPED])
def test_a_story_that_did_not_pass_is_told_and_ends_the_support(outcome: Outcome) -> None:
    run = told((Area.ROLLBACK, Outcome.PASSED), (Area.ROLLBACK, outcome))
    assert not run.supported
    text = page(Results(runs=(run,)))
    assert "| **1/2** |" in text
    assert f"a story ({outcome}): `no matches for kind`" in text
    assert "**no**" in text


def test_what_is_optional_may_be_missing() -> None:
    run = told((Area.STAMPS, Outcome.FAILED))
    assert run.supported
    assert "| **0/1** |" in page(Results(runs=(run,)))


def test_an_area_without_a_story_is_no_support() -> None:
    newest = RUNS[versions.read().kubernetes]
    assert not newest.model_copy(update={"areas": {}}).supported
