"""Whether it can be used: rights, policies, signals, the network, and what stands. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.actions.isolation_words import enforcement
from stanch.api.v1alpha1.policy import TriggerState
from stanch.api.v1alpha1.status import CONTAINS
from stanch.cli.doctor.facts import Operator, Unread
from stanch.cli.doctor.finding import Finding, State, unread
from stanch.holds.canary import NAME as CANARY
from stanch.status import conditions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stanch.api.v1alpha1.policy import TriggerStatus
    from stanch.cli.doctor.facts import Facts

ROLES = {
    "stanch-viewer": ("get", "list", "watch"),
    "stanch-reporter": ("create",),
    "stanch-responder": ("patch", "update", "delete", "contain", "release", "close"),
    "stanch-approver": ("approve",),
}
"""Which ClusterRole gives which verbs on aiincidents."""
VERBS = tuple(verb for verbs in ROLES.values() for verb in verbs)

_MISSING = "AdmissionPolicyMissing"


def rights(facts: Facts) -> Finding:
    check = "your rights"
    if isinstance(facts.rights, Unread):
        return unread(check, facts.rights)
    mine = [verb for verb in VERBS if facts.rights.get(verb)]
    lacking = {
        role: missing
        for role, verbs in ROLES.items()
        if (missing := [verb for verb in verbs if not facts.rights.get(verb)])
    }
    told = f"on aiincidents in {facts.namespace} you may: {', '.join(mine) or 'nothing'}"
    todo = "; ".join(f"{', '.join(missing)}: ClusterRole {role}" for role, missing in lacking.items())
    blind = "stanch-viewer" in lacking
    return Finding(check, State.FAILED if blind else State.OK, told, f"for {todo}" if todo else "")


def policies(facts: Facts) -> Finding:
    check = "policies"
    if isinstance(facts.policies, Unread):
        return unread(check, facts.policies)
    unready = [
        f"{policy.metadata.namespace or 'cluster'}/{policy.metadata.name}: {ready.message or ready.reason}"
        for policy in facts.policies
        if (ready := conditions.find(policy.status.conditions, conditions.READY)) is not None
        and ready.status != "True"
    ]
    count = f"{len(facts.policies)} {_scope(facts)}"
    if unready:
        return Finding(check, State.WARNING, f"not ready of {count}: {'; '.join(unready)}", "correct these")
    if not facts.policies:
        told = f"none {_scope(facts)}: alerts contain nothing"
        return Finding(check, State.WARNING, told, "see manifests/samples/policy.yaml")
    return Finding(check, State.OK, count)


def _scope(facts: Facts) -> str:
    return "in the cluster" if facts.everywhere else f"in {facts.namespace}"


def prometheus(facts: Facts) -> Finding:
    """What the operator says of it counts first: it asks from where it stands, with its token and its CA."""
    check = "Prometheus"
    if isinstance(facts.policies, Unread):
        return unread(check, facts.policies)
    asked = list(_asked(facts))
    errors = [
        f"{where}: {one.message or one.state}" for where, one in asked if one.state is TriggerState.ERROR
    ]
    answered = [one for _, one in asked if one.state is TriggerState.ACTIVE]
    where = _address(facts)
    if errors:
        told = f"{where}: {'; '.join(errors[:3])}"
        todo = "see docs/how-to/prometheus.md; triggers in error contain nothing"
        return Finding(check, State.WARNING if answered else State.FAILED, told, todo)
    if answered:
        told = (
            f"{where} answers the operator: {len(answered)} of {len(asked)} triggers with a query have data"
        )
        return Finding(check, State.OK, told)
    return _silent(facts, where, list(_needing(facts)), asked)


def _silent(
    facts: Facts, where: str, needing: Sequence[str], asked: Sequence[tuple[str, TriggerStatus]]
) -> Finding:
    """The operator has said nothing of an answer."""
    check = "Prometheus"
    known = facts.deployment
    if isinstance(known, Operator) and known.prometheus is None and known.replicas.wanted:
        if not needing:
            return Finding(check, State.OK, f"the operator has none, and no policy {_scope(facts)} needs one")
        told = f"the operator has none, and these need one: {', '.join(needing[:3])}"
        todo = (
            "set STANCH_PROMETHEUS_URL: until then their triggers contain nothing, and no release is proven"
        )
        return Finding(check, State.FAILED, told, todo)
    if facts.prometheus is not None:
        told = f"{where} does not answer from here: {facts.prometheus.why}"
        todo = "the operator may reach it all the same: a policy's trigger with a query shows whether it does"
        return Finding(check, State.WARNING, told, todo)
    if facts.asked_prometheus:
        told = f"{where} answers from here; nothing shows whether the operator reaches it"
        return Finding(check, State.UNKNOWN, told, "a policy's trigger with a query shows it")
    said = "; ".join(f"{name}: {one.message or one.state}" for name, one in asked[:1])
    why = said or "no policy has a trigger with a query"
    told = f"{where}: nothing shows whether it answers the operator: {why}"
    return Finding(check, State.UNKNOWN, told, "where it can be reached from: stanch doctor --try-prometheus")


def _address(facts: Facts) -> str:
    url = facts.deployment.prometheus if isinstance(facts.deployment, Operator) else None
    return url or "the operator's Prometheus, whose address could not be read here,"


def _needing(facts: Facts) -> Iterator[str]:
    """Policies that come to nothing without Prometheus, and what of them."""
    for policy in facts.policies if not isinstance(facts.policies, Unread) else ():
        spec = policy.spec
        if any(one.prometheus is not None for one in spec.triggers):
            yield f"triggers of {policy.metadata.name}"
        checks = spec.verification.checks if spec.verification is not None else ()
        if any(one.prometheus is not None or one.alert_cleared is not None for one in checks):
            yield f"checks of {policy.metadata.name}"


def _asked(facts: Facts) -> Iterator[tuple[str, TriggerStatus]]:
    """The triggers that have a query, and what the operator says of them."""
    for policy in facts.policies if not isinstance(facts.policies, Unread) else ():
        queries = {one.name for one in policy.spec.triggers if one.prometheus is not None}
        for status in policy.status.triggers:
            if status.name in queries:
                yield f"{policy.metadata.name}/{status.name}", status


def network(facts: Facts) -> Finding:
    check = "network plugin"
    if isinstance(facts.enforcers, Unread):
        return unread(check, facts.enforcers)
    told = enforcement(facts.enforcers)
    if "Known" in told.split(" ", 2)[1]:
        return Finding(check, State.OK, told)
    todo = "isolate and quarantine may have no effect: try a policy by hand, or use scaleToZero"
    return Finding(check, State.WARNING if facts.enforcers else State.UNKNOWN, told, todo)


def incidents(facts: Facts) -> Finding:
    check = "containments"
    if isinstance(facts.incidents, Unread):
        return unread(check, facts.incidents)
    standing = [one for one in facts.incidents if one.status.phase in CONTAINS]
    unheld = [
        f"{one.metadata.namespace}/{one.metadata.name}"
        for one in standing
        if (held := conditions.find(one.status.conditions, conditions.HELD)) is not None
        and held.reason == _MISSING
    ]
    if unheld:
        todo = "kubectl apply -k manifests/admission"
        return Finding(check, State.FAILED, f"NOT held: {', '.join(unheld)}", todo)
    return Finding(check, State.OK, f"{len(standing)} stand {_scope(facts)}")


def contained(facts: Facts) -> Finding:
    """What an uninstall would let go: nothing holds it then, and nobody gives it back."""
    check = "before uninstalling"
    if isinstance(facts.incidents, Unread):
        return unread(check, facts.incidents)
    standing = sorted(
        f"{one.metadata.namespace}/{one.metadata.name} ({one.status.target or 'no target yet'})"
        for one in facts.incidents
        if one.status.phase in CONTAINS
    )
    if standing:
        todo = "kubectl stanch release -n NAMESPACE NAME, for each; helm uninstall --no-hooks lets them go"
        return Finding(check, State.FAILED, f"still contained: {', '.join(standing)}", todo)
    if not facts.everywhere:
        return Finding(
            check, State.UNKNOWN, f"nothing is contained {_scope(facts)}", "look in all namespaces"
        )
    return Finding(check, State.OK, "nothing is contained")


def orphans(facts: Facts) -> Finding:
    check = "orphaned holds"
    if isinstance(facts.holds, Unread):
        return unread(check, facts.holds)
    if isinstance(facts.incidents, Unread):
        return unread(check, facts.incidents)
    there = {(one.metadata.namespace, one.metadata.name) for one in facts.incidents}
    orphans = sorted(
        f"{hold.metadata.namespace}/{name}"
        for hold in facts.holds
        for name in hold.spec.incidents
        if (hold.metadata.namespace, name) not in there and name != CANARY
    )
    if orphans:
        todo = (
            "the operator clears what no incident holds: is it running? Without it, as the last resort: "
            "docs/operations.md, break-glass"
        )
        return Finding(check, State.FAILED, f"held, and no such incident: {', '.join(orphans)}", todo)
    return Finding(check, State.OK, f"none: every hold {_scope(facts)} has its incident")
