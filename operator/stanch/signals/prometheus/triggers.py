"""One PromQL trigger from round to round: which of its series fire, and what its status says. Pure.

What is not known is neither true nor false. While a query fails or a series is NaN, nothing begins to fire,
nothing is resolved, and what was on its way to firing starts again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from stanch.api.schema import seconds
from stanch.api.v1alpha1.policy import TriggerState
from stanch.api.v1alpha1.scalars import Operator
from stanch.prometheus.samples import Labels, QueryFailed, Verdict, verdict
from stanch.signals.model import Signal

if TYPE_CHECKING:
    from datetime import datetime

    from stanch.api.v1alpha1.policy import PrometheusTrigger
    from stanch.prometheus.samples import Sample, Samples
    from stanch.signals.model import TriggerRef

OUTAGE_SECONDS = 3600.0
"""What fires is the same firing after so long without an answer, as in Prometheus: its
`--rules.alert.for-outage-tolerance`."""

_SIGNS = {
    Operator.GT: ">",
    Operator.GE: ">=",
    Operator.LT: "<",
    Operator.LE: "<=",
    Operator.EQ: "==",
    Operator.NE: "!=",
}


class Moment(NamedTuple):
    """A time for people, and the seconds of a clock that nobody sets, which durations are measured with."""

    at: datetime
    seconds: float


@dataclass(frozen=True, slots=True)
class Rule:
    """A trigger with its query. Another rule under the same name begins from nothing."""

    ref: TriggerRef
    spec: PrometheusTrigger
    url: str = ""
    """Of the query's graph, for people."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A series that has compared true since `since`; `seen` is when it was last found to, as of Moment."""

    since: Moment
    seen: float
    firing: bool


Watch = Mapping[Labels, Watched]
NOTHING: Watch = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer. `absent`: those of the trigger's `metrics` that have no series."""

    samples: Samples = ()
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """What the trigger's status says: no figure that differs from round to round."""

    state: TriggerState
    message: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """`signals`: every series that fires, and once each that no longer does."""

    watch: Watch
    signals: tuple[Signal, ...]
    standing: Standing


def evaluate(rule: Rule, before: Watch, answer: Heard | QueryFailed, now: Moment, gap: float) -> Evaluated:
    """One round. A series that nobody looked at for more than `gap` seconds was not true all the time."""
    if isinstance(answer, QueryFailed):
        return _nothing_known(before, Standing(TriggerState.ERROR, str(answer)))
    if answer.absent and answer.samples:
        # Such as `sum(absent) or vector(0)`: an answer about nothing.
        return _nothing_known(before, _inactive(answer))
    watch = {
        sample.labels: watched
        for sample in answer.samples
        if (watched := _watched(rule, before.get(sample.labels), sample, now, gap)) is not None
    }
    values = {
        sample.labels: sample for sample in answer.samples if verdict(sample, rule.spec) is Verdict.TRUE
    }
    fires = [
        _signal(rule, labels, one, values[labels].text)
        for labels, one in watch.items()
        if one.firing and labels in values
    ]
    over = [
        _signal(rule, labels, was, None)
        for labels, was in before.items()
        if was.firing and labels not in watch
    ]
    return Evaluated(MappingProxyType(watch), (*over, *fires), _standing(rule, watch, answer))


def _nothing_known(before: Watch, standing: Standing) -> Evaluated:
    firing = {labels: was for labels, was in before.items() if was.firing}
    return Evaluated(MappingProxyType(firing), (), standing)


def _watched(rule: Rule, was: Watched | None, sample: Sample, now: Moment, gap: float) -> Watched | None:
    match verdict(sample, rule.spec):
        case Verdict.FALSE:
            return None
        case Verdict.UNKNOWN:
            return was if was is not None and was.firing else None
        case Verdict.TRUE:
            patience = gap if was is None or not was.firing else OUTAGE_SECONDS
            goes_on = was is not None and now.seconds - was.seen <= patience
            since = was.since if was is not None and goes_on else now
            lasted = now.seconds - since.seconds >= seconds(rule.spec.for_ or "0s")
            return Watched(since, now.seconds, firing=lasted)


def _signal(rule: Rule, labels: Labels, watched: Watched, value: str | None) -> Signal:
    return Signal(
        name=rule.ref.name,
        fingerprint=_fingerprint(rule.ref, labels),
        starts_at=watched.since.at,
        firing=value is not None,
        labels=dict(labels),
        url=rule.url,
        value=value or "",
        trigger=rule.ref,
    )


def _fingerprint(ref: TriggerRef, labels: Labels) -> str:
    named = [str(ref.policy), ref.name, labels]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:32]


def _standing(rule: Rule, watch: dict[Labels, Watched], answer: Heard) -> Standing:
    if not answer.samples:
        return _inactive(answer)
    firing = sorted(one.since.at for one in watch.values() if one.firing)
    threshold = f"{_SIGNS[rule.spec.operator]} {rule.spec.value}"
    if firing:
        first = firing[0].strftime("%Y-%m-%dT%H:%M:%SZ")
        message = f"firing for {len(firing)} series, the first since {first}"
    elif watch:
        message = f"{threshold} is true, and fires once it was for {rule.spec.for_}"
    else:
        message = f"not firing: no series is {threshold}"
    if any(verdict(sample, rule.spec) is Verdict.UNKNOWN for sample in answer.samples):
        return Standing(
            TriggerState.ERROR,
            "NaN, such as 0/0, for some of the series: those neither fire nor are resolved; have the query "
            f"leave out what it would divide by zero. Of the others: {message}",
        )
    return Standing(TriggerState.ACTIVE, message)


def _inactive(answer: Heard) -> Standing:
    if answer.absent:
        return Standing(TriggerState.INACTIVE, absent_metrics(answer.absent))
    return Standing(
        TriggerState.INACTIVE,
        "the query gives no sample: nothing fires; it has to give one while all is well, too: leave the "
        "comparison to `operator` and `value`",
    )


def absent_metrics(selectors: tuple[str, ...]) -> str:
    return f"no series for {', '.join(selectors)}: see whether its target is scraped"
