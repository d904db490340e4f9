"""The clocks are data: what came with this version is right, and what is wrong is refused as a whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.clocks.calendar import Within, minute, utc
from stanch.clocks.data import Clocks, load, parse
from stanch.errors import Rejected
from tests.unit.clocks.duty_cases import DATA

if TYPE_CHECKING:
    from pathlib import Path

ONE = "{id: a, title: t, source: Art. 1, runsFrom: Awareness, within: PT1H}"
TIMES = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds it


def test_what_the_law_allows() -> None:
    found = {clock.id: (str(clock.within), str(clock.runs_from)) for clock in DATA.clocks}
    assert found == {
        "eu-ai-act-73-2": ("15 days", "Awareness"),
        "eu-ai-act-73-3": ("2 days", "Awareness"),
        "eu-ai-act-73-4": ("10 days", "Awareness"),
        "gdpr-33": ("72 hours", "Awareness"),
        "nis2-23-24h": ("24 hours", "Awareness"),
        "nis2-23-72h": ("72 hours", "Awareness"),
        "nis2-23-month": ("1 month", "Report"),
        "dora-19-4h": ("4 hours", "Classification"),
        "dora-19-24h": ("24 hours", "Awareness"),
        "dora-19-72h": ("72 hours", "Report"),
        "dora-19-month": ("1 month", "Report"),
        "gpai-cop-2d": ("2 days", "Awareness"),
        "gpai-cop-5d": ("5 days", "Awareness"),
        "gpai-cop-10d": ("10 days", "Awareness"),
        "gpai-cop-15d": ("15 days", "Awareness"),
    }
    assert {clock.id for clock in DATA.clocks if clock.group} == {
        "eu-ai-act-73-2",
        "eu-ai-act-73-3",
        "eu-ai-act-73-4",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: '1'\nclocks: []", "at least 1 item"),
        (f"clocks: [{ONE}]", "version"),
        (f"version: '1'\nclocks: [{ONE}, {ONE}]", "clock a is there twice"),
        (f"version: '1'\nclocks: [{ONE.replace('PT1H', '72h')}]", "'72h' is no length of time"),
        (f"version: '1'\nclocks: [{ONE.replace('PT1H', 'P0D')}]", "'P0D' is no length of time"),
        (f"version: '1'\nclocks: [{ONE.replace('Awareness', 'Report')}]", "runsFrom: Report and after"),
        (
            f"version: '1'\nclocks: [{ONE.replace('Awareness', 'Report, after: [a]')}]",
            "clock a runs after a, which does not stand before it",
        ),
        (f"version: '1'\nclocks: [{ONE.replace('title', 'titel')}]", "titel"),
        (f"version: '1'\nclocks: [{ONE.replace('id: a', 'id: ' + 'a' * 32)}]", "at most 31 characters"),
        ("version: '1'\nclocks: [", "not understood"),
        ("", "not understood"),
    ],
)
def test_bad_data_is_refused_and_names_its_file(text: str, said: str) -> None:
    with pytest.raises(Rejected, match=r"ClocksUnreadable: the clocks of clocks\.yaml") as refused:
        parse(text, "clocks.yaml")
    assert said in str(refused.value)


def test_each_mistake_is_told_with_its_line() -> None:
    text = """version: "1"
clocks:
- id: first
  title: First
  source: law
  runsFrom: Awareness
  within: 72h
- id: second
  titel: Second
  source: law
  runsFrom: Never
  within: PT1H
"""
    with pytest.raises(Rejected) as refused:
        parse(text, "clocks.yaml")
    assert str(refused.value).splitlines()[1:] == [
        "line 7, clocks[0].within: '72h' is no length of time that a clock can have: PT72H, P15D or P1M",
        "line 8, clocks[1].title: Field required",
        "line 11, clocks[1].runsFrom: Input should be 'Awareness', 'Classification' or 'Report'",
        "line 9, clocks[1].titel: Extra inputs are not permitted",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [("version: '1'\nclocks:\n- id: [", 3), ("version: '1'\n  clocks: []", 2), ("a: 1\n\tb: 2", 2)],
)
def test_what_is_no_yaml_is_told_with_its_line(text: str, line: int) -> None:
    with pytest.raises(Rejected, match=rf"\nline {line}: "):
        parse(text, "clocks.yaml")


def test_a_chart_mounts_another_version(tmp_path: Path) -> None:
    file = tmp_path / "clocks.yaml"
    file.write_text(f"version: '2031'\nclocks: [{ONE}]")
    assert load(file).version == "2031"
    with pytest.raises(Rejected, match=r"(?s)none\.yaml.*No such file"):
        load(tmp_path / "none.yaml")
    file.write_bytes(b"\xff")
    with pytest.raises(Rejected, match=r"(?s)clocks\.yaml.*can't decode byte 0xff"):
        load(file)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ((), set()),
        (("gdpr",), {"gdpr-33"}),
        (("nis2-23-24h",), {"nis2-23-24h"}),
        (("dora", "gdpr-33"), {"gdpr-33", "dora-19-4h", "dora-19-24h", "dora-19-72h", "dora-19-month"}),
    ],
)
def test_which_ones_concern_the_organisation(wanted: tuple[str, ...], found: set[str]) -> None:
    assert Clocks.of(DATA, wanted).concerning == found


@pytest.mark.parametrize("wanted", ["gdp", "hipaa", "eu-ai-act-73-33"])
def test_a_setting_that_names_no_clock_is_refused(wanted: str) -> None:
    with pytest.raises(Rejected, match=f"names '{wanted}', which is no clock") as refused:
        Clocks.of(DATA, ("gdpr", wanted))
    assert "there are eu-ai-act-73-2, " in refused.value.message


@pytest.mark.parametrize(
    ("start", "within", "end"),
    [
        ("2026-01-31T10:00:00Z", "P1M", "2026-02-28 10:00Z"),
        ("2028-01-31T10:00:00Z", "P1M", "2028-02-29 10:00Z"),
        ("2026-12-31T23:59:59Z", "P1M", "2027-01-31 23:59Z"),
        ("2026-02-28T00:00:00Z", "P1M", "2026-03-28 00:00Z"),
        ("2026-10-24T12:00:00+02:00", "PT72H", "2026-10-27 10:00Z"),  # daylight saving time ends between
        ("2028-02-28T00:00:00Z", "P2D", "2028-03-01 00:00Z"),
        ("2026-01-01T00:00:00", "P15D", "2026-01-16 00:00Z"),
    ],
)
def test_hours_days_and_calendar_months(start: str, within: str, end: str) -> None:
    due = Within.parse(within).after(datetime.fromisoformat(start))
    assert due is not None
    assert minute(due) == end


@pytest.mark.parametrize("within", ["PT1H", "P1D", "P1M"])
def test_beyond_the_calendar_is_nothing(within: str) -> None:
    assert Within.parse(within).after(datetime.max.replace(tzinfo=UTC)) is None


def test_the_ends_of_the_calendar_stay_in_it() -> None:
    first = datetime.fromisoformat("0001-01-01T00:00:00+14:00")
    assert utc(first) == datetime(1, 1, 1, tzinfo=UTC)


@given(start=TIMES, months=st.integers(1, 24))
def test_a_month_later_is_never_before_nor_too_far(start: datetime, months: int) -> None:
    due = Within(months=months).after(start)
    if due is not None:
        assert timedelta(days=28 * months) <= due - start <= timedelta(days=31 * months)
        assert (due.month - start.month) % 12 == months % 12
