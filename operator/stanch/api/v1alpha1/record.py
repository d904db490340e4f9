"""What an incident keeps for the record: context that no action depends on."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from stanch.api.schema import Matching, items, rule, rules
from stanch.api.v1alpha1.base import ApiModel

AtlasTechnique = Annotated[
    str,
    Matching(
        r"^AML\.T[0-9]{4}(\.[0-9]{3})?$",
        "an ATLAS technique looks like AML.T0051 or AML.T0051.001",
        max_length=32,
    ),
]
OwaspRef = Annotated[
    str,
    Matching(
        r"^(LLM|ASI)(0[1-9]|10):20[0-9]{2}$",
        "an OWASP reference looks like LLM01:2025 or ASI01:2026; the year is part of it",
        max_length=32,
    ),
]
Digest = Annotated[
    str,
    Matching(
        r"^sha256:[0-9a-f]{64}$", "a digest is sha256: and 64 lower-case hexadecimal digits", max_length=71
    ),
]
Line = Annotated[str, StringConstraints(max_length=1024)]


class DetectionMethod(StrEnum):
    PERSON = "Person"
    ALERT = "Alert"
    METRIC = "Metric"
    PIPELINE = "Pipeline"
    SCANNER = "Scanner"
    THIRD_PARTY = "ThirdParty"


class Signal(ApiModel):
    """One observation that led to the incident."""

    name: str = Field(min_length=1, max_length=253, description="the alert, the rule or the check")
    source: str | None = Field(default=None, max_length=1024, description="who observed it, such as a URL")
    fingerprint: str | None = Field(default=None, max_length=128)
    value: str | None = Field(default=None, max_length=256)
    observed_at: datetime | None = None


class Detection(ApiModel):
    method: DetectionMethod | None = None
    rule_ref: str | None = Field(
        default=None, max_length=1024, description="the rule that fired, such as a URL"
    )
    signals: tuple[Signal, ...] = items(50, default=())


class AffectedModel(ApiModel):
    name: str | None = Field(default=None, max_length=253)
    version: str | None = Field(default=None, max_length=253)
    digest: Digest | None = None
    uri: str | None = Field(default=None, max_length=2048)


class Tlp(StrEnum):
    """Traffic Light Protocol 2.0, https://www.first.org/tlp/."""

    RED = "TLP:RED"
    AMBER_STRICT = "TLP:AMBER+STRICT"
    AMBER = "TLP:AMBER"
    GREEN = "TLP:GREEN"
    CLEAR = "TLP:CLEAR"


class Roles(ApiModel):
    """Who does what in this incident: names, addresses or account names."""

    incident_commander: str | None = Field(default=None, max_length=253)
    operations_lead: str | None = Field(default=None, max_length=253)
    communications_lead: str | None = Field(default=None, max_length=253)
    scribe: str | None = Field(default=None, max_length=253)


class ExternalRef(ApiModel):
    """The same incident elsewhere: a ticket, a page, a case."""

    system: str = Field(min_length=1, max_length=63)
    id: str = Field(min_length=1, max_length=253)
    url: str | None = Field(default=None, max_length=2048)


class Duty(StrEnum):
    """What was decided about a reporting duty. Undecided is the absence of a decision."""

    APPLIES = "Applies"
    REPORTED = "Reported"
    NOT_REPORTABLE = "NotReportable"


class ClockDecision(ApiModel):
    """One duty, and what a person decided about it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.duty != 'NotReportable' || has(self.rationale)",
                "a decision not to report needs a rationale",
            ),
            rule("self.duty != 'Reported' || has(self.at)", "duty: Reported needs at: when it was reported"),
        )
    )

    clock: str = Field(min_length=1, max_length=63, description="id of the clock, as in status.clocks")
    duty: Duty
    decided_by: str = Field(min_length=1, max_length=253, description="who decided")
    rationale: str | None = Field(default=None, min_length=1, max_length=4096)
    at: datetime | None = Field(default=None, description="of the decision, or of the report")
    reference: str | None = Field(default=None, max_length=1024, description="the authority's, or a URL")


class Regulatory(ApiModel):
    """What reporting duties count from. Stanch never concludes that none apply."""

    aware_at: datetime | None = Field(
        default=None, description="when the organisation became aware: clocks run from here"
    )
    personal_data: bool | None = Field(
        default=None, description="whether personal data is affected, once known"
    )
    notes: str | None = Field(default=None, max_length=4096)
    decisions: tuple[ClockDecision, ...] = items(
        20, keys=("clock",), default=(), description="what people decided about reporting duties"
    )


class Determination(StrEnum):
    """What the incident turned out to be."""

    SUSPECTED = "Suspected"
    CONFIRMED = "Confirmed"
    BLOCKED = "Blocked"
    FAILED_ATTEMPT = "FailedAttempt"
    FALSE_POSITIVE = "FalsePositive"


class FollowUp(ApiModel):
    """What is to be done so that it does not happen again."""

    what: str = Field(min_length=1, max_length=1024)
    owner: str = Field(min_length=1, max_length=253)
    due: date | None = None


class Lessons(ApiModel):
    went_well: tuple[Line, ...] = items(20, default=())
    went_wrong: tuple[Line, ...] = items(20, default=())
    got_lucky: tuple[Line, ...] = items(20, default=())


class Resolution(ApiModel):
    """What was learnt. With it an incident whose workload is given back is closed."""

    determination: Determination
    root_cause: str = Field(min_length=1, max_length=8192)
    summary: str | None = Field(default=None, max_length=8192, description="for those who read only this")
    impact: str | None = Field(default=None, max_length=8192, description="who was affected, and how")
    communications: str | None = Field(default=None, max_length=8192, description="who was told what, when")
    near_misses: str | None = Field(default=None, max_length=8192)
    lessons: Lessons = Field(default_factory=Lessons)
    actions: tuple[FollowUp, ...] = items(50, default=())


class KnownGood(ApiModel):
    """What is to run when the incident is over: what integrity checks compare with."""

    images: tuple[Digest, ...] = items(
        20, default=(), description="digests, as of the pods' imageID: every container runs one of these"
    )
    model_version: str | None = Field(default=None, min_length=1, max_length=253)


__all__ = [
    "AffectedModel",
    "AtlasTechnique",
    "ClockDecision",
    "Detection",
    "DetectionMethod",
    "Determination",
    "Digest",
    "Duty",
    "ExternalRef",
    "FollowUp",
    "KnownGood",
    "Lessons",
    "OwaspRef",
    "Regulatory",
    "Resolution",
    "Roles",
    "Signal",
    "Tlp",
]
