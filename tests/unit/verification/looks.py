"""Checks and readings, as the judge's tests are told with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from stanch.api.v1alpha1.recovery import Check, Verification
from stanch.api.v1alpha1.status import CheckStatus, VerificationStatus
from stanch.verification.judge import Judged, judge
from stanch.verification.reading import Answer, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

SINCE = datetime(2026, 1, 2, 3, 12, 0, tzinfo=UTC)
BEGAN = SINCE - timedelta(seconds=20)
DELAY, INTERVAL, TIMEOUT = 30.0, 15.0, 900.0

TOXICITY: dict[str, Any] = {
    "name": "toxicity",
    "prometheus": {"query": "toxicity", "operator": "lt", "value": "0.01"},
}
HEALTHY: dict[str, Any] = {"name": "healthy", "healthy": {}}
SUITE: dict[str, Any] = {"name": "suite", "job": {"cronJob": "evals"}}


def check(body: Mapping[str, Any]) -> Check:
    return Check.model_validate(body)


def rules(*checks: Mapping[str, Any], **more: Any) -> Verification:
    """With the defaults: 30s, every 15s, three in a row, 15m."""
    return Verification.model_validate({"checks": list(checks) or [TOXICITY], **more})


def at(seconds: float) -> datetime:
    """So long after the stage was seen to be in place."""
    return SINCE + timedelta(seconds=seconds)


def reading(answer: Answer, seconds: float, **more: Any) -> Reading:
    texts = {"reason": answer.value, "message": f"it {answer.value.lower()}"} | more
    return Reading(answer=answer, at=at(seconds), **texts)


class Watch:
    """A verification that goes on, look by look."""

    def __init__(self, verification: Verification, *, since: datetime | None = SINCE) -> None:
        self.rules = verification
        self.judged = Judged(VerificationStatus(since=since))

    @property
    def status(self) -> VerificationStatus:
        return self.judged.status

    def __getitem__(self, name: str) -> CheckStatus:
        return next(one for one in self.status.checks if one.name == name)

    def look(
        self, seconds: float, answer: Answer | Mapping[str, Answer] | None = None, **more: Any
    ) -> Judged:
        """One look at every check, or at those that are named, that began and ended at that time."""
        answers = {one.name: answer for one in self.rules.checks} if isinstance(answer, Answer) else answer
        found = {name: reading(one, seconds, **more) for name, one in (answers or {}).items()}
        return self.take(seconds, found)

    def take(self, seconds: float, readings: Mapping[str, Reading]) -> Judged:
        self.judged = judge(self.status, readings, self.rules, began=BEGAN, now=at(seconds))
        return self.judged
