"""Which questions the triggers of all policies come to, and which answers each of them gets. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.prometheus.firing import FIRING, MOST_ALERTS
from stanch.prometheus.samples import MOST_SERIES, QueryFailed, Reason
from stanch.signals.model import Speaker, TriggerRef
from stanch.signals.prometheus import alerts
from stanch.signals.prometheus.alerts import Alerts
from stanch.signals.prometheus.triggers import Heard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stanch.api.v1alpha1.policy import Trigger
    from stanch.kube.resources import ObjectRef
    from stanch.policies.match import Policy
    from stanch.prometheus.samples import Samples

    Answers = Mapping[str, Samples | QueryFailed]

NAME = "prometheus"


@dataclass(frozen=True, slots=True)
class Declared:
    """A trigger of a policy. `uid` is the policy's: another one of the same name is another policy."""

    ref: TriggerRef
    uid: str
    trigger: Trigger

    @property
    def speaker(self) -> Speaker:
        """Whoever writes a namespace's policies chooses queries, hence labels: they speak for it alone."""
        namespace = self.ref.policy.namespace
        return Speaker(NAME, None if namespace is None else frozenset({namespace}))


def triggers_of(ref: ObjectRef, policy: Policy) -> list[Declared]:
    return [
        Declared(TriggerRef(ref, trigger.name), policy.metadata.uid, trigger)
        for trigger in policy.spec.triggers
    ]


def questions(declared: Iterable[Declared]) -> dict[str, int]:
    """Each query once, with the most series that its answer may have."""
    asked: dict[str, int] = {}
    for one in declared:
        asked |= {_absence(selector): MOST_SERIES for selector in one.trigger.metrics}
        if one.trigger.prometheus is not None:
            asked.setdefault(one.trigger.prometheus.query, MOST_SERIES)
        if one.trigger.alert is not None:
            asked |= {FIRING: MOST_ALERTS, alerts.ACTIVE: MOST_ALERTS}
    return asked


def heard(query: str, metrics: Iterable[str], answers: Answers) -> Heard | QueryFailed:
    missing, samples = absent(metrics, answers), answers[query]
    if isinstance(samples, QueryFailed):
        return samples
    return missing if isinstance(missing, QueryFailed) else Heard(samples, missing)


def alerts_heard(answers: Answers) -> Alerts | QueryFailed:
    firing, active = answers[FIRING], answers[alerts.ACTIVE]
    if isinstance(firing, QueryFailed):
        return firing
    return active if isinstance(active, QueryFailed) else Alerts(firing, active)


def absent(metrics: Iterable[str], answers: Answers) -> tuple[str, ...] | QueryFailed:
    """Those selectors that no series matches; one that could not be asked about decides for all."""
    missing: list[str] = []
    for selector in metrics:
        answer = answers[_absence(selector)]
        if isinstance(answer, QueryFailed):
            named = answer.reason is Reason.BAD_QUERY
            return QueryFailed(answer.reason, f"metric {selector}: {answer.message}") if named else answer
        if answer:
            missing.append(selector)
    return tuple(missing)


def _absence(selector: str) -> str:
    return f"absent({selector})"
