"""Whatever Prometheus answers, in whatever order: nothing fires that was not seen to be true for so long."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.policy import PrometheusTrigger, TriggerState
from stanch.kube.resources import CONTAINMENTPOLICIES, ObjectRef
from stanch.prometheus.samples import QueryFailed, Reason, Sample
from stanch.signals.model import Signal, TriggerRef
from stanch.signals.prometheus.triggers import NOTHING, Evaluated, Heard, Moment, Rule, evaluate

REF = TriggerRef(ObjectRef(CONTAINMENTPOLICIES, "chat", "guard"), "drift")
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GAP = 40.0
PODS = ("a", "b")

values = st.sampled_from([0.0, 1.0, math.nan, math.inf, -math.inf])
vectors = st.dictionaries(st.sampled_from(PODS), values).map(
    lambda given: tuple(Sample((("pod", pod),), value, str(value)) for pod, value in given.items())
)
answers = st.one_of(
    st.builds(Heard, vectors, st.sampled_from([(), (), (), ("up",)])),
    st.builds(QueryFailed, st.sampled_from(Reason), st.just("no")),
)
histories = st.lists(st.tuples(st.sampled_from([5, 15, 30, 50]), answers), max_size=30)
durations = st.sampled_from([0, 15, 40, 60])


class History:
    def __init__(self, for_: int, rounds: list[tuple[int, Heard | QueryFailed]]) -> None:
        spec = {"query": "q", "operator": "gt", "value": "0.5", "for": f"{for_}s"}
        rule = Rule(REF, PrometheusTrigger.model_validate(spec))
        self.rounds: list[tuple[int, Heard | QueryFailed, Evaluated]] = []
        watch, second = NOTHING, 0
        for passed, answer in rounds:
            second += passed
            now = Moment(START + timedelta(seconds=second), float(second))
            evaluated = evaluate(rule, watch, answer, now, GAP)
            watch = evaluated.watch
            self.rounds.append((second, answer, evaluated))


def truth(answer: Heard | QueryFailed, pod: str) -> bool | None:
    """None: not known."""
    if isinstance(answer, QueryFailed) or (answer.absent and answer.samples):
        return None
    value = next((one.value for one in answer.samples if dict(one.labels)["pod"] == pod), None)
    return None if value is not None and math.isnan(value) else value is not None and value > 0.5


@given(durations, histories)
def test_a_signal_says_only_what_was_seen_in_its_own_round(
    for_: int, rounds: list[tuple[int, Heard | QueryFailed]]
) -> None:
    for _, answer, evaluated in History(for_, rounds).rounds:
        for signal in evaluated.signals:
            seen = truth(answer, signal.labels["pod"])
            assert seen is not None
            assert seen or not signal.firing


@given(durations, histories)
def test_the_duration_is_never_shorter_than_asked_and_nothing_in_it_is_unknown(
    for_: int, rounds: list[tuple[int, Heard | QueryFailed]]
) -> None:
    history = History(for_, rounds).rounds
    firings: set[tuple[str, datetime]] = set()
    for place, (second, _, evaluated) in enumerate(history):
        for signal in (one for one in evaluated.signals if one.firing):
            firing = (signal.fingerprint, signal.starts_at)
            if firing in firings:
                continue
            firings.add(firing)
            began = (signal.starts_at - START).total_seconds()
            assert second - began >= for_
            within = [one for one in history[: place + 1] if one[0] >= began]
            assert within[0][0] == began
            assert all(truth(answer, signal.labels["pod"]) is True for _, answer, _ in within)


@given(durations, histories)
def test_resolved_comes_once_and_only_after_firing(
    for_: int, rounds: list[tuple[int, Heard | QueryFailed]]
) -> None:
    open_: dict[str, datetime] = {}
    for _, _, evaluated in History(for_, rounds).rounds:
        for signal in evaluated.signals:
            if signal.firing:
                assert open_.setdefault(signal.fingerprint, signal.starts_at) == signal.starts_at
            else:
                assert open_.pop(signal.fingerprint) == signal.starts_at


@given(durations, st.lists(st.builds(QueryFailed, st.sampled_from(Reason), st.just("no")), min_size=1))
def test_errors_alone_are_silent_and_say_so(for_: int, failures: list[QueryFailed]) -> None:
    for _, _, evaluated in History(for_, [(15, failed) for failed in failures]).rounds:
        assert evaluated.signals == ()
        assert evaluated.standing.state == TriggerState.ERROR


@given(histories)
def test_what_is_true_at_every_round_fires_when_its_time_has_come(
    rounds: list[tuple[int, Heard | QueryFailed]],
) -> None:
    fine = Heard((Sample((("pod", "a"),), 1.0, "1"),))
    history = History(30, [*rounds, (15, fine), (15, fine), (15, fine)])
    last = history.rounds[-1][2]
    assert [one.labels["pod"] for one in last.signals if one.firing] == ["a"]


def test_the_properties_are_about_something() -> None:
    fine = Heard((Sample((("pod", "a"),), 1.0, "1"),))
    history = History(15, [(15, fine), (15, fine), (15, Heard())])
    signals: list[Signal] = [one for _, _, evaluated in history.rounds for one in evaluated.signals]
    assert [one.firing for one in signals] == [True, False]
