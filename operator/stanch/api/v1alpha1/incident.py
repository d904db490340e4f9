"""AIIncident: what went wrong with which workload, and what is to be done about it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, WithJsonSchema

from stanch.api.resource import AGE, Column, Resource
from stanch.api.schema import RULES, Matching, Name, items, rule, rules
from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.meta import ObjectMeta
from stanch.api.v1alpha1.record import (
    AffectedModel,
    AtlasTechnique,
    Detection,
    ExternalRef,
    KnownGood,
    OwaspRef,
    Regulatory,
    Resolution,
    Roles,
    Tlp,
)
from stanch.api.v1alpha1.recovery import ReleaseMode
from stanch.api.v1alpha1.status import AIIncidentStatus
from stanch.api.v1alpha1.steps import Step

FINALIZER = "stanch.dev/release"
"""Stands while there may be something to give back."""


class Category(StrEnum):
    """What happened. Terms follow CoSAI's AI Incident Response Framework."""

    DATA_POISONING = "DataPoisoning"
    UNAUTHORIZED_DATA_CHANGE = "UnauthorizedDataChange"
    DATA_BREACH = "DataBreach"
    UNAUTHORIZED_MODEL_CHANGE = "UnauthorizedModelChange"
    BACKDOOR = "Backdoor"
    MODEL_THEFT = "ModelTheft"
    MODEL_INVERSION = "ModelInversion"
    MODEL_EVASION = "ModelEvasion"
    PROMPT_INJECTION = "PromptInjection"
    INDIRECT_PROMPT_INJECTION = "IndirectPromptInjection"
    JAILBREAK = "Jailbreak"
    OUTPUT_POLICY_VIOLATION = "OutputPolicyViolation"
    ROGUE_AGENT = "RogueAgent"
    UNAUTHORIZED_ACCESS = "UnauthorizedAccess"
    SERVICE_ABUSE = "ServiceAbuse"
    DENIAL_OF_SERVICE = "DenialOfService"
    SUPPLY_CHAIN_COMPROMISE = "SupplyChainCompromise"
    DRIFT = "Drift"
    PERFORMANCE_DEGRADATION = "PerformanceDegradation"
    ANOMALOUS_BEHAVIOUR = "AnomalousBehaviour"
    BIAS = "Bias"
    MISUSE = "Misuse"
    OTHER = "Other"


class Severity(StrEnum):
    CRITICAL = "Critical"
    HIGH = "High"
    MEDIUM = "Medium"
    LOW = "Low"
    INFORMATIONAL = "Informational"


class TargetKind(StrEnum):
    """Kinds that Stanch knows how to stop."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    REPLICA_SET = "ReplicaSet"
    DAEMON_SET = "DaemonSet"
    JOB = "Job"
    CRON_JOB = "CronJob"


class Mode(StrEnum):
    ENFORCE = "Enforce"
    DRY_RUN = "DryRun"


class DesiredState(StrEnum):
    CONTAINED = "Contained"
    RELEASED = "Released"


class DeletionPolicy(StrEnum):
    RELEASE = "Release"
    RETAIN = "Retain"


class PolicyKind(StrEnum):
    CONTAINMENT_POLICY = "ContainmentPolicy"
    CLUSTER_CONTAINMENT_POLICY = "ClusterContainmentPolicy"


_KNOWN_KIND = rule(
    f"self in [{', '.join(repr(kind.value) for kind in TargetKind)}]",
    "a target is a Deployment, StatefulSet, ReplicaSet, DaemonSet, Job or CronJob",
    message_expression=(
        "self == 'Pod' ? 'a Pod cannot be contained by itself; name its controller' : 'a ' + self + "
        "' cannot be contained; a target is a Deployment, StatefulSet, ReplicaSet, DaemonSet, Job or CronJob'"
    ),
)


KnownKind = Annotated[TargetKind, WithJsonSchema({"type": "string", "maxLength": 63, RULES: [_KNOWN_KIND]})]
"""Not an enum in the CRD: its message could not say what to do about a Pod."""


class Target(ApiModel):
    """A workload in the incident's namespace."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "(self.apiVersion == 'batch/v1') == (self.kind in ['Job', 'CronJob'])",
                "Job and CronJob are of apiVersion batch/v1, the other kinds of apps/v1",
            )
        )
    )

    api_version: Literal["apps/v1", "batch/v1"] = "apps/v1"
    kind: KnownKind = Field(
        description="Deployment, StatefulSet, ReplicaSet (one that no Deployment owns), DaemonSet, Job or "
        "CronJob"
    )
    name: Name


class PolicyRef(ApiModel):
    kind: PolicyKind = PolicyKind.CONTAINMENT_POLICY
    name: Name


PlanHash = Annotated[
    str, Matching(r"^[0-9a-f]{8,64}$", "a plan hash is what status.plan.hash shows", max_length=64)
]


class Approval(ApiModel):
    """The word of a person who may approve. Needs the verb `approve` on aiincidents."""

    plan_hash: PlanHash = Field(
        description="status.plan.hash of the plan that is approved: another plan needs another approval"
    )
    by: str = Field(min_length=1, max_length=253, description="the approver's own user name")
    comment: str | None = Field(default=None, max_length=1024)


class AIIncidentSpec(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("!self.exerciseEnforce || self.exercise", "exerciseEnforce: true needs exercise: true")
        )
    )

    title: str = Field(min_length=1, max_length=256, description="one line: what happens")
    description: str | None = Field(default=None, max_length=16384)
    category: Category = Field(
        description="what kind of incident this is; terms follow CoSAI's AI IR framework"
    )
    severity: Severity
    targets: tuple[Target, ...] = items(
        20,
        keys=("kind", "name"),
        min_length=1,
        description="the workloads to contain, in the incident's namespace",
    )
    policy_ref: PolicyRef | None = Field(default=None, description="the policy whose plan is carried out")
    steps: tuple[Step, ...] | None = items(
        10,
        min_length=1,
        default=None,
        description="the plan, inline; without steps and policyRef the built-in plan: one scaleToZero, "
        "or one suspend for a Job or CronJob. Needs the verb `contain` on aiincidents",
    )
    mode: Mode = Field(
        default=Mode.ENFORCE, description="DryRun shows the plan in status and writes nothing else"
    )
    desired_state: DesiredState = Field(
        default=DesiredState.CONTAINED,
        description="Released gives the workload back. Needs the verb `release` on aiincidents",
    )
    release_mode: ReleaseMode | None = Field(
        default=None,
        description="Manual keeps a policy from releasing by itself, and takes its try back; the stricter of "
        "the two holds",
    )
    skip_verification: bool = Field(
        default=False,
        description="releases at once, without proof of recovery. Needs the verb `release` on aiincidents",
    )
    known_good: KnownGood | None = Field(default=None, description="what may run again")
    approval: Approval | None = None
    resolution: Resolution | None = Field(
        default=None,
        description="what was learnt; closes the incident. Needs the verb `close` on aiincidents",
    )
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.RELEASE,
        description="what deleting this object does: give the workload back, or leave it stopped, unheld",
    )
    exercise: bool = Field(default=False, description="a drill: labelled so everywhere, and in DryRun")
    exercise_enforce: bool = Field(default=False, description="a drill that does contain")

    detection: Detection | None = None
    affected_model: AffectedModel | None = None
    attacks: tuple[AtlasTechnique, ...] = items(
        32, unique=True, default=(), description="MITRE ATLAS techniques, such as AML.T0051.001"
    )
    owasp_refs: tuple[OwaspRef, ...] = items(
        32, unique=True, default=(), description="OWASP LLM or agentic top 10 entries, such as LLM01:2025"
    )
    tlp: Tlp | None = None
    roles: Roles | None = None
    dedup_key: str | None = Field(default=None, min_length=1, max_length=253)
    occurred_at: datetime | None = None
    external_refs: tuple[ExternalRef, ...] = items(20, default=())
    regulatory: Regulatory | None = None


_BEGUN = (
    "(has(self.status) && has(self.status.plan) && oldSelf.spec.mode == 'Enforce' && "
    "!(has(self.status.phase) && self.status.phase in ['Rejected', 'Duplicate']))"
)
_GIVEN_BACK = (
    "(has(self.status) && has(self.status.phase) && "
    "(self.status.phase in ['Released', 'Recovered', 'Closed'] || (self.status.phase == 'Releasing' && "
    "!(has(self.status.release) && self.status.release.stage in ['Probation', 'Full']))))"
)


def _fixed(field: str, *, optional: bool = False) -> dict[str, str]:
    same = f"self.spec.{field} == oldSelf.spec.{field}"
    if optional:  # not `.?{field}`, whose cost the API server cannot bound
        both = f"has(self.spec.{field}) == has(oldSelf.spec.{field})"
        same = f"({both} && (!has(self.spec.{field}) || {same}))"
    return rule(
        f"!{_BEGUN} || {same}",
        f"{field} cannot change once containment has begun; release this incident and create another",
        reason="FieldValueForbidden",
        path=f".spec.{field}",
    )


_LIFECYCLE = (
    _fixed("targets"),
    _fixed("steps", optional=True),
    _fixed("policyRef", optional=True),
    _fixed("exercise"),
    _fixed("exerciseEnforce"),
    rule(
        f"!{_BEGUN} || self.spec.mode == 'Enforce'",
        "mode cannot go back to DryRun once containment has begun; to give the workload back set "
        "desiredState: Released",
        reason="FieldValueForbidden",
        path=".spec.mode",
    ),
    rule(
        f"!{_GIVEN_BACK} || oldSelf.spec.desiredState != 'Released' || self.spec.desiredState == 'Released'",
        "a released incident cannot be contained again; create another",
        reason="FieldValueForbidden",
        path=".spec.desiredState",
    ),
)


class AIIncident(ApiModel):
    """Something went wrong with an AI workload: contain it, hold it contained, give it back."""

    model_config = ConfigDict(json_schema_extra=rules(*_LIFECYCLE))
    resource: ClassVar[Resource] = Resource(
        kind="AIIncident",
        plural="aiincidents",
        short_names=("aii",),
        columns=(
            Column("Severity", ".spec.severity"),
            Column("Category", ".spec.category"),
            Column("Target", ".status.target", description="what is contained"),
            Column("Phase", ".status.phase"),
            Column(
                "Held",
                '.status.conditions[?(@.type=="Held")].status',
                description="whether admission denies undoing it",
            ),
            Column(
                "Contained-In",
                ".status.containedIn",
                description="from detection to the last containing write",
            ),
            AGE,
            Column("Policy", ".status.plan.source", description="where the plan comes from", wide=True),
            Column("Due", ".status.clock", description="the reporting duty that is due next", wide=True),
            Column("Summary", ".status.summary", wide=True),
        ),
    )

    api_version: Literal["stanch.dev/v1alpha1"] = "stanch.dev/v1alpha1"
    kind: Literal["AIIncident"] = "AIIncident"
    metadata: ObjectMeta
    spec: AIIncidentSpec
    status: AIIncidentStatus = Field(default_factory=AIIncidentStatus)

    @classmethod
    def parse(cls, json: dict[str, Any]) -> Self:
        """The object as read from the API server.

        Raises pydantic.ValidationError when it was stored under a CRD that this version does not understand.
        """
        return cls.model_validate(json)
