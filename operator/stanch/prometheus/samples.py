"""What Prometheus answers to a query, parsed, and how one sample compares. Pure.

https://prometheus.io/docs/prometheus/latest/querying/api/#expression-query-result-formats
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from stanch.api.v1alpha1.scalars import Operator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stanch.api.v1alpha1.scalars import Comparison

MOST_SERIES = 1000
_MOST_WORDS = 300

Labels = tuple[tuple[str, str], ...]
"""Sorted by name: the identity of a series."""


class Reason(StrEnum):
    """Why there is no answer."""

    UNREACHABLE = "Unreachable"
    TIMEOUT = "Timeout"
    BAD_QUERY = "BadQuery"
    UNAUTHORIZED = "Unauthorized"
    SERVER_ERROR = "ServerError"
    NOT_PROMETHEUS = "NotPrometheus"


class QueryFailed(Exception):
    """Nothing is known: neither that a condition holds nor that it does not. `message` has what to do."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Sample:
    """One series at one moment. `text` is the value as Prometheus writes it: `0.3`, `NaN`, `+Inf`."""

    labels: Labels
    value: float
    text: str


Samples = tuple[Sample, ...]


class _Point(NamedTuple):
    time: float
    value: Annotated[str, Field(pattern=r"^(NaN|[+-]?Inf|[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?)$")]


class _Vector(BaseModel):
    model_config = ConfigDict(frozen=True)

    metric: dict[str, str]
    value: _Point | None = None
    """None: a native histogram."""


class _Data(BaseModel):
    result_type: str = Field(alias="resultType")
    result: Any


class _Answer(BaseModel):
    status: str
    data: _Data | None = None
    error_type: str = Field(default="", alias="errorType")
    error: str = ""


_VECTOR = TypeAdapter(tuple[_Vector, ...])
_SCALAR = TypeAdapter(_Point)


def judge(status: int, body: bytes) -> None:
    """Raises QueryFailed unless this is Prometheus' answer to a query that gives a vector or a scalar."""
    try:
        answer = _Answer.model_validate_json(body)
    except ValidationError:
        answer = None
    if status != HTTPStatus.OK:
        raise _refusal(status, answer)
    if answer is None or answer.status != "success" or answer.data is None:
        raise not_prometheus("the answer is none of Prometheus' query API")
    if answer.data.result_type not in {"vector", "scalar"}:
        raise QueryFailed(
            Reason.BAD_QUERY,
            f"the query gives a {_words(answer.data.result_type)}; write one that gives an instant vector or "
            "a scalar, such as rate(…[5m]) of a range",
        )


def _refusal(status: int, answer: _Answer | None) -> QueryFailed:
    """`answer`: what Prometheus itself says, where it is Prometheus that answers."""
    said = f"HTTP {status}{': ' + _words(answer.error) if answer and answer.error else ''}"
    match status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            reason, message = (
                Reason.UNAUTHORIZED,
                f"Prometheus refuses the operator, {said}; see --prometheus-token-file",
            )
        case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY if answer is not None:
            if status == HTTPStatus.UNPROCESSABLE_ENTITY:
                # What follows the brace are labels of whichever series came first: others every time.
                said = said.split("{", maxsplit=1)[0].rstrip()
            reason, message = (
                Reason.BAD_QUERY,
                f"Prometheus refuses the query, {said}; try it in its web interface",
            )
        case HTTPStatus.SERVICE_UNAVAILABLE if answer is not None and answer.error_type == "timeout":
            return timed_out()
        case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            reason, message = (
                Reason.SERVER_ERROR,
                f"Prometheus cannot answer, {said}; see its log, and that of what stands before it",
            )
        case _ if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            return not_prometheus(
                f"redirected, {said}, which is not followed: the token is for one address only"
            )
        case _:
            return not_prometheus(f"no query API there, {said}")
    return QueryFailed(reason, message)


def not_prometheus(what: str) -> QueryFailed:
    return QueryFailed(
        Reason.NOT_PROMETHEUS,
        f"{what}; set --prometheus-url to the address below which Prometheus serves /api/v1/query",
    )


def timed_out() -> QueryFailed:
    return QueryFailed(
        Reason.TIMEOUT,
        "no answer in time; make the query cheaper with a recording rule, or raise "
        "--prometheus-timeout-seconds",
    )


def _words(text: str) -> str:
    """A server's words, fit for one line of a status."""
    printable = "".join(each if each.isprintable() else " " for each in text)
    return printable if len(printable) <= _MOST_WORDS else printable[: _MOST_WORDS - 1] + "…"


def parse(result: object, *, most: int = MOST_SERIES) -> Samples:
    """The `result` of a vector or of a scalar, which is a sample without labels. Raises QueryFailed."""
    if isinstance(result, list) and len(result) > most:
        raise QueryFailed(
            Reason.BAD_QUERY, f"more than {most} series; sum or narrow the query until it gives fewer"
        )
    try:
        if isinstance(result, list) and result and not isinstance(result[0], dict):
            return (_sample((), _SCALAR.validate_python(result)),)
        series = _VECTOR.validate_python(result)
    except ValidationError as error:
        raise not_prometheus("the samples of the answer cannot be read") from error
    samples = tuple(_sample(tuple(sorted(one.metric.items())), one.value) for one in series)
    if len({one.labels for one in samples}) < len(samples):
        raise not_prometheus("two samples of the answer have the same labels, as Prometheus never answers")
    return samples


def _sample(labels: Labels, point: _Point | None) -> Sample:
    if point is None:
        raise QueryFailed(
            Reason.BAD_QUERY,
            "the query gives histograms; write one that gives numbers, such as histogram_quantile(0.99, …)",
        )
    return Sample(labels, float(point.value), point.value)


class Verdict(StrEnum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


_COMPARE: Mapping[Operator, Callable[[float, float], bool]] = {
    Operator.GT: operator.gt,
    Operator.GE: operator.ge,
    Operator.LT: operator.lt,
    Operator.LE: operator.le,
    Operator.EQ: operator.eq,
    Operator.NE: operator.ne,
}


def verdict(sample: Sample, comparison: Comparison) -> Verdict:
    """NaN is no number: it compares to nothing, not even by `ne`. An infinity is one."""
    if math.isnan(sample.value):
        return Verdict.UNKNOWN
    holds = _COMPARE[comparison.operator](sample.value, float(comparison.value))
    return Verdict.TRUE if holds else Verdict.FALSE
