"""`AIIncident.status`: the journal, the conditions and the story of one incident."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from stanch.api.schema import items
from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.evidence import EvidenceRecord
from stanch.api.v1alpha1.hold import Rule
from stanch.api.v1alpha1.plan import PlanStatus
from stanch.api.v1alpha1.record import Digest
from stanch.api.v1alpha1.recovery import ReleaseStage


class Phase(StrEnum):
    DETECTED = "Detected"
    AWAITING_APPROVAL = "AwaitingApproval"
    CONTAINING = "Containing"
    CONTAINED = "Contained"
    PARTIALLY_CONTAINED = "PartiallyContained"
    CONTAINMENT_FAILED = "ContainmentFailed"
    RELEASING = "Releasing"
    RELEASED = "Released"
    RECOVERED = "Recovered"
    CLOSED = "Closed"
    REJECTED = "Rejected"
    DUPLICATE = "Duplicate"


GIVEN_BACK = frozenset({Phase.RELEASED, Phase.RECOVERED, Phase.CLOSED})
"""Nothing of it is contained any more, and no longer by anybody's mistake."""
ENDED = GIVEN_BACK | {Phase.REJECTED, Phase.DUPLICATE}
"""Nothing of it is contained, and nothing will be unless its spec changes."""
CONTAINS = frozenset(
    {
        Phase.CONTAINING,
        Phase.CONTAINED,
        Phase.PARTIALLY_CONTAINED,
        Phase.CONTAINMENT_FAILED,
        Phase.RELEASING,
    }
)
"""Something of it may be contained."""


class StepState(StrEnum):
    """Where a journal entry stands. The first write of a step happens only in or after `Recorded`."""

    PLANNED = "Planned"
    RECORDED = "Recorded"
    APPLIED = "Applied"
    EFFECTIVE = "Effective"
    INEFFECTIVE = "Ineffective"
    INCONCLUSIVE = "Inconclusive"
    REFUSED = "Refused"
    SKIPPED = "Skipped"
    UNDONE = "Undone"
    PASSED_ON = "PassedOn"


class ObjectReference(ApiModel):
    """An object a step touches, by name and, once seen, by identity."""

    api_version: str = Field(max_length=253)
    kind: str = Field(max_length=63)
    name: str = Field(max_length=253)
    namespace: str | None = Field(
        default=None, max_length=63, description="where it is, if not in the incident's own namespace"
    )
    uid: str | None = Field(default=None, max_length=64)


class FieldChange(ApiModel):
    """One field, before and after. An absent `before` means that the field was absent."""

    path: str = Field(max_length=1024, description="JSON Pointer (RFC 6901) into the object")
    before: Any = None
    after: Any = Field(default=None, description="what containment needs the field to be")
    stored: Any = Field(
        default=None, description="`after` with the server's defaults around it, where those differ"
    )
    members: bool | None = Field(
        default=None, description="a list whose order means nothing: only the members that differ are meant"
    )


class ChangeType(StrEnum):
    UPDATE = "Update"
    CREATE = "Create"
    DELETE = "Delete"


class Change(ApiModel):
    """What a step does to one object, recorded before it is done: this is the undo record."""

    object: ObjectReference
    type: ChangeType = ChangeType.UPDATE
    rule: Rule = Field(default=Rule.STOPPED, description="what the hold denies for it")
    fields: tuple[FieldChange, ...] = Field(default=(), max_length=64)
    manifest: Any = Field(
        default=None, description="what is created, or, of what is deleted, what it is created again from"
    )


class UndoRecord(ApiModel):
    """How giving back went."""

    at: datetime
    kept: tuple[str, ...] = Field(
        default=(), max_length=16, description="fields someone else changed meanwhile; left as they are"
    )
    message: str = Field(default="", max_length=1024)


class StepStatus(ApiModel):
    """One journal entry: one step on one target."""

    id: str = Field(max_length=320)
    action: str = Field(max_length=63)
    target: ObjectReference
    state: StepState
    reason: str = Field(default="", max_length=63)
    message: str = Field(default="", max_length=1024)
    optional: bool = False
    changes: tuple[Change, ...] = Field(default=(), max_length=64)
    condemned: tuple[Annotated[str, Field(max_length=1024)], ...] = Field(
        default=(), max_length=64, description="what no pod of the namespace may carry: `image/llm:bad`"
    )
    evidence: EvidenceRecord | None = None
    undo: UndoRecord | None = None
    eased: ReleaseStage | None = Field(
        default=None,
        description="the stage of the release that its changes are recorded for; none: contained",
    )
    attempts: int = 0
    contested_at: datetime | None = Field(
        default=None, description="when the newest change by somebody else was seen"
    )
    started_at: datetime | None = None
    applied_at: datetime | None = None
    effective_at: datetime | None = None


class Condition(ApiModel):
    """metav1.Condition, https://pkg.go.dev/k8s.io/apimachinery/pkg/apis/meta/v1#Condition."""

    type: str = Field(max_length=63)
    status: str = Field(pattern="^(True|False|Unknown)$")
    observed_generation: int | None = None
    last_transition_time: datetime
    reason: str = Field(min_length=1, max_length=63)
    message: str = Field(default="", max_length=4096)


class Contested(ApiModel):
    """Attempts to undo the containment: denied at admission, or slipped through and put right."""

    count: int = 0
    last_at: datetime | None = None
    last_by: str = Field(default="", max_length=253)
    last_what: str = Field(default="", max_length=1024)


class ApprovalStatus(ApiModel):
    """What was made of `spec.approval`, once a plan needs one."""

    plan_hash: str = Field(max_length=64)
    by: str = Field(max_length=253)
    at: datetime = Field(description="when it was given, by the API server's clock")
    expires_at: datetime
    used_at: datetime | None = Field(default=None, description="when containment began by it")


class SignalsStatus(ApiModel):
    """The alerts and samples that this incident stands for: repeats are merged here."""

    count: int = Field(default=0, description="how often one came in firing")
    firing: tuple[Annotated[str, Field(max_length=253)], ...] = Field(
        default=(), max_length=50, description="fingerprints of those that fire now"
    )
    resolved: tuple[Annotated[str, Field(max_length=253)], ...] = Field(
        default=(), max_length=50, description="fingerprints of those that have resolved"
    )
    flaps: int = Field(default=0, description="how often one fired again after it had resolved")
    last_name: str | None = Field(default=None, max_length=253)
    last_at: datetime | None = None
    resolved_at: datetime | None = Field(
        default=None, description="when the last one resolved; a hint, never a proof of recovery"
    )


class CheckOutcome(StrEnum):
    """Of one check, and of all of them together. Only Passed proves anything."""

    PENDING = "Pending"
    PASSING = "Passing"
    PASSED = "Passed"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"
    ERROR = "Error"


class CheckStatus(ApiModel):
    """What has come of one check in the stage that is looked at."""

    name: str = Field(max_length=63)
    outcome: CheckOutcome = CheckOutcome.PENDING
    reason: str = Field(
        default="", max_length=63, description="of the newest look: NoData, TooFewRequests, …"
    )
    message: str = Field(default="", max_length=1024)
    value: str | None = Field(default=None, max_length=64, description="as it was read last")
    successes: int = Field(default=0, description="in a row")
    failures: int = Field(default=0, description="in a row")
    inconclusive: int = Field(default=0, description="looks in a row without an answer")
    looked_at: datetime | None = None
    evidence: EvidenceRecord | None = Field(
        default=None, description="of a Job: its manifest, its pods and what they said"
    )


class VerificationStatus(ApiModel):
    """Whether recovery is proven for the stage of the release that stands, or why it was not."""

    outcome: CheckOutcome = CheckOutcome.PENDING
    message: str = Field(default="", max_length=2048)
    since: datetime | None = Field(
        default=None, description="since when the stage is in place: checks count from here"
    )
    checks: tuple[CheckStatus, ...] = items(20, keys=("name",), default=())


class AskedBy(StrEnum):
    PERSON = "Person"
    POLICY = "Policy"


class ReleaseStatus(ApiModel):
    """A release that is proven stage by stage. Contained again, it says why."""

    stage: ReleaseStage
    asked_by: AskedBy
    generation: int = Field(description="of the spec that it was asked by: another one may ask again")
    attempt: int = Field(ge=1)
    since: datetime = Field(description="when the stage began")
    message: str = Field(default="", max_length=2048, description="why it failed")


class TimelineEntry(ApiModel):
    """One transition, decision, write, contest or approval."""

    seq: int = Field(
        default=0, ge=0, description="counted from 1 and never reused: the oldest of many are dropped"
    )
    at: datetime
    type: str = Field(max_length=63)
    reason: str = Field(default="", max_length=63)
    actor: str = Field(default="stanch", max_length=253)
    message: str = Field(default="", max_length=1024)


class ClockStatus(ApiModel):
    """One reporting duty that a person said applies, or whose data says it may."""

    id: str = Field(max_length=63, description="of the clock, such as eu-ai-act-73-2")
    version: str = Field(max_length=32, description="of the data that it was computed from")
    title: str = Field(max_length=253)
    source: str = Field(max_length=253, description="article, such as Regulation (EU) 2024/1689, Art. 73(2)")
    state: str = Field(
        max_length=32, description="Undecided, Running, DueSoon, Overdue, Reported or NotReportable"
    )
    due_at: datetime | None = Field(default=None, description="none while it is unknown what it runs from")
    message: str = Field(default="", max_length=1024)


class DeliveryStatus(ApiModel):
    """How far one receiver has been told of the timeline."""

    sink: str = Field(
        max_length=80, description="cloudevents, ocsf, record, or notification/ and its name in the policy"
    )
    through: int = Field(
        default=0, ge=0, description="seq of the last entry that it has taken, or that was given up"
    )
    failing_since: datetime | None = None
    message: str = Field(default="", max_length=1024, description="why it does not take the next one")
    dropped: int = Field(default=0, ge=0, description="entries that were given up")
    head: Digest | None = Field(
        default=None, description="of record: digest of the last entry that is stored, which ends the chain"
    )
    location: str | None = Field(
        default=None, max_length=2048, description="of record: URL below which the entries are stored"
    )


class ReportRecord(ApiModel):
    """A report that is stored beside the evidence."""

    location: str = Field(max_length=2048)
    digest: Digest = Field(description="of the file, as sha256sum says")
    at: datetime
    generation: int = Field(default=0, description="of the incident that it tells of")


class Timestamps(ApiModel):
    occurred: datetime | None = None
    detected: datetime | None = None
    approved: datetime | None = None
    begun: datetime | None = Field(default=None, description="when containing began")
    rehearsed: datetime | None = Field(
        default=None,
        description="of a dry run: when the plan was made, and every change and its undo tried out",
    )
    contained: datetime | None = None
    released: datetime | None = None
    recovered: datetime | None = None
    closed: datetime | None = None


class AIIncidentStatus(ApiModel):
    observed_generation: int | None = None
    phase: Phase | None = None
    target: str | None = Field(default=None, max_length=330)
    summary: str | None = Field(default=None, max_length=2048)
    contained_in: str | None = Field(default=None, max_length=32)
    conditions: tuple[Condition, ...] = items(16, keys=("type",), default=())
    plan: PlanStatus | None = None
    steps: tuple[StepStatus, ...] = Field(default=(), max_length=200)
    contested: Contested | None = None
    release: ReleaseStatus | None = None
    verification: VerificationStatus | None = None
    approval: ApprovalStatus | None = None
    signals: SignalsStatus | None = None
    evidence: tuple[EvidenceRecord, ...] = Field(
        default=(), max_length=20, description="where evidence is kept, and what it has to be"
    )
    clocks: tuple[ClockStatus, ...] = items(20, keys=("id",), default=())
    clock: str | None = Field(
        default=None, max_length=63, description="the reporting duty that is due next, and when"
    )
    deliveries: tuple[DeliveryStatus, ...] = items(24, keys=("sink",), default=())
    reports: tuple[ReportRecord, ...] = Field(default=(), max_length=10)
    timestamps: Timestamps | None = None
    timeline: tuple[TimelineEntry, ...] = Field(default=(), max_length=100)

    @property
    def proven(self) -> bool:
        """Whether recovery was shown, stage by stage."""
        return self.release is not None and self.release.stage is ReleaseStage.PASSED
