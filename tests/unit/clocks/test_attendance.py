"""A containment that nobody looks at reminds, again and again, and releases nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.clocks.attendance import REVIEWED, Attendance, attendance
from tests.unit.incidents.walk import incident

if TYPE_CHECKING:
    from stanch.api.v1alpha1.incident import AIIncident

CONTAINED = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def contained(
    reviewed: str | None = None, *, phase: str = "Contained", after: str | None = None, **status: Any
) -> AIIncident:
    policy = {"kind": "ContainmentPolicy", "name": "chat", "uid": "u", "generation": 1}
    plan = {"hash": "h", "source": "s", "policy": {**policy, "release": {"reviewAfter": after}}}
    return incident(
        metadata={"annotations": {REVIEWED: reviewed}} if reviewed else {},
        status={
            "phase": phase,
            "timestamps": {"begun": CONTAINED.isoformat(), "contained": CONTAINED.isoformat()},
            **({"plan": plan} if after else {}),
            **status,
        },
    )


def seen(what: AIIncident, now: datetime) -> Attendance:
    found = attendance(what, now)
    assert found is not None
    return found


def test_within_a_day_nobody_is_reminded() -> None:
    found = seen(contained(), CONTAINED + 23 * HOUR)
    assert (found.say.type, found.say.status) == ("Attended", "True")
    assert found.say.message == "last looked at 2026-01-02 03:00Z"
    assert found.look_again == 3600


def test_after_a_day_it_says_since_when_and_what_to_do() -> None:
    found = seen(contained(), CONTAINED + 24 * HOUR)
    assert (found.say.status, found.say.reason) == ("False", "ContainmentUnattended")
    assert found.say.message == (
        "nobody has looked at it since 2026-01-02 03:00Z (reviewAfter: 24h); it stays contained until a "
        "person releases it. Do that, or, if it has to stay, say that you looked: kubectl annotate aii -n "
        "chat toxic --overwrite stanch.dev/reviewed-at=$(date -u +%Y-%m-%dT%H:%M:%SZ)"
    )


def test_the_policy_says_how_long_and_each_such_time_is_one_reminder() -> None:
    what = contained(after="1h")
    assert seen(what, CONTAINED + 0.9 * HOUR).say.status == "True"
    said = [seen(what, CONTAINED + hours * HOUR).say.message for hours in (1, 1.5, 2, 9.9)]
    assert said[0] == said[1]
    assert "(reviewAfter: 1h, reminder 2)" in said[2]
    assert "(reviewAfter: 1h, reminder 9)" in said[3]


def test_who_looked_or_approved_is_heard() -> None:
    now = CONTAINED + 30 * HOUR
    approval = {
        "planHash": "h",
        "by": "bob",
        "at": "2026-01-03T08:00:00Z",
        "expiresAt": "2026-01-03T09:00:00Z",
    }
    assert seen(contained("2026-01-03T08:00:00Z"), now).say.status == "True"
    assert seen(contained("2026-01-03T10:00:00.5+02:00"), now).say.status == "True"
    assert seen(contained(approval=approval), now).say.status == "True"
    assert seen(contained("2025-01-03T08:00:00Z"), now).say.status == "False"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("yes", "it is no time as RFC 3339 writes it"),
        ("2026-01-03", "it is no time as RFC 3339 writes it"),
        ("2026-01-03T08:00:00", "it is no time as RFC 3339 writes it"),
        ("2026-13-03T08:00:00Z", "it is no time as RFC 3339 writes it"),
        ("٢٠٢٦-01-03T08:00:00Z", "it is no time as RFC 3339 writes it"),
        ("9999-12-31T23:59:59-14:00", "is in the future"),
        ("2026-01-03T09:00:01Z", "2026-01-03 09:00Z is in the future"),
    ],
)
def test_a_time_that_cannot_be_counts_for_nothing_and_that_is_said(given: str, said: str) -> None:
    found = seen(contained(given), CONTAINED + 30 * HOUR)
    assert found.say.status == "False"
    assert f"annotation {REVIEWED} is ignored: " in found.say.message
    assert said in found.say.message


def test_a_clock_that_is_a_little_ahead_is_believed_when_its_time_has_come() -> None:
    what, now = contained("2026-01-03T09:00:03Z"), CONTAINED + 30 * HOUR
    wait = seen(what, now).look_again
    assert 3 <= wait < 3.1
    assert seen(what, now + timedelta(seconds=wait)).say.status == "True"


@pytest.mark.parametrize(
    "phase",
    [
        "Detected",
        "AwaitingApproval",
        "Containing",
        "Releasing",
        "Released",
        "Recovered",
        "Closed",
        "Rejected",
    ],
)
def test_what_is_not_contained_needs_nobody(phase: str) -> None:
    assert attendance(contained(phase=phase), CONTAINED + 99 * HOUR) is None


@pytest.mark.parametrize("phase", ["PartiallyContained", "ContainmentFailed"])
def test_what_failed_half_way_needs_somebody_even_more(phase: str) -> None:
    failed = contained(phase=phase, timestamps={"begun": CONTAINED.isoformat()})
    assert seen(failed, CONTAINED + 24 * HOUR).say.status == "False"


@given(st.integers(0, 10**7), st.sampled_from(["0s", "1ms", "90s", "24h", "999999h"]))
def test_what_is_said_stays_until_the_next_look(passed: int, after: str) -> None:
    what, now = contained(after=after), CONTAINED + timedelta(seconds=passed)
    found = seen(what, now)
    assert found.look_again > 0
    before = now + timedelta(seconds=found.look_again, milliseconds=-51)
    if before > now:
        assert seen(what, before).say == found.say
    assert seen(what, now + timedelta(seconds=found.look_again, milliseconds=1)).say != found.say
