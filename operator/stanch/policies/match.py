"""Which policy's plan an incident carries out. Pure.

Best match: policies of the namespace before cluster policies; then the one with the most selector terms. What
ties is reported, not guessed; so is everything else that leaves a doubt about which plan was meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.api.v1alpha1.incident import Mode, PolicyKind
from stanch.api.v1alpha1.plan import CarriedNotification, PlanPolicy
from stanch.api.v1alpha1.policy import ClusterContainmentPolicy, ContainmentPolicy, Guardrails

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from stanch.api.v1alpha1.incident import PolicyRef

Policy = ContainmentPolicy | ClusterContainmentPolicy

_AGAIN = "an incident that was rejected is looked at again when its spec changes"


@dataclass(frozen=True, slots=True)
class Workload:
    """What a selector looks at: the labels of the object itself, not of its pods."""

    kind: str
    name: str
    labels: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class NoChoice:
    """Why no policy can be said to be meant, and what to do about it."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The policy to carry out. Neither: no policy matches, which leaves the built-in plan."""

    policy: PlanPolicy | None = None
    whole: Policy | None = None
    """As it was read: more of it counts before the plan is begun than what is recorded of it."""
    refusal: NoChoice | None = None

    @property
    def guardrails(self) -> Guardrails:
        return (self.whole.spec.guardrails if self.whole else None) or Guardrails()

    @classmethod
    def of(cls, policy: Policy) -> Choice:
        return cls(
            PlanPolicy(
                kind=policy.kind,
                name=policy.metadata.name,
                uid=policy.metadata.uid,
                generation=policy.metadata.generation,
                dry_run=policy.spec.mode is Mode.DRY_RUN,
                steps=policy.spec.steps,
                verification=policy.spec.verification,
                release=policy.spec.release,
                notifications=tuple(
                    CarriedNotification(
                        name=one.name,
                        secret=one.url_from.name,
                        key=one.url_from.key,
                        at_or_above=one.at_or_above,
                    )
                    for one in policy.spec.notifications
                ),
            ),
            policy,
        )

    @classmethod
    def none(cls, reason: str, message: str) -> Choice:
        return cls(refusal=NoChoice(reason, message))


def named(policy: Policy) -> str:
    return f"{policy.kind} {policy.metadata.name}"


def serves(policy: Policy) -> bool:
    """Whether it takes on new incidents."""
    return not policy.spec.suspend and policy.metadata.deletion_timestamp is None


def unmet(policy: Policy, workload: Workload, namespace_labels: Mapping[str, str]) -> tuple[str, ...]:
    """The terms of the policy's selector that do not match, in words; empty when it selects the workload."""
    selector = policy.spec.selector
    kinds = [str(kind) for kind in selector.kinds]
    said = [f"kind {workload.kind} is not one of {', '.join(kinds)}"] if _misses(kinds, workload) else []
    said += _missing("label", selector.match_labels, workload.labels)
    if isinstance(policy, ClusterContainmentPolicy):
        said += _missing("namespace label", _namespace_terms(policy), namespace_labels)
    return tuple(said)


def _misses(kinds: Sequence[str], workload: Workload) -> bool:
    return bool(kinds) and workload.kind not in kinds


def _missing(what: str, wanted: Mapping[str, str], labels: Mapping[str, str]) -> list[str]:
    return [
        f"{what} {key}={value} is {'not set' if key not in labels else f'{labels[key]!r} there'}"
        for key, value in sorted(wanted.items())
        if labels.get(key) != value
    ]


def _namespace_terms(policy: ClusterContainmentPolicy) -> Mapping[str, str]:
    selector = policy.spec.selector.namespace_selector
    return selector.match_labels if selector else {}


def terms(policy: Policy) -> int:
    """How narrow its selector is: every label counts one, and so does a list of kinds."""
    selector = policy.spec.selector
    of_namespace = len(_namespace_terms(policy)) if isinstance(policy, ClusterContainmentPolicy) else 0
    return len(selector.match_labels) + bool(selector.kinds) + of_namespace


def _rank(policy: Policy) -> tuple[bool, int]:
    return isinstance(policy, ContainmentPolicy), terms(policy)


def best(
    policies: Iterable[Policy], workload: Workload, namespace_labels: Mapping[str, str]
) -> tuple[Policy, ...]:
    """The best match; several when they tie, none when none selects the workload."""
    fitting = [
        policy for policy in policies if serves(policy) and not unmet(policy, workload, namespace_labels)
    ]
    top = max((_rank(policy) for policy in fitting), default=None)
    return tuple(
        sorted((policy for policy in fitting if _rank(policy) == top), key=lambda one: one.metadata.name)
    )


def by_reference(
    ref: PolicyRef,
    policy: Policy | None,
    namespace: str,
    targets: Sequence[Workload],
    namespace_labels: Mapping[str, str],
) -> Choice:
    """The policy that the incident names, if it is for all of the incident's targets."""
    which = f"{ref.kind} {ref.name}"
    where = f" in namespace {namespace}" if ref.kind is PolicyKind.CONTAINMENT_POLICY else ""
    if policy is None or policy.metadata.deletion_timestamp is not None:
        return Choice.none(
            "PolicyNotFound",
            f"spec.policyRef: there is no {which}{where}; apply it, or name another one ({_AGAIN})",
        )
    if policy.spec.suspend:
        return Choice.none(
            "PolicySuspended",
            f"spec.policyRef: {which} is suspended and takes on no incident; set its spec.suspend to false, "
            f"or name another one ({_AGAIN})",
        )
    for target in targets:
        why = unmet(policy, target, namespace_labels)
        if why:
            return Choice.none(
                "PolicyDoesNotSelect",
                f"spec.policyRef: {which} is not for {target}: {'; '.join(why)}. Name a policy that selects "
                f"it, or correct that selector ({_AGAIN})",
            )
    return Choice.of(policy)


def by_match(
    policies: Sequence[Policy], targets: Sequence[Workload], namespace_labels: Mapping[str, str]
) -> Choice:
    """The one policy that matches every target best; none when none matches any of them."""
    matches = [(target, best(policies, target, namespace_labels)) for target in targets]
    for target, found in matches:
        if len(found) > 1:
            return Choice.none(
                "PolicyAmbiguous",
                f"{_listed([named(policy) for policy in found])} match {target} equally well "
                f"({terms(found[0])} selector terms each); name one of them in spec.policyRef ({_AGAIN})",
            )
    chosen = {found[0].metadata.uid if found else None: found[0] if found else None for _, found in matches}
    if len(chosen) > 1:
        each = "; ".join(f"{target}: {named(found[0]) if found else 'none'}" for target, found in matches)
        return Choice.none(
            "PoliciesDiffer",
            f"the targets match different policies ({each}), and one incident has one plan; name a policy "
            f"for all in spec.policyRef, or create an incident for each ({_AGAIN})",
        )
    (policy,) = chosen.values()
    return Choice.of(policy) if policy is not None else Choice()


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
