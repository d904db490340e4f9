"""What is known of an installation, gathered once. What could not be read says why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stanch.actions.isolation_seen import Enforcer
    from stanch.api.v1alpha1.hold import ContainmentHold
    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.policies.match import Policy


@dataclass(frozen=True, slots=True)
class Unread:
    """It could not be read, and why."""

    why: str


class Crd(StrEnum):
    """A CustomResourceDefinition, compared with what this version has."""

    SAME = "Same"
    OTHER = "Other"
    ABSENT = "Absent"


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """A ValidatingAdmissionPolicy, and whether a binding has it deny."""

    present: bool
    fails_closed: bool = False
    denies: bool = False


@dataclass(frozen=True, slots=True)
class Leader:
    """The operator's Lease, as the API server's clock sees it."""

    holder: str
    renewed_ago: float | None
    """Seconds; None: never renewed."""
    duration: int


@dataclass(frozen=True, slots=True)
class Replicas:
    ready: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Operator:
    """Its Deployment: how many replicas, and which Prometheus it is told to ask."""

    replicas: Replicas
    prometheus: str | None
    """`--prometheus-url`; empty: it comes from an object that is not read here. None: there is none."""


class Attempt(StrEnum):
    """What came of trying, as a dry run, to scale up a workload that is always held."""

    DENIED = "Denied"
    WENT_THROUGH = "WentThrough"


@dataclass(frozen=True)
class Facts:
    """`operator`: the namespace that Stanch itself runs in."""

    namespace: str
    operator: str
    version: tuple[int, int] | Unread
    skew: float
    """Seconds that this machine is ahead of the API server."""
    crds: Mapping[str, Crd] | Unread
    admission: Mapping[str, AdmissionPolicy] | Unread
    attempt: Attempt | Unread
    leader: Leader | Unread | None
    deployment: Operator | Unread | None
    prometheus: Unread | None
    """Why Prometheus did not answer when it was asked from here; None: it did, or was not asked."""
    asked_prometheus: bool
    rights: Mapping[str, bool] | Unread
    """Verb on aiincidents → whether the caller has it in the namespace."""
    policies: tuple[Policy, ...] | Unread
    incidents: tuple[AIIncident, ...] | Unread
    holds: tuple[ContainmentHold, ...] | Unread
    enforcers: tuple[Enforcer, ...] | Unread
    everywhere: bool = True
    """Whether policies, incidents and holds are those of all namespaces."""
