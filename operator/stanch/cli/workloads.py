"""A workload, a policy or a step, as people type them. Pure."""

from __future__ import annotations

from enum import StrEnum

from stanch.api.v1alpha1.incident import PolicyKind, PolicyRef, Target, TargetKind
from stanch.api.v1alpha1.steps import (
    CollectEvidence,
    Isolate,
    RevokeServiceAccount,
    Rollback,
    ScaleToZero,
    Step,
    Suspend,
)
from stanch.api.v1alpha1.versions import RollbackTo

_BATCH = {TargetKind.JOB, TargetKind.CRON_JOB}
_SHORT = {
    "deploy": TargetKind.DEPLOYMENT,
    "sts": TargetKind.STATEFUL_SET,
    "rs": TargetKind.REPLICA_SET,
    "ds": TargetKind.DAEMON_SET,
    "cj": TargetKind.CRON_JOB,
}
_GROUPS = (".apps", ".batch")
_KINDS = _SHORT | {
    form: kind for kind in TargetKind for form in (kind.value.lower(), f"{kind.value.lower()}s")
}
_POLICIES = {
    "cpol": PolicyKind.CONTAINMENT_POLICY,
    "ccpol": PolicyKind.CLUSTER_CONTAINMENT_POLICY,
} | {form: kind for kind in PolicyKind for form in (kind.value.lower(), f"{kind.value.lower()[:-1]}ies")}


class StepName(StrEnum):
    """Steps that need nothing more to be said. Others are written in a manifest."""

    COLLECT_EVIDENCE = "collect-evidence"
    ISOLATE = "isolate"
    REVOKE_SERVICE_ACCOUNT = "revoke-service-account"
    ROLLBACK = "rollback"
    SCALE_TO_ZERO = "scale-to-zero"
    SUSPEND = "suspend"

    @property
    def step(self) -> Step:
        """With its defaults; `rollback` goes to the last version that is known to be good."""
        match self:
            case StepName.COLLECT_EVIDENCE:
                return Step(collect_evidence=CollectEvidence())
            case StepName.ISOLATE:
                return Step(isolate=Isolate())
            case StepName.REVOKE_SERVICE_ACCOUNT:
                return Step(revoke_service_account=RevokeServiceAccount())
            case StepName.ROLLBACK:
                return Step(rollback=Rollback(to=RollbackTo(last_known_good=True)))
            case StepName.SCALE_TO_ZERO:
                return Step(scale_to_zero=ScaleToZero())
            case StepName.SUSPEND:
                return Step(suspend=Suspend())


def target_of(text: str) -> Target:
    """`deploy/llm-chat`, `sts/x`, `cronjob/nightly`, as kubectl takes them.

    Raises ValueError with what is wrong, pydantic.ValidationError for a name that no object can have.
    """
    kind, slash, name = text.partition("/")
    if not slash or not name:
        raise ValueError(f"{text}: a workload looks like deploy/llm-chat")
    plain = kind.lower()
    for group in _GROUPS:
        plain = plain.removesuffix(group)
    if plain in {"pod", "pods", "po"}:
        raise ValueError(f"{text}: a Pod cannot be contained by itself; name its controller")
    found = _KINDS.get(plain)
    if found is None:
        known = ", ".join(kind.value for kind in TargetKind)
        raise ValueError(f"{text}: a {kind} cannot be contained; a workload is one of {known}")
    return Target(api_version="batch/v1" if found in _BATCH else "apps/v1", kind=found, name=name)


def policy_of(text: str) -> PolicyRef:
    """`chat-guard`, or `ccpol/everywhere` for a ClusterContainmentPolicy. Raises ValueError."""
    kind, slash, name = text.rpartition("/")
    if not slash:
        return PolicyRef(name=text)
    found = _POLICIES.get(kind.lower())
    if found is None:
        raise ValueError(f"{text}: a policy is a name, or ccpol/ and the name of a ClusterContainmentPolicy")
    return PolicyRef(kind=found, name=name)
