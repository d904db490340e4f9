"""Which labels a pod has to lose so that nothing that selects pods selects it any more. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.network.evaluate import policy_allowances

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stanch.network.models import NetworkPolicy
    from stanch.network.selectors import LabelSelector


@dataclass(frozen=True)
class Claim:
    """Something that selects pods by their labels: a controller, a Service, a NetworkPolicy."""

    kind: str
    name: str
    selector: LabelSelector

    @property
    def text(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Cut:
    """`left`: what selected the pod and does so no more. `stuck`: what selects it all the same."""

    removed: tuple[str, ...]
    left: tuple[Claim, ...]
    stuck: tuple[Claim, ...]


def cut(labels: Mapping[str, str], marks: Mapping[str, str], claims: Iterable[Claim]) -> Cut:
    """The pod's labels to take away, where `marks` are the labels that it is given.

    Without a label that a selector wants (a value, one of several, any), the pod does not match. What a
    selector wants to be absent or other than some values cannot be taken away; and a label that one selector
    wants another may want absent. So it is looked again until nothing changes.
    """
    every = tuple(claims)
    left = {**labels, **marks}
    first = [claim for claim in every if claim.selector.matches(left)]
    while True:
        matching = [claim for claim in every if claim.selector.matches(left)]
        wanted = {
            key
            for claim in matching
            for key, values in claim.selector.box.items()
            if not values.absent and key not in marks
        }
        if not wanted:
            return Cut(
                tuple(sorted(labels.keys() - left.keys())),
                tuple(claim for claim in first if claim not in matching),
                tuple(matching),
            )
        left = {key: value for key, value in left.items() if key not in wanted}


def claims_of(policies: Iterable[NetworkPolicy]) -> tuple[Claim, ...]:
    """The policies that allow the pods they select anything; those that only deny may go on selecting."""
    return tuple(
        Claim("NetworkPolicy", policy.name, policy.spec.pod_selector)
        for policy in policies
        if any(next(policy_allowances(policy, way), None) for way in policy.directions)
    )
