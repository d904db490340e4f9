"""Which trigger of which policy a signal is for, and how grave that makes it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.api.v1alpha1.incident import Severity
from stanch.api.v1alpha1.policy import ContainmentPolicy, Silenced
from stanch.policies.choose import ref_of
from stanch.policies.match import best, named, serves, terms, unmet
from stanch.prometheus.matchers import Unreadable, matchers_of, matches_all
from stanch.signals.intake.declined import Declined, ignored, refused
from stanch.signals.model import TriggerRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from stanch.api.v1alpha1.policy import Trigger
    from stanch.policies.match import Policy, Workload
    from stanch.prometheus.matchers import Matcher
    from stanch.signals.model import Signal

_GRAVEST_FIRST = list(Severity)


@dataclass(frozen=True, slots=True)
class Armed:
    """A trigger with its matchers read; those of a query have none."""

    policy: Policy
    trigger: Trigger
    matchers: tuple[Matcher, ...] = ()

    @property
    def ref(self) -> TriggerRef:
        return trigger_ref(self.policy, self.trigger)

    def fires_on(self, signal: Signal) -> bool:
        """A query's answer is for the trigger that asked, an alert for whichever matches it."""
        if signal.trigger is not None:
            return self.trigger.prometheus is not None and signal.trigger == self.ref
        return self.trigger.alert is not None and matches_all(self.matchers, signal.labels)

    def honours_silence(self) -> bool:
        return self.trigger.alert is not None and self.trigger.alert.silenced is Silenced.IGNORE


class DeclinedOf(Declined):
    """As Declined; `triggers` are those that it is said of."""

    def __init__(self, why: Declined, triggers: Sequence[Armed]) -> None:
        super().__init__(why.outcome, why.reason, why.message)
        self.triggers = tuple(triggers)


def trigger_ref(policy: Policy, trigger: Trigger) -> TriggerRef:
    return TriggerRef(ref_of(policy.kind, policy.metadata.namespace, policy.metadata.name), trigger.name)


def armed(policies: Iterable[Policy]) -> tuple[list[Armed], dict[TriggerRef, str]]:
    """The triggers of policies that take on incidents, and what is wrong with those that cannot be read."""
    ready, problems = [], {}
    for policy in policies:
        for trigger in policy.spec.triggers if serves(policy) else ():
            try:
                ready.append(Armed(policy, trigger, matchers_of(trigger)))
            except Unreadable as error:
                problems[trigger_ref(policy, trigger)] = (
                    f"{error}; no alert fires this trigger until it can be read"
                )
    return ready, problems


def fired(triggers: Iterable[Armed], signal: Signal, namespace: str | None) -> list[Armed]:
    """Those that the signal fires; a namespaced policy is for its own namespace alone.

    Raises Declined when there are none, or only such as leave alone what is silenced.
    """
    firing = [one for one in triggers if _is_for(one.policy, namespace) and one.fires_on(signal)]
    if not firing:
        where = f" for namespace {namespace}" if namespace else ""
        raise ignored("NoTrigger", f"no trigger of a policy{where} fires on it")
    heeded = [one for one in firing if not (signal.silenced and one.honours_silence())]
    if not heeded:
        who = ", ".join(sorted({named(one.policy) for one in firing}))
        why = ignored(
            "Silenced",
            f"it may be silenced (Prometheus does not know), and {who} leaves what is silenced alone",
        )
        raise DeclinedOf(why, firing)
    return heeded


def _is_for(policy: Policy, namespace: str | None) -> bool:
    own = isinstance(policy, ContainmentPolicy)
    return not own or namespace is None or policy.metadata.namespace == namespace


def graded(firing: Sequence[Armed], workload: Workload, namespace_labels: Mapping[str, str]) -> Armed:
    """The gravest of the triggers of the policy that selects the workload best. Raises Declined."""
    by_uid = {one.policy.metadata.uid: one.policy for one in firing}
    policies = best(by_uid.values(), workload, namespace_labels)
    if not policies:
        why = "; ".join(
            f"{named(policy)}: {', '.join(unmet(policy, workload, namespace_labels))}"
            for policy in by_uid.values()
        )
        raise ignored("NotSelected", f"no policy whose trigger fires selects {workload} ({why})")
    uids = {policy.metadata.uid for policy in policies}
    of_the_best = [one for one in firing if one.policy.metadata.uid in uids]
    if len(policies) > 1:
        names = " and ".join(named(policy) for policy in policies)
        why_not = refused(
            "PolicyAmbiguous",
            f"{names} select {workload} equally well ({terms(policies[0])} selector terms each); add a term "
            "to the selector of the one that is meant",
        )
        raise DeclinedOf(why_not, of_the_best)
    return min(of_the_best, key=lambda one: _GRAVEST_FIRST.index(one.trigger.severity))
