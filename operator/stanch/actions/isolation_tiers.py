"""Isolate's cluster-wide policy: a denial that is asked before all others, where it may be made.

It cuts off what other cluster-wide policies accept. What NetworkPolicies allow is judged as if it were not
there: whether the network plugin enforces it cannot be seen in the API.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stanch.actions.isolation_plan import ISOLATES
from stanch.actions.isolation_seen import ISOLATION, TIERS, isolation_id, own_denial
from stanch.actions.protocol import Make
from stanch.errors import StanchError
from stanch.kube.resources import ObjectRef
from stanch.kube.rights import may
from stanch.network.isolate import policy_name
from stanch.network.models import Direction
from stanch.network.tier_deny import Inexpressible, deny_rules, deny_spec
from stanch.network.tiers import AdminTier

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from stanch.actions.isolation_seen import Reach
    from stanch.actions.protocol import Ask, Json
    from stanch.kube.client import Kube
    from stanch.network.isolate import Isolation

GRANT = "manifests/rbac/cluster-network-policies.yaml"
NAMESPACE = "stanch.dev/namespace"
"""Label of a cluster-wide policy: the namespace whose pods it is about."""
_INCIDENT = "stanch.dev/incident"
_VERBS = ("create", "delete", "get", "patch")


@dataclass(frozen=True, slots=True)
class Denial:
    """What is to stand, None when nothing is, and what it leaves to NetworkPolicies and why."""

    make: Make | None
    left: tuple[str, ...] = ()


def denial(seen: Reach, isolation: Isolation, ask: Ask) -> Denial:
    """Once recorded it is planned on, be it without rules: what others deny later it must not pass by."""
    recorded = own_denial(ask)
    kind = recorded.object.kind if recorded else seen.tiers.newest
    if not kind or seen.tiers.unread or (seen.tiers.refused and not recorded):
        return Denial(None)
    name = policy_name(f"{ask.namespace}-{ask.target.name}", ask.namespace, ask.target.kind, ask.uid)
    ref = ObjectRef(TIERS[kind], None, name)
    others = [body for body in seen.tier_policies if (body["kind"], body["metadata"]["name"]) != (kind, name)]
    left = AdminTier.of(others, isolation, seen.labels).denying()
    rules: dict[Direction, list[Json]] = {}
    for way in (way for way in Direction if way in isolation.directions and way not in left):
        try:
            rules[way] = deny_rules(kind, isolation, ask.namespace, way)
        except Inexpressible as error:
            left[way] = str(error)
    why = tuple(f"{kind} does not deny {way.lower()}: {said}" for way, said in left.items())
    if not rules and recorded is None:
        return Denial(None, why)
    metadata = {
        "name": name,
        "labels": {NAMESPACE: ask.namespace},
        "annotations": {
            ISOLATES: f"{ask.target.kind}/{ask.target.name}",
            ISOLATION: isolation_id(ask),
            _INCIDENT: ask.incident,
        },
    }
    spec = deny_spec(kind, isolation, ask.namespace, rules)
    manifest = {"apiVersion": TIERS[kind].api_version, "kind": kind, "metadata": metadata, "spec": spec}
    said = f"{kind} {name} denies {told(rules) or 'nothing'} before other policies are asked"
    follows = recorded is not None and _ways(recorded.manifest["spec"]) != _ways(spec)
    return Denial(Make(ref, manifest, said, follows=follows), why)


async def tried(kube: Kube, seen: Reach, isolation: Isolation, ask: Ask) -> Reach:
    """With why the API server would not take the policy: the right is optional, lacking it no failure."""
    make = denial(seen, isolation, ask).make if own_denial(ask) is None else None
    if make is None:
        return seen
    try:
        missing = [verb for verb in _VERBS if not await may(kube, verb, make.ref)]
        if not missing:
            await kube.create(make.ref.resource, None, make.manifest, dry_run=True)
    except StanchError as error:
        refused = error.message
    else:
        refused = f"the operator may not {', '.join(missing)} them: grant {GRANT}" if missing else ""
    return replace(seen, tiers=replace(seen.tiers, refused=refused))


def denied_since(seen: Reach, ask: Ask) -> datetime | None:
    recorded = own_denial(ask)
    ref = ObjectRef(TIERS[recorded.object.kind], None, recorded.object.name) if recorded else None
    obj = seen.named(ref) if ref else None
    return obj.meta.creation_timestamp if obj else None


def told(ways: Iterable[Direction]) -> str:
    return " and ".join(way.lower() for way in ways)


def _ways(spec: Json) -> set[str]:
    return {way for way in Direction if way.lower() in spec}
