"""However many incidents are held, looking at them leaves time for the next one."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.hold import HeldEntry, Rule, hold_key
from stanch.incidents.facts import LOOKS_A_SECOND, Limits
from stanch.incidents.hints import Hints
from stanch.queue import Key

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def test_few_are_looked_at_as_often_as_the_settings_say() -> None:
    assert Limits(rejudge_seconds=15).paced(150).rejudge_seconds == 15


@given(pause=st.floats(1, 3600), holding=st.integers(0, 100_000))
def test_never_sooner_than_told_and_all_together_at_a_bounded_rate(pause: float, holding: int) -> None:
    paced = Limits(rejudge_seconds=pause).paced(holding).rejudge_seconds
    assert paced >= pause
    assert holding / paced <= LOOKS_A_SECOND * 1.000001


def test_who_has_let_go_counts_no_more() -> None:
    hints, key = Hints(), Key("chat", "toxic")
    held = {hold_key(Rule.STOPPED, "apps/deployments/llm"): HeldEntry.of("toxic", "High, Drift", NOW)}
    hints.holds(key, held)
    assert hints.holding == 1
    hints.holds(key, {})
    assert hints.holding == 0
    assert hints.holders("chat", "apps/deployments/llm") == []
