"""What Prometheus' answers mean for a check. Pure.

Only an answer that is one number, of now, made of samples that are fresh, about a workload that is asked
enough, holds. Everything else is not known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stanch.api.schema import seconds
from stanch.api.v1alpha1.recovery import OnUnknown
from stanch.prometheus.firing import own_labels
from stanch.prometheus.matchers import Unreadable, matches_all, parse
from stanch.prometheus.samples import QueryFailed, Reason, Verdict, verdict
from stanch.verification.reading import Answer, Reading
from stanch.verification.words import SIGNS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from stanch.api.v1alpha1.recovery import AlertClearedCheck, PrometheusCheck
    from stanch.prometheus.samples import Samples

TIME = "time()"
MOST_SKEW = 30.0
"""Seconds that Prometheus' clock may differ from ours: which samples are new is not known beyond."""
NOT_CONFIGURED = "there is no Prometheus to ask; set --prometheus-url"
_REASONS = {Reason.UNREACHABLE: "PrometheusUnreachable"}
_SHOWN = 3
_MOST_NAME = 100


@dataclass(frozen=True, slots=True)
class Heard:
    """What Prometheus answered to all that one look asks."""

    result: Samples | QueryFailed
    time: Samples | QueryFailed
    """To `time()`: what its clock says."""
    at: datetime
    """What ours said meanwhile."""
    ages: Mapping[str, Samples | QueryFailed] = field(default_factory=dict)
    """To `age_of`, by selector."""
    traffic: Samples | QueryFailed | None = None


def age_of(selector: str) -> str:
    """The query for the age in seconds of the newest sample of a selector's series."""
    return f"time() - max(timestamp({selector}))"


def broken(failed: QueryFailed, at: datetime) -> Reading:
    return Reading(Answer.BROKEN, _REASONS.get(failed.reason, failed.reason.value), failed.message, at)


def prometheus_reading(check: PrometheusCheck, heard: Heard, at: datetime) -> Reading:
    """`at`: when the look began."""
    return _unanswered(heard, at) or _unfit(check, heard, at) or _compared(check, heard, at)


def alert_reading(check: AlertClearedCheck, heard: Heard, at: datetime) -> Reading:
    """`heard.result`: all alerts that fire. No matcher is ever part of a query."""
    unanswered = _unanswered(heard, at)
    if unanswered is not None:
        return unanswered
    if isinstance(heard.result, QueryFailed):
        return broken(heard.result, at)
    try:
        matchers = [parse(text) for text in check.matchers]
    except Unreadable as error:
        return Reading(Answer.BROKEN, "BadMatcher", f"a matcher cannot be read: {error}", at)
    alerts = (dict(own_labels(one.labels)) for one in heard.result if one.value == 1)
    firing = [
        labels.get("alertname", "an alert")[:_MOST_NAME] for labels in alerts if matches_all(matchers, labels)
    ]
    if not firing:
        return Reading(Answer.HOLDS, "NotFiring", "no alert that matches is firing", at)
    names = sorted(set(firing))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return Reading(
        Answer.FAILS, "AlertFiring", f"firing: {', '.join(names[:_SHOWN])}{more}", at, str(len(firing))
    )


def _unanswered(heard: Heard, at: datetime) -> Reading | None:
    """Whatever of it could not be asked, or was answered by a clock that is not ours."""
    for answer in (heard.result, heard.time, *heard.ages.values(), heard.traffic):
        if isinstance(answer, QueryFailed):
            return broken(answer, at)
    clock = _number(heard.time)
    if clock is None:
        return Reading(Answer.BROKEN, "NotPrometheus", f"{TIME} is answered with no number", at)
    skew = clock - heard.at.timestamp()
    if abs(skew) <= MOST_SKEW:
        return None
    message = (
        f"Prometheus' clock is {abs(skew):.0f}s {'ahead of' if skew > 0 else 'behind'} the operator's, so "
        "that it cannot be said which samples are new; set both right"
    )
    return Reading(Answer.BROKEN, "ClockSkew", message, at)


def _unfit(check: PrometheusCheck, heard: Heard, at: datetime) -> Reading | None:
    """Why the value would mean nothing: samples that are missing or old, or nobody who asks."""
    for selector in check.metrics:
        age = _number(heard.ages.get(selector, ()))
        if age is None:
            return Reading(Answer.UNKNOWN, "NoData", f"there is no sample of {selector}", at)
        if age > seconds(check.max_staleness):
            message = f"the newest sample of {selector} is {age:.0f}s old, more than {check.max_staleness}"
            return Reading(Answer.UNKNOWN, "Stale", message, at)
        if age < -MOST_SKEW:
            message = f"the newest sample of {selector} is {-age:.0f}s ahead of Prometheus' clock"
            return Reading(Answer.BROKEN, "ClockSkew", message, at)
    if check.traffic is None:
        return None
    asked = _number(heard.traffic or ())
    if asked is not None and asked >= float(check.traffic.at_least):
        return None
    count = "no number" if asked is None else f"{asked:g}"
    message = f"{count} of {check.traffic.at_least} requests that traffic asks for"
    return Reading(Answer.UNKNOWN, "TooFewRequests", message, at)


def _compared(check: PrometheusCheck, heard: Heard, at: datetime) -> Reading:
    samples = heard.result
    if isinstance(samples, QueryFailed):
        return broken(samples, at)
    if not samples:
        answer = _unknown(check.on_no_data)
        return Reading(answer, "NoData", "the query gives no series", at)
    if len(samples) > 1:
        message = f"the query gives {len(samples)} series; sum or narrow it until it gives one"
        return Reading(Answer.UNKNOWN, "SeveralSeries", message, at)
    (sample,) = samples
    if not math.isfinite(sample.value):
        reason = "NotANumber" if math.isnan(sample.value) else "Infinite"
        message = f"the query gives {sample.text}, which compares to nothing"
        return Reading(_unknown(check.on_na_n), reason, message, at, sample.text)
    threshold = f"{SIGNS[check.operator]} {check.value}"
    if verdict(sample, check) is Verdict.TRUE:
        return Reading(Answer.HOLDS, "Holds", f"{sample.text} {threshold}", at, sample.text)
    return Reading(Answer.FAILS, "Fails", f"{sample.text} is not {threshold}", at, sample.text)


def _unknown(wanted: OnUnknown) -> Answer:
    return Answer.FAILS if wanted is OnUnknown.FAILED else Answer.UNKNOWN


def _number(samples: Samples | QueryFailed) -> float | None:
    """The one finite number that there is."""
    if isinstance(samples, QueryFailed) or len(samples) != 1 or not math.isfinite(samples[0].value):
        return None
    return samples[0].value
