from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from stanch.status.conditions import TYPES, Say, find, is_true, merge

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SAID = st.lists(
    st.builds(
        Say,
        type=st.sampled_from(sorted(TYPES)),
        status=st.sampled_from(["True", "False", "Unknown"]),
        reason=st.sampled_from(["One", "Other"]),
        message=st.text(max_size=3),
    ),
    unique_by=lambda say: say.type,
)


@given(SAID, SAID)
def test_the_transition_time_moves_only_when_the_status_does(first: list[Say], then: list[Say]) -> None:
    old = merge((), first, 1, NOW)
    later = NOW + timedelta(seconds=5)

    new = merge(old, then, 2, later)

    assert [condition.type for condition in new] == [say.type for say in then]
    for condition, say in zip(new, then, strict=True):
        before = find(old, say.type)
        same = before is not None and before.status == say.status
        assert condition.last_transition_time == (NOW if same else later)
        assert (condition.status, condition.reason, condition.message) == (
            say.status,
            say.reason,
            say.message,
        )
        assert condition.observed_generation == 2


@given(SAID)
def test_saying_the_same_again_changes_nothing(said: list[Say]) -> None:
    """Or every pass would write a status, wake the watch and so itself."""
    old = merge((), said, 1, NOW)

    assert merge(old, said, 1, NOW + timedelta(hours=1)) == old


def test_what_is_unknown_or_unsaid_is_not_true() -> None:
    said = merge((), [Say("Held", "Unknown", "NotProven"), Say("Ready", "True", "Contained")], 1, NOW)

    assert is_true(said, "Ready")
    assert not is_true(said, "Held")
    assert not is_true(said, "Contained")
