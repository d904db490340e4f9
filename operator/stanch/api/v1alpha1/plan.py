"""`AIIncident.status.plan`: what will be done, and the policy as it was when that was decided."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.recovery import ReleaseRule, Verification
from stanch.api.v1alpha1.steps import Step


class PlannedStep(ApiModel):
    """One line of the plan: what will be done to what, readable in `kubectl describe`."""

    id: str = Field(max_length=320)
    action: str = Field(max_length=63)
    target: str = Field(max_length=330)
    diff: tuple[str, ...] = Field(default=(), max_length=64)


CarriedStep = Annotated[Step, WithJsonSchema({"description": "as in spec.steps of the policy"})]
"""Not spelt out in the CRD a second time: what is stored was checked where it comes from."""
CarriedVerification = Annotated[
    Verification, WithJsonSchema({"description": "as spec.verification of the policy"})
]
CarriedRelease = Annotated[ReleaseRule, WithJsonSchema({"description": "as spec.release of the policy"})]


class CarriedNotification(ApiModel):
    """As in spec.notifications of the policy: who is told, by the Secret that has the address."""

    name: str = Field(max_length=63)
    secret: str = Field(max_length=253)
    key: str = Field(max_length=253)
    at_or_above: str = Field(max_length=63, description="the least severity that is told")


class PlanPolicy(ApiModel):
    """The policy as it was when the plan was made: what happens to it later changes nothing here."""

    kind: Literal["ContainmentPolicy", "ClusterContainmentPolicy"]
    name: str = Field(max_length=253)
    uid: str = Field(max_length=64)
    generation: int
    dry_run: bool = Field(default=False, description="whether it said mode: DryRun")
    steps: tuple[CarriedStep, ...] = Field(default=(), max_length=10)
    verification: CarriedVerification | None = None
    release: CarriedRelease | None = None
    notifications: tuple[CarriedNotification, ...] = Field(default=(), max_length=20)

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class PlanStatus(ApiModel):
    hash: str = Field(max_length=64)
    source: str = Field(
        max_length=320, description="spec.steps, a policy with its generation, or the built-in default"
    )
    policy: PlanPolicy | None = None
    steps: tuple[PlannedStep, ...] = Field(default=(), max_length=200)
