"""Where a signal is about, who may say so, and what is never touched. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.api.v1alpha1.policy import ContainmentPolicy
from stanch.kube.scope import OUT_OF_SCOPE
from stanch.signals.intake.declined import refused
from stanch.signals.intake.targets import namespace_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stanch.policies.match import Workload
    from stanch.settings import Settings
    from stanch.signals.intake.grading import Armed
    from stanch.signals.model import Signal, Speaker


def told_namespace(signal: Signal, speaker: Speaker) -> str | None:
    """The namespace that the labels tell, if the speaker may speak for it. Raises Declined."""
    namespace = namespace_of(signal.labels)
    return None if namespace is None else allowed(namespace, speaker)


def namespace_by_policy(firing: Iterable[Armed], speaker: Speaker) -> str:
    """The namespace of the policy whose trigger fires, when no label tells one. Raises Declined."""
    own = {one.policy.metadata.namespace for one in firing if isinstance(one.policy, ContainmentPolicy)}
    if len(own) == 1:
        return allowed(own.pop(), speaker)
    reason = "TargetAmbiguous" if own else "TargetUnknown"
    whose = f"policies of namespaces {', '.join(sorted(own))}" if own else "a policy of the whole cluster"
    raise refused(
        reason, f"no label names a namespace, and it fires {whose}; the rule has to keep the label namespace"
    )


def allowed(namespace: str, speaker: Speaker) -> str:
    if not speaker.may(namespace):
        raise refused(
            "NamespaceNotAllowed",
            f"{speaker.name} may not speak for namespace {namespace}; who may for which is in the operator's "
            "file of credentials for signals",
        )
    return namespace


def heed_scope(namespace: str, settings: Settings) -> None:
    """Raises Declined for one that the operator may not even look at."""
    if settings.namespaces and namespace not in settings.namespaces:
        raise refused(
            OUT_OF_SCOPE,
            f"namespace {namespace} is not one that this operator acts in: add it to STANCH_NAMESPACES, and "
            "bind the operator's roles in it",
        )


def heed_namespace(namespace: str, labels: Mapping[str, str], settings: Settings) -> None:
    """Raises Declined for one in which nothing is contained: an incident there would be rejected."""
    if namespace in settings.all_protected_namespaces:
        raise refused(
            "NamespaceProtected",
            f"namespace {namespace} is protected by the operator's settings; nothing in it is contained",
        )
    if settings.scope_label is not None and not _carries(labels, settings.scope_label):
        raise refused(
            "NamespaceOutOfScope",
            f"namespace {namespace} does not carry {settings.scope_label}, which the operator's settings ask "
            "of every namespace that something is contained in",
        )


def heed_workload(workload: Workload, settings: Settings) -> None:
    """Raises Declined for a workload that the operator never touches."""
    mark = next((one for one in settings.protected_labels if _carries(workload.labels, one)), None)
    if mark is not None:
        raise refused(
            "WorkloadProtected", f"{workload} carries {mark}, and is protected by the operator's settings"
        )


def _carries(labels: Mapping[str, str], pair: str) -> bool:
    """`key=value`. A key that is set to nothing is not one that is absent."""
    key, _, value = pair.partition("=")
    return labels.get(key) == value
