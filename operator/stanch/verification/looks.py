"""One look at one check: what is asked of whom, within a time. Whatever cannot be asked is an answer, too."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from pydantic import ValidationError

from stanch.api.v1alpha1.recovery import (
    AlertClearedCheck,
    HealthyCheck,
    HttpCheck,
    IntegrityCheck,
    JobCheck,
    PrometheusCheck,
)
from stanch.errors import Conflict, Forbidden, StanchError
from stanch.kube.resources import AIINCIDENTS, CRONJOBS, JOBS, ObjectRef
from stanch.prometheus.firing import FIRING, MOST_ALERTS
from stanch.prometheus.samples import MOST_SERIES, QueryFailed
from stanch.verification.answers import (
    NOT_CONFIGURED,
    TIME,
    Heard,
    age_of,
    alert_reading,
    prometheus_reading,
)
from stanch.verification.health import health_reading
from stanch.verification.http import http_reading
from stanch.verification.integrity import condemned_reading, integrity_reading
from stanch.verification.jobs import Run, job_name, job_of, job_reading
from stanch.verification.reading import Answer, Reading
from stanch.verification.serving import ROLLED_OUT, Seen, not_serving

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from stanch.api.v1alpha1.recovery import Check
    from stanch.evidence.take import Collector
    from stanch.kube.client import Json, Kube
    from stanch.prometheus.samples import Samples
    from stanch.verification.reading import Subject

Member = PrometheusCheck | AlertClearedCheck | HealthyCheck | HttpCheck | JobCheck | IntegrityCheck

EVIDENCE_SECONDS = 20.0
RIGHTS = "manifests/rbac/verification-jobs.yaml"


class Asks(Protocol):
    async def query(self, expression: str, *, most: int = ...) -> Samples:
        """Raises QueryFailed."""
        ...


@dataclass(frozen=True, slots=True)
class Looker:
    kube: Kube
    prometheus: Asks | None
    collector: Collector
    clock: Callable[[], datetime]
    _collections: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    """What a Job said is kept one at a time: each takes tens of megabytes of memory."""

    async def look(self, subject: Subject, check: Check, seen: Sequence[Seen], at: datetime) -> Reading:
        """`at`: when the look began. Raises StanchError when Kubernetes does not answer."""
        member = member_of(check)
        if member is None:
            message = "this version of the operator does not know such a check; upgrade it"
            return Reading(Answer.BROKEN, "UnknownCheck", message, at)
        if isinstance(member, HealthyCheck):
            return health_reading(seen, subject.since, at)
        if isinstance(member, JobCheck):
            return await self._job(subject, check.name, member, seen, at)
        if isinstance(member, IntegrityCheck):
            condemned = condemned_reading(subject, seen, at)
            return condemned or not_serving(seen, at) or integrity_reading(subject, seen, at, member.locator)
        return not_serving(seen, at) or await self._of_what_serves(member, seen, at)

    async def _of_what_serves(
        self, member: HttpCheck | PrometheusCheck | AlertClearedCheck, seen: Sequence[Seen], at: datetime
    ) -> Reading:
        if isinstance(member, HttpCheck):
            return await http_reading(member, seen, at)
        if self.prometheus is None:
            return Reading(Answer.BROKEN, "NoPrometheus", NOT_CONFIGURED, at)
        if isinstance(member, PrometheusCheck):
            return prometheus_reading(member, await self._measured(self.prometheus, member), at)
        return alert_reading(member, await self._alerts(self.prometheus), at)

    async def _measured(self, prometheus: Asks, check: PrometheusCheck) -> Heard:
        traffic = check.traffic.query if check.traffic is not None else None
        before = self.clock()
        result, time, asked, *ages = await asyncio.gather(
            _asked(prometheus, check.query),
            _asked(prometheus, TIME),
            _asked(prometheus, traffic) if traffic is not None else _nothing(),
            *(_asked(prometheus, age_of(selector)) for selector in check.metrics),
        )
        by_selector = dict(zip(check.metrics, ages, strict=True))
        return Heard(
            result, time, self._meanwhile(before), by_selector, asked if traffic is not None else None
        )

    async def _alerts(self, prometheus: Asks) -> Heard:
        before = self.clock()
        firing, time = await asyncio.gather(
            _asked(prometheus, FIRING, most=MOST_ALERTS), _asked(prometheus, TIME)
        )
        return Heard(firing, time, self._meanwhile(before))

    def _meanwhile(self, before: datetime) -> datetime:
        """When it was asked, as far as can be told."""
        return before + (self.clock() - before) / 2

    async def _job(
        self, subject: Subject, name: str, check: JobCheck, seen: Sequence[Seen], at: datetime
    ) -> Reading:
        ref = ObjectRef(JOBS, subject.namespace, job_name(subject, name))
        body = await self.kube.get(ref)
        if body is None:
            # Begun before there is anything to evaluate, it would fail for that alone.
            servers = [one for one in seen if one.target.kind in ROLLED_OUT]
            idle = not_serving(servers, at) if servers else None
            if idle is not None:
                return idle
            made = await self._made(subject, name, check, at)
            if isinstance(made, Reading):
                return made
            body = made
        run = Run.parse(body)
        if not run.owned_by(subject.uid):
            message = f"{ref} is there already, and is not this incident's; delete it"
            return Reading(Answer.BROKEN, "JobNotOurs", message, at)
        reading = job_reading(run, at)
        return reading if reading.answer is Answer.RUNNING else await self._kept(subject, ref, reading)

    async def _made(self, subject: Subject, name: str, check: JobCheck, at: datetime) -> Json | Reading:
        source = ObjectRef(CRONJOBS, subject.namespace, check.cron_job)
        cron_job = await self.kube.get(source)
        if cron_job is None:
            message = f"there is no {source}, whose template the Job is made of"
            return Reading(Answer.BROKEN, "CronJobNotFound", message, at)
        try:
            return await self.kube.create(JOBS, subject.namespace, job_of(cron_job, subject, name, check))
        except Forbidden as error:
            message = f"{error.message}; the right to create Jobs is given with kubectl apply -f {RIGHTS}"
            return Reading(Answer.BROKEN, "JobForbidden", message, at)
        except Conflict as error:
            return Reading(Answer.RUNNING, error.reason, error.message, at)

    async def _kept(self, subject: Subject, job: ObjectRef, reading: Reading) -> Reading:
        """With what it said as evidence. How it ended counts, kept or not."""
        incident = ObjectRef(AIINCIDENTS, subject.namespace, subject.name)
        clock = asyncio.get_running_loop().time
        deadline = clock() + EVIDENCE_SECONDS
        try:
            async with asyncio.timeout_at(deadline):
                await self._collections.acquire()
        except TimeoutError:
            return replace(reading, message=f"{reading.message}; what it said was not kept: too busy")
        try:
            left = max(deadline - clock(), 0.0)
            taken = await self.collector.take(incident, subject.uid, [job], seconds=left)
        finally:
            self._collections.release()
        if taken.record is None:
            return replace(reading, message=f"{reading.message}; what it said was not kept: {taken.message}")
        return replace(reading, evidence=taken.record)


def member_of(check: Check) -> Member | None:
    """None: one that is newer than this operator."""
    members = (
        check.prometheus,
        check.alert_cleared,
        check.healthy,
        check.http,
        check.job,
        check.integrity,
    )
    return next((member for member in members if member is not None), None)


def failed(error: StanchError | ValidationError | TimeoutError, at: datetime, within: float) -> Reading:
    """What a look says that came to nothing."""
    if isinstance(error, StanchError):
        return Reading(Answer.BROKEN, error.reason, error.message, at)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        message = (
            f"an object is not as Kubernetes documents it: {'.'.join(map(str, first['loc']))}, {first['msg']}"
        )
        return Reading(Answer.BROKEN, "NotUnderstood", message, at)
    return Reading(Answer.BROKEN, "Timeout", f"the look did not end within {within:g}s", at)


async def _asked(prometheus: Asks, expression: str, *, most: int = MOST_SERIES) -> Samples | QueryFailed:
    try:
        return await prometheus.query(expression, most=most)
    except QueryFailed as error:
        return error


async def _nothing() -> Samples:
    return ()
