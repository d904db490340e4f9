"""`others: Override`: takes isolated workloads out of the policies that would keep them reachable.

A pod that no policy selects is open, and policies add up. So a policy is never emptied or deleted: its rules
stay for all other pods it selects, under a selector that leaves out the workload's. S AND NOT (a AND b) is
(S AND NOT a) OR (S AND NOT b), and a pod selector is a conjunction: the policy is edited in place to the
first of these selectors, and one policy with the same rules is added for each of the others. They overlap,
which changes nothing in a union. What the policy says in a direction that is not isolated is kept by an added
policy with the old selector and that direction alone.

Order of writes: all additions, then the edit in place; the way back is the reverse. At no moment between them
does a pod outside the workloads lose or gain anything.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.network.isolate import Isolation, manifest, policy_name, possible_leaks
from stanch.network.models import Direction, NetworkPolicy
from stanch.network.selectors import LabelSelector, Operator, Requirement
from stanch.plans.changes import field_change

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stanch.api.v1alpha1.status import FieldChange
    from stanch.network.evaluate import Allowance
    from stanch.network.parsing import Json

MAX_PARTS = 8
# Selectors looked at on the way to at most MAX_PARTS: a bound on work for hostile ones.
_MAX_CONSIDERED = 64
PART_OF = "stanch.dev/part-of-networkpolicy"
_NOBODY_KEY = "stanch.dev/nobody"
NOBODY = (
    Requirement(key=_NOBODY_KEY, operator=Operator.EXISTS),
    Requirement(key=_NOBODY_KEY, operator=Operator.DOES_NOT_EXIST),
)

_Cut = tuple[Requirement, ...]


class _TooManyParts(Exception):
    pass


@dataclass(frozen=True)
class PolicyEdit:
    """What is done to one policy. `change` holds the original; `additions` are created first, deleted last.

    `leaks`: what it allowed beyond the holes, for any pod of the workloads it selects.
    """

    policy: NetworkPolicy
    change: FieldChange
    additions: tuple[Json, ...]
    leaks: tuple[Allowance, ...]


@dataclass(frozen=True)
class Refusal:
    """A policy that stays as it is, and with it its leaks."""

    policy: NetworkPolicy
    reason: str
    leaks: tuple[Allowance, ...]


@dataclass(frozen=True)
class Neutralisation:
    edits: tuple[PolicyEdit, ...]
    refusals: tuple[Refusal, ...]


def neutralise(  # noqa: PLR0913 - what is isolated, and how the added policies are to be marked
    policies: Sequence[NetworkPolicy],
    isolations: Sequence[Isolation],
    *,
    base: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    max_parts: int = MAX_PARTS,
) -> Neutralisation:
    """The edits after which no pod of any isolation, present or future, is allowed more than the holes.

    Under the condition that `isolation_policy` of each isolation stands: a pod selected by nothing is open.
    `policies` are of one namespace; those that allow nothing beyond the holes are left alone, our own among
    them. Several isolations are neutralised together, from the policies' originals, since the exclusion of
    the second must outlive the release of the first. Repeated on its own result it gives no edits.
    `base` names the added policies together with the original's name and their selector.
    """
    edits: list[PolicyEdit] = []
    refusals: list[Refusal] = []
    for policy in policies:
        leaks: dict[Allowance, None] = {}
        excluded: dict[Direction, list[LabelSelector]] = {direction: [] for direction in policy.directions}
        for isolation in isolations:
            found = possible_leaks([policy], isolation)
            leaks |= dict.fromkeys(found)
            for direction in policy.directions if found else ():
                if direction in isolation.directions:
                    excluded[direction].append(isolation.selector)
        if not leaks:
            continue
        try:
            inside, parts = _split(policy.spec.pod_selector, excluded, max_parts)
        except _TooManyParts:
            refusals.append(
                Refusal(
                    policy,
                    f"leaving out the isolated pods would split it into more than {max_parts} policies",
                    tuple(leaks),
                )
            )
            continue
        marks = {**annotations, PART_OF: policy.name}
        edits.append(
            PolicyEdit(
                policy=policy,
                change=_change(policy, inside),
                additions=tuple(_addition(policy, part, base, labels, marks) for part in parts),
                leaks=tuple(leaks),
            )
        )
    return Neutralisation(tuple(edits), tuple(refusals))


@dataclass(frozen=True)
class _Part:
    """A policy to add: the original's selector with `cut` appended, for `directions` only."""

    cut: _Cut
    directions: tuple[Direction, ...]


def _split(
    selector: LabelSelector, excluded: Mapping[Direction, Sequence[LabelSelector]], max_parts: int
) -> tuple[_Cut, list[_Part]]:
    """What is appended to the selector in place, and the policies to add.

    The policy in place keeps all its directions, so its selector leaves out what any direction excludes.
    """
    everywhere = [one for exclusions in excluded.values() for one in exclusions]
    inside = next(iter(_pieces(selector, everywhere, max_parts)), NOBODY)
    kept = selector.also(*inside)
    first, *others = excluded.values()
    groups = (
        [(tuple(excluded), first)]
        if all(exclusions == first for exclusions in others)
        else [((direction,), exclusions) for direction, exclusions in excluded.items()]
    )
    parts = [
        _Part(cut, directions)
        for directions, exclusions in groups
        for cut in _pieces(selector, exclusions, max_parts)
        if not selector.also(*cut).within(kept)
    ]
    if len(parts) > max_parts:
        raise _TooManyParts
    return inside, parts


def _pieces(selector: LabelSelector, exclusions: Sequence[LabelSelector], max_parts: int) -> list[_Cut]:
    """What, appended to the selector, together selects all that it does but for `exclusions`."""
    cuts: list[_Cut] = [()]
    for exclusion in exclusions:
        pieces: list[_Cut] = []
        for cut in cuts:
            if not selector.also(*cut).meets(exclusion):
                pieces.append(cut)
                continue
            pieces += [
                (*cut, outside)
                for outside in exclusion.negation()
                if selector.also(*cut, outside).satisfiable
            ]
        if len(pieces) > _MAX_CONSIDERED:
            raise _TooManyParts
        cuts = _widest(selector, pieces)
    if len(cuts) > max_parts:
        raise _TooManyParts
    return cuts


def _widest(selector: LabelSelector, cuts: Sequence[_Cut]) -> list[_Cut]:
    """Without the cuts that select nothing beyond another one."""
    kept: list[tuple[_Cut, LabelSelector]] = []
    for cut in cuts:
        selected = selector.also(*cut)
        if not any(selected.within(other) for _, other in kept):
            kept = [(one, other) for one, other in kept if not other.within(selected)]
            kept.append((cut, selected))
    return [cut for cut, _ in kept]


def _expressions(policy: NetworkPolicy, cut: _Cut) -> list[Json]:
    """Appended, never rewritten: whatever the selector says, it goes on saying."""
    stored = ((policy.raw.get("spec") or {}).get("podSelector") or {}).get("matchExpressions") or []
    return [*copy.deepcopy(stored), *(requirement.wire() for requirement in cut)]


def _change(policy: NetworkPolicy, cut: _Cut) -> FieldChange:
    return field_change(policy.raw, "/spec/podSelector/matchExpressions", _expressions(policy, cut))


def _addition(
    policy: NetworkPolicy,
    part: _Part,
    base: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
) -> Json:
    spec: Json = copy.deepcopy(policy.raw.get("spec") or {})
    spec["podSelector"] = spec.get("podSelector") or {}
    if part.cut:
        spec["podSelector"]["matchExpressions"] = _expressions(policy, part.cut)
    spec["policyTypes"] = [direction.value for direction in part.directions]
    for direction in Direction:
        if direction not in part.directions:
            spec.pop(direction.lower(), None)
    cut = (requirement.text for requirement in part.cut)
    name = policy_name(policy.name, base, *part.directions, *cut)
    return manifest(name, policy.namespace, labels, annotations, spec)
