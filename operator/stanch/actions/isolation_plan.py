"""What Isolate changes: our own policy, and, with Override, the policies that would keep the pods reachable.

Several workloads may be isolated in one namespace, by several incidents, while the same policies select them.
Each leaves itself out of every such policy, and out of what others split off one: requirements are added to a
selector and taken from it again by whoever added them. What somebody added stands in an annotation, so that
everybody splits the policy as it was at first. So the order in which isolations come and go does not matter.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stanch.actions.isolation_seen import ISOLATION, isolation_id, parsed_selector
from stanch.actions.protocol import Edit, Intent, Make
from stanch.api.v1alpha1.hold import HELD_LABEL, Rule
from stanch.api.v1alpha1.status import FieldChange
from stanch.api.v1alpha1.steps import Isolate as IsolateStep
from stanch.kube.resources import NETWORKPOLICIES, ObjectRef
from stanch.network import holes
from stanch.network.isolate import Isolation, isolation_policy, policy_name, possible_leaks
from stanch.network.models import Direction, NetworkPolicy, Peer, Port, Protocol
from stanch.network.models import Rule as Traffic
from stanch.network.override import NOBODY, neutralise
from stanch.network.parsing import Unreadable
from stanch.plans.changes import lookup, pointer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stanch.actions.isolation_seen import Reach
    from stanch.actions.objects import Obj
    from stanch.actions.protocol import Ask
    from stanch.api.v1alpha1.isolation import AllowedPeer
    from stanch.network.selectors import LabelSelector

Json = dict[str, Any]

ISOLATES = "stanch.dev/isolates"
LEFT_OUT = "left-out.stanch.dev/"
"""Prefix of annotations: what isolations added to a policy's selector."""
_SELECTOR = pointer("spec", "podSelector", "matchExpressions")
_MOST_CHANGES = 60
_MOST_BYTES = 200 * 1024
"""Of recorded copies in one step: the status of an incident has 512 KiB."""


@dataclass(frozen=True, slots=True)
class Overriding:
    """The changes that take the workload out of other policies, and, by name, why some stay as they are."""

    intents: tuple[Intent, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


def member_of(ask: Ask) -> IsolateStep:
    """Raises TypeError when the step is another one: a defect of the caller."""
    if not isinstance(ask.member, IsolateStep):
        raise TypeError(f"not an Isolate step: {ask.member!r}")
    return ask.member


def isolation_of(selector: Json, ask: Ask) -> Isolation:
    """Raises ValueError for what the API server would not take in a NetworkPolicy."""
    member = member_of(ask)
    return Isolation(
        parsed_selector(selector),
        frozenset(Direction(way) for way in member.direction),
        _holes(member, ask.peers),
    )


def _holes(member: IsolateStep, let_in: Sequence[AllowedPeer]) -> tuple[holes.Hole, ...]:
    allow = member.allow
    found = [holes.dns()] if allow.dns else []
    if allow.metrics is not None:
        scraper = allow.metrics.wire()
        ports = (Port(protocol=Protocol.TCP, port=scraper.pop("port")),)
        rule = Traffic(peers=(Peer.model_validate(scraper),), ports=ports)
        found.append(holes.Hole("metrics", Direction.INGRESS, rule))
    peers = (
        _hole(f"peer {number}", Direction(way), peer)
        for number, peer in enumerate(allow.peers)
        for way in peer.direction or member.direction
    )
    more = (
        _hole(f"peer {number} of probation", Direction(way), peer)
        for number, peer in enumerate(let_in)
        for way in peer.direction or member.direction
        if way in member.direction
    )
    return (*found, *peers, *more)


def _hole(name: str, direction: Direction, allowed: AllowedPeer) -> holes.Hole:
    said = allowed.wire()
    who = {key: said[key] for key in ("namespaceSelector", "podSelector", "ipBlock") if key in said}
    ports = [Port.model_validate(port) for port in said.get("ports", ())]
    return holes.named(name, direction, [Peer.model_validate(who)], ports)


def own(isolation: Isolation, ask: Ask) -> Make:
    """Named by the incident: nobody can take the name before it, and what an earlier one left is no clash."""
    target = f"{ask.target.kind}/{ask.target.name}"
    manifest = isolation_policy(
        isolation,
        base=ask.target.name,
        namespace=ask.namespace,
        labels={},
        annotations={ISOLATES: target, ISOLATION: isolation_id(ask)},
    )
    name = policy_name(ask.target.name, ask.target.kind, ask.uid)
    manifest["metadata"]["name"] = name
    cut = " and ".join(way.lower() for way in Direction if way in isolation.directions)
    kept = ", ".join(dict.fromkeys(hole.name for hole in isolation.holes))
    diff = f"NetworkPolicy {name} allows no {cut}" + (f" but {kept}" if kept else "")
    # What it leaves open is the plan's; on probation that is more.
    return Make(ObjectRef(NETWORKPOLICIES, ask.namespace, name), manifest, diff, follows=True)


def clash(seen: Reach, mine: Make, isolation: Isolation, ask: Ask) -> str:
    """The workload whose isolation by another incident has other holes for the same pods; empty if none has.

    Policies add up: a hole of one would be open in the other, and neither may decide for both.
    """
    ours = NetworkPolicy.parse(mine.manifest)
    for policy in seen.read[0]:
        theirs = policy.metadata.annotations.get(ISOLATION)
        if theirs in {None, isolation_id(ask)} or theirs not in seen.standing:
            continue
        shared = isolation.directions & frozenset(policy.directions)
        wanted = Isolation(isolation.selector, shared, isolation.holes)
        open_there = tuple(
            holes.Hole("theirs", way, rule) for way in policy.directions for rule in policy.rules(way)
        )
        standing = Isolation(policy.spec.pod_selector, shared, open_there)
        if possible_leaks([policy], wanted) or possible_leaks([ours], standing):
            return policy.metadata.annotations.get(ISOLATES, policy.name)
    return ""


def override(seen: Reach, isolation: Isolation, ask: Ask) -> Overriding:
    """For every policy that would let a pod of the workload be reached, if others left themselves in it."""
    mine = isolation_id(ask)
    made = {(change.object.kind, change.object.name) for change in ask.changes if change.manifest is not None}
    intents: list[Intent] = []
    refused: list[tuple[str, str]] = []
    room = _MOST_BYTES
    # Those that are recorded already come first: what comes later may find no more room.
    recorded = {change.object.uid for change in ask.changes}
    for obj in sorted(seen.policies, key=lambda one: (one.meta.uid not in recorded, one.meta.name)):
        if (NETWORKPOLICIES.kind, obj.meta.name) in made and obj.meta.uid not in recorded:
            continue
        policy = _without_cuts(obj, seen.standing)
        if policy is None or not possible_leaks([policy], isolation):
            continue
        if policy.metadata.annotations.get(ISOLATION) in seen.standing:
            refused.append((obj.meta.name, "it isolates a workload of its own"))
            continue
        done = neutralise([policy], [isolation], base=mine, labels={}, annotations={})
        if done.refusals:
            refused.append((obj.meta.name, done.refusals[0].reason))
            continue
        (edit,) = done.edits
        makes = tuple(_addition(body, ask) for body in edit.additions)
        needed = sum(len(json.dumps(make.manifest)) for make in makes)
        if len(intents) + len(makes) + 1 > _MOST_CHANGES or needed > room:
            refused.append((obj.meta.name, "the record of the incident has no room for more changes"))
            continue
        room -= needed
        intents += [*makes, _edit(obj, policy, edit.change)]
    return Overriding(tuple(intents), tuple(refused))


def as_made(manifest: Json, obj: Obj, standing: Mapping[str, LabelSelector]) -> bool:
    """Whether a policy that a step made is what it was made as, but for what other isolations added to it."""
    policy = _without_cuts(obj, standing)
    held = obj.meta.labels.get(HELD_LABEL) == "true"
    return held and policy is not None and policy.raw.get("spec") == manifest.get("spec")


def shared(obj: Obj) -> bool:
    """Whether isolations added several things to its selector, which not one of them did alone."""
    return len(_cuts(obj)) > 1


def _addition(body: Json, ask: Ask) -> Make:
    name = body["metadata"]["name"]
    of = next(iter(body["metadata"]["annotations"].values()))
    return Make(
        ObjectRef(NETWORKPOLICIES, ask.namespace, name),
        body,
        f"NetworkPolicy {name} keeps what {of} allows other pods",
        follows=True,
    )


def _edit(obj: Obj, base: NetworkPolicy, change: FieldChange) -> Edit:
    """Of the selector only what is added is recorded: whatever else it says is nobody's business."""
    wanted: Any = change.after if change.path == _SELECTOR else change.after["matchExpressions"]
    cut = wanted[len(lookup(base.raw, _SELECTOR) or []) :]
    fields = (
        FieldChange(path=_SELECTOR, after=cut, members=True),
        FieldChange(path=pointer("metadata", "annotations", _annotation(cut)), after=_text(cut)),
    )
    return Edit(obj, fields, f"NetworkPolicy {obj.meta.name} leaves the pods out", Rule.SEALED)


def _annotation(cut: Sequence[Json]) -> str:
    """Several isolations may add the same to a policy, and say so in the same words."""
    return LEFT_OUT + hashlib.sha256(_text(cut).encode()).hexdigest()[:16]


def _text(cut: Sequence[Json]) -> str:
    return json.dumps(cut, sort_keys=True, separators=(",", ":"))


def _cuts(obj: Obj) -> dict[str, str]:
    return {key: text for key, text in obj.meta.annotations.items() if key.startswith(LEFT_OUT)}


def _without_cuts(obj: Obj, standing: Mapping[str, LabelSelector]) -> NetworkPolicy | None:
    """The policy as it was before isolations that stand added to its selector; None if not understood.

    An annotation counts only while an isolation stands that adds just this: what a deleted incident retained,
    and what somebody else wrote, is part of the policy.
    """
    possible: list[list[Json]] = [[one.wire() for one in NOBODY]] if standing else []
    possible += [[one.wire()] for selector in standing.values() for one in selector.negation()]
    marked = _cuts(obj) if HELD_LABEL in obj.meta.labels else {}
    cut = [part for added in possible if marked.get(_annotation(added)) == _text(added) for part in added]
    raw = obj.json
    stored: list[Json] | None = lookup(raw, _SELECTOR)
    if cut and stored:
        raw = copy.deepcopy(raw)
        left = [requirement for requirement in stored if requirement not in cut]
        if left:
            raw["spec"]["podSelector"]["matchExpressions"] = left
        else:
            del raw["spec"]["podSelector"]["matchExpressions"]
    try:
        return NetworkPolicy.parse(raw)
    except Unreadable:
        return None
