"""Alerts that Prometheus itself says are firing, from its series ALERTS and ALERTS_FOR_STATE. Pure.

https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/#inspecting-alerts-during-runtime
No matcher of a policy becomes part of a query: all alerts are asked for, and compared where alerts from
anywhere are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from stanch.api.v1alpha1.policy import TriggerState
from stanch.prometheus.firing import own_labels
from stanch.prometheus.samples import Labels, QueryFailed
from stanch.signals.model import Signal
from stanch.signals.prometheus.triggers import OUTAGE_SECONDS, Standing, absent_metrics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stanch.api.v1alpha1.policy import AlertTrigger
    from stanch.prometheus.samples import Samples
    from stanch.signals.prometheus.triggers import Moment

ACTIVE = "ALERTS_FOR_STATE"
"""Pending or firing; the value is when the alert became active, in seconds since 1970."""

_EXACT_NAME = re.compile(r'^alertname=("(?:[^"\\]|\\.)*")$')


class Began(NamedTuple):
    """When an alert that fires began to, and when it was last seen, in seconds of the steady clock."""

    starts_at: datetime
    seen: float


Begun = Mapping[Labels, Began]
"""Of the alerts that fire, by their own labels."""
NONE: Begun = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Alerts:
    firing: Samples
    active: Samples


@dataclass(frozen=True, slots=True)
class Changed:
    begun: Begun
    signals: tuple[Signal, ...]


def evaluate(before: Begun, answer: Alerts | QueryFailed, now: Moment) -> Changed:
    """Every alert that fires, and once each that no longer does. Without an answer, nothing."""
    if not isinstance(answer, Alerts):
        return Changed(before, ())
    active = {own_labels(one.labels): one.value for one in answer.active}
    firing = [own_labels(one.labels) for one in answer.firing if one.value == 1]
    begun = {own: Began(_beginning(before.get(own), active.get(own), now), now.seconds) for own in firing}
    over = [_signal(own, was.starts_at, firing=False) for own, was in before.items() if own not in begun]
    fires = [_signal(own, began.starts_at, firing=True) for own, began in begun.items()]
    return Changed(MappingProxyType(begun), (*over, *fires))


def _beginning(was: Began | None, active: float | None, now: Moment) -> datetime:
    """The earliest that is known, as in Alertmanager: to a Prometheus that was restarted, what fires is new.

    What is no time of the past counts as not told.
    """
    if was is not None and now.seconds - was.seen <= OUTAGE_SECONDS:
        return was.starts_at
    if active is not None and 0 < active <= now.at.timestamp():
        return datetime.fromtimestamp(active, UTC)
    return now.at


def standing(
    trigger: AlertTrigger, answer: Alerts | QueryFailed, absent: tuple[str, ...] | QueryFailed
) -> Standing:
    """What the trigger's status says; never that the rule is there: only its alerts can be seen."""
    if isinstance(answer, QueryFailed) or isinstance(absent, QueryFailed):
        failed = answer if isinstance(answer, QueryFailed) else absent
        return Standing(TriggerState.ERROR, f"{failed}; alerts that the receiver is sent still count")
    if absent:
        return Standing(TriggerState.INACTIVE, absent_metrics(absent))
    name = _exact_name(trigger.matchers)
    return Standing(
        TriggerState.ACTIVE,
        f"an alert {name} {_seen(name, answer)} in Prometheus"
        if name is not None
        else "compared with every alert that fires in Prometheus",
    )


def _seen(name: str, answer: Alerts) -> str:
    if name in _names(answer.firing):
        return "is firing"
    return "is pending" if name in _names(answer.active) else "neither fires nor is pending"


def _signal(own: Labels, starts_at: datetime, *, firing: bool) -> Signal:
    labels = dict(own)
    return Signal(
        name=labels.get("alertname", ""),
        fingerprint=fingerprint(labels),
        starts_at=starts_at,
        firing=firing,
        labels=labels,
        silenced=True,
    )


def fingerprint(labels: Mapping[str, str]) -> str:
    """As Alertmanager has it in its notifications, so that an alert that comes both ways is one.

    64-bit FNV-1a over names and values, each ended by 0xFF: prometheus/common, model/signature.go.
    """
    digest = 0xCBF29CE484222325
    for part in (part for pair in sorted(labels.items()) for part in pair):
        for byte in (*part.encode("utf-8", "surrogatepass"), 0xFF):
            digest = ((digest ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


def _exact_name(matchers: Iterable[str]) -> str | None:
    found = next((match for matcher in matchers if (match := _EXACT_NAME.match(matcher))), None)
    if found is None:
        return None
    try:
        name: str = json.loads(found[1])
    except ValueError:
        return None  # an escape that JSON does not have: the name is for the message alone
    return name


def _names(samples: Samples) -> set[str]:
    return {value for one in samples for name, value in one.labels if name == "alertname"}
