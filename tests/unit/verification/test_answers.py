"""What Prometheus answers is proof only when it is one fresh number about a workload that is asked enough."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.recovery import AlertClearedCheck, PrometheusCheck
from stanch.prometheus.samples import QueryFailed, Reason, Sample, Samples
from stanch.verification.answers import Heard, age_of, alert_reading, prometheus_reading
from stanch.verification.reading import Answer, Reading
from tests.unit.verification.looks import SINCE

NOW = SINCE
SELECTOR = 'requests_total{app="llm"}'
DOWN = QueryFailed(
    Reason.UNREACHABLE, "Prometheus cannot be reached, Connection refused; see --prometheus-url"
)


def number(text: str, **labels: str) -> Sample:
    return Sample(tuple(sorted(labels.items())), float(text), text)


def clock(ahead: float = 0.0) -> Samples:
    return (number(str(NOW.timestamp() + ahead)),)


def check(**more: Any) -> PrometheusCheck:
    return PrometheusCheck.model_validate({"query": "q", "operator": "lt", "value": "0.01", **more})


def heard(*result: Sample | QueryFailed, **more: Any) -> Heard:
    first = result[0] if result and isinstance(result[0], QueryFailed) else None
    samples = tuple(one for one in result if isinstance(one, Sample))
    return Heard(**{"result": first or samples, "time": clock(), "at": NOW, **more})


def read(rule: PrometheusCheck, what: Heard) -> Reading:
    return prometheus_reading(rule, what, NOW)


def test_a_number_below_the_threshold_holds() -> None:
    reading = read(check(), heard(number("0.004")))
    assert (reading.answer, reading.message, reading.value) == (Answer.HOLDS, "0.004 < 0.01", "0.004")
    assert reading.at == NOW


def test_one_that_is_not_fails() -> None:
    reading = read(check(), heard(number("0.3")))
    assert (reading.answer, reading.message, reading.value) == (Answer.FAILS, "0.3 is not < 0.01", "0.3")


@pytest.mark.parametrize(
    ("result", "answer", "reason"),
    [
        ([], Answer.UNKNOWN, "NoData"),
        ([number("NaN")], Answer.UNKNOWN, "NotANumber"),
        ([number("+Inf")], Answer.UNKNOWN, "Infinite"),
        ([number("-Inf")], Answer.UNKNOWN, "Infinite"),
        ([number("0", pod="a"), number("0", pod="b")], Answer.UNKNOWN, "SeveralSeries"),
        ([QueryFailed(Reason.UNREACHABLE, "down")], Answer.BROKEN, "PrometheusUnreachable"),
        ([QueryFailed(Reason.TIMEOUT, "hung")], Answer.BROKEN, "Timeout"),
        ([QueryFailed(Reason.BAD_QUERY, "400")], Answer.BROKEN, "BadQuery"),
        ([QueryFailed(Reason.UNAUTHORIZED, "401")], Answer.BROKEN, "Unauthorized"),
        ([QueryFailed(Reason.SERVER_ERROR, "502")], Answer.BROKEN, "ServerError"),
        ([QueryFailed(Reason.NOT_PROMETHEUS, "404")], Answer.BROKEN, "NotPrometheus"),
    ],
)
def test_whatever_is_no_number_is_not_known(result: list[Any], answer: Answer, reason: str) -> None:
    reading = read(check(), heard(*result))
    assert (reading.answer, reading.reason) == (answer, reason)
    assert reading.message


@pytest.mark.parametrize(
    ("more", "result", "answer"),
    [
        ({"onNoData": "Failed"}, [], Answer.FAILS),
        ({"onNaN": "Failed"}, [], Answer.UNKNOWN),
        ({"onNaN": "Failed"}, [number("NaN")], Answer.FAILS),
        ({"onNaN": "Failed"}, [number("-Inf")], Answer.FAILS),
        ({"onNoData": "Failed"}, [number("NaN")], Answer.UNKNOWN),
        ({"onNoData": "Failed", "onNaN": "Failed"}, [DOWN], Answer.BROKEN),
    ],
)
def test_what_is_not_known_may_count_as_failed(
    more: dict[str, str], result: list[Any], answer: Answer
) -> None:
    assert read(check(**more), heard(*result)).answer is answer


@pytest.mark.parametrize(
    ("age", "answer", "reason"),
    [
        ((number("15"),), Answer.HOLDS, "Holds"),
        ((number("120"),), Answer.HOLDS, "Holds"),
        ((number("121"),), Answer.UNKNOWN, "Stale"),
        ((), Answer.UNKNOWN, "NoData"),
        ((number("NaN"),), Answer.UNKNOWN, "NoData"),
        ((number("-31"),), Answer.BROKEN, "ClockSkew"),
        (DOWN, Answer.BROKEN, "PrometheusUnreachable"),
    ],
)
def test_the_series_it_lives_on_have_to_be_fresh(age: Any, answer: Answer, reason: str) -> None:
    reading = read(check(metrics=[SELECTOR]), heard(number("0"), ages={SELECTOR: age}))
    assert (reading.answer, reading.reason) == (answer, reason)


def test_a_series_that_was_not_asked_about_is_not_there() -> None:
    assert read(check(metrics=[SELECTOR]), heard(number("0"))).reason == "NoData"


def test_stale_series_are_not_known_even_where_no_data_is_a_failure() -> None:
    rule = check(metrics=[SELECTOR], onNoData="Failed")
    assert read(rule, heard(ages={SELECTOR: ()})).answer is Answer.UNKNOWN


@pytest.mark.parametrize(
    ("traffic", "answer", "reason"),
    [
        ((number("100"),), Answer.HOLDS, "Holds"),
        ((number("99.9"),), Answer.UNKNOWN, "TooFewRequests"),
        ((number("0"),), Answer.UNKNOWN, "TooFewRequests"),
        ((number("NaN"),), Answer.UNKNOWN, "TooFewRequests"),
        ((number("+Inf"),), Answer.UNKNOWN, "TooFewRequests"),
        ((), Answer.UNKNOWN, "TooFewRequests"),
        ((number("100", pod="a"), number("100", pod="b")), Answer.UNKNOWN, "TooFewRequests"),
        (None, Answer.UNKNOWN, "TooFewRequests"),
        (QueryFailed(Reason.BAD_QUERY, "400"), Answer.BROKEN, "BadQuery"),
    ],
)
def test_a_workload_that_nobody_asks_proves_nothing(traffic: Any, answer: Answer, reason: str) -> None:
    rule = check(traffic={"query": "asked", "atLeast": "100"})
    reading = read(rule, heard(number("0"), traffic=traffic))
    assert (reading.answer, reading.reason) == (answer, reason)


@pytest.mark.parametrize("ahead", [31, -31, 3600.0, -86400.0])
def test_a_clock_that_differs_leaves_open_what_is_new(ahead: float) -> None:
    reading = read(check(), heard(number("0"), time=clock(ahead)))
    assert (reading.answer, reading.reason) == (Answer.BROKEN, "ClockSkew")
    assert ("ahead of" if ahead > 0 else "behind") in reading.message


@pytest.mark.parametrize("ahead", [29, -29])
def test_one_that_differs_a_little_does_not(ahead: float) -> None:
    assert read(check(), heard(number("0"), time=clock(ahead))).answer is Answer.HOLDS


@pytest.mark.parametrize("time", [(), (number("NaN"),), DOWN])
def test_without_a_clock_nothing_is_known(time: Any) -> None:
    assert read(check(), heard(number("0"), time=time)).answer is Answer.BROKEN


def test_the_age_is_that_of_the_newest_sample() -> None:
    assert age_of(SELECTOR) == f"time() - max(timestamp({SELECTOR}))"


@pytest.mark.parametrize("selector", ["rate(x[5m])", "x offset 1d", "x @ 0", "vector(1)", "x) or (y", ""])
def test_what_is_no_selector_is_refused_as_it_would_always_be_fresh(selector: str) -> None:
    with pytest.raises(ValueError, match="metrics"):
        check(metrics=[selector])


@pytest.mark.parametrize("selector", ["up", "job:x:rate5m", 'x{a="}",b=~"c|\\"d"}', "x{}"])
def test_every_selector_of_a_metric_may_be_named(selector: str) -> None:
    assert check(metrics=[selector]).metrics == (selector,)


@given(
    result=st.lists(st.floats().map(lambda value: number(repr(value).replace("inf", "Inf"))), max_size=2),
    age=st.floats(allow_nan=True),
    asked=st.floats(allow_nan=True),
    ahead=st.floats(-100, 100),
)
def test_it_holds_only_by_one_finite_number_that_is_fresh(
    result: list[Sample], age: float, asked: float, ahead: float
) -> None:
    rule = check(metrics=[SELECTOR], traffic={"query": "asked", "atLeast": "100"})
    what = heard(
        *result,
        ages={SELECTOR: (number(repr(age)),)},
        traffic=(number(repr(asked)),),
        time=clock(ahead),
    )
    holds = read(rule, what).answer is Answer.HOLDS
    fit = abs(ahead) < 30 - 1e-3 and -30 <= age <= 120 and 100 <= asked < float("inf")
    good = len(result) == 1 and float("-inf") < result[0].value < 0.01
    if holds:
        assert good
        assert -30 <= age <= 120
        assert 100 <= asked < float("inf")
        assert abs(ahead) < 30 + 1e-3
    elif fit:
        assert not good


CLEARED = AlertClearedCheck.model_validate({"matchers": ['alertname="Toxic"', 'namespace=~"chat|talk"']})


def alert(name: str, namespace: str = "chat", text: str = "1") -> Sample:
    return number(text, __name__="ALERTS", alertstate="firing", alertname=name, namespace=namespace)


def test_no_alert_that_matches_is_firing() -> None:
    answers = heard(alert("Toxic", "other"), alert("Slow"), alert("Toxic", text="0"))
    reading = alert_reading(CLEARED, answers, NOW)
    assert (reading.answer, reading.reason) == (Answer.HOLDS, "NotFiring")


def test_one_that_matches_is() -> None:
    reading = alert_reading(CLEARED, heard(alert("Slow"), alert("Toxic", "talk")), NOW)
    assert (reading.answer, reading.reason) == (Answer.FAILS, "AlertFiring")
    assert reading.message == "firing: Toxic"


def test_an_alert_of_hostile_length_is_told_shortly() -> None:
    rule = AlertClearedCheck.model_validate({"matchers": ['namespace="chat"']})
    reading = alert_reading(rule, heard(*(alert(f"{index}" + "x" * 5000) for index in range(9))), NOW)
    assert reading.answer is Answer.FAILS
    assert len(reading.message) < 400
    assert reading.message.endswith("and 6 more")


@pytest.mark.parametrize(
    "what",
    [
        heard(DOWN),
        heard(time=DOWN),
        heard(time=()),
        heard(time=clock(-3600)),
        Heard((), clock(), NOW + timedelta(hours=1)),
    ],
    ids=["down", "no clock", "empty clock", "behind", "our clock is ahead"],
)
def test_no_alerts_of_a_prometheus_that_is_not_right_are_no_sign(what: Heard) -> None:
    assert alert_reading(CLEARED, what, NOW).answer is Answer.BROKEN


def test_a_matcher_that_cannot_be_read_clears_nothing() -> None:
    rule = AlertClearedCheck.model_validate({"matchers": ['alertname=~"("']})
    reading = alert_reading(rule, heard(), NOW)
    assert (reading.answer, reading.reason) == (Answer.BROKEN, "BadMatcher")
