"""A target and its pods as they were read, and whether anything of it serves. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stanch.actions.objects import Meta
from stanch.api.v1alpha1.base import ApiModel
from stanch.verification.reading import Answer, Reading
from stanch.versions.rollout import Member, Rolling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stanch.api.v1alpha1.incident import Target

Json = dict[str, Any]

ROLLED_OUT = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"})
"""Kinds that say how many pods they want to have, always."""
_SHOWN = 3


class _Moment(ApiModel):
    started_at: datetime | None = None
    finished_at: datetime | None = None


class _State(ApiModel):
    running: _Moment | None = None
    terminated: _Moment | None = None


class _ContainerStatus(ApiModel):
    name: str
    restart_count: int = 0
    state: _State = Field(default_factory=_State)
    last_state: _State = Field(default_factory=_State)


class _Condition(ApiModel):
    type: str
    status: str = ""
    last_transition_time: datetime | None = None


class _Port(ApiModel):
    name: str = ""
    container_port: int
    protocol: str = "TCP"


class _Container(ApiModel):
    name: str
    ports: tuple[_Port, ...] = ()


class _Spec(ApiModel):
    host_network: bool = False
    init_containers: tuple[_Container, ...] = ()
    containers: tuple[_Container, ...] = ()


class _Status(ApiModel):
    pod_ip: str = Field(default="", alias="podIP")
    conditions: tuple[_Condition, ...] = ()
    init_container_statuses: tuple[_ContainerStatus, ...] = ()
    container_statuses: tuple[_ContainerStatus, ...] = ()


class _Body(ApiModel):
    metadata: Meta
    spec: _Spec = Field(default_factory=_Spec)
    status: _Status = Field(default_factory=_Status)


@dataclass(frozen=True)
class PodSeen:
    json: Json = field(repr=False)

    @cached_property
    def body(self) -> _Body:
        return _Body.model_validate(self.json)

    @cached_property
    def member(self) -> Member:
        return Member.model_validate(self.json)

    @property
    def name(self) -> str:
        return self.body.metadata.name

    @property
    def staying(self) -> bool:
        return self.member.live and self.body.metadata.deletion_timestamp is None

    @property
    def ready(self) -> bool:
        return self.staying and self.member.ready

    @property
    def was_ready(self) -> bool:
        """Whether it is unready by a change of mind: its containers ran when it came to be so."""
        unready = [one for one in self.body.status.conditions if (one.type, one.status) == ("Ready", "False")]
        started = [
            one.state.running.started_at
            for one in self.body.status.container_statuses
            if one.state.running is not None and one.state.running.started_at is not None
        ]
        return bool(started) and any(
            one.last_transition_time is not None and one.last_transition_time > min(started)
            for one in unready
        )

    @property
    def starting(self) -> bool:
        """Not ready yet, as far as can be told, and nothing is wrong with it that waiting will not mend."""
        trouble = self.member.trouble()
        hopeless = trouble is not None and trouble.hopeless
        return self.staying and not self.ready and not self.was_ready and not hopeless

    def restarts(self) -> list[tuple[str, datetime | None]]:
        """Containers that were started more than once, and when they last ended, where that is told."""
        status = self.body.status
        return [
            (one.name, one.last_state.terminated.finished_at if one.last_state.terminated else None)
            for one in (*status.init_container_statuses, *status.container_statuses)
            if one.restart_count > 0
        ]


@dataclass(frozen=True)
class Seen:
    """`workload` is None where there is no such object. `pods` are those it controls, that run or may run."""

    target: Target
    workload: Json | None = field(repr=False)
    pods: tuple[PodSeen, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.target.kind} {self.target.name}"

    @cached_property
    def rolling(self) -> Rolling:
        """Raises ValueError without a workload."""
        if self.workload is None:
            raise ValueError(f"there is no {self.name}")
        return Rolling.parse(self.workload)

    @property
    def wanted(self) -> int:
        """Pods that it wants to have; of a Job or CronJob nobody can say."""
        if self.workload is None or self.target.kind not in ROLLED_OUT:
            return 0
        if self.target.kind == "DaemonSet":
            return self.rolling.status.desired_number_scheduled
        replicas = self.rolling.spec.replicas
        return 1 if replicas is None else replicas

    @property
    def ready(self) -> list[PodSeen]:
        return [pod for pod in self.pods if pod.ready]

    @property
    def starting(self) -> bool:
        """Whether waiting alone may bring it ready pods."""
        staying = [pod for pod in self.pods if pod.staying]
        if not staying:
            return self.wanted > 0 and not self.rolling.hindered() and not self.rolling.gave_up()
        return any(pod.starting for pod in staying)


def not_serving(seen: Sequence[Seen], at: datetime) -> Reading | None:
    """Why no check can say anything yet; None when every target that wants pods has one that is ready.

    What does not run raises no alert, answers no request badly, and breaks no rule.
    """
    idle = [one for one in seen if not one.ready and (one.wanted or one.workload is None)]
    if not idle and any(one.ready for one in seen):
        return None
    idle = idle or list(seen)
    names = ", ".join(one.name for one in idle[:_SHOWN])
    more = f" and {len(idle) - _SHOWN} more" if len(idle) > _SHOWN else ""
    if all(one.starting for one in idle):
        return Reading(Answer.RUNNING, "Starting", f"no pod of {names}{more} is ready yet", at)
    troubles = (pod.member.trouble() for one in idle for pod in one.pods if pod.staying)
    why = next((f"; {trouble}" for trouble in troubles if trouble is not None), "")
    return Reading(Answer.UNKNOWN, "NothingServes", f"no pod of {names}{more} is ready{why}", at)
