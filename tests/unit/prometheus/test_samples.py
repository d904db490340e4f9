"""What Prometheus answers is parsed strictly, and what is no number compares to nothing."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.scalars import Comparison, Operator
from stanch.prometheus.samples import (
    MOST_SERIES,
    QueryFailed,
    Reason,
    Sample,
    Verdict,
    judge,
    parse,
    verdict,
)

AT = 1735787045.123


def body(kind: str = "vector", result: Any = ()) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()


def refused(kind: str, words: str) -> bytes:
    return json.dumps({"status": "error", "errorType": kind, "error": words}).encode()


def series(value: str = "1", **labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [AT, value]}


def compared(value: float, operator: Operator, threshold: str) -> Verdict:
    return verdict(Sample((), value, str(value)), Comparison(operator=operator, value=threshold))


@pytest.mark.parametrize(
    ("text", "value"), [("0.3", 0.3), ("+Inf", math.inf), ("-Inf", -math.inf), ("1e+06", 1e6)]
)
def test_values_as_prometheus_writes_them(text: str, value: float) -> None:
    assert parse([series(text, pod="llm-0", app="llm")]) == (
        Sample((("app", "llm"), ("pod", "llm-0")), value, text),
    )
    assert parse([AT, text]) == (Sample((), value, text),)


def test_nan_is_kept_as_what_it_is() -> None:
    (sample,) = parse([series("NaN")])
    assert math.isnan(sample.value)
    assert sample.text == "NaN"


def test_an_empty_vector_is_an_answer() -> None:
    assert parse([]) == ()


@pytest.mark.parametrize(
    "result",
    [
        None,
        {},
        "7",
        [series("seven")],
        [series("0x7")],
        [series("1_000")],
        [series(" 7")],
        [series("")],
        [{"metric": {"a": 1}, "value": [AT, "1"]}],
        [{"metric": {}, "value": [AT]}],
        [{"value": [AT, "1"]}],
        [series(), 7],
        [AT, "seven"],
        [AT, "7", "8"],
        [[AT, "7"]],
    ],
)
def test_what_prometheus_does_not_answer_is_no_answer(result: Any) -> None:
    with pytest.raises(QueryFailed) as failed:
        parse(result)
    assert failed.value.reason == Reason.NOT_PROMETHEUS


def test_two_values_for_one_series_are_no_answer() -> None:
    with pytest.raises(QueryFailed, match="the same labels"):
        parse([series("1", a="x", b="y"), {"metric": {"b": "y", "a": "x"}, "value": [AT, "2"]}])


def test_histograms_are_not_compared() -> None:
    with pytest.raises(QueryFailed, match="BadQuery: the query gives histograms") as failed:
        parse([{"metric": {}, "histogram": [AT, {"count": "1", "sum": "1"}]}])
    assert "histogram_quantile" in failed.value.message


def test_the_number_of_series_is_bounded() -> None:
    most = [series(pod=str(number)) for number in range(MOST_SERIES)]
    assert len(parse(most)) == MOST_SERIES
    with pytest.raises(QueryFailed, match="BadQuery: more than 1000 series"):
        parse([*most, series(pod="one more")])
    assert len(parse([*most, series(pod="one more")], most=2000)) == MOST_SERIES + 1


@pytest.mark.parametrize("kind", ["vector", "scalar"])
def test_what_can_be_compared_passes(kind: str) -> None:
    judge(200, body(kind))


@pytest.mark.parametrize(
    ("status", "answer", "reason", "words"),
    [
        (200, body("matrix"), Reason.BAD_QUERY, "gives a matrix"),
        (200, body("string"), Reason.BAD_QUERY, "gives a string"),
        (200, b"<html>", Reason.NOT_PROMETHEUS, "--prometheus-url"),
        (200, b"{}", Reason.NOT_PROMETHEUS, "--prometheus-url"),
        (200, b'{"status": "success"}', Reason.NOT_PROMETHEUS, "--prometheus-url"),
        (200, b"[" * 100_000, Reason.NOT_PROMETHEUS, "--prometheus-url"),
        (200, refused("bad_data", "no"), Reason.NOT_PROMETHEUS, "--prometheus-url"),
        (204, b"", Reason.NOT_PROMETHEUS, "HTTP 204"),
        (302, b"", Reason.NOT_PROMETHEUS, "not followed"),
        (400, b"plain HTTP to a TLS port", Reason.NOT_PROMETHEUS, "HTTP 400"),
        (400, refused("bad_data", "1:5: parse error"), Reason.BAD_QUERY, "HTTP 400: 1:5: parse error"),
        (401, b"", Reason.UNAUTHORIZED, "--prometheus-token-file"),
        (403, b"no", Reason.UNAUTHORIZED, "HTTP 403"),
        (404, b"404 page not found", Reason.NOT_PROMETHEUS, "HTTP 404"),
        (422, refused("execution", "many-to-many"), Reason.BAD_QUERY, "many-to-many"),
        (429, b"", Reason.SERVER_ERROR, "HTTP 429"),
        (500, b"", Reason.SERVER_ERROR, "HTTP 500"),
        (503, b"<html>", Reason.SERVER_ERROR, "HTTP 503"),
        (503, refused("timeout", "query timed out"), Reason.TIMEOUT, "--prometheus-timeout-seconds"),
        (599, refused("internal", "panic"), Reason.SERVER_ERROR, "HTTP 599: panic"),
    ],
)
def test_every_other_answer_has_a_reason_and_says_what_to_do(
    status: int, answer: bytes, reason: Reason, words: str
) -> None:
    with pytest.raises(QueryFailed) as failed:
        judge(status, answer)
    assert failed.value.reason == reason
    assert words in failed.value.message


def test_labels_of_whichever_series_came_first_are_left_out() -> None:
    said = {
        f'found duplicate series for the match group {{pod="{pod}"}} on the right: [{{pod="{pod}"}}]'
        for pod in ("llm-0", "llm-1")
    }
    told = set()
    for words in said:
        with pytest.raises(QueryFailed) as failed:
            judge(422, refused("execution", words))
        told.add(failed.value.message)
    assert len(told) == 1


def test_a_server_cannot_make_the_status_long_or_multi_line() -> None:
    with pytest.raises(QueryFailed) as failed:
        judge(400, refused("bad_data", "\x1b[31m\n" * 10_000))
    assert len(failed.value.message) < 500
    assert failed.value.message.isprintable()


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        (0.3, {"gt", "ge", "ne"}),
        (0.2, {"ge", "le", "eq"}),
        (0.1, {"lt", "le", "ne"}),
        (math.inf, {"gt", "ge", "ne"}),
        (-math.inf, {"lt", "le", "ne"}),
    ],
)
def test_comparisons(value: float, holds: set[str]) -> None:
    true = {each.value for each in Operator if compared(value, each, "0.2") is Verdict.TRUE}
    false = {each.value for each in Operator if compared(value, each, "0.2") is Verdict.FALSE}
    assert true == holds
    assert true | false == set(Operator)


@given(operator=st.sampled_from(Operator), threshold=st.decimals(-1000, 1000, places=3))
def test_nan_compares_to_nothing_whatever_is_asked(operator: Operator, threshold: object) -> None:
    assert compared(math.nan, operator, str(threshold)) is Verdict.UNKNOWN


@given(st.binary(max_size=200), st.integers(200, 599))
def test_no_bytes_are_taken_for_an_answer(answer: bytes, status: int) -> None:
    with pytest.raises(QueryFailed):
        judge(status, answer)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["metric", "value", "a"]), inner)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_samples_or_a_failure(result: Any) -> None:
    try:
        samples = parse(result)
    except QueryFailed:
        return
    assert all(isinstance(one.value, float) for one in samples)
