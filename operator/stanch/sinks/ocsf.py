"""Phases of an incident as OCSF Incident Findings. Pure.

https://schema.ocsf.io/1.5.0/classes/incident_finding. The models are py-ocsf-models'; it has none of this
class, and its enumeration of status ids has the names of other findings' for 3 and 5.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Literal

from py_ocsf_models.events.base_event import BaseEvent
from py_ocsf_models.events.findings.activity_id import ActivityID
from py_ocsf_models.events.findings.category_uid import CategoryUID
from py_ocsf_models.events.findings.severity_id import SeverityID
from py_ocsf_models.events.findings.status_id import StatusID
from py_ocsf_models.objects.enrichment import Enrichment
from py_ocsf_models.objects.finding_info import FindingInformation
from py_ocsf_models.objects.group import Group
from py_ocsf_models.objects.metadata import Metadata
from py_ocsf_models.objects.mitre_attack import MITREAttack, SubTechnique, Technique
from py_ocsf_models.objects.product import Product

from stanch import __version__
from stanch.api.v1alpha1.incident import Severity
from stanch.api.v1alpha1.record import Determination
from stanch.api.v1alpha1.status import Phase

if TYPE_CHECKING:
    from datetime import datetime

    from stanch.api.v1alpha1.evidence import EvidenceRecord
    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.api.v1alpha1.status import TimelineEntry

_ATLAS = "https://atlas.mitre.org/techniques"
_BASE = len("AML.T0051")
_PHASES = frozenset(str(phase) for phase in Phase)
_OVER = {Phase.CLOSED, Phase.REJECTED, Phase.DUPLICATE}
_SEVERITY = {
    Severity.CRITICAL: SeverityID.Critical,
    Severity.HIGH: SeverityID.High,
    Severity.MEDIUM: SeverityID.Medium,
    Severity.LOW: SeverityID.Low,
    Severity.INFORMATIONAL: SeverityID.Informational,
}


class Status(IntEnum):
    """`status_id` of an Incident Finding."""

    NEW = 1
    IN_PROGRESS = 2
    ON_HOLD = 3
    RESOLVED = 4
    CLOSED = 5


class Verdict(IntEnum):
    """`verdict_id`, as far as anybody can know."""

    FALSE_POSITIVE = 1
    TRUE_POSITIVE = 2
    SUSPICIOUS = 4
    TEST = 6


_STATUS = {
    Phase.DETECTED: Status.NEW,
    Phase.AWAITING_APPROVAL: Status.ON_HOLD,
    Phase.RELEASED: Status.RESOLVED,
    Phase.RECOVERED: Status.RESOLVED,
    Phase.CLOSED: Status.CLOSED,
    Phase.REJECTED: Status.CLOSED,
    Phase.DUPLICATE: Status.CLOSED,
}
_VERDICT = {
    Determination.FALSE_POSITIVE: Verdict.FALSE_POSITIVE,
    Determination.CONFIRMED: Verdict.TRUE_POSITIVE,
    Determination.SUSPECTED: Verdict.SUSPICIOUS,
}


class IncidentFinding(BaseEvent):
    activity_id: ActivityID
    category_uid: CategoryUID = CategoryUID.Findings
    category_name: str = "Findings"
    class_uid: Literal[2005] = 2005
    class_name: str = "Incident Finding"
    type_uid: Literal[200501, 200502, 200503]
    time: int
    """Milliseconds since 1970."""
    finding_info_list: list[FindingInformation]
    assignee_group: Group
    status_id: StatusID
    attacks: list[MITREAttack] | None = None
    desc: str | None = None
    comment: str | None = None
    start_time: int | None = None
    end_time: int | None = None
    verdict_id: int | None = None


def is_told(entry: TimelineEntry) -> bool:
    """One finding a change of phase."""
    return entry.type in _PHASES


def finding(incident: AIIncident, entry: TimelineEntry) -> IncidentFinding:
    """The incident's uid is the finding's; `metadata.uid` is that of the entry, the same when sent again."""
    meta, spec, status = incident.metadata, incident.spec, incident.status
    uid, phase = meta.uid or "", Phase(entry.type)
    activity = _activity(incident, entry, phase)
    times = status.timestamps
    roles = spec.roles
    resolution = spec.resolution
    return IncidentFinding(
        activity_id=activity,
        type_uid=_type_uid(activity),
        time=_millis(entry.at),
        severity_id=_SEVERITY[spec.severity],
        severity=str(spec.severity),
        status_id=StatusID(_STATUS.get(phase, Status.IN_PROGRESS)),
        status=str(phase),
        status_code=entry.reason or None,
        status_detail=entry.message or None,
        message=entry.message or str(phase),
        desc=spec.title,
        comment=resolution.summary if resolution is not None else None,
        metadata=Metadata(
            product=Product(name="Stanch", vendor_name="Stanch", version=__version__),
            uid=f"{uid}-{entry.seq}",
            correlation_uid=uid,
            sequence=entry.seq,
            labels=["exercise"] if spec.exercise else None,
        ),
        finding_info_list=[
            FindingInformation(
                uid=uid,
                title=spec.title,
                types=[str(spec.category)],
                created_time=_millis(times.detected) if times and times.detected else None,
                modified_time=_millis(entry.at),
                attacks=_attacks(spec.attacks),
            )
        ],
        assignee_group=Group(
            name=(roles.incident_commander if roles is not None else None)
            or f"responders of namespace {meta.namespace}"
        ),
        attacks=_attacks(spec.attacks),
        start_time=_millis(times.detected) if times and times.detected else None,
        end_time=_millis(entry.at) if phase in _OVER else None,
        verdict_id=_verdict(incident),
        enrichments=[_evidence(record) for record in status.evidence] or None,
    )


def body_of(event: IncidentFinding) -> bytes:
    return event.model_dump_json(exclude_none=True).encode()


def _activity(incident: AIIncident, entry: TimelineEntry, phase: Phase) -> ActivityID:
    """What is the first cannot be told once the beginning has left the timeline: then nothing is."""
    if phase in _OVER:
        return ActivityID.Close
    timeline = incident.status.timeline
    first = next((one for one in timeline if is_told(one)), entry)
    begins = bool(timeline) and timeline[0].seq == 1
    return ActivityID.Create if begins and first.seq == entry.seq else ActivityID.Update


def _type_uid(activity: ActivityID) -> Literal[200501, 200502, 200503]:
    if activity is ActivityID.Create:
        return 200501
    return 200503 if activity is ActivityID.Close else 200502


def _millis(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _verdict(incident: AIIncident) -> int | None:
    if incident.spec.exercise:
        return int(Verdict.TEST)
    resolution = incident.spec.resolution
    found = _VERDICT.get(resolution.determination) if resolution is not None else None
    return int(found) if found is not None else None


def _attacks(techniques: tuple[str, ...]) -> list[MITREAttack] | None:
    """ATLAS has ids of its own; names are left to whoever has the matrix of the day."""
    return [
        MITREAttack(
            version="ATLAS",
            technique=Technique(uid=one[:_BASE], name=one[:_BASE], src_url=f"{_ATLAS}/{one[:_BASE]}"),
            sub_technique=SubTechnique(uid=one, src_url=f"{_ATLAS}/{one}") if len(one) > _BASE else None,
        )
        for one in techniques
    ] or None


def _evidence(record: EvidenceRecord) -> Enrichment:
    """A reference: where it is kept and what it has to be."""
    return Enrichment(
        name="evidence",
        value=record.location,
        type="evidence",
        provider="stanch",
        data=record.wire(),
    )
