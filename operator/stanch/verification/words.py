"""What is said of a verification: `toxicity < 0.01 ✓✓ (2 of 3); healthy: 0 of 1 pods ready`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.api.v1alpha1.scalars import Operator
from stanch.api.v1alpha1.status import CheckOutcome, CheckStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from stanch.api.v1alpha1.recovery import Check, Verification

SIGNS = {
    Operator.GT: ">",
    Operator.GE: "≥",
    Operator.LT: "<",
    Operator.LE: "≤",
    Operator.EQ: "=",
    Operator.NE: "≠",
}
_MOST = 2048
_MOST_TICKS = 10


def progress(
    checks: Sequence[CheckStatus], rules: Verification, *, opens: datetime | None, now: datetime
) -> str:
    """Of one that is not concluded. `opens`: when the first look is due."""
    if opens is None:
        return "nothing is looked at yet: the stage is not in place"
    if opens > now:
        return (
            f"the first look is at {opens:%H:%M:%S} UTC, {rules.initial_delay} after the stage was in place"
        )
    return _lines(checks, rules)


def conclusion(
    outcome: CheckOutcome, checks: Sequence[CheckStatus], rules: Verification, *, late: bool
) -> str:
    """Of one that is: what passed, or which checks ended it and what they last said."""
    if outcome is CheckOutcome.PASSED:
        return _lines(checks, rules)
    if late:
        open_ = [check for check in checks if check.outcome is not CheckOutcome.PASSED]
        return _cut(f"not passed within {rules.timeout}: {'; '.join(map(_last, open_))}")
    culprits = [check for check in checks if check.outcome is outcome]
    return _cut("; ".join(_ended(check) for check in culprits))


def label(rule: Check) -> str:
    """`toxicity < 0.01`; of a check without a threshold its name."""
    if rule.prometheus is None:
        return rule.name
    return f"{rule.name} {SIGNS[rule.prometheus.operator]} {rule.prometheus.value}"


def _lines(checks: Sequence[CheckStatus], rules: Verification) -> str:
    return _cut(
        "; ".join(_line(check, rule, rules) for check, rule in zip(checks, rules.checks, strict=True))
    )


def _line(check: CheckStatus, rule: Check, rules: Verification) -> str:
    if not check.successes:
        return _last(check)
    if rule.job is not None:
        return f"{label(rule)} ✓"
    ticks = "✓" * min(check.successes, rules.consecutive_successes, _MOST_TICKS)
    if check.outcome is CheckOutcome.PASSED:
        return f"{label(rule)} {ticks}"
    return f"{label(rule)} {ticks} ({check.successes} of {rules.consecutive_successes})"


def _last(check: CheckStatus) -> str:
    if check.looked_at is None and not check.message:
        return f"{check.name}: not looked at yet"
    return f"{check.name}: {check.message or check.reason}"


def _ended(check: CheckStatus) -> str:
    count, what = (
        (check.failures, "failed")
        if check.outcome is CheckOutcome.FAILED
        else (check.inconclusive, "had no answer")
    )
    times = "" if count == 1 else f" {count} times in a row"
    return f"{check.name} {what}{times}: {check.message or check.reason}"


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else text[: _MOST - 1] + "…"
