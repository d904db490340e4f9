"""Who runs under an account: from pods, and from the workloads that would start more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pydantic import Field

from stanch.access.accounts import DEFAULT_ACCOUNT
from stanch.access.models import OwnedMeta
from stanch.api.v1alpha1.base import ApiModel

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from stanch.access.models import Json

_ENDED = frozenset({"Succeeded", "Failed"})


class PodSpec(ApiModel):
    service_account_name: str = ""
    service_account: str = ""
    """The deprecated alias, which the API server fills in beside the other; older objects have only this."""

    @property
    def account(self) -> str:
        return self.service_account_name or self.service_account or DEFAULT_ACCOUNT


class _Template(ApiModel):
    spec: PodSpec = Field(default_factory=PodSpec)


class _JobSpec(ApiModel):
    template: _Template = Field(default_factory=_Template)


class _JobTemplate(ApiModel):
    spec: _JobSpec = Field(default_factory=_JobSpec)


class _Spec(ApiModel):
    template: _Template = Field(default_factory=_Template)
    job_template: _JobTemplate = Field(default_factory=_JobTemplate)


class _Status(ApiModel):
    phase: str = ""


class _Workload(ApiModel):
    kind: str
    metadata: OwnedMeta
    spec: _Spec = Field(default_factory=_Spec)

    @property
    def account(self) -> str:
        spec = self.spec.job_template.spec if self.kind == "CronJob" else self.spec
        return spec.template.spec.account


class _Pod(ApiModel):
    kind: str = "Pod"
    metadata: OwnedMeta
    spec: PodSpec = Field(default_factory=PodSpec)
    status: _Status = Field(default_factory=_Status)


@dataclass(frozen=True, slots=True)
class Runner:
    """A pod that has not ended, or a workload by its pod template, and the account it runs under."""

    kind: str
    metadata: OwnedMeta
    account: str
    running: bool = False
    """A pod. The template of an old ReplicaSet is history: what counts is its Deployment's, and pods."""

    @classmethod
    def parse(cls, obj: Json) -> Self | None:
        """Of a Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or CronJob; None of an ended pod."""
        if obj["kind"] == "Pod":
            pod = _Pod.model_validate(obj)
            if pod.status.phase in _ENDED:
                return None
            return cls(pod.kind, pod.metadata, pod.spec.account, running=True)
        workload = _Workload.model_validate(obj)
        return cls(workload.kind, workload.metadata, workload.account)

    def __str__(self) -> str:
        return f"{self.kind}/{self.metadata.name}"


def users_of(account: str, objects: Iterable[Json], own: Collection[str] = ()) -> tuple[str, ...]:
    """`Kind/name` of all that run or would run under the account, each by its topmost owner.

    `objects` are the namespace's pods and workloads, with the ReplicaSets and Jobs between them; `own` are
    uids of workloads that do not count, nor does what they own.
    """
    runners = [runner for obj in objects if (runner := Runner.parse(obj))]
    known = {runner.metadata.uid: runner for runner in runners}
    users = set()
    for runner in runners:
        if runner.account != account or not (runner.running or runner.metadata.controller is None):
            continue
        chain = _chain(runner, known)
        if not any(uid in own for uid, _ in chain):
            users.add(chain[-1][1])
    return tuple(sorted(users))


def _chain(runner: Runner, known: Mapping[str, Runner]) -> list[tuple[str, str]]:
    """Uid and name of the object and of each controller above it; one of unknown kind is the last."""
    chain = [(runner.metadata.uid, str(runner))]
    owner = runner.metadata.controller
    while owner is not None and owner.uid not in {uid for uid, _ in chain}:
        chain.append((owner.uid, str(owner)))
        above = known.get(owner.uid)
        owner = above.metadata.controller if above else None
    return chain
