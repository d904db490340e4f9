"""What is still to be handed in: nothing twice within a minute, nothing lost while nobody takes it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from stanch.signals.model import Signal, Speaker
from stanch.signals.prometheus import outbox
from stanch.signals.prometheus.outbox import Outbox

if TYPE_CHECKING:
    import pytest

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ALL = Speaker("prometheus", None)
CHAT = Speaker("prometheus", frozenset({"chat"}))


def signal(*, firing: bool = True, series: str = "a", minute: int = 0, value: str = "1") -> Signal:
    return Signal("drift", series, START + timedelta(minutes=minute), firing, value=value)


def test_what_fires_is_handed_in_and_then_once_a_minute() -> None:
    box = Outbox()
    handed: list[int] = []
    for second in range(0, 150, 15):
        box.add(ALL, [signal()], second)
        if box.batches():
            handed.append(second)
            box.taken(ALL, second)
    assert handed == [0, 60, 120]


def test_another_firing_of_the_series_does_not_wait() -> None:
    box = Outbox()
    box.add(ALL, [signal()], 0)
    box.taken(ALL, 0)
    box.add(ALL, [signal(firing=False)], 15)
    assert box.batches() == {ALL: [signal(firing=False)]}
    box.taken(ALL, 15)
    box.add(ALL, [signal(minute=1)], 30)
    assert box.batches() == {ALL: [signal(minute=1)]}


def test_what_was_not_taken_stays_with_its_newest_value_and_in_order() -> None:
    box = Outbox()
    box.add(ALL, [signal(value="1")], 0)
    box.add(ALL, [signal(value="2")], 15)
    box.add(ALL, [signal(firing=False)], 30)
    assert box.batches() == {ALL: [signal(value="2"), signal(firing=False)]}
    box.taken(ALL, 30)
    assert box.batches() == {}


def test_speakers_are_kept_apart() -> None:
    box = Outbox()
    box.add(ALL, [signal(series="a")], 0)
    box.add(CHAT, [signal(series="b")], 0)
    box.taken(ALL, 0)
    assert box.batches() == {CHAT: [signal(series="b")]}


def test_it_is_bounded_and_says_what_it_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MOST", 2)
    box = Outbox()
    assert box.add(ALL, [signal(series="a"), signal(series="b")], 0) == 0
    assert box.add(ALL, [signal(series="c")], 0) == 1
    assert box.batches() == {ALL: [signal(series="b"), signal(series="c")]}


def test_series_that_no_longer_fire_leave_no_trace() -> None:
    box = Outbox()
    for second in range(0, 600, 15):
        box.add(ALL, [signal(series=f"pod-{second}")], second)
        box.taken(ALL, second)
    assert len(box._told) <= 5
