"""The report as data: what an incident was, what was done, and what people have to say about it. Pure.

The fields are those of the minimum record of NIST AI 600-1 (GV-4.3-002) and of a post-incident report as
responders write it. There are strings, integers, booleans, lists and objects with ASCII names only: see
digest.py.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from stanch.api.v1alpha1.record import (
    AffectedModel,
    ClockDecision,
    Detection,
    Digest,
    ExternalRef,
    FollowUp,
    KnownGood,
    Roles,
    Tlp,
)
from stanch.api.v1alpha1.status import (
    ApprovalStatus,
    ClockStatus,
    Condition,
    Contested,
    ReleaseStatus,
    SignalsStatus,
    TimelineEntry,
    Timestamps,
    VerificationStatus,
)
from stanch.evidence.model import render
from stanch.reports.digest import VERSION, digest_of_report

Json = dict[str, Any]


class Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class Identity(Part):
    """The incident, as it was when the report was made. `uid` is the key everywhere."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    created_at: datetime | None = None


class Written(Part):
    """What only a person can say. Without `text` it is still to be written, in that field."""

    field: str
    text: str | None = None

    @property
    def missing(self) -> bool:
        return self.text is None


class WrittenLines(Part):
    """As Written, a line each."""

    field: str
    lines: tuple[str, ...] = ()

    @property
    def missing(self) -> bool:
        return not self.lines


class FollowUps(Part):
    field: str
    actions: tuple[FollowUp, ...] = ()

    @property
    def missing(self) -> bool:
        return not self.actions


class Words(Part):
    """All that people write, in the order of the report."""

    determination: Written
    summary: Written
    impact: Written
    root_cause: Written
    near_misses: Written
    communications: Written
    went_well: WrittenLines
    went_wrong: WrittenLines
    got_lucky: WrittenLines
    follow_ups: FollowUps

    @property
    def missing(self) -> tuple[str, ...]:
        """The fields that nobody has written yet."""
        values = [getattr(self, name) for name in type(self).model_fields]
        return tuple(value.field for value in values if value.missing)


class System(Part):
    """One affected workload. `condemned` is what none of its pods may carry, such as `image/llm:bad`."""

    api_version: str
    kind: str
    name: str
    uid: str | None = None
    condemned: tuple[str, ...] = ()


class PhaseSpan(Part):
    """A time in one phase; `end` is None while it lasts. `Undetected` comes before Detected."""

    phase: str
    begin: datetime
    end: datetime | None = None


class Plan(Part):
    hash: str
    source: str
    policy: str | None = None


class ActionTaken(Part):
    """One step on one target. `changes` are lines that people read: `replicas 3 → 0`."""

    action: str
    target: str
    csf: tuple[str, ...] = Field(default=(), description="NIST CSF 2.0")
    on_the_word_of: str
    state: str
    reason: str = ""
    message: str = ""
    optional: bool = False
    changes: tuple[str, ...] = ()
    started_at: datetime | None = None
    applied_at: datetime | None = None
    effective_at: datetime | None = None
    undone_at: datetime | None = None
    undo: str = ""
    kept: tuple[str, ...] = ()


class ItemChecked(Part):
    """An item of evidence as it was collected, and what it is now. Nobody collected one that is Extra."""

    name: str
    result: str = Field(description="Unaltered, Altered, Missing, Extra or Reordered")
    message: str = ""
    source: str = ""
    size: int | None = None
    sha256: str | None = None
    collected_at: datetime | None = None
    collector: str = ""


class CollectionChecked(Part):
    location: str
    head: Digest
    count: int
    size: int
    collected_at: datetime
    complete: bool
    missing: tuple[str, ...] = ()
    result: Literal["Unaltered", "Altered", "NotVerified"]
    message: str = Field(default="", description="the first finding, or why it could not be verified")
    tool: str = ""
    items: tuple[ItemChecked, ...] = ()


class TimelineChecked(Part):
    """The whole timeline as it is stored, of which the incident's status has the newest entries."""

    location: str
    head: Digest
    through: int = Field(description="the entry up to which it was stored and verified")
    result: Literal["Unaltered", "Altered", "NotVerified"]
    message: str = Field(default="", description="the first finding, or why it could not be verified")


class Technique(Part):
    """An id is never refused for being unknown: catalogues change. `name` is None for one not known here."""

    id: str
    catalogue: Literal["MITRE ATLAS", "OWASP"]
    name: str | None = None
    url: str | None = None


class Recovery(Part):
    asked_by: str | None = Field(default=None, description="who asked for the release, if that was recorded")
    release: ReleaseStatus | None = None
    verification: VerificationStatus | None = None
    skipped: bool = Field(default=False, description="a person released it without proof")


class RegulatoryLog(Part):
    aware_at: datetime | None = None
    personal_data: bool | None = None
    notes: str | None = None
    clocks: tuple[ClockStatus, ...] = ()
    decisions: tuple[ClockDecision, ...] = ()

    @property
    def undecided(self) -> tuple[str, ...]:
        """Ids of the duties about which nobody has decided."""
        decided = {decision.clock for decision in self.decisions}
        return tuple(clock.id for clock in self.clocks if clock.id not in decided)


class Report(Part):
    version: Literal["stanch.dev/report/v1"] = VERSION
    digest: Digest | None = None
    tool: str = Field(description="name and version")
    made_at: datetime
    incident: Identity
    tlp: Tlp | None = None
    exercise: bool = False
    dry_run: bool = False
    title: str
    description: str | None = None
    category: str
    severity: str
    phase: str
    standing: str = Field(default="", description="status.summary")
    reported_by: str | None = None
    roles: Roles | None = None
    external_refs: tuple[ExternalRef, ...] = ()
    words: Words
    systems: tuple[System, ...]
    model: AffectedModel | None = None
    known_good: KnownGood | None = None
    timestamps: Timestamps
    contained_in: str | None = None
    conditions: tuple[Condition, ...] = ()
    contested: Contested | None = None
    phases: tuple[PhaseSpan, ...] = ()
    timeline: tuple[TimelineEntry, ...] = ()
    earlier: int = Field(default=0, description="entries of the timeline that the status no longer has")
    detection: Detection | None = None
    signals: SignalsStatus | None = None
    plan: Plan | None = None
    approval: ApprovalStatus | None = None
    actions: tuple[ActionTaken, ...] = ()
    evidence: tuple[CollectionChecked, ...] = ()
    stored_timeline: TimelineChecked | None = None
    techniques: tuple[Technique, ...] = ()
    recovery: Recovery
    regulatory: RegulatoryLog

    def sealed(self) -> Self:
        """The same with its digest."""
        return self.model_copy(update={"digest": digest_of_report(self.wire())})

    @property
    def altered_evidence(self) -> bool:
        stored = (self.stored_timeline,) if self.stored_timeline else ()
        return any(each.result == "Altered" for each in (*self.evidence, *stored))

    @property
    def to_be_written(self) -> tuple[str, ...]:
        return (*self.words.missing, *(("spec.regulatory.decisions",) if self.regulatory.undecided else ()))

    def wire(self) -> Json:
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def json_form(self) -> bytes:
        """What `digest_in` checks."""
        return render(self.wire())
