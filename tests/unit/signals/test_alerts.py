"""Alerts as Prometheus itself has them: its series ALERTS and ALERTS_FOR_STATE."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.policy import AlertTrigger, TriggerState
from stanch.prometheus.samples import QueryFailed, Reason, Sample
from stanch.signals.prometheus.alerts import NONE, Alerts, evaluate, fingerprint, standing
from stanch.signals.prometheus.triggers import Moment

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BEGAN = NOW - timedelta(minutes=5)
DOWN = QueryFailed(Reason.TIMEOUT, "no answer in time")


def alert(name: str = "Toxic", value: float = 1.0, state: str = "firing", **labels: str) -> Sample:
    named = {"__name__": "ALERTS", "alertname": name, "alertstate": state, **labels}
    return Sample(tuple(sorted(named.items())), value, str(value))


def since(moment: float, name: str = "Toxic", **labels: str) -> Sample:
    named = {"__name__": "ALERTS_FOR_STATE", "alertname": name, **labels}
    return Sample(tuple(sorted(named.items())), moment, str(moment))


def triggered_by(*matchers: str) -> AlertTrigger:
    return AlertTrigger(matchers=matchers)


def at(minute: float = 0) -> Moment:
    return Moment(NOW + timedelta(minutes=minute), 1000.0 + 60 * minute)


def test_an_alert_began_when_prometheus_says() -> None:
    answer = Alerts((alert(pod="llm-0"),), (since(BEGAN.timestamp(), pod="llm-0"),))
    (signal,) = evaluate(NONE, answer, at()).signals
    assert signal.firing
    assert (signal.name, signal.starts_at) == ("Toxic", BEGAN)
    assert signal.labels == {"alertname": "Toxic", "pod": "llm-0"}
    assert signal.trigger is None


@pytest.mark.parametrize(
    "told",
    [(), (since(NOW.timestamp() + 60),), (since(float("nan")),), (since(float("inf")),), (since(-1.0),)],
)
def test_else_when_it_was_first_seen(told: tuple[Sample, ...]) -> None:
    first = evaluate(NONE, Alerts((alert(),), told), at())
    again = evaluate(first.begun, Alerts((alert(),), ()), at(1))
    assert [one.starts_at for one in (*first.signals, *again.signals)] == [NOW, NOW]


def test_an_alert_that_vanishes_is_resolved_once() -> None:
    answer = Alerts((alert(),), (since(BEGAN.timestamp()),))
    firing = evaluate(NONE, answer, at())
    gone = evaluate(firing.begun, Alerts((), ()), at(1))
    assert [(one.firing, one.starts_at, one.fingerprint) for one in gone.signals] == [
        (False, BEGAN, firing.signals[0].fingerprint)
    ]
    assert evaluate(gone.begun, Alerts((), ()), at(2)).signals == ()


def test_without_an_answer_nothing_fires_and_nothing_is_resolved() -> None:
    firing = evaluate(NONE, Alerts((alert(),), ()), at())
    unknown = evaluate(firing.begun, DOWN, at(1))
    assert unknown.signals == ()
    assert evaluate(unknown.begun, Alerts((), ()), at(2)).signals[0].firing is False


@pytest.mark.parametrize(("minutes", "starts_at"), [(30, BEGAN), (61, NOW)])
def test_a_prometheus_that_was_away_for_less_than_an_hour_begins_no_other_firing(
    minutes: int, starts_at: datetime
) -> None:
    first = evaluate(NONE, Alerts((alert(),), (since(BEGAN.timestamp()),)), at())
    away = evaluate(first.begun, DOWN, at(1))
    back = evaluate(away.begun, Alerts((alert(),), (since(NOW.timestamp()),)), at(minutes))
    assert [(one.firing, one.starts_at) for one in back.signals] == [(True, starts_at)]


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_only_the_value_one_is_an_alert(value: float) -> None:
    assert evaluate(NONE, Alerts((alert(value=value),), ()), at()).signals == ()


PODS = ("a", "b")
answers = st.one_of(
    st.lists(st.sampled_from(PODS), unique=True).map(
        lambda pods: Alerts(tuple(alert(pod=pod) for pod in pods), ())
    ),
    st.builds(QueryFailed, st.sampled_from(Reason), st.just("no")),
)


@given(st.lists(answers))
def test_whatever_the_answers_resolved_follows_firing_and_failures_are_silent(
    history: list[Alerts | QueryFailed],
) -> None:
    begun = NONE
    firing: set[str] = set()
    for minute, answer in enumerate(history):
        changed = evaluate(begun, answer, at(minute))
        begun = changed.begun
        assert not (changed.signals and isinstance(answer, QueryFailed))
        for signal in changed.signals:
            assert signal.firing or signal.fingerprint in firing
            (firing.add if signal.firing else firing.remove)(signal.fingerprint)
        if isinstance(answer, Alerts):
            assert len(firing) == len(answer.firing)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        # As in prometheus/common, model/signature_test.go: 14695981039346656037 and 5799056148416392346.
        ({}, "cbf29ce484222325"),
        ({"name": "garland, briggs", "fear": "love is not enough"}, "507a62d79ee76c9a"),
    ],
)
def test_fingerprints_are_those_of_alertmanager(labels: dict[str, str], expected: str) -> None:
    assert fingerprint(labels) == expected


@pytest.mark.parametrize(
    ("matchers", "answer", "absent", "state", "message"),
    [
        (('alertname="Toxic"',), Alerts((alert(),), ()), (), "Active", "an alert Toxic is firing"),
        (('alertname="Toxic"',), Alerts((), (since(1.0),)), (), "Active", "an alert Toxic is pending"),
        (('alertname="Other"',), Alerts((alert(),), ()), (), "Active", "Other neither fires nor is pending"),
        (('team="ml"',), Alerts((alert(),), ()), (), "Active", "compared with every alert that fires"),
        (('alertname=~"T.*"',), Alerts((alert(),), ()), (), "Active", "compared with every alert"),
        ((r'alertname="To\"xic"',), Alerts((alert('To"xic'),), ()), (), "Active", 'To"xic is firing'),
        ((r'alertname="\q"',), Alerts((), ()), (), "Active", "compared with every alert"),
        (('alertname="Toxic"',), Alerts((alert(),), ()), ("up",), "Inactive", "no series for up"),
        (('alertname="Toxic"',), DOWN, (), "Error", "Timeout: no answer in time"),
        (('alertname="Toxic"',), Alerts((), ()), DOWN, "Error", "Timeout: no answer in time"),
    ],
)
def test_what_the_status_says(
    matchers: tuple[str, ...],
    answer: Alerts | QueryFailed,
    absent: tuple[str, ...] | QueryFailed,
    state: str,
    message: str,
) -> None:
    said = standing(triggered_by(*matchers), answer, absent)
    assert said.state == TriggerState(state)
    assert message in said.message
