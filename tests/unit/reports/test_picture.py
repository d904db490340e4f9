"""The picture of the timeline can be read, whether all happened within a second or over weeks."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.reports.picture import LEFT, RIGHT, WIDTH, Picture, picture
from tests.unit.reports.incidents import START, at, fresh, raw, report

EDGE = WIDTH - RIGHT


def drawn(*after: float, phase: str = "Closed") -> Picture:
    """Of an incident that went through these seconds after it began."""
    fields = ("detected", "begun", "contained", "released", "recovered", "closed")
    times = {field: at(seconds=each) for field, each in zip(fields, after, strict=False)}
    made = picture(report(fresh() | {"status": {"phase": phase, "timestamps": times}}))
    assert made is not None
    return made


def test_nothing_is_drawn_of_an_incident_to_which_nothing_has_happened() -> None:
    assert picture(report(fresh())) is None


def test_a_row_a_phase_and_a_row_for_what_people_did() -> None:
    made = picture(report())
    assert made is not None
    assert [row.name for row in made.rows] == [
        "Undetected",
        "Detected",
        "AwaitingApproval",
        "Containing",
        "Contained",
        "Releasing",
        "Released",
        "Recovered",
        "Closed",
        "Approved",
        "Contested",
    ]
    rows = {row.name: row for row in made.rows}
    assert rows["Contained"].note == "2 times, 2 d 1 h"
    assert len(rows["Contained"].bars) == 2
    assert [mark.label for mark in rows["Closed"].marks] == ["Closed"]
    assert sum(mark.count for mark in rows["Contested"].marks) == 5
    assert rows["Contested"].note == "5 times"


def test_the_picture_is_told_in_words() -> None:
    made = picture(report())
    assert made is not None
    assert "Containing from 2026-01-02 03:12:04 for 450 ms" in made.told
    assert "contested 5 times" in made.told


@pytest.mark.parametrize(
    "after",
    [
        (0, 0.004, 0.412, 0.9, 0.95, 1.0),
        (0, 0.1, 0.5, 86_400, 90_000, 600_000),
        (0, 60, 3600, 7200, 7201, 7202),
        (0, 0.001, 300_000),
    ],
)
def test_no_phase_is_too_short_to_be_seen(after: tuple[float, ...]) -> None:
    bars = [bar for row in drawn(*after).rows for bar in row.bars]
    assert len(bars) == len(after) - (1 if len(after) == 6 else 0)
    assert all(bar.width >= 10 for bar in bars)


def test_a_longer_phase_is_drawn_wider() -> None:
    bars = [bar for row in drawn(0, 1, 61, 7261).rows for bar in row.bars]
    assert [bar.width for bar in bars] == sorted(bar.width for bar in bars)


def test_what_lasts_reaches_until_now_and_is_drawn_open() -> None:
    (row,) = [row for row in drawn(0, 1, 2, phase="Contained").rows if row.name == "Contained"]
    assert row.note.endswith("so far")
    (bar,) = row.bars
    assert bar.open
    assert bar.x + bar.width == pytest.approx(EDGE)


def test_an_incident_of_one_moment_is_drawn_too() -> None:
    body = fresh() | {"status": {"phase": "Rejected", "timeline": [{"at": at(), "type": "Rejected"}]}}
    made = picture(report(body))
    assert made is not None
    assert [mark.x for mark in made.rows[0].marks] == [LEFT]
    assert [tick.label for tick in made.ticks] == ["03:11:48.000"]


def test_a_contest_that_the_timeline_no_longer_has_is_still_marked() -> None:
    body = raw()
    body["status"]["timeline"] = [each for each in body["status"]["timeline"] if each["type"] != "Contested"]
    made = picture(report(body))
    assert made is not None
    assert made.rows[-1].name == "Contested"
    assert made.rows[-1].note == "5 times"


@given(st.lists(st.floats(min_value=0, max_value=1e7), min_size=1, max_size=6))
def test_everything_is_within_the_picture_and_labels_do_not_overlap(after: list[float]) -> None:
    made = drawn(*sorted(after))
    for row in made.rows:
        for bar in row.bars:
            assert LEFT - 0.1 <= bar.x <= bar.x + bar.width <= EDGE + 2.1
        for mark in row.marks:
            assert LEFT - 0.1 <= mark.x <= EDGE + 0.1
        assert 0 < row.y < made.axis < made.height
    labelled = [tick for tick in made.ticks if tick.label]
    starts = {"start": 0.0, "middle": 0.5, "end": 1.0}
    spans = [
        (tick.x - starts[tick.anchor] * len(tick.label) * 6.4, len(tick.label) * 6.4) for tick in labelled
    ]
    for (left, wide), (right, _) in pairwise(spans):
        assert left + wide <= right or len(labelled) == 2


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=60))
def test_many_contests_become_marks_that_can_be_told_apart(after: list[float]) -> None:
    body = raw()
    base = [each for each in body["status"]["timeline"] if each["type"] != "Contested"]
    body["status"]["timeline"] = [
        *base,
        *({"at": (START + timedelta(seconds=each)).isoformat(), "type": "Contested"} for each in after),
    ][:100]
    made = picture(report(body))
    assert made is not None
    marks = made.rows[-1].marks
    assert sum(mark.count for mark in marks) == len(after)
    assert all(right.x - left.x >= 12 for left, right in pairwise(marks))
