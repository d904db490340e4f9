"""Whether Stanch is there, whole and at work: API server, CRDs, admission, operator. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.cli.doctor.facts import Attempt, Crd, Operator, Unread
from stanch.cli.doctor.finding import Finding, State, unread

if TYPE_CHECKING:
    from stanch.cli.doctor.facts import Facts

HOLDS = (1, 30)
"""The first Kubernetes whose ValidatingAdmissionPolicies are for good."""
OLDEST, NEWEST = (1, 35), (1, 37)
"""Those that all stories passed on, but for what is optional: docs/reference/compatibility.md."""
ADMISSION = ("stanch-hold", "stanch-hold-guard", "stanch-holding-label", "stanch-incident-authz")
"""What manifests/admission has; a binding has the name of its policy."""

_NOTED, _BROKEN = 5.0, 300.0  # seconds of skew; by the latter credentials of a short life are refused
_REPLICAS = 2
_APPLY = "apply manifests/default of this version"


def server(facts: Facts) -> Finding:
    if isinstance(facts.version, Unread):
        return Finding("API server", State.FAILED, facts.version.why, "check --kubeconfig and --context")
    check, told = "API server", f"Kubernetes {_minor(facts.version)}"
    todo = f"upgrade to Kubernetes {_minor(OLDEST)} to {_minor(NEWEST)}"
    if facts.version < HOLDS:
        return Finding(check, State.FAILED, f"{told}: nothing is held on it", todo)
    if facts.version < OLDEST:
        return Finding(check, State.WARNING, f"{told}: older than what this Stanch was tested with", todo)
    if facts.version > NEWEST:
        todo = f"upgrade Stanch; it was tested up to Kubernetes {_minor(NEWEST)}"
        return Finding(check, State.WARNING, f"{told}: newer than what this Stanch was tested with", todo)
    return Finding(check, State.OK, told)


def _minor(version: tuple[int, int]) -> str:
    return "{}.{}".format(*version)


def clock(facts: Facts) -> Finding:
    check = "clock"
    off = abs(facts.skew)
    way = "ahead of" if facts.skew > 0 else "behind"
    told = f"this machine is {off:.0f}s {way} the API server"
    if off < _NOTED:
        return Finding(check, State.OK, "this machine and the API server agree to within 5s")
    todo = "set this machine's clock, such as with NTP; ages and times shown here are off by that"
    return Finding(check, State.FAILED if off >= _BROKEN else State.WARNING, told, todo)


def crds(facts: Facts) -> Finding:
    check = "CRDs"
    if isinstance(facts.crds, Unread):
        return unread(check, facts.crds)
    absent = [name for name, state in facts.crds.items() if state is Crd.ABSENT]
    other = [name for name, state in facts.crds.items() if state is Crd.OTHER]
    if absent:
        return Finding(check, State.FAILED, f"missing: {', '.join(absent)}", _APPLY)
    if other:
        todo = f"{_APPLY}, or use the stanch of the version that is installed"
        return Finding(check, State.WARNING, f"of another version than this stanch: {', '.join(other)}", todo)
    return Finding(check, State.OK, f"{len(facts.crds)} installed, of this version")


def admission(facts: Facts) -> Finding:
    check = "admission policies"
    if isinstance(facts.admission, Unread):
        return unread(check, facts.admission)
    wrong = []
    for name in ADMISSION:
        policy = facts.admission.get(name)
        if policy is None or not policy.present:
            wrong.append(f"{name} is missing")
        elif not policy.denies:
            wrong.append(f"{name} has no binding that denies")
        elif not policy.fails_closed:
            wrong.append(f"{name} does not fail closed")
    if wrong:
        todo = "what is contained can be undone meanwhile: kubectl apply -k manifests/admission"
        return Finding(check, State.FAILED, "; ".join(wrong), todo)
    return Finding(check, State.OK, f"{len(ADMISSION)} present, bound and failing closed")


def denial(facts: Facts) -> Finding:
    check = "hold denies"
    what = f"scaling up the canary in {facts.operator}, as a dry run"
    match facts.attempt:
        case Unread() as fact:
            return Finding(check, State.UNKNOWN, f"{what}, told nothing: {fact.why}", _trying(facts))
        case Attempt.DENIED:
            return Finding(check, State.OK, f"{what}, was denied")
        case Attempt.WENT_THROUGH:
            return Finding(
                check,
                State.FAILED,
                f"{what}, went through: what is contained can be undone",
                "kubectl apply -k manifests/admission; is the operator running? It holds the canary",
            )


def _trying(facts: Facts) -> str:
    return f"try it as somebody who may patch deployments/scale in {facts.operator}"


def leader(facts: Facts) -> Finding:
    check = "operator"
    todo = f"kubectl -n {facts.operator} get pods; kubectl -n {facts.operator} logs deploy/stanch"
    match facts.leader:
        case Unread() as fact:
            return unread(check, fact)
        case None:
            return Finding(
                check,
                State.FAILED,
                f"no Lease in {facts.operator}: it never ran there; what is held stays held",
                f"{_APPLY}, or say where it runs with --operator-namespace",
            )
        case leader if not leader.holder or leader.renewed_ago is None:
            return Finding(
                check, State.FAILED, "nobody leads: the Lease is free; what is held stays held", todo
            )
        case leader if leader.renewed_ago is not None and leader.renewed_ago > leader.duration + 1:
            told = f"{leader.holder} has been silent for {leader.renewed_ago:.0f}s; what is held stays held"
            return Finding(check, State.FAILED, told, todo)
        case leader:
            return Finding(check, State.OK, f"{leader.holder} leads, renewed {leader.renewed_ago:.0f}s ago")


def replicas(facts: Facts) -> Finding:
    check = "replicas"
    match facts.deployment:
        case Unread() as fact:
            return unread(check, fact)
        case None:
            return Finding(
                check, State.UNKNOWN, f"no Deployment stanch in {facts.operator}: it runs elsewhere"
            )
        case Operator(replicas=replicas) if replicas.wanted == 0:
            return Finding(
                check, State.UNKNOWN, "the Deployment is scaled to 0: it runs outside of the cluster"
            )
        case Operator(replicas=replicas):
            told = f"{replicas.ready} of {replicas.wanted} ready"
            todo = f"kubectl -n {facts.operator} describe deploy/stanch"
            if replicas.ready == 0:
                return Finding(check, State.FAILED, told, todo)
            if replicas.ready < max(replicas.wanted, _REPLICAS):
                return Finding(check, State.WARNING, f"{told}: nobody takes over at once", todo)
            return Finding(check, State.OK, told)
