"""Cron schedules of drills: five fields, in UTC. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from cronsim import CronSim, CronSimError

_FIELDS = 5
_MINUTE = timedelta(minutes=1)


def wrong_with(schedule: str) -> str:
    """What is wrong with it; empty: nothing."""
    fields = len(schedule.split())
    if fields != _FIELDS:
        return (
            f"it has {fields} fields, and cron has {_FIELDS}: minute, hour, day of month, month, day of week"
        )
    try:
        CronSim(schedule, datetime.min)  # noqa: DTZ901 - read, not asked for a time
    except CronSimError as error:
        return f"{error}"[:1].lower() + f"{error}"[1:]
    return ""


def latest(schedule: str, now: datetime) -> datetime | None:
    """The last minute, up to the one that `now` (in UTC) is in, that it names; None: none in decades.

    Raises ValueError when the schedule is none.
    """
    problem = wrong_with(schedule)
    if problem:
        raise ValueError(f"{schedule}: {problem}")
    next_minute = now.replace(second=0, microsecond=0) + _MINUTE
    return next(CronSim(schedule, next_minute, reverse=True), None)
