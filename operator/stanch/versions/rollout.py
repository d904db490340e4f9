"""How far a workload's pods have come to its current pod template, and what stops them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stanch.api.v1alpha1.base import ApiModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Json = dict[str, Any]

_HASHES = ("pod-template-hash", "controller-revision-hash")
_HOPELESS = re.compile(
    r"BackOff$|^(InvalidImageName|ErrImageNeverPull|CreateContainerConfigError|RunContainerError)$"
)
_SHOWN = 3


class _Condition(ApiModel):
    type: str
    status: str = ""
    reason: str = ""
    message: str = ""


class _Waiting(ApiModel):
    reason: str = ""
    message: str = ""


class _State(ApiModel):
    waiting: _Waiting | None = None


class _ContainerStatus(ApiModel):
    name: str = ""
    state: _State = Field(default_factory=_State)


class _PodMeta(ApiModel):
    name: str
    uid: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    deletion_timestamp: datetime | None = None


class _PodStatus(ApiModel):
    phase: str = "Pending"
    conditions: tuple[_Condition, ...] = ()
    init_container_statuses: tuple[_ContainerStatus, ...] = ()
    container_statuses: tuple[_ContainerStatus, ...] = ()


class Member(ApiModel):
    """One pod of the workload."""

    metadata: _PodMeta
    status: _PodStatus = Field(default_factory=_PodStatus)

    @property
    def live(self) -> bool:
        return self.status.phase not in {"Succeeded", "Failed"}

    @property
    def ready(self) -> bool:
        return any(one.type == "Ready" and one.status == "True" for one in self.status.conditions)

    @property
    def ordinal(self) -> int:
        """The number at the end of a StatefulSet's pod's name."""
        number = self.metadata.name.rpartition("-")[2]
        return int(number) if number.isdecimal() else 0

    def of_revision(self, workload: str, revision: str) -> bool:
        """Whether the pod was made from the template that a ReplicaSet or ControllerRevision holds."""
        hashes = [self.metadata.labels[label] for label in _HASHES if label in self.metadata.labels]
        return any(revision in {value, f"{workload}-{value}"} for value in hashes)

    def trouble(self) -> Trouble | None:
        """What keeps it from running, in the words of the kubelet or the scheduler."""
        for status in (*self.status.init_container_statuses, *self.status.container_statuses):
            waiting = status.state.waiting
            if waiting is not None and waiting.reason not in {"", "ContainerCreating", "PodInitializing"}:
                hopeless = _HOPELESS.search(waiting.reason) is not None
                said = f"container {status.name}: {waiting.reason} {waiting.message}"
                return Trouble(self.metadata.name, said.strip(), hopeless=hopeless)
        for condition in self.status.conditions:
            if condition.type == "PodScheduled" and condition.status == "False":
                said = f"{condition.reason} {condition.message}".strip()
                return Trouble(self.metadata.name, said, hopeless=False)
        return None


@dataclass(frozen=True, slots=True)
class Trouble:
    pod: str
    said: str
    hopeless: bool
    """Whether it will not pass by waiting a little."""

    def __str__(self) -> str:
        return f"pod {self.pod}: {self.said}"


class _Partition(ApiModel):
    partition: int = 0


class _UpdateStrategy(ApiModel):
    type: str = "RollingUpdate"
    rolling_update: _Partition | None = None


class _Spec(ApiModel):
    replicas: int | None = None
    update_strategy: _UpdateStrategy = Field(default_factory=_UpdateStrategy)


class _Status(ApiModel):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    desired_number_scheduled: int = 0
    updated_number_scheduled: int = 0
    number_available: int = 0
    conditions: tuple[_Condition, ...] = ()


class _Meta(ApiModel):
    name: str
    generation: int = 0


class Rolling(ApiModel):
    """The workload's own account of its rollout."""

    kind: str
    metadata: _Meta
    spec: _Spec = Field(default_factory=_Spec)
    status: _Status = Field(default_factory=_Status)

    @classmethod
    def parse(cls, workload: Mapping[str, Any]) -> Rolling:
        return cls.model_validate(workload)

    @property
    def observed(self) -> bool:
        return self.status.observed_generation >= self.metadata.generation

    @property
    def on_delete(self) -> bool:
        """Whether old pods stay until somebody deletes them."""
        return self.spec.update_strategy.type == "OnDelete"

    @property
    def partition(self) -> int:
        """Pods of a StatefulSet with a lower ordinal keep their old template."""
        rolling = self.spec.update_strategy.rolling_update
        return rolling.partition if rolling is not None and self.kind == "StatefulSet" else 0

    def counts(self) -> tuple[int, int, int]:
        """Pods that are wanted of the new template, that are of it, and that are available."""
        if self.kind == "DaemonSet":
            status = self.status
            return status.desired_number_scheduled, status.updated_number_scheduled, status.number_available
        replicas = 1 if self.spec.replicas is None else self.spec.replicas
        wanted = max(0, replicas - self.partition)
        return wanted, self.status.updated_replicas, self.status.available_replicas

    def gave_up(self) -> str:
        """Why its controller no longer expects the rollout to get on; empty while it does."""
        return self._condition("Progressing", "False")

    def hindered(self) -> str:
        """Why pods could not be created; they may be old ones, which the hold denies."""
        return self._condition("ReplicaFailure", "True")

    def _condition(self, type_: str, status: str) -> str:
        found = (one for one in self.status.conditions if (one.type, one.status) == (type_, status))
        return next((f"{one.reason}: {one.message}" for one in found), "")


@dataclass(frozen=True, slots=True)
class Rollout:
    """Where it stands: done, under way, or stuck with a reason."""

    done: bool
    stuck: bool = False
    reason: str = ""
    message: str = ""
    old: tuple[Member, ...] = field(default=(), repr=False)
    """Live pods of another template."""


def rollout(workload: Rolling, revision: str | None, members: Sequence[Member]) -> Rollout:
    """`revision` is the name of the object that holds the current template; None while there is none yet.

    Only pods of the current template speak for what stops it.
    """
    live = [member for member in members if member.live]
    name = workload.metadata.name
    new = [member for member in live if revision is not None and member.of_revision(name, revision)]
    old = tuple(member for member in live if member not in new and member.ordinal >= workload.partition)
    troubles = [trouble for member in new if not member.ready and (trouble := member.trouble())]
    hopeless = [trouble for trouble in troubles if trouble.hopeless]
    gave_up = workload.gave_up()
    why = _listed([str(trouble) for trouble in hopeless or troubles]) or workload.hindered()
    if hopeless or gave_up:
        said = "; ".join(part for part in (gave_up, why) if part)
        return Rollout(done=False, stuck=True, reason="RolloutStuck", message=said, old=old)
    wanted, updated, available = workload.counts()
    if revision is None or updated < wanted or old:
        names = _listed([member.metadata.name for member in old])
        said = f"{min(updated, wanted)} of {wanted} pods are of the new template"
        said += f"; of the old one: {names}" if old else ""
        return Rollout(done=False, reason="RollingOut", message=_with(said, why), old=old)
    if available < wanted:
        return Rollout(
            done=False,
            reason="NotAvailable",
            message=_with(f"{available} of {wanted} pods are available", why),
        )
    return Rollout(done=True)


def _with(said: str, why: str) -> str:
    return f"{said}; {why}" if why else said


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
