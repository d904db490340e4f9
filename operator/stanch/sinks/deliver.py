"""Which entry of the timeline a receiver is sent next, when, and when one is given up. Pure.

In order and at least once: what was sent and not yet recorded is sent again after a restart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from stanch.api.v1alpha1.status import ENDED, DeliveryStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.api.v1alpha1.status import AIIncidentStatus, TimelineEntry
    from stanch.sinks.model import Link, Undelivered

PATIENCE = timedelta(hours=24)
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
MOST = 24
"""Receivers of one incident."""
_LONGEST = 1024


@dataclass(frozen=True, slots=True)
class Lane:
    """How far one receiver has been told of one incident, and what only this process knows of it."""

    delivery: DeliveryStatus
    failures: int = 0
    """Of the next entry, since this process began."""
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Idle:
    """It has been told everything."""


@dataclass(frozen=True, slots=True)
class Wait:
    until: datetime


@dataclass(frozen=True, slots=True)
class Send:
    entry: TimelineEntry


@dataclass(frozen=True, slots=True)
class Pass:
    """Nothing is sent: what comes next is not for it, or is no longer there."""

    lane: Lane


Step = Idle | Wait | Send | Pass


def next_step(
    lane: Lane, timeline: Sequence[TimelineEntry], wants: Callable[[TimelineEntry], bool], now: datetime
) -> Step:
    through = lane.delivery.through
    ahead = [entry for entry in timeline if entry.seq > through]
    if not ahead:
        return Idle()
    missed = ahead[0].seq - through - 1
    if missed > 0:
        said = f"{_entries(through + 1, ahead[0].seq - 1)} left the timeline before it could be told"
        return Pass(_given_up(lane, ahead[0].seq - 1, missed, said))
    wanted = next((index for index, entry in enumerate(ahead) if wants(entry)), len(ahead))
    if wanted > 0:
        return Pass(_moved(lane, {"through": ahead[wanted - 1].seq}))
    if lane.not_before is not None and now < lane.not_before:
        return Wait(lane.not_before)
    return Send(ahead[0])


def taken(lane: Lane, entry: TimelineEntry, link: Link | None = None) -> Lane:
    update = {"through": entry.seq, "failing_since": None, "message": ""}
    chained = {"head": link.head, "location": link.location} if link is not None else {}
    return Lane(lane.delivery.model_copy(update=update | chained))


def as_told(incident: AIIncident, delivery: DeliveryStatus) -> AIIncident:
    """With how far this receiver is now: what is stored may be some entries behind."""
    others = (one for one in incident.status.deliveries if one.sink != delivery.sink)
    status = incident.status.model_copy(update={"deliveries": (*others, delivery)})
    return incident.model_copy(update={"status": status})


def refused(lane: Lane, entry: TimelineEntry, why: Undelivered, now: datetime) -> Lane:
    """It is tried again later, or given up: at once what would be refused again, else after 24 hours.

    A receiver that is down for days loses what is older than that, not what has just happened.
    """
    since = lane.delivery.failing_since or now
    if why.permanent:
        given_up = _given_up(lane, entry.seq, 1, f"{_entries(entry.seq)} was refused: {why.message}")
        return replace(
            given_up, delivery=given_up.delivery.model_copy(update={"failing_since": None}), failures=0
        )
    lane = replace(lane, failures=lane.failures + 1)
    if now - max(since, entry.at) >= PATIENCE:
        said = (
            f"{_entries(entry.seq)} was given up after {PATIENCE.total_seconds() / 3600:.0f} h: {why.message}"
        )
        lane = _given_up(lane, entry.seq, 1, said)
        return _moved(lane, {"failing_since": since})
    pause = max(backoff(lane.failures), min(why.after, LONGEST_PAUSE_SECONDS))
    lane = _moved(lane, {"failing_since": since, "message": why.message[:_LONGEST]})
    return replace(lane, not_before=now + timedelta(seconds=pause))


def backoff(failures: int) -> float:
    """Seconds until the next try: 1, 2, 4, … 300."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 30), LONGEST_PAUSE_SECONDS)


def folded(
    old: AIIncidentStatus,
    new: AIIncidentStatus,
    sinks: Iterable[str],
    progress: Mapping[str, DeliveryStatus],
) -> tuple[DeliveryStatus, ...]:
    """`new.deliveries`, as far as is known now, with those that are told from here on.

    What had ended before a receiver was configured is not told to it.
    """
    found = {one.sink: one for one in new.deliveries}
    for sink in sinks:
        standing = found.get(sink)
        if standing is None and old.phase in ENDED:
            continue
        standing = standing or DeliveryStatus(sink=sink)
        ahead = progress.get(sink, standing)
        found[sink] = ahead if ahead.through >= standing.through else standing
    return tuple(found.values())[:MOST]


def _given_up(lane: Lane, through: int, count: int, said: str) -> Lane:
    lane = _moved(
        lane,
        {"through": through, "dropped": lane.delivery.dropped + count, "message": said[:_LONGEST]},
    )
    return replace(lane, not_before=None)


def _moved(lane: Lane, update: Mapping[str, object]) -> Lane:
    return replace(lane, delivery=lane.delivery.model_copy(update=update))


def _entries(first: int, last: int | None = None) -> str:
    return f"entry {first}" if last in {None, first} else f"entries {first} to {last}"
