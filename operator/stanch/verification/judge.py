"""Whether recovery is proven, from what looks at the checks gave. Pure.

Passed is said of looks that were made: each check has to have held so often in a row, all at the same time,
with no gap. Whatever is not known ends the row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from stanch.api.schema import seconds
from stanch.api.v1alpha1.status import CheckOutcome, CheckStatus, VerificationStatus
from stanch.verification.reading import LONGEST_LOOK, Answer, Reading
from stanch.verification.words import conclusion, progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stanch.api.v1alpha1.recovery import Check, Verification

CONCLUSIVE = frozenset(
    {CheckOutcome.PASSED, CheckOutcome.FAILED, CheckOutcome.INCONCLUSIVE, CheckOutcome.ERROR}
)
_SOONEST = 0.1
_REASON, _MESSAGE, _VALUE = 63, 1024, 64
_WORST_FIRST = (CheckOutcome.FAILED, CheckOutcome.ERROR, CheckOutcome.INCONCLUSIVE)


@dataclass(frozen=True, slots=True)
class Judged:
    status: VerificationStatus
    due: tuple[str, ...] = ()
    """Checks to look at now."""
    look_again: float | None = None
    """Seconds until something is due, or the time is over; None: it is concluded."""


def judge(
    standing: VerificationStatus,
    readings: Mapping[str, Reading],
    rules: Verification,
    *,
    began: datetime,
    now: datetime,
) -> Judged:
    """What stands after these readings. A conclusive outcome is final.

    `began` is when the stage of the release began: its time counts from there. Before `standing.since`, when
    its effects were seen to be in place, nothing is due.
    """
    if standing.outcome in CONCLUSIVE:
        return Judged(standing)
    clock = _Clock.of(standing.since, rules, began, now)
    before = {check.name: check for check in standing.checks}
    checks = tuple(
        _after(before.get(rule.name) or CheckStatus(name=rule.name), readings.get(rule.name), rule, clock)
        for rule in rules.checks
    )
    outcome = _together(checks)
    late = outcome not in CONCLUSIVE and now >= clock.ends
    if late:
        outcome = CheckOutcome.FAILED
    wording = conclusion(outcome, checks, rules, late=late) if outcome in CONCLUSIVE else ""
    message = wording or progress(checks, rules, opens=clock.opens, now=now)
    status = standing.model_copy(update={"outcome": outcome, "checks": checks, "message": message})
    if outcome in CONCLUSIVE:
        return Judged(status)
    return Judged(status, *_due(checks, rules, clock))


@dataclass(frozen=True, slots=True)
class _Clock:
    """When looks count."""

    opens: datetime | None
    """From when on; None while the stage is not in place."""
    ends: datetime
    now: datetime
    interval: timedelta
    needed: int
    failures: int
    inconclusive: int

    @classmethod
    def of(cls, since: datetime | None, rules: Verification, began: datetime, now: datetime) -> _Clock:
        return cls(
            opens=since + timedelta(seconds=seconds(rules.initial_delay)) if since else None,
            ends=began + timedelta(seconds=seconds(rules.timeout)),
            now=now,
            interval=timedelta(seconds=seconds(rules.interval)),
            needed=rules.consecutive_successes,
            failures=rules.failure_limit,
            inconclusive=rules.inconclusive_limit,
        )

    @property
    def gap(self) -> timedelta:
        """Longer than this between two looks, and what was in between is not known."""
        return 2 * self.interval + timedelta(seconds=LONGEST_LOOK)

    def of_the_stage(self, looked_at: datetime) -> bool:
        """Not a look at what was there before, nor one by a clock that is far ahead of this one."""
        return self.opens is not None and self.opens <= looked_at <= self.now + self.gap

    def counts(self, at: datetime, looked_at: datetime | None) -> bool:
        """Whether a look of that time does: of this stage, newer than the one before, and none to come."""
        return (
            self.opens is not None
            and self.opens <= at <= min(self.now, self.ends)
            and (looked_at is None or at > looked_at)
        )


def _after(check: CheckStatus, reading: Reading | None, rule: Check, clock: _Clock) -> CheckStatus:
    """The check after one look, or after none."""
    if check.looked_at is not None and not clock.of_the_stage(check.looked_at):
        check = CheckStatus(name=rule.name)
    if rule.job is not None and check.outcome is CheckOutcome.PASSED:
        return check  # it has run
    if reading is not None and clock.counts(reading.at, check.looked_at):
        if _gap(check, reading.at, clock):
            check = check.model_copy(update={"successes": 0})
        return _counted(check, reading, rule, clock)
    if check.successes and _gap(check, clock.now, clock):
        return check.model_copy(
            update={
                "outcome": CheckOutcome.PENDING,
                "successes": 0,
                "reason": "NotLookedAt",
                "message": "it was not looked at for too long: counted anew",
            }
        )
    return check


def _gap(check: CheckStatus, until: datetime, clock: _Clock) -> bool:
    return check.looked_at is not None and until - check.looked_at > clock.gap


def _counted(check: CheckStatus, reading: Reading, rule: Check, clock: _Clock) -> CheckStatus:
    """What is not known ends a row of successes, but none of failures: it is no sign that they are over."""
    successes, failures, inconclusive = check.successes, check.failures, check.inconclusive
    match reading.answer:
        case Answer.HOLDS:
            successes, failures, inconclusive = successes + 1, 0, 0
        case Answer.FAILS:
            successes, failures, inconclusive = 0, failures + 1, 0
        case Answer.RUNNING:
            successes, inconclusive = 0, 0
        case Answer.UNKNOWN | Answer.BROKEN:
            successes, inconclusive = 0, inconclusive + 1
    once = rule.job is not None
    if successes >= (1 if once else clock.needed):
        outcome = CheckOutcome.PASSED
    elif failures >= (1 if once else clock.failures):
        outcome = CheckOutcome.FAILED
    elif inconclusive >= clock.inconclusive:
        broken = reading.answer is Answer.BROKEN
        outcome = CheckOutcome.ERROR if broken else CheckOutcome.INCONCLUSIVE
    else:
        outcome = CheckOutcome.PASSING if successes else CheckOutcome.PENDING
    return CheckStatus(
        name=rule.name,
        outcome=outcome,
        reason=reading.reason[:_REASON],
        message=reading.message[:_MESSAGE],
        value=reading.value[:_VALUE] if reading.value is not None else None,
        successes=successes,
        failures=failures,
        inconclusive=inconclusive,
        looked_at=reading.at,
        evidence=reading.evidence,
    )


def _together(checks: tuple[CheckStatus, ...]) -> CheckOutcome:
    outcomes = {check.outcome for check in checks}
    for worst in _WORST_FIRST:
        if worst in outcomes:
            return worst
    if outcomes == {CheckOutcome.PASSED}:
        return CheckOutcome.PASSED
    return CheckOutcome.PASSING if any(check.successes for check in checks) else CheckOutcome.PENDING


def _due(
    checks: tuple[CheckStatus, ...], rules: Verification, clock: _Clock
) -> tuple[tuple[str, ...], float]:
    """What to look at now, and seconds until the next is due. A Job that has completed is not run again."""
    wait = clock.ends - clock.now
    if clock.opens is None:
        return (), max(wait.total_seconds(), _SOONEST)
    due: list[str] = []
    for check, rule in zip(checks, rules.checks, strict=True):
        if rule.job is not None and check.outcome is CheckOutcome.PASSED:
            continue
        at = clock.opens if check.looked_at is None else check.looked_at + clock.interval
        if at <= clock.now:
            due.append(check.name)
        wait = min(wait, at - clock.now if at > clock.now else clock.interval)
    return tuple(due), max(wait.total_seconds(), _SOONEST)
