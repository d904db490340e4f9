"""What a candidate does about a Lease. Pure: no clock, no network.

Times are seconds of the candidate's own monotonic clock. Another process's wall clock (`renewTime`) is
never compared with ours: a change of the record is timed when we see it, as client-go does
(https://pkg.go.dev/k8s.io/client-go/tools/leaderelection).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from stanch.settings import Settings


RELEASED_SECONDS = 1
"""The duration of a Lease without a holder that was released. An editor leaves the one it had."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds. `retry` < `renew_deadline` < `lease`, or two leaders overlap."""

    lease: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry < self.renew_deadline < self.lease:
            raise ValueError(f"0 < retry < renew deadline < lease must hold, got {self}")

    @classmethod
    def from_settings(cls, settings: Settings) -> Timings:
        return cls(settings.lease_seconds, settings.renew_deadline_seconds, settings.retry_seconds)


class LeaseRecord(BaseModel):
    """The `spec` of a coordination.k8s.io/v1 Lease; the times are text, for people."""

    model_config = ConfigDict(frozen=True)

    holder: str = Field(default="", alias="holderIdentity")
    duration: int = Field(default=0, alias="leaseDurationSeconds")
    acquired: str = Field(default="", alias="acquireTime")
    renewed: str = Field(default="", alias="renewTime")
    transitions: int = Field(default=0, alias="leaseTransitions")


@dataclass(frozen=True, slots=True)
class Acquire:
    """Take the lease: nobody has it, or its holder fell silent."""


@dataclass(frozen=True, slots=True)
class Renew:
    """It is ours: extend it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody else leads: look again `after` seconds."""

    after: float


@dataclass(frozen=True, slots=True)
class Lost:
    """We led and do no longer: end the process."""

    why: str


Decision = Acquire | Renew | Wait | Lost


@dataclass(frozen=True, slots=True)
class Candidate:
    """`last_renewal`: when our last successful renewal was *started*; None while we do not lead."""

    identity: str
    timings: Timings
    last_renewal: float | None = None

    def remaining(self, now: float) -> float:
        """Seconds for which we lead for certain; 0 when we do not.

        A clock that went backwards says nothing about how long ago a renewal was: nobody leads by it.
        """
        if self.last_renewal is None or now < self.last_renewal:
            return 0.0
        return max(0.0, self.last_renewal + self.timings.renew_deadline - now)


def decide(
    record: LeaseRecord | None, observed_at: float | None, now: float, candidate: Candidate
) -> Decision:
    """What to do about `record` (None: no such Lease), first seen so at `observed_at`.

    No Lease and no `observed_at`: we have never seen one. Otherwise it was deleted; a leader may live on
    behind such a Lease, or one whose holder somebody took out, and is given the time to notice. That time
    counts from when we saw that it is gone: a standby that could not look for long saw no renewals before.
    """
    if candidate.last_renewal is not None:
        return _keep(record, now, candidate)
    timings = candidate.timings
    if record is None:
        return _take_when_silent(observed_at, timings.lease, now, timings)
    if record.holder == candidate.identity:
        return Renew()
    if not record.holder and record.duration <= RELEASED_SECONDS:
        return Acquire()
    return _take_when_silent(observed_at, max(timings.lease, float(record.duration)), now, timings)


def _keep(record: LeaseRecord | None, now: float, candidate: Candidate) -> Renew | Lost:
    if not candidate.remaining(now):
        return Lost(f"the lease could not be renewed for {candidate.timings.renew_deadline:g} s")
    if record is None:
        return Lost("the Lease object was deleted")
    if record.holder != candidate.identity:
        return Lost(f"the lease was taken by {record.holder or 'nobody: it was released'}")
    return Renew()


def _take_when_silent(since: float | None, silence: float, now: float, timings: Timings) -> Decision:
    remaining = 0.0 if since is None else since + silence - now
    return Acquire() if remaining <= 0 else Wait(min(remaining, timings.retry))
