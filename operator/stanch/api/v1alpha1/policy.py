"""ContainmentPolicy and ClusterContainmentPolicy: what Git declares about how to contain which workloads."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from stanch.api.resource import AGE, Column, Resource
from stanch.api.schema import Duration, Name, exactly_one, items, rule, rules
from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.incident import Category, KnownKind, Mode, Severity, TargetKind
from stanch.api.v1alpha1.meta import ObjectMeta
from stanch.api.v1alpha1.recovery import ReleaseRule, Verification
from stanch.api.v1alpha1.scalars import Comparison, Labels, Matcher, Percentage, Query, ShortName
from stanch.api.v1alpha1.status import Condition
from stanch.api.v1alpha1.steps import Step


class Selector(ApiModel):
    """Which workloads. Every term must match."""

    kinds: tuple[TargetKind, ...] = items(
        4, unique=True, default=(), description="any of these; all when absent"
    )
    match_labels: Labels = Field(default_factory=dict, max_length=20)


class NamespaceSelector(ApiModel):
    match_labels: Labels = Field(default_factory=dict, max_length=20)


class ClusterSelector(Selector):
    namespace_selector: NamespaceSelector | None = None


class Silenced(StrEnum):
    CONTAIN = "Contain"
    IGNORE = "Ignore"


class AlertTrigger(ApiModel):
    """Fires on an alert that matches all matchers."""

    matchers: tuple[Matcher, ...] = items(20, min_length=1)
    silenced: Silenced = Field(
        default=Silenced.CONTAIN,
        description="whether an alert that may be silenced contains: a silence is about being told, not "
        "about the workload. Ignore heeds only what Alertmanager delivers: Prometheus has none",
    )


class PrometheusTrigger(Comparison):
    """Fires when a sample of the query has compared true for some time. Its labels tell the target."""

    query: Query
    for_: Duration | None = Field(default=None, alias="for")


class Trigger(ApiModel):
    """What opens an incident, and how it is graded."""

    model_config = ConfigDict(
        json_schema_extra=exactly_one("a trigger", beside=("name", "category", "severity", "metrics"))
    )

    name: ShortName
    category: Category
    severity: Severity
    metrics: tuple[Query, ...] = items(
        10,
        unique=True,
        default=(),
        description="selectors of the series it lives on: while one has none, the trigger is Inactive",
    )
    alert: AlertTrigger | None = None
    prometheus: PrometheusTrigger | None = None


class ApprovalRequired(StrEnum):
    NEVER = "Never"
    ALWAYS = "Always"
    AT_OR_ABOVE = "AtOrAbove"


class ApprovalRule(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.required != 'AtOrAbove' || has(self.severity)",
                "required: AtOrAbove needs a severity to be at or above",
            )
        )
    )

    required: ApprovalRequired = ApprovalRequired.NEVER
    severity: Severity | None = Field(default=None, description="with required: AtOrAbove")
    four_eyes: bool = Field(default=False, description="whoever asked for the plan cannot approve it")
    expires: Duration = Field(default="30m", description="how long an approval may wait to be acted on")


class Storm(ApiModel):
    """The storm breaker: so many containments begin by themselves in the window, the next ask a person."""

    containments: int = Field(ge=1, le=10000)
    within: Duration = "10m"


class Attempts(ApiModel):
    """How often one workload is contained by itself; each one that recovery was not proven for counts."""

    most: int = Field(ge=1, le=100)
    within: Duration = "24h"


class Guardrails(ApiModel):
    """What a containment that nobody approved has to pass. One that is tripped makes it await approval."""

    approval: ApprovalRule | None = None
    max_concurrent: int | None = Field(default=None, ge=1, le=1000, description="containments at one time")
    storm: Storm | None = None
    attempts: Attempts | None = None
    cooldown: Duration | None = Field(
        default=None,
        description="how long after a containment triggers are ignored for its workload; longer than the "
        "window of their queries",
    )
    capacity_floor: Percentage | None = Field(
        default=None, description="share of the serving replicas that must stay"
    )


class SecretKey(ApiModel):
    name: Name
    key: str = Field(default="url", min_length=1, max_length=253)


class Notification(ApiModel):
    """Who is told. The address is in a Secret beside the policy, or beside Stanch for cluster policies."""

    name: ShortName
    url_from: SecretKey
    at_or_above: Severity = Severity.INFORMATIONAL


class DrillTarget(ApiModel):
    kind: KnownKind
    name: Name
    namespace: Name | None = Field(default=None, description="of a cluster policy's workload")


class Drill(ApiModel):
    """A scheduled exercise: the plan is made and tried out for a workload, and nothing is changed."""

    name: ShortName
    schedule: str = Field(min_length=9, max_length=128, description="cron, five fields, in UTC: 0 9 1 * *")
    target: DrillTarget | None = Field(
        default=None, description="the workload; the first that the policy selects when absent"
    )
    keep: int = Field(default=3, ge=1, le=100, description="how many of its exercises are kept")


_AUTOMATIC_NEEDS_CHECKS = rule(
    "!has(self.release) || self.release.mode != 'Automatic' || has(self.verification)",
    "release.mode: Automatic needs verification: without checks nothing shows recovery",
)


class PolicySpec(ApiModel):
    model_config = ConfigDict(json_schema_extra=rules(_AUTOMATIC_NEEDS_CHECKS))

    triggers: tuple[Trigger, ...] = items(50, keys=("name",), default=())
    steps: tuple[Step, ...] = items(10, min_length=1, description="the plan, in this order")
    guardrails: Guardrails | None = None
    verification: Verification | None = None
    release: ReleaseRule | None = None
    notifications: tuple[Notification, ...] = items(20, keys=("name",), default=())
    drills: tuple[Drill, ...] = items(10, keys=("name",), default=())
    mode: Mode = Field(default=Mode.ENFORCE, description="DryRun shows plans and changes nothing")
    suspend: bool = Field(
        default=False, description="no new incidents by this policy; what is contained stays so"
    )


class ContainmentPolicySpec(PolicySpec):
    selector: Selector = Field(description="which workloads of the policy's namespace it is for")


class ClusterContainmentPolicySpec(PolicySpec):
    selector: ClusterSelector = Field(description="which workloads of which namespaces it is for")


class TriggerState(StrEnum):
    ACTIVE = "Active"
    INACTIVE = "Inactive"
    ERROR = "Error"


class TriggerStatus(ApiModel):
    name: str = Field(max_length=63)
    state: TriggerState
    message: str | None = Field(default=None, max_length=1024)
    last_signal_at: datetime | None = Field(default=None, description="when it last fired")
    last_signal: str | None = Field(
        default=None, max_length=1024, description="what came of that: an incident, or why there is none"
    )


class PolicyIncident(ApiModel):
    """An incident that carries out this policy's plan."""

    namespace: str = Field(max_length=63)
    name: str = Field(max_length=253)
    phase: str = Field(max_length=63)
    generation: int = Field(description="of the policy whose plan it carries out")
    replaced: bool | None = Field(
        default=None, description="true when that was another policy of this name, deleted since"
    )


class DrillStatus(ApiModel):
    """The newest exercise of a drill."""

    name: str = Field(max_length=63)
    at: datetime = Field(description="when it was made")
    incident: str = Field(max_length=320, description="chat/drill-chat-guard-monthly-0a1b2c-202601020900")
    phase: str = Field(default="", max_length=63)
    message: str = Field(default="", max_length=2048, description="its summary")


class ContainmentPolicyStatus(ApiModel):
    observed_generation: int | None = None
    matched_workloads: int | None = None
    workloads: tuple[Annotated[str, Field(max_length=330)], ...] = Field(
        default=(), max_length=20, description="the first of them: Deployment chat/llm-chat"
    )
    active_incidents: int | None = None
    incidents: tuple[PolicyIncident, ...] = Field(
        default=(), max_length=20, description="the first of those that contain by this policy"
    )
    conditions: tuple[Condition, ...] = items(16, keys=("type",), default=())
    triggers: tuple[TriggerStatus, ...] = items(50, keys=("name",), default=())
    drills: tuple[DrillStatus, ...] = items(10, keys=("name",), default=())


_COLUMNS = (
    Column("Mode", ".spec.mode"),
    Column("Suspended", ".spec.suspend", "boolean"),
    Column("Workloads", ".status.matchedWorkloads", "integer", "workloads that it matches"),
    Column("Incidents", ".status.activeIncidents", "integer", "incidents that contain by its plan"),
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    AGE,
)


class ContainmentPolicy(ApiModel):
    """How to contain workloads of this namespace."""

    resource: ClassVar[Resource] = Resource(
        kind="ContainmentPolicy", plural="containmentpolicies", short_names=("cpol",), columns=_COLUMNS
    )

    api_version: Literal["stanch.dev/v1alpha1"] = "stanch.dev/v1alpha1"
    kind: Literal["ContainmentPolicy"] = "ContainmentPolicy"
    metadata: ObjectMeta
    spec: ContainmentPolicySpec
    status: ContainmentPolicyStatus = Field(default_factory=ContainmentPolicyStatus)


class ClusterContainmentPolicy(ApiModel):
    """How to contain workloads of several namespaces."""

    resource: ClassVar[Resource] = Resource(
        kind="ClusterContainmentPolicy",
        plural="clustercontainmentpolicies",
        short_names=("ccpol",),
        columns=_COLUMNS,
        namespaced=False,
    )

    api_version: Literal["stanch.dev/v1alpha1"] = "stanch.dev/v1alpha1"
    kind: Literal["ClusterContainmentPolicy"] = "ClusterContainmentPolicy"
    metadata: ObjectMeta
    spec: ClusterContainmentPolicySpec
    status: ContainmentPolicyStatus = Field(default_factory=ContainmentPolicyStatus)
