"""Decisions carried out on plain values: what the API server would make of each act, and nothing else."""

from __future__ import annotations

import copy
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonpatch

from stanch.actions.objects import Obj
from stanch.actions.protocol import Edit, Make, Observation, Remove
from stanch.api.v1alpha1.incident import FINALIZER, AIIncident
from stanch.api.v1alpha1.status import Change, ChangeType
from stanch.holds import entries
from stanch.holds.canary import HoldProof, Proof
from stanch.incidents import containment, release
from stanch.incidents.acts import (
    Act,
    AddFinalizer,
    Decision,
    DropHold,
    EndPods,
    EnsureHold,
    GiveBackHold,
    Patch,
    RemoveFinalizer,
    TryOut,
)
from stanch.incidents.facts import Facts, Limits, Preflight, items_of
from stanch.incidents.preflight import marked
from stanch.incidents.record import reference_of
from tests.unit.actions.cluster_objects import obj

Json = dict[str, Any]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PROVEN = HoldProof(Proof.PROVEN, "denied")
STEP = "0-ScaleToZero-Deployment-llm"


def incident(
    name: str = "toxic", *, status: Json | None = None, metadata: Json | None = None, **spec: Any
) -> AIIncident:
    body: Json = {
        "metadata": {
            "name": name,
            "namespace": "chat",
            "uid": f"uid-{name}",
            "generation": 1,
            **(metadata or {}),
        },
        "spec": {
            "title": "t",
            "category": "Jailbreak",
            "severity": "Critical",
            "targets": [{"kind": "Deployment", "name": "llm"}],
            **spec,
        },
        "status": status or {},
    }
    return AIIncident.parse(body)


def facts_of(what: AIIncident, *targets: Obj | None) -> Facts:
    """Facts of an incident whose targets, in order, are these objects."""
    seen = targets or (obj("Deployment"),)
    by_name = {target.name: one for target, one in zip(what.spec.targets, seen, strict=True)}
    observations = {item.id: Observation(by_name[item.target.name]) for item in items_of(what)}
    return Facts(incident=what, observations=observations, proof=PROVEN)


def decide(facts: Facts, now: datetime = NOW) -> Decision:
    if release.wanted(facts.incident):
        return release.decide(facts, now)
    return containment.decide(facts, now, Limits())


def with_spec(facts: Facts, **changes: Any) -> Facts:
    what = facts.incident
    return replace(facts, incident=what.model_copy(update={"spec": what.spec.model_copy(update=changes)}))


def with_meta(facts: Facts, **changes: Any) -> Facts:
    what = facts.incident
    return replace(
        facts, incident=what.model_copy(update={"metadata": what.metadata.model_copy(update=changes)})
    )


def with_object(facts: Facts, new: Obj) -> Facts:
    def seen(old: Observation) -> Observation:
        same = old.target is not None and old.target.meta.uid == new.meta.uid
        related = tuple(new if one.meta.uid == new.meta.uid else one for one in old.related)
        return replace(old, target=new if same else old.target, related=related)

    return replace(facts, observations={step: seen(old) for step, old in facts.observations.items()})


def without_pods(facts: Facts, uids: set[str]) -> Facts:
    observations = {
        step: replace(seen, pods=tuple(pod for pod in seen.pods if pod.metadata.uid not in uids))
        for step, seen in facts.observations.items()
    }
    return replace(facts, observations=observations)


def settled(old: Obj) -> Obj:
    """As its controller leaves it: seen, and at the count it asks for."""
    body = copy.deepcopy(old.json)
    body["status"] = {
        "observedGeneration": body["metadata"]["generation"],
        "replicas": body["spec"].get("replicas", 0),
    }
    return Obj(old.resource, body)


def carry_out(facts: Facts, act: Act, refuse: str = "") -> Facts:  # noqa: PLR0911 - one return an act
    match act:
        case AddFinalizer():
            return with_meta(facts, finalizers=(FINALIZER,))
        case RemoveFinalizer():
            return with_meta(facts, finalizers=())
        case TryOut():
            answer = {(act.step_id, act.intent.id): _tried(act, refuse)}
            return replace(facts, preflights={**facts.preflights, **answer})
        case EnsureHold():
            return replace(facts, holding=True, held=entries.join(facts.held, act.entries))
        case GiveBackHold():
            return replace(facts, held=entries.give_back(facts.held, facts.name, act.ghosts, act.kept))
        case DropHold():
            held = entries.drop(facts.held, facts.name)
            return replace(facts, held=held, holding=bool(held))
        case Patch():
            patched: Json = jsonpatch.apply_patch(copy.deepcopy(act.obj.json), act.ops)
            return with_object(facts, settled(Obj(act.obj.resource, patched)))
        case EndPods():
            return without_pods(facts, {doomed.uid for doomed in act.doomed})
        case _:
            return facts


def _tried(act: TryOut, refuse: str) -> Preflight:
    if refuse:
        return Preflight(None, refuse)
    namespace = "chat"
    match act.intent:
        case Edit(target, _, _, rule):
            return Preflight(Change(object=target.reference, rule=rule, fields=act.fields))
        case Make(ref, manifest, _, rule):
            made = ChangeType.CREATE
            return Preflight(
                Change(object=reference_of(ref, namespace), type=made, rule=rule, manifest=marked(manifest))
            )
        case Remove(target, manifest, _, rule):
            gone = ChangeType.DELETE
            return Preflight(Change(object=target.reference, type=gone, rule=rule, manifest=manifest))


@dataclass(frozen=True)
class Walk:
    facts: Facts
    acts: tuple[Act, ...]
    decisions: tuple[Decision, ...]

    @property
    def kinds(self) -> list[str]:
        return [type(act).__name__ for act in self.acts]


def walk(facts: Facts, now: datetime = NOW, refuse: str = "") -> Walk:
    """Decide, store, act, until nothing is left to do."""
    acts: list[Act] = []
    decisions: list[Decision] = []
    for second in range(20):
        decision = decide(facts, now + timedelta(seconds=second))
        decisions.append(decision)
        if decision.status is not None:
            what = facts.incident.model_copy(update={"status": decision.status})
            facts = replace(facts, incident=what, contests=())
        written_ahead(facts, decision)
        acts += decision.acts
        for act in decision.acts:
            facts = carry_out(facts, act, refuse)
        if not decision.acts or isinstance(decision.acts[-1], RemoveFinalizer):
            return Walk(facts, tuple(acts), tuple(decisions))
    raise AssertionError(f"it never comes to rest: {[type(act).__name__ for act in acts]}")


def written_ahead(facts: Facts, decision: Decision) -> None:
    """Nothing is changed or held whose undo record does not stand in the status stored before it."""
    recorded: defaultdict[str | None, set[str]] = defaultdict(set)
    for step in facts.incident.status.steps:
        for change in step.changes:
            recorded[change.object.uid] |= {field.path for field in change.fields}
    for act in decision.acts:
        if isinstance(act, Patch):
            assert act.obj.meta.uid in recorded
            for op in act.ops:
                assert any(
                    f"{op['path']}/".startswith(f"{path}/") or f"{path}/".startswith(f"{op['path']}/")
                    for path in recorded[act.obj.meta.uid]
                ), op
        if isinstance(act, EnsureHold):
            assert recorded, "held before it is recorded"
