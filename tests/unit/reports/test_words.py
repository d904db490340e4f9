"""How a report writes times, lengths and what others wrote."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.reports import words

MS = timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("duration", "told"),
    [
        (timedelta(seconds=-3), "0 ms"),
        (412 * MS, "412 ms"),
        (999.4 * MS, "999 ms"),
        (999.6 * MS, "1.0 s"),
        (1900 * MS, "1.9 s"),
        (timedelta(seconds=74), "74 s"),
        (timedelta(minutes=12), "12 min"),
        (timedelta(minutes=119, seconds=50), "120 min"),
        (timedelta(hours=3, minutes=20), "3 h 20 min"),
        (timedelta(hours=47, minutes=59, seconds=50), "48 h"),
        (timedelta(days=2, hours=4), "2 d 4 h"),
        (timedelta(days=30), "30 d"),
    ],
)
def test_a_length_of_time_has_the_precision_that_a_reader_needs(duration: timedelta, told: str) -> None:
    assert words.length(duration) == told


def test_a_moment_is_told_in_utc_wherever_it_comes_from() -> None:
    there = datetime(2026, 1, 2, 4, 4, 5, 678_900, tzinfo=timezone(timedelta(hours=1)))
    assert words.moment(there) == "2026-01-02 03:04:05.678Z"
    assert words.moment(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02 03:04:05Z"


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 bytes"), (1023, "1023 bytes"), (14_541, "14.2 KiB"), (2_202_010, "2.1 MiB")]
)
def test_a_size_is_told_in_figures_that_one_can_read(count: int, told: str) -> None:
    assert words.size(count) == told


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("3 replicas of llm-chat, 2.4.0!", "3 replicas of llm-chat, 2.4.0!"),
        ("- x", "&#45; x"),
        ("1. x", "&#49;. x"),
        ("2.4.0", "2.4.0"),
        ("a|b", "a&#124;b"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("*a* _b_ `c` [d]", r"\*a\* \_b\_ &#96;c&#96; \[d\]"),
        ("two\n\nlines", "two lines"),
    ],
)
def test_a_line_of_markdown_stays_readable_as_it_is(text: str, written: str) -> None:
    assert words.markdown_line(text) == written


def test_prose_keeps_its_lines_and_paragraphs() -> None:
    assert words.markdown_prose("one\ntwo\n\n\nthree\r\n") == "one\\\ntwo\n\nthree"
    assert words.markdown_prose(" \n ") == ""


@given(st.text())
def test_what_is_visible_stays_and_the_rest_is_named(text: str) -> None:
    shown = words.visible(text)
    assert words.visible(shown) == shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    if text.isprintable() and not set(text) & {"\ufeff"}:
        assert shown == text
