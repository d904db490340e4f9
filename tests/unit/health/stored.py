"""Incidents and policies as the API server stores them, with the status that Stanch's own code gives them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from stanch.api.crd import UNSEEN
from stanch.api.v1alpha1.incident import DesiredState
from stanch.api.v1alpha1.status import Phase
from stanch.api.v1alpha1.steps import OnFailure, ScaleToZero, Step
from stanch.holds.canary import HoldProof, Proof
from stanch.policies.match import Choice
from stanch.policies.state import Found, Matched, status_of
from tests.unit.actions.cluster_objects import obj
from tests.unit.incidents.walk import NOW, facts_of, incident, walk, with_spec
from tests.unit.policies.made import cluster, own, selector

if TYPE_CHECKING:
    from stanch.api.v1alpha1.status import AIIncidentStatus
    from stanch.incidents.facts import Facts
    from stanch.policies.match import Policy

Json = dict[str, Any]
LATER = NOW + timedelta(minutes=5)
TWO = [{"kind": "Deployment", "name": "llm"}, {"kind": "Deployment", "name": "rag"}]


def contained(proof: HoldProof | None = None) -> Facts:
    facts = facts_of(incident())
    return walk(replace(facts, proof=proof) if proof else facts).facts


def one_of_two(*, optional: bool) -> Facts:
    """The second target is not there, and the plan goes on without it."""
    facts = facts_of(incident(targets=TWO), obj("Deployment"), None)
    step = Step(scale_to_zero=ScaleToZero(), on_failure=OnFailure.CONTINUE, optional=optional)
    return walk(with_spec(facts, steps=(step,))).facts


def on_the_way(facts: Facts, phase: Phase) -> Facts:
    """As it stands while it is worked on."""
    statuses = [decision.status for decision in walk(facts, LATER).decisions]
    status = next(one for one in statuses if one is not None and one.phase is phase)
    return with_status(facts, status)


def with_status(facts: Facts, status: AIIncidentStatus) -> Facts:
    return replace(facts, incident=facts.incident.model_copy(update={"status": status}))


def released() -> Facts:
    return walk(to_be_released(), LATER).facts


def to_be_released() -> Facts:
    return with_spec(contained(), desired_state=DesiredState.RELEASED)


def after_release(phase: Phase) -> Facts:
    """What follows a release differs from it in the phase alone."""
    facts = released()
    return with_status(facts, facts.incident.status.model_copy(update={"phase": phase}))


def awaiting() -> Facts:
    policy = own(guardrails={"approval": {"required": "Always"}})
    return walk(replace(facts_of(incident()), choice=Choice.of(policy))).facts


def duplicate() -> Facts:
    return walk(replace(facts_of(incident(dedupKey="pipeline-7")), same_as="first")).facts


INCIDENTS = {
    "dry run": lambda: walk(facts_of(incident(mode="DryRun"))).facts,
    "awaiting approval": awaiting,
    "containing": lambda: on_the_way(facts_of(incident()), Phase.CONTAINING),
    "contained": contained,
    "contained, hold not proven": lambda: contained(HoldProof()),
    "contained, no admission policy": lambda: contained(HoldProof(Proof.MISSING, "it went through")),
    "contained, a write is refused": lambda: walk(replace(contained(), problem="it is forbidden")).facts,
    "partially contained": lambda: one_of_two(optional=True),
    "containment failed": lambda: one_of_two(optional=False),
    "releasing": lambda: on_the_way(to_be_released(), Phase.RELEASING),
    "released": released,
    "recovered": lambda: after_release(Phase.RECOVERED),
    "closed": lambda: after_release(Phase.CLOSED),
    "rejected": lambda: walk(facts_of(incident(), None)).facts,
    "duplicate": duplicate,
}


@cache
def incidents() -> dict[str, Json]:
    return {story: facts().incident.wire() for story, facts in INCIDENTS.items()}


LLM = Matched("chat", "Deployment", "llm")
NIGHTLY = Matched("chat", "CronJob", "nightly")


def told(policy: Policy, *workloads: Matched) -> Json:
    status = status_of(policy, Found(frozenset(workloads)), NOW)
    return policy.model_copy(update={"status": status}).wire()


POLICIES = {
    "ready": told(own(), LLM),
    "suspended": told(own(suspend=True), LLM),
    "dry run": told(own(mode="DryRun"), LLM),
    "impossible": told(own(), NIGHTLY),
    "impossible and suspended": told(own(suspend=True), NIGHTLY),
    "cluster, ready": told(cluster(), LLM),
    "cluster, impossible": told(cluster(selector=selector("CronJob"))),
}


def edited(stored: Json) -> Json:
    """Its spec has changed, and nobody has looked at it since."""
    metadata = stored["metadata"]
    return {**stored, "metadata": {**metadata, "generation": metadata["generation"] + 1}}


def new(stored: Json) -> Json:
    """Nobody has looked at it at all: with the status that the CRD fills in."""
    return {**stored, "status": UNSEEN}
