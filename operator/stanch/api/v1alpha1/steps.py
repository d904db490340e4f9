"""What a plan is made of: a step is a union with exactly one member struct.

Adding an action: one member class with its `action`, one field of `Step`. The CRD, the reference page and the
message for a step without a member follow.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import ConfigDict, Field

from stanch.api.schema import Duration, Name, exactly_one, items, rule, rules
from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.isolation import Allow, Direction, Others
from stanch.api.v1alpha1.versions import ModelLocator, RollbackTo


class OnFailure(StrEnum):
    """What a step that ends Ineffective means for the steps after it."""

    CONTINUE = "Continue"
    STOP = "Stop"
    RELEASE = "Release"


class Terminate(StrEnum):
    """Graceful lets pods finish within their grace period; Immediate ends them with none."""

    GRACEFUL = "Graceful"
    IMMEDIATE = "Immediate"


class RevokeMethod(StrEnum):
    """DeleteAccount takes the identity, DeleteBindings what it may do."""

    DELETE_ACCOUNT = "DeleteAccount"
    DELETE_BINDINGS = "DeleteBindings"


class Consent(StrEnum):
    """What a step does when it finds what a person has to know of first."""

    REFUSE = "Refuse"
    ACCEPT = "Accept"


class StepMember(ApiModel):
    """Base of the union's members."""

    action: ClassVar[str]


class ScaleToZero(StepMember):
    """Run no pod of the workload. The recorded count comes back on release."""

    action: ClassVar[str] = "ScaleToZero"

    terminate: Terminate = Field(
        default=Terminate.GRACEFUL,
        description="Graceful lets pods finish within their grace period; Immediate ends them without one",
    )


class Condemn(StrEnum):
    """How long the version that is rolled back from is denied to the namespace."""

    UNTIL_RELEASE = "UntilRelease"
    PERMANENT = "Permanent"


class OnRelease(StrEnum):
    """Keep leaves the version that was rolled back to; Restore brings back the one before."""

    KEEP = "Keep"
    RESTORE = "Restore"


class Rollback(StepMember):
    """Go back to another version, and condemn this one: no pod of the namespace may carry it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.onRelease != 'Restore' || self.condemn != 'Permanent'",
                "onRelease: Restore brings the condemned version back, so condemn has to be UntilRelease",
            )
        )
    )

    action: ClassVar[str] = "Rollback"

    to: RollbackTo
    locator: ModelLocator | None = Field(
        default=None, description="where the version of the model is kept; found by its looks when absent"
    )
    condemn: Condemn = Field(
        default=Condemn.UNTIL_RELEASE,
        description="Permanent denies the version until the incident is deleted",
    )
    on_release: OnRelease = Field(
        default=OnRelease.KEEP,
        description="Keep leaves the version that was rolled back to; Restore brings back the one before",
    )


class RevokeServiceAccount(StepMember):
    """Make the identity of the workload's pods worthless. Release gives back the account, or its rights."""

    action: ClassVar[str] = "RevokeServiceAccount"

    method: RevokeMethod = Field(
        default=RevokeMethod.DELETE_ACCOUNT,
        description="DeleteAccount deletes the ServiceAccount: its tokens are refused within 10 s. "
        "DeleteBindings takes it out of every binding that names it: denied at once, but the operator must "
        "be granted `bind` on each role",
    )
    shared: Consent = Field(
        default=Consent.REFUSE,
        description="whether to go on when other workloads run under the account and lose it too",
    )
    irreversible: Consent = Field(
        default=Consent.REFUSE,
        description="whether to delete an account together with Secrets that hold tokens of it, which no "
        "release gives back",
    )


class CollectEvidence(StepMember):
    """Keep manifests, logs, events and rights as they are, before anything is changed."""

    action: ClassVar[str] = "CollectEvidence"


class Isolate(StepMember):
    """Cut the workload's pods off the network but for what is allowed. Release opens what was open."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.allow) || !has(self.allow.dns) || !self.allow.dns || 'Egress' in self.direction",
                "allow.dns opens egress, which direction does not cut",
            ),
            rule(
                "!has(self.allow) || !has(self.allow.metrics) || 'Ingress' in self.direction",
                "allow.metrics opens ingress, which direction does not cut",
            ),
            rule(
                "!has(self.allow) || !has(self.allow.peers) || self.allow.peers.all(peer, "
                "!has(peer.direction) || peer.direction.all(way, way in self.direction))",
                "a peer of allow opens a direction that is not cut",
            ),
        )
    )

    action: ClassVar[str] = "Isolate"

    direction: tuple[Direction, ...] = items(
        2,
        unique=True,
        default=(Direction.INGRESS, Direction.EGRESS),
        min_length=1,
        description="which traffic is cut",
    )
    others: Others = Field(
        default=Others.REPORT,
        description="Report leaves policies of others that keep the workload reachable as they are and lists "
        "them; Override takes the workload out of them until release",
    )
    allow: Allow = Field(default_factory=Allow, description="what stays open on purpose; nothing when absent")
    terminate_connections: bool = Field(
        default=False,
        description="delete the pods that started before they were cut off: most network plugins let "
        "connections that are open live on",
    )


class Suspend(StepMember):
    """Run no pod of the Job, or of the CronJob's Jobs, and let none be started."""

    action: ClassVar[str] = "Suspend"


class Discharge(StrEnum):
    """Return gives a pod its labels back, and with them to its controller; Delete ends it."""

    RETURN = "Return"
    DELETE = "Delete"


class Quarantine(StepMember):
    """Take pods out of their workload and its Services, isolated and alive, to be looked into."""

    action: ClassVar[str] = "Quarantine"

    pods: tuple[Name, ...] = items(
        10, unique=True, min_length=1, description="live pods of the target; its other pods are left alone"
    )
    on_release: Discharge = Field(
        default=Discharge.RETURN,
        description="Return gives the pods back to their controller, which ends those that are too many; "
        "Delete deletes them",
    )


class Step(ApiModel):
    """One step of a plan, done to each target."""

    model_config = ConfigDict(
        json_schema_extra=exactly_one("a step", beside=("onFailure", "timeout", "optional"))
    )

    collect_evidence: CollectEvidence | None = Field(
        default=None,
        description="keep manifests, logs, events and rights as they are now; goes first by itself where the "
        "operator has a place to store it",
    )
    scale_to_zero: ScaleToZero | None = Field(
        default=None, description="run no pod of the workload, and let none be started"
    )
    rollback: Rollback | None = Field(
        default=None, description="go back to another image or model version, and deny this one"
    )
    revoke_service_account: RevokeServiceAccount | None = Field(
        default=None, description="make the identity of the workload's pods worthless"
    )
    isolate: Isolate | None = Field(
        default=None, description="cut the workload's pods off the network, but for what is allowed"
    )
    suspend: Suspend | None = Field(
        default=None, description="run no pod of the Job, or of the CronJob's Jobs, and let none be started"
    )
    quarantine: Quarantine | None = Field(
        default=None, description="take pods out of their workload, isolated and alive, to be looked into"
    )
    on_failure: OnFailure = Field(
        default=OnFailure.STOP,
        description="when the step cannot be made effective: go on with the next step, stop and stay as is, "
        "or release what was done",
    )
    timeout: Duration | None = Field(
        default=None,
        description="how long the step may take to become effective; the action's own when absent",
    )
    optional: bool = Field(
        default=False, description="an optional step that fails leaves the incident PartiallyContained"
    )

    @property
    def member(self) -> StepMember | None:
        """The member that is set; None when it is one that this version does not know."""
        return next(
            (
                value
                for name in type(self).model_fields
                if isinstance(value := getattr(self, name), StepMember)
            ),
            None,
        )


_RUN_TO_COMPLETION = {"Job", "CronJob"}


def default_steps(kind: str) -> tuple[Step, ...]:
    """The built-in plan for a target of that kind, of an incident that names neither steps nor a policy."""
    if kind in _RUN_TO_COMPLETION:
        return (Step(suspend=Suspend()),)
    return (Step(scale_to_zero=ScaleToZero()),)
