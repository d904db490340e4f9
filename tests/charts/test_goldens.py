"""A change of the chart is seen as a change of what it renders: reviewers read that, not templates."""

from __future__ import annotations

import json
import re

import pytest

from tests.charts import goldens
from tests.charts.chart import ROOT


@pytest.mark.parametrize("case", goldens.cases())
def test_what_is_rendered_is_what_was_reviewed(case: str) -> None:
    found = goldens.difference(case)
    assert not found, f"{found}\n\nIf that is meant, run `make golden` and commit what it writes."


def test_nothing_is_stored_that_no_values_stand_for() -> None:
    there = {path.name.removesuffix(".yaml") for path in goldens.GOLDEN.glob("*.yaml")}
    assert {name for name in there if not name.endswith(".values")} == set(goldens.cases())


def test_the_notes_start_the_doctor_as_the_image_starts_the_operator() -> None:
    """The image has no shell, and whatever else was on a path once is not there any more."""
    (entrypoint,) = re.findall(r"^ENTRYPOINT (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    told = goldens.stored("defaults").read_text()
    assert f"exec deployment/stanch -- {' '.join(json.loads(entrypoint))} doctor" in told
