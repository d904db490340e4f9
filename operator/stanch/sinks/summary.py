"""What receivers are told of an incident beside the entry: bounded, and nothing that status does not show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.status import Phase, Timestamps
from stanch.status import conditions

if TYPE_CHECKING:
    from stanch.api.v1alpha1.incident import AIIncident


class IncidentSummary(ApiModel):
    """The incident as it is when the entry is sent, which may be later than the entry."""

    namespace: str
    name: str
    uid: str
    title: str
    category: str
    severity: str
    targets: tuple[str, ...]
    phase: Phase | None = None
    summary: str | None = None
    held: str | None = None
    contests: int = 0
    plan_hash: str | None = None
    plan_source: str | None = None
    contained_in: str | None = None
    timestamps: Timestamps | None = None
    exercise: bool = False
    attacks: tuple[str, ...] = ()
    owasp_refs: tuple[str, ...] = ()
    tlp: str | None = None


def summary_of(incident: AIIncident) -> IncidentSummary:
    meta, spec, status = incident.metadata, incident.spec, incident.status
    held = conditions.find(status.conditions, conditions.HELD)
    return IncidentSummary(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid or "",
        title=spec.title,
        category=spec.category,
        severity=spec.severity,
        targets=tuple(f"{target.kind}/{target.name}" for target in spec.targets),
        phase=status.phase,
        summary=status.summary,
        held=held.status if held is not None else None,
        contests=status.contested.count if status.contested is not None else 0,
        plan_hash=status.plan.hash if status.plan is not None else None,
        plan_source=status.plan.source if status.plan is not None else None,
        contained_in=status.contained_in,
        timestamps=status.timestamps,
        exercise=spec.exercise,
        attacks=spec.attacks,
        owasp_refs=spec.owasp_refs,
        tlp=spec.tlp,
    )
