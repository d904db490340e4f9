"""The Lease election against a real API server: a thin shell around `decide`."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

import structlog
from pydantic import BaseModel, ConfigDict, Field

from stanch.errors import Conflict, FenceLost, NotFound, StanchError
from stanch.kube.resources import LEASES, ObjectRef
from stanch.leader.decision import (
    RELEASED_SECONDS,
    Acquire,
    Candidate,
    LeaseRecord,
    Lost,
    Renew,
    Timings,
    Wait,
    decide,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from stanch.kube.client import Json, Kube

log = structlog.get_logger(__name__)


def boot_clock() -> float:
    """Monotonic seconds that go on while the machine is suspended, where the kernel has such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class _Meta(BaseModel):
    model_config = ConfigDict(frozen=True)

    uid: str
    resource_version: str = Field(alias="resourceVersion")


class _Lease(BaseModel):
    model_config = ConfigDict(frozen=True)

    metadata: _Meta
    spec: LeaseRecord = LeaseRecord()


@dataclass(frozen=True, slots=True)
class _Observation:
    lease: _Lease
    at: float


class Elector:
    """`acquire`, then `hold` for as long as the process works, then `release`.

    `kube` must be one without our fence. `fence` is for everybody else's writes: it raises FenceLost unless
    the last successful renewal was started less than the renew deadline ago, and gives up what is under way
    when that is over. Others wait for the longer lease duration after that renewal reached the server, so
    that the two never overlap.
    """

    def __init__(
        self,
        kube: Kube,
        ref: ObjectRef,
        identity: str,
        timings: Timings,
        *,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        if ref.resource != LEASES:
            raise ValueError(f"{ref} is no Lease")
        self._kube = kube
        self._ref = ref
        self._clock = clock
        self._candidate = Candidate(identity, timings)
        self._seen: _Observation | None = None
        self._present = False
        self._looked_at: float | None = None

    @property
    def leading(self) -> bool:
        return self._candidate.remaining(self._clock()) > 0

    @property
    def sees_the_lease(self) -> bool:
        """Whether the lease could be read lately: a standby that cannot is none."""
        return self._looked_at is not None and self._clock() - self._looked_at < self._candidate.timings.lease

    @property
    def holder(self) -> str:
        """Who held the lease when we last looked; empty if nobody or unknown."""
        return "" if self._seen is None else self._seen.lease.spec.holder

    def fence(self) -> float:
        """Seconds for which we lead for certain. Raises FenceLost when we do not."""
        remaining = self._candidate.remaining(self._clock())
        if remaining <= 0:
            raise FenceLost(f"{self._candidate.identity} does not lead (any more); nothing was written")
        return remaining

    async def acquire(self) -> None:
        """Returns once we lead. Any error is retried: a standby has all the time in the world."""
        timings = self._candidate.timings
        while True:
            try:
                pause = await self._try_to_lead()
            except StanchError as error:
                log.warning(
                    "the lease could not be read or taken", reason=error.reason, message=error.message
                )
                pause = timings.retry
            if pause is None:
                log.info("leading", lease=str(self._ref), identity=self._candidate.identity)
                return
            await asyncio.sleep(pause)

    async def hold(self) -> NoReturn:
        """Renew until we cannot. Raises FenceLost, and only that."""
        timings = self._candidate.timings
        while True:
            await asyncio.sleep(timings.retry)
            self._check()  # who slept for too long does not renew what others may wait for
            try:
                async with asyncio.timeout(self._attempt_seconds()):
                    await self._renew()
            except TimeoutError:
                log.warning("a renewal of the lease hung")
            except StanchError as error:
                log.warning("the lease could not be renewed", reason=error.reason, message=error.message)
            self._check()

    async def release(self) -> None:
        """Writes end first, then the lease is given back, so that another need not wait for it to expire."""
        held = self._candidate.last_renewal is not None and self._seen is not None
        self._candidate = replace(self._candidate, last_renewal=None)
        if not held:
            return
        try:
            async with asyncio.timeout(self._candidate.timings.retry):
                await self._give_back()
        except (StanchError, TimeoutError) as error:
            log.warning("the lease could not be released: others wait until it expires", error=str(error))
        else:
            log.info("the lease is released", lease=str(self._ref))

    async def _give_back(self) -> None:
        """As client-go does: an empty holder, and a duration that does not hold anybody up."""
        try:
            await self._put(holder="", duration=RELEASED_SECONDS, taken=False)
        except Conflict:  # a renewal was under way when we stopped
            await self._observe()
            if self.holder == self._candidate.identity:
                await self._put(holder="", duration=RELEASED_SECONDS, taken=False)

    async def _try_to_lead(self) -> float | None:
        """One look. None: we lead; else the pause until the next look."""
        started = self._clock()
        await self._observe()
        match self._decide():
            case Wait(after):
                return after
            case Acquire() | Renew():
                try:
                    await self._take()
                except Conflict:
                    return 0.0  # somebody was faster: look who
                if self._clock() - started < self._candidate.timings.renew_deadline:
                    self._candidate = replace(self._candidate, last_renewal=started)
                    return None
                return 0.0  # it took so long that others may think us gone
            case Lost(why):
                raise FenceLost(why)

    async def _renew(self) -> None:
        """Raises Conflict or NotFound only while it is undecided whether we still lead."""
        started = self._clock()
        try:
            await self._take()
        except (Conflict, NotFound):
            await self._observe()
            self._check()
            started = self._clock()
            await self._take()
        self._candidate = replace(self._candidate, last_renewal=started)

    def _check(self) -> None:
        decision = self._decide()
        if isinstance(decision, Lost):
            self._candidate = replace(self._candidate, last_renewal=None)  # nobody writes from here on
            raise FenceLost(decision.why)

    def _decide(self) -> Acquire | Renew | Wait | Lost:
        observed_at = None if self._seen is None else self._seen.at
        return decide(self._record(), observed_at, self._clock(), self._candidate)

    def _record(self) -> LeaseRecord | None:
        return self._seen.lease.spec if self._present and self._seen is not None else None

    async def _observe(self) -> None:
        body = await self._kube.get(self._ref)
        self._looked_at = self._clock()
        if body is not None:
            self._note(body)
        elif self._present and self._seen is not None:
            self._present = False
            self._seen = replace(self._seen, at=self._clock())

    def _note(self, body: Json) -> None:
        lease = _Lease.model_validate(body)
        same = self._present and self._seen is not None and self._seen.lease.spec == lease.spec
        self._seen = _Observation(lease, self._seen.at if same and self._seen is not None else self._clock())
        self._present = True

    async def _take(self) -> None:
        """Write the lease as ours, on exactly what we saw. Raises Conflict if that has changed."""
        ours = self._seen is not None and self._seen.lease.spec.holder == self._candidate.identity
        await self._put(
            holder=self._candidate.identity,
            duration=math.ceil(self._candidate.timings.lease),
            taken=not ours,
        )

    async def _put(self, *, holder: str, duration: int, taken: bool) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = self._record() or LeaseRecord()
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": duration,
            "acquireTime": now if taken or not before.acquired else before.acquired,
            "renewTime": now,
            "leaseTransitions": before.transitions + (1 if taken and before.acquired else 0),
        }
        body: Json = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._ref.name, "namespace": self._ref.namespace},
            "spec": spec,
        }
        if self._seen is None or not self._present:
            written = await self._kube.create(LEASES, self._ref.namespace, body)
        else:
            seen = self._seen.lease.metadata
            # Without the uid the server would create a Lease that was deleted: an update may do that here.
            body["metadata"] |= {"uid": seen.uid, "resourceVersion": seen.resource_version}
            written = await self._kube.replace(self._ref, body)
        self._note(written)

    def _attempt_seconds(self) -> float:
        """Half the deadline, so that one hung connection leaves time for a fresh one."""
        return min(self._candidate.remaining(self._clock()), self._candidate.timings.renew_deadline / 2)
