"""One PromQL trigger, round by round: what fires, what is resolved, and what is said of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stanch.api.v1alpha1.policy import PrometheusTrigger, TriggerState
from stanch.kube.resources import CLUSTERCONTAINMENTPOLICIES, CONTAINMENTPOLICIES, ObjectRef
from stanch.prometheus.samples import QueryFailed, Reason, Sample
from stanch.signals.model import Signal, TriggerRef
from stanch.signals.prometheus.triggers import (
    NOTHING,
    OUTAGE_SECONDS,
    Evaluated,
    Heard,
    Moment,
    Rule,
    Watch,
    evaluate,
)

CHAT = ObjectRef(CONTAINMENTPOLICIES, "chat", "guard")
REF = TriggerRef(CHAT, "drift")
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GAP = 40.0
DOWN = QueryFailed(Reason.UNREACHABLE, "Prometheus cannot be reached, Connection refused")


def at(second: float) -> Moment:
    return Moment(START + timedelta(seconds=second), 1000.0 + second)


def rule(for_: str | None = None, operator: str = "gt", ref: TriggerRef = REF) -> Rule:
    spec = {"query": "drift", "operator": operator, "value": "0.2"} | ({"for": for_} if for_ else {})
    return Rule(ref, PrometheusTrigger.model_validate(spec), "http://prometheus/graph")


def heard(*values: float, absent: tuple[str, ...] = ()) -> Heard:
    """One series a value: pod 0, pod 1, …"""
    samples = (Sample((("pod", str(pod)),), value, str(value)) for pod, value in enumerate(values))
    return Heard(tuple(samples), absent)


class Rounds:
    """Evaluations, each from where the last one ended."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.watch: Watch = NOTHING

    def __call__(self, second: float, answer: Heard | QueryFailed) -> Evaluated:
        evaluated = evaluate(self.rule, self.watch, answer, at(second), GAP)
        self.watch = evaluated.watch
        return evaluated


def told(evaluated: Evaluated) -> list[tuple[str, bool]]:
    return [(one.labels["pod"], one.firing) for one in evaluated.signals]


def test_without_a_duration_the_first_sample_fires() -> None:
    evaluated = Rounds(rule())(0, heard(0.3))
    (signal,) = evaluated.signals
    assert signal == Signal(
        name="drift",
        fingerprint=signal.fingerprint,
        starts_at=START,
        firing=True,
        labels={"pod": "0"},
        url="http://prometheus/graph",
        value="0.3",
        trigger=REF,
    )
    assert evaluated.standing.state == TriggerState.ACTIVE
    assert evaluated.standing.message == "firing for 1 series, the first since 2026-01-02T03:04:05Z"


def test_it_fires_after_it_was_true_so_long_and_began_when_it_became_true() -> None:
    rounds = Rounds(rule("30s"))
    assert told(rounds(0, heard(0.3))) == []
    pending = rounds(15, heard(0.4))
    assert told(pending) == []
    assert pending.standing.message == "> 0.2 is true, and fires once it was for 30s"
    firing = rounds(30, heard(0.5))
    assert told(firing) == [("0", True)]
    assert firing.signals[0].starts_at == START


def test_a_firing_series_stays_one_firing() -> None:
    rounds = Rounds(rule())
    first, again = rounds(0, heard(0.3)), rounds(15, heard(0.9))
    assert (first.signals[0].fingerprint, first.signals[0].starts_at) == (
        again.signals[0].fingerprint,
        again.signals[0].starts_at,
    )
    assert first.standing == again.standing  # though the value is another


@pytest.mark.parametrize("over", [heard(0.1), heard()], ids=["compares false", "is gone"])
def test_what_no_longer_fires_is_resolved_once(over: Heard) -> None:
    rounds = Rounds(rule())
    rounds(0, heard(0.3))
    resolved = rounds(15, over)
    assert told(resolved) == [("0", False)]
    assert resolved.signals[0].starts_at == START
    assert told(rounds(30, over)) == []


def test_what_had_only_been_pending_is_never_resolved() -> None:
    rounds = Rounds(rule("30s"))
    rounds(0, heard(0.3))
    assert told(rounds(15, heard(0.1))) == []


def test_firing_again_is_another_firing_of_the_same_series() -> None:
    rounds = Rounds(rule())
    first = rounds(0, heard(0.3)).signals[0]
    rounds(15, heard(0.1))
    second = rounds(30, heard(0.3)).signals[0]
    assert second.fingerprint == first.fingerprint
    assert second.starts_at == START + timedelta(seconds=30)


@pytest.mark.parametrize(
    "gap",
    [DOWN, heard(float("nan")), heard(), heard(0.1), heard(0.3, absent=("drift",))],
    ids=["error", "NaN", "missing", "false", "a metric is absent"],
)
def test_any_gap_begins_the_waiting_anew(gap: Heard | QueryFailed) -> None:
    rounds = Rounds(rule("30s"))
    rounds(0, heard(0.3))
    rounds(15, gap)
    assert told(rounds(30, heard(0.3))) == []
    assert told(rounds(45, heard(0.3))) == []
    firing = rounds(60, heard(0.3))
    assert told(firing) == [("0", True)]
    assert firing.signals[0].starts_at == START + timedelta(seconds=30)


def test_time_in_which_nobody_looked_does_not_count() -> None:
    rounds = Rounds(rule("30s"))
    rounds(0, heard(0.3))
    assert told(rounds(GAP + 1, heard(0.3))) == []
    assert told(rounds(GAP + 31, heard(0.3))) == [("0", True)]


def test_a_clock_that_is_set_makes_nothing_fire_early() -> None:
    rounds = Rounds(rule("5m"))
    rounds(0, heard(0.3))
    jumped = Moment(START + timedelta(hours=1), 1015.0)
    assert evaluate(rounds.rule, rounds.watch, heard(0.3), jumped, GAP).signals == ()


@pytest.mark.parametrize(
    "gap", [DOWN, heard(float("nan")), heard(0.0, absent=("drift",))], ids=["error", "NaN", "absent metric"]
)
def test_nothing_known_about_a_firing_series_resolves_nothing(gap: Heard | QueryFailed) -> None:
    rounds = Rounds(rule("30s"))
    rounds(0, heard(0.3))
    rounds(30, heard(0.3))
    for second in range(45, 300, 15):
        assert told(rounds(second, gap)) == []
    assert rounds(300, heard(0.3)).signals[0].starts_at == START
    assert told(rounds(315, heard(0.1))) == [("0", False)]


def test_after_an_hour_without_an_answer_it_is_another_firing() -> None:
    rounds = Rounds(rule("30s"))
    rounds(0, heard(0.3))
    rounds(30, heard(0.3))
    rounds(45, DOWN)
    later = 30 + OUTAGE_SECONDS + 1
    assert told(rounds(later, heard(0.3))) == []
    firing = rounds(later + 30, heard(0.3))
    assert firing.signals[0].starts_at == START + timedelta(seconds=later)


def test_series_are_judged_one_by_one() -> None:
    rounds = Rounds(rule())
    evaluated = rounds(0, heard(0.3, 0.1, float("nan")))
    assert told(evaluated) == [("0", True)]
    assert evaluated.standing.state == TriggerState.ERROR
    assert "NaN" in evaluated.standing.message
    assert "firing for 1 series" in evaluated.standing.message


@pytest.mark.parametrize(
    ("answer", "state", "message"),
    [
        (DOWN, TriggerState.ERROR, "Unreachable: Prometheus cannot be reached, Connection refused"),
        (heard(0.1), TriggerState.ACTIVE, "not firing: no series is > 0.2"),
        (heard(), TriggerState.INACTIVE, "the query gives no sample: nothing fires"),
        (heard(absent=('drift{app="a"}',)), TriggerState.INACTIVE, 'no series for drift{app="a"}'),
        (heard(0.0, absent=("drift", "up")), TriggerState.INACTIVE, "no series for drift, up"),
        (heard(0.3, absent=("drift",)), TriggerState.INACTIVE, "no series for drift"),
        (heard(float("nan")), TriggerState.ERROR, "NaN"),
        (heard(float("inf")), TriggerState.ACTIVE, "firing for 1 series"),
    ],
)
def test_what_the_status_says(answer: Heard | QueryFailed, state: TriggerState, message: str) -> None:
    standing = Rounds(rule())(0, answer).standing
    assert standing.state == state
    assert message in standing.message


@pytest.mark.parametrize(
    "ref",
    [
        TriggerRef(CHAT, "other"),
        TriggerRef(ObjectRef(CONTAINMENTPOLICIES, "other", "guard"), "drift"),
        TriggerRef(ObjectRef(CLUSTERCONTAINMENTPOLICIES, None, "guard"), "drift"),
    ],
)
def test_the_same_series_for_another_trigger_is_another_signal(ref: TriggerRef) -> None:
    (one,) = Rounds(rule())(0, heard(0.3)).signals
    (other,) = Rounds(rule(ref=ref))(0, heard(0.3)).signals
    assert one.fingerprint != other.fingerprint


def test_labels_cannot_be_made_to_look_like_others() -> None:
    def fingerprint(**labels: Any) -> str:
        answer = Heard((Sample(tuple(sorted(labels.items())), 1.0, "1"),))
        return Rounds(rule())(0, answer).signals[0].fingerprint

    assert fingerprint(a='x", "b": "y') != fingerprint(a="x", b="y")
