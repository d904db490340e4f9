"""Times as reporting duties count them: hours, days, calendar months; always UTC. Pure."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_WITHIN = re.compile(r"PT(?P<hours>[1-9][0-9]{0,4})H|P(?P<days>[1-9][0-9]{0,3})D|P(?P<months>[1-9][0-9]?)M")


@dataclass(frozen=True, slots=True)
class Within:
    """How long a duty allows. One of the three is not 0."""

    hours: int = 0
    days: int = 0
    months: int = 0

    @classmethod
    def parse(cls, text: str) -> Within:
        """`PT72H`, `P15D` or `P1M`, as ISO 8601 writes them. Raises ValueError for anything else."""
        found = _WITHIN.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no length of time that a clock can have: PT72H, P15D or P1M")
        return cls(**{unit: int(number) for unit, number in found.groupdict().items() if number})

    def after(self, start: datetime) -> datetime | None:
        """When it ends. A month later is the same day, or the month's last where there is none.

        None when the calendar ends before.
        """
        try:
            return _months_later(utc(start), self.months) + timedelta(hours=self.hours, days=self.days)
        except (OverflowError, ValueError):  # beyond the year 9999
            return None

    def __str__(self) -> str:
        number, unit = next(
            (number, unit)
            for number, unit in ((self.hours, "hour"), (self.days, "day"), (self.months, "month"))
            if number
        )
        return f"{number} {unit}{'' if number == 1 else 's'}"


def _months_later(start: datetime, months: int) -> datetime:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return start.replace(year=year, month=month + 1, day=min(start.day, last))


def utc(at: datetime) -> datetime:
    """In UTC. A time without a zone is taken for UTC; at the calendar's ends its zone is left out."""
    if at.tzinfo is None:
        return at.replace(tzinfo=UTC)
    try:
        return at.astimezone(UTC)
    except OverflowError:
        return at.replace(tzinfo=UTC)  # within a day of it


def minute(at: datetime) -> str:
    """`2026-01-05 03:10Z`."""
    return utc(at).strftime("%Y-%m-%d %H:%MZ")
