"""Who may write, decided on nothing but what one process saw by its own clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.leader.decision import Acquire, Candidate, LeaseRecord, Lost, Renew, Timings, Wait, decide

TIMINGS = Timings(lease=15, renew_deadline=10, retry=2)
STANDBY = Candidate("me", TIMINGS)
LEADER = Candidate("me", TIMINGS, last_renewal=100.0)


def record(holder: str, duration: int = 15) -> LeaseRecord:
    return LeaseRecord(holderIdentity=holder, leaseDurationSeconds=duration, renewTime="whatever")


def test_the_first_process_ever_takes_the_lease_at_once() -> None:
    assert decide(None, None, 100, STANDBY) == Acquire()


def test_a_released_lease_is_taken_at_once() -> None:
    assert decide(record("", duration=1), 100, 100, STANDBY) == Acquire()


def test_a_lease_whose_holder_was_edited_away_still_protects_the_leader_that_has_not_noticed() -> None:
    assert decide(record(""), 100, 105, STANDBY) == Wait(2)
    assert decide(record(""), 100, 115, STANDBY) == Acquire()


def test_a_standby_waits_until_the_holder_has_been_silent_for_the_whole_lease() -> None:
    assert decide(record("other"), 100, 100, STANDBY) == Wait(2)
    assert decide(record("other"), 100, 114, STANDBY) == Wait(1)
    assert decide(record("other"), 100, 115, STANDBY) == Acquire()


def test_a_holder_with_a_longer_lease_than_ours_is_given_its_own() -> None:
    assert decide(record("other", duration=60), 100, 130, STANDBY) == Wait(2)
    assert decide(record("other", duration=60), 100, 160, STANDBY) == Acquire()


def test_a_deleted_lease_still_protects_the_leader_that_may_live_behind_it() -> None:
    assert decide(None, 100, 105, STANDBY) == Wait(2)
    assert decide(None, 100, 115, STANDBY) == Acquire()


def test_our_own_name_on_the_lease_after_an_unanswered_write_means_it_is_ours() -> None:
    assert decide(record("me"), 100, 100, STANDBY) == Renew()


def test_a_leader_renews_while_the_deadline_has_not_passed() -> None:
    assert decide(record("me"), 100, 109.9, LEADER) == Renew()


@pytest.mark.parametrize(
    ("seen", "now", "why"),
    [
        (record("me"), 110, "could not be renewed for 10 s"),
        (record("me"), 99, "could not be renewed for 10 s"),  # a machine that was set back to a snapshot
        (record("other"), 101, "taken by other"),
        (record(""), 101, "released"),
        (None, 101, "deleted"),
    ],
)
def test_a_leader_that_is_one_no_longer_ends(seen: LeaseRecord | None, now: float, why: str) -> None:
    decision = decide(seen, 100, now, LEADER)
    assert isinstance(decision, Lost)
    assert why in decision.why


def test_waking_up_after_a_long_pause_never_means_go_on() -> None:
    assert isinstance(decide(record("me"), 100, 10_000, LEADER), Lost)


@pytest.mark.parametrize("timings", [(15, 15, 2), (15, 10, 10), (10, 15, 2), (15, 10, 0)])
def test_timings_that_let_two_leaders_overlap_are_refused(timings: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="must hold"):
        Timings(*timings)


@given(
    renewal_started=st.floats(0, 1000),
    delay=st.floats(0, 1000),
    now=st.floats(0, 10_000),
)
def test_no_two_processes_ever_lead_at_the_same_moment(
    renewal_started: float, delay: float, now: float
) -> None:
    """Whenever a standby may take the lease, the leader's fence is shut.

    The standby sees a renewal only after the leader started it: by `delay`, whatever the network does.
    """
    leader = Candidate("leader", TIMINGS, last_renewal=renewal_started)
    seen_at = renewal_started + delay
    decision = decide(record("leader"), seen_at, now, STANDBY)
    if now >= seen_at and decision == Acquire():
        assert leader.remaining(now) == 0
