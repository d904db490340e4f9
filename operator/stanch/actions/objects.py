"""Views of Kubernetes objects: the few fields that decisions need, parsed once at the boundary."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from pydantic import Field

from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.meta import ManagedFields
from stanch.api.v1alpha1.status import ObjectReference
from stanch.kube.resources import ObjectRef, Resource

Json = dict[str, Any]


class OwnerReference(ApiModel):
    kind: str
    name: str
    uid: str
    controller: bool = False


class Meta(ApiModel):
    name: str
    namespace: str | None = None
    uid: str
    resource_version: str
    generation: int = 0
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    managed_fields: tuple[ManagedFields, ...] = ()

    @property
    def controller(self) -> OwnerReference | None:
        return next((owner for owner in self.owner_references if owner.controller), None)


class Requirement(ApiModel):
    key: str
    operator: str
    values: tuple[str, ...] = ()


class LabelSelector(ApiModel):
    match_labels: dict[str, str] = Field(default_factory=dict)
    match_expressions: tuple[Requirement, ...] = ()

    def query(self) -> str:
        """The `labelSelector` of a list request."""
        parts = [f"{key}={value}" for key, value in sorted(self.match_labels.items())]
        for requirement in self.match_expressions:
            values = f"({','.join(requirement.values)})"
            parts.append(
                {
                    "In": f"{requirement.key} in {values}",
                    "NotIn": f"{requirement.key} notin {values}",
                    "Exists": requirement.key,
                    "DoesNotExist": f"!{requirement.key}",
                }[requirement.operator]
            )
        return ",".join(parts)


class VolumeClaimRetention(ApiModel):
    when_scaled: str = "Retain"


class ScaleTargetRef(ApiModel):
    api_version: str = ""
    kind: str
    name: str


class WorkloadSpec(ApiModel):
    replicas: int | None = None
    selector: LabelSelector = Field(default_factory=LabelSelector)
    persistent_volume_claim_retention_policy: VolumeClaimRetention = Field(
        default_factory=VolumeClaimRetention
    )
    scale_target_ref: ScaleTargetRef | None = None


class WorkloadStatus(ApiModel):
    observed_generation: int = 0
    replicas: int = 0
    desired_number_scheduled: int = 0


class _Body(ApiModel):
    metadata: Meta
    spec: WorkloadSpec = Field(default_factory=WorkloadSpec)
    status: WorkloadStatus = Field(default_factory=WorkloadStatus)


@dataclass(frozen=True)
class Obj:
    """One object as it was read: where it is, what it says, and the version every write to it names."""

    resource: Resource
    json: Json = field(repr=False)

    @cached_property
    def _body(self) -> _Body:
        return _Body.model_validate(self.json)

    @property
    def meta(self) -> Meta:
        return self._body.metadata

    @property
    def spec(self) -> WorkloadSpec:
        return self._body.spec

    @property
    def status(self) -> WorkloadStatus:
        return self._body.status

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef(
            self.resource, self.meta.namespace if self.resource.namespaced else None, self.meta.name
        )

    @property
    def key(self) -> str:
        """`apps/deployments/llm-chat`: how a ContainmentHold names it."""
        return f"{self.resource.key}/{self.meta.name}"

    @property
    def reference(self) -> ObjectReference:
        return ObjectReference(
            api_version=self.resource.api_version,
            kind=self.resource.kind,
            name=self.meta.name,
            uid=self.meta.uid,
        )

    def reference_in(self, namespace: str) -> ObjectReference:
        """As `reference`, with its namespace if that is another."""
        elsewhere = self.meta.namespace if self.meta.namespace not in {None, namespace} else None
        return self.reference.model_copy(update={"namespace": elsewhere})

    @property
    def observed(self) -> bool:
        """Whether its controller has seen the newest spec."""
        return self.status.observed_generation >= self.meta.generation


class _PodStatus(ApiModel):
    phase: str = "Pending"


class _PodSpec(ApiModel):
    node_name: str = ""


class Pod(ApiModel):
    metadata: Meta
    spec: _PodSpec = Field(default_factory=_PodSpec)
    status: _PodStatus = Field(default_factory=_PodStatus)

    @property
    def live(self) -> bool:
        """Not known to have ended: a terminating pod may still answer requests."""
        return self.status.phase not in {"Succeeded", "Failed"}

    @property
    def terminating(self) -> bool:
        return self.metadata.deletion_timestamp is not None
