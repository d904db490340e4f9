"""Matchers mean what they mean in Alertmanager, and no label's value makes one take long."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.policy import Trigger
from stanch.prometheus.matchers import (
    LONGEST_VALUE,
    MOST_STATES,
    Unreadable,
    matchers_of,
    matches_all,
    parse,
    problem,
)
from tests.unit.signals.made import HOSTILE, query, trigger

LABELS = {"alertname": "ToxicOutput", "severity": "critical", "empty": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ('alertname="ToxicOutput"', True),
        ('alertname="toxicoutput"', False),
        ('alertname!="ToxicOutput"', False),
        ('alertname!="Other"', True),
        ('alertname=~"Toxic.*"', True),
        ('alertname=~"Toxic"', False),
        ('alertname=~"oxicOutput"', False),
        ('alertname=~"Leak|ToxicOutput"', True),
        ('alertname=~"Toxic|Output"', False),
        ('alertname!~"Toxic"', True),
        ('alertname!~"Toxic.+"', False),
        ('alertname=~"(?i)toxicoutput"', True),
        ('alertname=~"[[:alpha:]]+"', True),
        ('alertname=~""', False),
    ],
)
def test_an_expression_has_to_match_the_whole_value(text: str, *, matches: bool) -> None:
    assert parse(text).matches(LABELS) is matches


@pytest.mark.parametrize("label", ["absent", "empty"])
@pytest.mark.parametrize(
    ("operator", "value", "matches"),
    [
        ("=", "", True),
        ("!=", "", False),
        ("=~", ".*", True),
        ("=~", ".+", False),
        ("!~", ".+", True),
        ("=", "x", False),
        ("!=", "x", True),
    ],
)
def test_a_label_that_is_missing_is_an_empty_one(
    label: str, operator: str, value: str, *, matches: bool
) -> None:
    assert parse(f'{label}{operator}"{value}"').matches(LABELS) is matches


@pytest.mark.parametrize(
    ("quoted", "value"),
    [
        (r"say \"hi\"", 'say "hi"'),
        (r"a\\b", r"a\b"),
        (r"two\nlines", "two\nlines"),
        (r"C:\temp", r"C:\temp"),
        (r"\\n", r"\n"),
    ],
)
def test_escapes_are_undone(quoted: str, value: str) -> None:
    assert parse(f'path="{quoted}"').matches({"path": value})


def test_a_backslash_of_an_expression_need_not_be_doubled() -> None:
    for text in (r'pod=~"llm-\d+"', r'pod=~"llm-\\d+"'):
        assert parse(text).matches({"pod": "llm-17"})
        assert not parse(text).matches({"pod": "llm-x"})


def test_a_newline_is_a_character_like_any_other_that_a_dot_leaves_out() -> None:
    assert not parse('a=~"x"').matches({"a": "x\n"})
    assert not parse('a=~"x.y"').matches({"a": "x\ny"})
    assert parse('a=~"(?s)x.y"').matches({"a": "x\ny"})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("alertname", "a matcher looks like"),
        ("alertname=ToxicOutput", "a matcher looks like"),
        ('alertname="a" , b="c"', "a matcher looks like"),
        ('alertname=~"("', "unclosed group"),
        ('alertname=~"a)|(b"', "unopened group"),
        ('alertname=~"[z-a]"', "invalid character class range"),
        ('alertname=~"(?=a)b"', "look-around"),
        (r'alertname=~"(a)\\1"', "backreferences are not supported"),
        ('alertname=~"(x{100}){200}"', "count less"),
        (r'alertname=~"\\pL{2000}"', "count less"),
        (r'alertname=~"\\w{700}"', "exceeds size limit"),
    ],
)
def test_what_is_no_matcher_says_why(text: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        parse(text)


def test_the_trigger_says_which_of_its_matchers_is_wrong() -> None:
    wrong = Trigger.model_validate(trigger("toxic", 'alertname="A"', 'pod=~"("'))

    assert problem(wrong) == 'alert.matchers[1] pod=~"(": unclosed group'
    assert not problem(Trigger.model_validate(trigger()))
    assert not problem(Trigger.model_validate(query()))
    assert matchers_of(Trigger.model_validate(query())) == ()


CATASTROPHIC = [
    r"(a+)+b",
    r"(a|a)*b",
    r"(a*)*b",
    r"(.*a){12}!",
    r"(a?){25}a{25}b",
    r"([a-z]+)*-[0-9]+",
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
    "(" + "a?" * 200 + ")*b",
    r"([^x]{0,20}){0,20}x",
]


@pytest.mark.parametrize("expression", CATASTROPHIC)
def test_an_expression_that_backtracks_for_ever_elsewhere_takes_no_time(expression: str) -> None:
    matcher = parse(f'pod=~"{expression}"')
    values = ["a" * LONGEST_VALUE, "ab" * (LONGEST_VALUE // 2 - 1), "é" * LONGEST_VALUE]

    begun = time.process_time()
    found = [matcher.matches({"pod": value}) for value in values]

    assert not any(found)
    assert time.process_time() - begun < 1.0


@given(st.text("ab.*+?()|[]{}0129,\\^$", max_size=60), st.text("ab", max_size=LONGEST_VALUE))
def test_whatever_the_policy_says_it_is_refused_or_decided_at_once(expression: str, value: str) -> None:
    escaped = expression.replace("\\", "\\\\")
    begun = time.process_time()
    with suppress(Unreadable):
        parse(f'pod=~"{escaped}"').matches({"pod": value})
    assert time.process_time() - begun < 1.0


def test_a_value_longer_than_is_looked_at_matches_no_expression() -> None:
    long = {"pod": "a" * (LONGEST_VALUE + 1)}

    assert not parse('pod=~"a*"').matches(long)
    assert parse('pod!~"a*"').matches(long)
    assert parse(f'pod="{long["pod"]}"').matches(long), "comparing costs nothing"


@given(HOSTILE)
def test_any_value_equals_itself_and_matches_what_matches_all(value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    assert parse(f'a="{quoted}"').matches({"a": value})
    assert not parse(f'a!="{quoted}"').matches({"a": value})
    assert parse('a=~"(?s).*"').matches({"a": value}) is (len(value) <= LONGEST_VALUE)


@given(st.text(max_size=50), st.text(max_size=50))
def test_negation_is_the_opposite(value: str, other: str) -> None:
    for text in ('a{}"x.*"', 'a{}""', 'a{}"(?s).+"'):
        pair = ("=~", "!~")
        labels = {"a": value, "b": other}
        assert parse(text.format(pair[0])).matches(labels) is not parse(text.format(pair[1])).matches(labels)


def test_all_matchers_have_to_match() -> None:
    both = [parse('severity=~"crit.*"'), parse('alertname="ToxicOutput"')]

    assert matches_all(both, LABELS)
    assert not matches_all([*both, parse('team="chat"')], LABELS)
    assert matches_all([], LABELS)


def test_the_bound_on_counts_leaves_room_for_what_people_write() -> None:
    for expression in (
        r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
        r"llm-[0-9a-f]{8,10}-[a-z0-9]{5}",
        r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}",
    ):
        assert parse(f'a=~"{expression}"')
    assert MOST_STATES >= 1024
