"""Reading everything a decision needs, once, in the order that keeps two incidents on one target apart.

The hold and the incidents it names come before the objects: an incident that was restoring one meanwhile is
then seen either as still holding it or as done, and the object as it left it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stanch.actions.objects import Obj
from stanch.actions.registry import ACTIONS
from stanch.api.v1alpha1.hold import HELD_LABEL, hold_key
from stanch.api.v1alpha1.incident import AIIncident
from stanch.api.v1alpha1.status import ChangeType
from stanch.holds import entries
from stanch.incidents.contest import unexplained
from stanch.incidents.duplicates import read, same_as
from stanch.incidents.facts import Contest, Facts, Item, begun, items_of, settled
from stanch.incidents.guardrails import Serving
from stanch.incidents.record import key_of, ref_of
from stanch.incidents.release import wanted
from stanch.kube.resources import AIINCIDENTS, ObjectRef
from stanch.policies.choose import choose
from stanch.policies.match import Choice
from stanch.policies.selected import serving

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from stanch.actions.protocol import Action, Ask, Observation
    from stanch.api.v1alpha1.status import Change
    from stanch.holds.canary import HoldProof
    from stanch.holds.keeper import HoldKeeper, Standing
    from stanch.incidents.signalled import Note
    from stanch.kube.client import Kube
    from stanch.verification.reading import Reading

_LOOKS = 3


async def gather(  # noqa: PLR0913 - what is read, and what this process remembers
    kube: Kube,
    keeper: HoldKeeper,
    incident: AIIncident,
    *,
    proof: HoldProof,
    contests: tuple[Contest, ...],
    signals: tuple[Note, ...] = (),
    problem: str,
    seen_at: datetime,
    now: datetime,
    evidence: bool = False,
    capacity: bool = False,
    errands: Mapping[str, Mapping[str, Any]] | None = None,
    readings: Mapping[str, Reading] | None = None,
    measuring: frozenset[str] = frozenset(),
) -> Facts:
    """Raises StanchError when something cannot be read: nothing is decided on half a picture."""
    namespace = incident.metadata.namespace
    choice, standing = await asyncio.gather(_choice(kube, incident), keeper.read(namespace))
    items = items_of(incident, evidence=evidence, policy=choice.policy)
    known = [(item, ACTIONS[item.action]) for item in items if item.action in ACTIONS]
    facts = Facts(
        incident=incident,
        choice=choice,
        proof=proof,
        contests=contests,
        signals=signals,
        problem=problem,
        seen_at=seen_at,
        errands=errands or {},
        readings=readings or {},
        measuring=measuring,
        serving=await _serving(kube, choice, anyway=capacity),
        same_as="" if begun(incident) or wanted(incident) else same_as(incident, await read(kube, incident)),
    )
    for _ in range(_LOOKS):
        facts = await _look(kube, standing, facts, known, now)
        if not _held_by_whom(facts):
            break
        standing = await keeper.read(namespace)
    return facts


async def _choice(kube: Kube, incident: AIIncident) -> Choice:
    return Choice() if wanted(incident) or settled(incident) else await choose(kube, incident)


async def _serving(kube: Kube, choice: Choice, *, anyway: bool) -> Serving:
    """Where the policy, or the operator for all, says how much of it has to stay."""
    if choice.whole is None or not (anyway or choice.guardrails.capacity_floor):
        return Serving()
    return Serving(await serving(kube, choice.whole))


async def _look(
    kube: Kube, standing: Standing, facts: Facts, known: list[tuple[Item, Action]], now: datetime
) -> Facts:
    incident, namespace = facts.incident, facts.incident.metadata.namespace
    recorded = {
        hold_key(change.rule, key_of(ref_of(change.object, namespace), namespace))
        for step in incident.status.steps
        for change in step.changes
    }
    names = {
        name
        for key, entry in standing.held.items()
        if any(key.endswith(f"/{item.target.name}") for item, _ in known)
        or incident.metadata.name in entry.incidents
        or key in recorded
        for name in entry.incidents
    } - {incident.metadata.name}
    siblings = dict(
        zip(names, await asyncio.gather(*(_sibling(kube, namespace, name) for name in names)), strict=True)
    )
    facts = replace(
        facts,
        holding=standing.holding,
        held=standing.held,
        ending=standing.ending,
        namespace_labels=standing.labels,
        siblings={name: sibling for name, sibling in siblings.items() if sibling is not None},
        ghosts=frozenset(name for name, sibling in siblings.items() if sibling is None),
    )
    records = {step.id: step for step in incident.status.steps}
    seen = await asyncio.gather(
        *(_observe(kube, action, facts.ask(item, records.get(item.id), now)) for item, action in known)
    )
    observations = {item.id: observation for (item, _), observation in zip(known, seen, strict=True)}
    return replace(facts, observations=observations)


def _held_by_whom(facts: Facts) -> bool:
    """Whether an object is marked as held that the hold, read before it, does not name.

    Another incident began in between: its record has the original values, and this one must know of it.
    """
    objects = [obj for seen in facts.observations.values() for obj in seen.objects]
    namespace = facts.incident.metadata.namespace
    return any(
        HELD_LABEL in obj.meta.labels and not entries.holders_of(facts.held, key_of(obj.ref, namespace))
        for obj in objects
    )


async def _sibling(kube: Kube, namespace: str, name: str) -> AIIncident | None:
    body = await kube.get(ObjectRef(AIINCIDENTS, namespace, name))
    return AIIncident.parse(body) if body else None


async def _observe(kube: Kube, action: Action, asked: Ask) -> Observation:
    """What the action sees, and what it has changed but sees no more: an autoscaler aimed elsewhere."""
    seen = await _with_its_cause(kube, action, asked)
    unseen = [change for change in asked.changes if not _seen(seen, change, asked.namespace)]
    found = await asyncio.gather(*(_recorded(kube, change, asked.namespace) for change in unseen))
    return replace(seen, related=(*seen.related, *(obj for obj in found if obj is not None)))


async def _with_its_cause(kube: Kube, action: Action, asked: Ask) -> Observation:
    """What the action sees; looked at anew while it shows an effect whose cause it may have read too early.

    An action reads the target before what the target owns, so that no pod of an older order is overlooked.
    Who scales it up in between is seen only by the pods that result: as nobody's act, and once more in the
    next look. What two looks agree on was asked for by nobody but whom it shows.
    """
    seen = await action.observe(kube, asked)
    for _ in range(_LOOKS):
        if asked.record is None or not unexplained(asked.record, action, seen, asked):
            return seen
        again = await action.observe(kube, asked)
        if _orders(again) == _orders(seen):
            return seen
        seen = again
    return seen


def _orders(seen: Observation) -> set[tuple[str, int | str]]:
    """What is asked for: metadata.generation counts the changes of a spec. Bindings have none."""
    return {(obj.meta.uid, obj.meta.generation or obj.meta.resource_version) for obj in seen.objects}


def _seen(seen: Observation, change: Change, namespace: str) -> bool:
    if change.type is ChangeType.UPDATE:
        return seen.find(change.object.uid) is not None
    return seen.named(ref_of(change.object, namespace)) is not None


async def _recorded(kube: Kube, change: Change, namespace: str) -> Obj | None:
    """None when it is gone, or when what was edited is another one by that name by now."""
    ref = ref_of(change.object, namespace)
    body = await kube.get(ref)
    obj = Obj(ref.resource, body) if body else None
    if obj is not None and change.type is ChangeType.UPDATE and obj.meta.uid != change.object.uid:
        return None
    return obj
