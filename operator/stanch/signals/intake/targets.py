"""Which workload the labels of a signal name. Pure.

What Prometheus, kube-state-metrics, kubernetes-mixin, OpenTelemetry and Falco call things. `job`, `instance`
and `service` name who was scraped, not what is wrong, and are never read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from stanch.api.v1alpha1.incident import TargetKind
from stanch.signals.intake.declined import refused
from stanch.signals.intake.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

POD = "Pod"

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 253

_NAMESPACES = (
    "stanch_namespace",
    "namespace",
    "exported_namespace",
    "k8s_ns_name",
    "k8s_namespace_name",
    "kubernetes_namespace",
)
_KIND, _NAME = "stanch_kind", "stanch_name"
_WORKLOAD, _WORKLOAD_TYPE = "workload", "workload_type"
_PODS = ("pod", "exported_pod", "k8s_pod_name", "kubernetes_pod_name")
_KNOWN = (
    (TargetKind.DEPLOYMENT, ("deployment", "exported_deployment", "k8s_deployment_name")),
    (TargetKind.STATEFUL_SET, ("statefulset", "exported_statefulset", "k8s_statefulset_name")),
    (TargetKind.DAEMON_SET, ("daemonset", "exported_daemonset", "k8s_daemonset_name")),
    (TargetKind.CRON_JOB, ("cronjob", "exported_cronjob", "k8s_cronjob_name")),
    (TargetKind.JOB, ("job_name", "exported_job_name", "k8s_job_name")),
    (TargetKind.REPLICA_SET, ("replicaset", "exported_replicaset", "k8s_replicaset_name")),
)
_KINDS = {kind.lower(): kind for kind in TargetKind}


class NamedBy(StrEnum):
    """How the labels tell. The first that says anything counts, and nothing after it."""

    STANCH = "StanchLabels"
    WORKLOAD = "WorkloadLabels"
    POD = "PodLabel"
    NOTHING = "Nothing"


@dataclass(frozen=True, slots=True)
class Named:
    """An object that a label names; whether it exists is not known. `kind` is a TargetKind, or Pod."""

    kind: str
    name: str
    label: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} (label {self.label})"


@dataclass(frozen=True, slots=True)
class Naming:
    by: NamedBy
    objects: tuple[Named, ...] = ()
    """None when nothing tells. Several have to be parts of one workload."""


def namespace_of(labels: Mapping[str, str]) -> str | None:
    """The namespace that the labels tell; None when none does. Raises Declined for what cannot be one.

    What a scraped process says of itself (`exported_namespace`) never beats what was discovered of it.
    """
    label = _first(labels, _NAMESPACES)
    if label is None:
        return None
    if not _LABEL.fullmatch(labels[label]):
        raise refused("NamespaceInvalid", f"label {label}: {quoted(labels[label])} is no namespace's name")
    return labels[label]


def naming_of(labels: Mapping[str, str]) -> Naming:
    """What the labels name, by the most telling of them. Raises Declined for what is no name or kind."""
    explicit = _explicit(labels)
    if explicit is not None:
        return Naming(NamedBy.STANCH, (explicit,))
    known = tuple(_known(labels))
    if known:
        return Naming(NamedBy.WORKLOAD, known)
    pod = _first(labels, _PODS)
    if pod is not None:
        return Naming(NamedBy.POD, (_named(POD, labels, pod),))
    return Naming(NamedBy.NOTHING)


def _explicit(labels: Mapping[str, str]) -> Named | None:
    kind, name = labels.get(_KIND, ""), labels.get(_NAME, "")
    if not kind and not name:
        return None
    if not kind or not name:
        there, absent = (_KIND, _NAME) if kind else (_NAME, _KIND)
        raise refused("TargetInvalid", f"label {there} is set without {absent}; the rule has to set both")
    if kind.lower() not in _KINDS:
        raise refused(
            "TargetInvalid", f"label {_KIND}: {quoted(kind)} is none of {', '.join(sorted(TargetKind))}"
        )
    return _named(_KINDS[kind.lower()], labels, _NAME)


def _known(labels: Mapping[str, str]) -> Iterable[Named]:
    for kind, spellings in _KNOWN:
        label = _first(labels, spellings)
        if label is not None:
            yield _named(kind, labels, label)
    kind_of_workload = _KINDS.get(labels.get(_WORKLOAD_TYPE, "").lower())
    if kind_of_workload is not None and labels.get(_WORKLOAD):
        yield _named(kind_of_workload, labels, _WORKLOAD)


def _first(labels: Mapping[str, str], spellings: Iterable[str]) -> str | None:
    """The first of them that is set; an empty label is an absent one."""
    return next((label for label in spellings if labels.get(label)), None)


def _named(kind: str, labels: Mapping[str, str], label: str) -> Named:
    name = labels[label]
    if len(name) > _LONGEST_NAME or not _SUBDOMAIN.fullmatch(name):
        raise refused("TargetInvalid", f"label {label}: {quoted(name)} is no name of a {kind}")
    return Named(kind, name, label)
