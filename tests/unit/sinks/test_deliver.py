"""Which entry goes next: in order, at least once, and given up only where everybody can see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.status import AIIncidentStatus, DeliveryStatus, Phase, TimelineEntry
from stanch.sinks.deliver import (
    Idle,
    Lane,
    Pass,
    Send,
    Step,
    Wait,
    backoff,
    folded,
    next_step,
    refused,
    taken,
)
from stanch.sinks.model import Undelivered
from tests.unit.incidents.walk import NOW
from tests.unit.sinks.telling import SINK, entry, timeline

DOWN = Undelivered("it cannot be reached")
BAD = Undelivered("it answers 422", permanent=True)


def lane(through: int = 0, **more: object) -> Lane:
    return Lane(DeliveryStatus.model_validate({"sink": SINK, "through": through, **more}))


def everything(_entry: TimelineEntry) -> bool:
    return True


def test_the_oldest_entry_that_was_not_taken_goes_next() -> None:
    assert next_step(lane(3), timeline(1, 5), everything, NOW) == Send(entry(4))
    assert next_step(lane(5), timeline(1, 5), everything, NOW) == Idle()
    assert next_step(lane(), (), everything, NOW) == Idle()


def test_what_is_not_for_a_receiver_is_passed_over() -> None:
    entries = (entry(1), entry(2), entry(3, "Contained"), entry(4))

    def phases(one: TimelineEntry) -> bool:
        return one.type == "Contained"

    step = next_step(lane(), entries, phases, NOW)
    assert isinstance(step, Pass)
    assert step.lane.delivery.through == 2
    assert step.lane.delivery.dropped == 0
    assert next_step(step.lane, entries, phases, NOW) == Send(entries[2])
    step = next_step(lane(3), entries, phases, NOW)
    assert isinstance(step, Pass)
    assert step.lane.delivery.through == 4


@pytest.mark.parametrize(
    ("first", "dropped", "said"),
    [(9, 6, "entries 4 to 8 left the timeline"), (5, 2, "entry 4 left the timeline")],
)
def test_what_left_the_timeline_untold_is_counted_and_said(first: int, dropped: int, said: str) -> None:
    step = next_step(lane(3, dropped=1), timeline(first, 12), everything, NOW)

    assert isinstance(step, Pass)
    assert (step.lane.delivery.through, step.lane.delivery.dropped) == (first - 1, dropped)
    assert step.lane.delivery.message == f"{said} before it could be told"


def test_a_failure_is_tried_again_later_and_later() -> None:
    failing, now, pauses = lane(), NOW, []
    for _ in range(12):
        failing = refused(failing, entry(1), DOWN, now)
        step = next_step(failing, timeline(1, 1), everything, now)
        assert isinstance(step, Wait)
        pauses.append((step.until - now).total_seconds())
        now = step.until

    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == 300
    assert failing.delivery.failing_since == NOW
    assert failing.delivery.message == "it cannot be reached"
    assert isinstance(next_step(failing, timeline(1, 1), everything, now), Send)


def test_a_receiver_may_ask_for_more_time_but_not_for_a_night() -> None:
    busy = refused(lane(), entry(1), Undelivered("it answers 429", after=60), NOW)
    asleep = refused(lane(), entry(1), Undelivered("it answers 503", after=1e6), NOW)

    assert busy.not_before == NOW + timedelta(seconds=60)
    assert asleep.not_before == NOW + timedelta(seconds=300)


def test_success_ends_the_failing() -> None:
    again = taken(refused(lane(), entry(1), DOWN, NOW), entry(1))

    assert again == lane(1)


def test_a_permanent_refusal_costs_one_entry_and_no_time() -> None:
    after = refused(refused(lane(), entry(1), DOWN, NOW), entry(1), BAD, NOW)

    assert next_step(after, timeline(1, 2), everything, NOW) == Send(entry(2))
    assert after.delivery.dropped == 1
    assert after.delivery.failing_since is None
    assert after.delivery.message == "entry 1 was refused: it answers 422"


def test_after_a_day_what_is_a_day_old_is_given_up_and_what_is_new_is_kept() -> None:
    entries = (entry(1), entry(2), TimelineEntry(seq=3, at=NOW + timedelta(hours=20), type="Contested"))
    down = refused(lane(), entries[0], DOWN, NOW)
    tomorrow = NOW + timedelta(hours=24, minutes=1)

    for number in (1, 2):
        step = next_step(down, entries, everything, tomorrow)
        assert step == Send(entries[number - 1])
        down = refused(down, step.entry, DOWN, tomorrow)
        assert down.delivery.dropped == number
    assert down.delivery.message == "entry 2 was given up after 24 h: it cannot be reached"

    down = refused(down, entries[2], DOWN, tomorrow)
    assert down.delivery.dropped == 2
    assert isinstance(next_step(down, entries, everything, tomorrow), Wait)
    assert down.delivery.failing_since == NOW


def test_an_operator_that_was_down_for_days_tries_before_it_gives_up() -> None:
    down = lane(failing_since=NOW)

    assert isinstance(next_step(down, timeline(1, 1), everything, NOW + timedelta(days=9)), Send)


@given(st.integers(1, 10_000))
def test_pauses_stay_between_a_second_and_five_minutes(failures: int) -> None:
    assert 1 <= backoff(failures) <= backoff(failures + 1) <= 300


@dataclass
class Life:
    """A timeline that grows, a receiver that has its moods, and an operator that forgets when it restarts."""

    entries: list[TimelineEntry] = field(default_factory=list)
    stored: DeliveryStatus = field(default_factory=lambda: lane().delivery)
    current: Lane = field(default_factory=lane)
    now: datetime = NOW
    received: list[int] = field(default_factory=list)
    given_up: set[int] = field(default_factory=set)

    def happens(self, what: str, amount: int) -> None:
        match what:
            case "happen":
                self.entries += [entry(len(self.entries) + 1 + number) for number in range(amount)]
            case "pass":
                self.now += timedelta(minutes=amount * 30)
            case "write":
                self.stored = self.current.delivery
            case "restart":
                self.current = Lane(self.stored)
                self.given_up &= set(range(1, self.stored.through + 1))
            case _:
                self.deliver(what)

    def deliver(self, what: str) -> None:
        match self.step():
            case Pass(moved):
                self.given_up |= set(range(self.current.delivery.through + 1, moved.delivery.through + 1))
                self.current = moved
            case Wait(until):
                self.now = until
            case Send(one):
                self.answered(one, what)

    def answered(self, one: TimelineEntry, what: str) -> None:
        if what in {"take", "lose answer"}:
            self.received.append(one.seq)
        if what == "take":
            self.current = taken(self.current, one)
            return
        moved = refused(self.current, one, BAD if what == "refuse" else DOWN, self.now)
        if moved.delivery.dropped > self.current.delivery.dropped:
            self.given_up.add(one.seq)
        self.current = moved

    def step(self) -> Step:
        return next_step(self.current, self.entries[-100:], everything, self.now)


MOODS = ["happen", "take", "fail", "lose answer", "refuse", "write", "restart", "pass"]


@given(st.lists(st.tuples(st.sampled_from(MOODS), st.integers(0, 60)), max_size=80))
def test_whatever_fails_and_whenever_it_restarts_all_is_told_in_order_or_counted(
    course: list[tuple[str, int]],
) -> None:
    """Of every entry: taken at least once, in order; or dropped, and then `dropped` counts it."""
    life = Life()
    for what, amount in [*course, *[("take", 0)] * 400]:
        life.happens(what, amount)

    assert life.step() == Idle()
    assert set(life.received) | life.given_up == {one.seq for one in life.entries}
    assert life.current.delivery.dropped == len(life.given_up)
    firsts = list(dict.fromkeys(life.received))
    assert firsts == sorted(firsts)


@pytest.mark.parametrize(
    ("phase", "through"),
    [(None, 0), (Phase.CONTAINED, 0), (Phase.RELEASED, None), (Phase.CLOSED, None), (Phase.REJECTED, None)],
)
def test_a_new_receiver_is_told_of_what_is_open_from_its_beginning(
    phase: Phase | None, through: int | None
) -> None:
    old = AIIncidentStatus(phase=phase)

    found = folded(old, old, [SINK], {})

    assert [one.through for one in found] == ([] if through is None else [through])


def test_progress_never_goes_back_and_others_are_left_alone() -> None:
    stored = (DeliveryStatus(sink=SINK, through=7), DeliveryStatus(sink="gone", through=2))
    status = AIIncidentStatus(phase=Phase.RELEASED, deliveries=stored)

    assert folded(status, status, [SINK], {SINK: DeliveryStatus(sink=SINK, through=5)}) == stored
    ahead = DeliveryStatus(sink=SINK, through=9, dropped=1, message="entry 8 was refused: it answers 422")
    assert folded(status, status, [SINK], {SINK: ahead}) == (ahead, stored[1])
