"""Whether anybody has looked at a containment lately. Pure. It reminds; it never releases."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from stanch.api.schema import seconds
from stanch.api.v1alpha1.recovery import ReleaseRule
from stanch.api.v1alpha1.status import Phase, Timestamps
from stanch.clocks.calendar import minute, utc
from stanch.status import conditions
from stanch.status.conditions import Say

if TYPE_CHECKING:
    from stanch.api.v1alpha1.incident import AIIncident

REVIEWED = "stanch.dev/reviewed-at"
"""Annotation, RFC 3339: when a person last looked whether the containment has to stay."""
UNATTENDED = "ContainmentUnattended"

_STANDS = {Phase.CONTAINED, Phase.PARTIALLY_CONTAINED, Phase.CONTAINMENT_FAILED}
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_SHORTEST = 1.0  # seconds, whatever the policy says


@dataclass(frozen=True, slots=True)
class Attendance:
    """What to say about it, and in how many seconds that changes by itself."""

    say: Say
    look_again: float


@dataclass(frozen=True, slots=True)
class _Reviewed:
    at: datetime | None = None
    ignored: str = ""
    """Why the annotation does not count."""
    look_again: float | None = None


def attendance(incident: AIIncident, now: datetime) -> Attendance | None:
    """None while nothing is contained. The message changes once in `reviewAfter`: that is when to remind."""
    status = incident.status
    times = status.timestamps or Timestamps()
    began = times.contained or times.begun
    if status.phase not in _STANDS or began is None:
        return None
    reviewed = _reviewed(incident.metadata.annotations.get(REVIEWED), now)
    looks = [began, status.approval.at if status.approval else None, reviewed.at]
    since = max(utc(look) for look in looks if look is not None)
    after = max(seconds(_review_after(incident)), _SHORTEST)
    reminders = max(int((now - since).total_seconds() // after), 0)
    waits = [(since - now).total_seconds() + after * (reminders + 1)]
    waits += [reviewed.look_again] if reviewed.look_again is not None else []
    return Attendance(_say(incident, since, reminders, reviewed.ignored), max(min(waits), 0.05))


def _review_after(incident: AIIncident) -> str:
    plan = incident.status.plan
    carried = plan.policy.release if plan and plan.policy else None
    return (carried or ReleaseRule()).review_after


def _say(incident: AIIncident, since: datetime, reminders: int, ignored: str) -> Say:
    if not reminders:
        return Say(conditions.ATTENDED, "True", "LookedAt", f"last looked at {minute(since)}{ignored}")
    meta = incident.metadata
    nth = f", reminder {reminders}" if reminders > 1 else ""
    return Say(
        conditions.ATTENDED,
        "False",
        UNATTENDED,
        f"nobody has looked at it since {minute(since)} (reviewAfter: {_review_after(incident)}{nth}); "
        "it stays contained until a person releases it. Do that, or, if it has to stay, say that you looked: "
        f"kubectl annotate aii -n {meta.namespace} {meta.name} --overwrite "
        f"{REVIEWED}=$(date -u +%Y-%m-%dT%H:%M:%SZ){ignored}",
    )


def _reviewed(given: str | None, now: datetime) -> _Reviewed:
    if given is None:
        return _Reviewed()
    try:
        at = utc(datetime.fromisoformat(given)) if _RFC3339.fullmatch(given) else None
    except ValueError:
        at = None
    if at is None:
        return _Reviewed(ignored=f"; annotation {REVIEWED} is ignored: it is no time as RFC 3339 writes it")
    if at > now:
        ahead = (at - now + timedelta(milliseconds=1)).total_seconds()
        return _Reviewed(
            ignored=f"; annotation {REVIEWED} is ignored: {minute(at)} is in the future", look_again=ahead
        )
    return _Reviewed(at)
