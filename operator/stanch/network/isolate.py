"""Our own NetworkPolicy: it selects a workload's pods and allows nothing but the holes."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.network.evaluate import beyond, open_on_purpose, policy_allowances
from stanch.network.models import Direction, EgressRule, IngressRule
from stanch.network.traffic import Cover

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stanch.network.evaluate import Allowance
    from stanch.network.holes import Hole
    from stanch.network.models import NetworkPolicy
    from stanch.network.parsing import Json
    from stanch.network.selectors import LabelSelector

# Network plugins put policy names into labels and rule sets, which take no more than a DNS label.
_MAX_NAME = 63
_HASH = 10
_PREFIX = "stanch"


@dataclass(frozen=True)
class Isolation:
    """A workload's pods, any pod that `selector` matches, cut off in `directions` but for `holes`."""

    selector: LabelSelector
    directions: frozenset[Direction]
    holes: tuple[Hole, ...] = ()


def possible_leaks(policies: Sequence[NetworkPolicy], isolation: Isolation) -> tuple[Allowance, ...]:
    """What the policies allow beyond the holes to any pod the workload may ever have.

    Any pod: any further labels, any named ports. None of them, and `isolation_policy` in place, means that
    every pod of the workload is cut off, those to be born included.
    """
    covers = {
        (direction, namespace): Cover.of(
            open_on_purpose(isolation.holes, direction), direction, namespace, None
        )
        for direction in isolation.directions
        for namespace in {policy.namespace for policy in policies}
    }
    return tuple(
        leak
        for policy in policies
        if policy.spec.pod_selector.meets(isolation.selector)
        for direction in policy.directions
        if direction in isolation.directions
        for allowance in policy_allowances(policy, direction)
        for leak in beyond(allowance, covers[direction, policy.namespace])
    )


def policy_name(base: str, *distinguishing: str) -> str:
    """A DNS label of at most 63 characters, the same for the same words and for no others."""
    digest = hashlib.sha256("\0".join((base, *distinguishing)).encode()).hexdigest()[:_HASH]
    room = _MAX_NAME - len(_PREFIX) - _HASH - 2
    readable = re.sub(r"[^a-z0-9]+", "-", base.lower())[:room].strip("-")
    return "-".join(filter(None, (_PREFIX, readable, digest)))


def isolation_policy(
    isolation: Isolation,
    *,
    base: str,
    namespace: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
) -> Json:
    """The manifest, in the form in which the API server stores it.

    A direction without holes lists no rule: nothing is allowed. Raises ValueError without a direction,
    for such a policy would isolate nothing.
    """
    if not isolation.directions:
        raise ValueError("an isolation without a direction isolates nothing")
    spec: Json = {"podSelector": isolation.selector.wire()}
    for direction, field, kind in (
        (Direction.INGRESS, "ingress", IngressRule),
        (Direction.EGRESS, "egress", EgressRule),
    ):
        if direction in isolation.directions and (rules := open_on_purpose(isolation.holes, direction)):
            spec[field] = [kind(peers=rule.peers, ports=rule.ports).wire() for rule in rules]
    spec["policyTypes"] = [direction.value for direction in Direction if direction in isolation.directions]
    return manifest(policy_name(base), namespace, labels, annotations, spec)


def manifest(
    name: str, namespace: str, labels: Mapping[str, str], annotations: Mapping[str, str], spec: Json
) -> Json:
    metadata: Json = {"name": name, "namespace": namespace}
    metadata |= {
        key: dict(value) for key, value in (("labels", labels), ("annotations", annotations)) if value
    }
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}
