"""What the status of an incident tells of its alerts: how often, which fire now, flaps, resolution."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.incident import DesiredState
from stanch.api.v1alpha1.status import Phase, SignalsStatus
from stanch.holds.canary import Canary
from stanch.holds.keeper import HoldKeeper
from stanch.incidents.facts import Limits
from stanch.incidents.reconcile import Reconciler
from stanch.incidents.signalled import REPEATS_EVERY, Note, due, fold
from stanch.kube.resources import AIINCIDENTS, ObjectRef
from stanch.observability.metrics import Metrics
from stanch.queue import Key
from tests.unit.incidents.in_memory import NO_TOOLS, WHO, InMemory
from tests.unit.incidents.walk import NOW, facts_of, incident, walk, with_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stanch.kube.client import Kube

Json = dict[str, Any]


def note(fingerprint: str = "a", *, firing: bool = True, after: float = 0.0) -> Note:
    return Note(NOW + timedelta(seconds=after), "ToxicOutput", fingerprint, firing)


def told(*notes: Note, before: SignalsStatus | None = None) -> tuple[SignalsStatus, list[str]]:
    status, entries = fold(before, notes)
    assert status is not None
    return status, [entry.type for entry in entries]


def test_the_first_is_told_and_repeats_are_counted() -> None:
    status, entries = told(note(), note(after=60), note(after=120))

    assert (status.count, status.firing, status.flaps) == (3, ("a",), 0)
    assert (status.last_name, status.last_at) == ("ToxicOutput", NOW + timedelta(seconds=120))
    assert entries == ["Signalled"]


def test_several_that_fire_are_listed_and_only_the_last_resolution_is_told() -> None:
    status, entries = told(note("a"), note("b"), note("a", firing=False, after=5))
    assert (status.firing, status.resolved) == (("b",), ("a",))
    assert entries == ["Signalled"]

    status, entries = told(note("b", firing=False, after=9), before=status)
    assert (status.firing, status.resolved) == ((), ("a", "b"))
    assert status.resolved_at == NOW + timedelta(seconds=9)
    assert entries == ["SignalResolved"]


def test_one_that_fires_again_after_it_had_resolved_flaps() -> None:
    status, entries = told(note(), note(firing=False), note(), note(), note(firing=False), note())

    assert (status.count, status.flaps, status.firing, status.resolved) == (4, 2, ("a",), ())
    assert entries == ["Signalled", "SignalResolved", "SignalFlapped", "SignalResolved", "SignalFlapped"]


def test_another_one_that_fires_is_no_flap() -> None:
    status, _ = told(note("a"), note("a", firing=False), note("b"))

    assert status.flaps == 0


def test_a_resolution_of_what_nobody_saw_fire_says_nothing() -> None:
    assert fold(None, [note(firing=False)]) == (None, ())
    status, entries = told(note("a"), note("b", firing=False))
    assert (status.resolved, status.resolved_at, entries) == ((), None, ["Signalled"])


def test_flapping_for_hours_leaves_room_in_the_timeline_for_what_was_done() -> None:
    flapping = [note(firing=firing) for _ in range(1000) for firing in (True, False)]

    status, entries = told(*flapping)

    assert status.flaps == 999
    assert len(entries) < 30


def reports() -> st.SearchStrategy[list[Note]]:
    fingerprints = st.sampled_from([*"abc", *(str(number) for number in range(60))])
    return st.lists(st.builds(lambda one, firing: note(one, firing=firing), fingerprints, st.booleans()))


@given(reports(), st.integers(0, 100))
def test_it_makes_no_difference_how_reports_are_put_together(notes: Sequence[Note], cut: int) -> None:
    """Status writes are rare: any number of reports may be folded at once."""
    half, first = fold(None, notes[:cut])
    whole, second = fold(half, notes[cut:])

    assert (whole, (*first, *second)) == fold(None, notes)


@given(reports())
def test_the_status_stays_within_its_bounds(notes: Sequence[Note]) -> None:
    status, _ = fold(None, notes)
    if status is None:
        return
    assert SignalsStatus.model_validate(status.wire()) == status
    assert not set(status.firing) & set(status.resolved)
    assert status.count == sum(one.firing for one in notes)


def test_repeats_alone_are_written_seldom_and_news_at_once() -> None:
    status, _ = told(note("a"), note("b", firing=False))
    soon, late = NOW + timedelta(seconds=1), NOW + REPEATS_EVERY
    repeat = [note("a", after=1)]

    assert due(status, repeat, soon) == ()
    assert due(status, repeat, late) == tuple(repeat)
    for news in (note("a", firing=False), note("c")):
        assert due(status, [*repeat, news], soon) == (*repeat, news)
    assert due(None, repeat, soon) == tuple(repeat)
    assert due(status, [], late) == ()


def test_more_than_can_be_listed_are_no_news_again_and_again() -> None:
    status, _ = told(*(note(str(number)) for number in range(60)))

    assert (len(status.firing), status.count) == (50, 60)
    assert due(status, [note("59")], NOW) == ()


@pytest.mark.parametrize("phase", [Phase.CONTAINED, Phase.RELEASED])
def test_every_status_keeps_what_is_told_of_signals(phase: Phase) -> None:
    facts = replace(facts_of(incident()), signals=(note(),))
    done = walk(facts).facts
    if phase is Phase.RELEASED:
        done = walk(replace(with_spec(done, desired_state=DesiredState.RELEASED), signals=())).facts

    status = done.incident.status
    assert status.phase is phase
    assert status.signals is not None
    assert "Signalled" in {entry.type for entry in status.timeline}


KEY = Key("chat", "toxic")
INCIDENT = ObjectRef(AIINCIDENTS, *KEY)


class Unhurried(InMemory):
    """Nobody waits for a turn."""

    def __init__(self) -> None:
        super().__init__()
        self.status_writes = 0

    async def _turn(self) -> None:
        self.controllers()

    async def replace_status(self, ref: ObjectRef, new: Json) -> Json:
        self.status_writes += 1
        return await super().replace_status(ref, new)


class Engine:
    """A contained incident that signals are told to."""

    def __init__(self) -> None:
        WHO.set("operator")
        self.api, self.now = Unhurried(), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        self.enqueued: list[Key] = []
        kube = cast("Kube", self.api)
        keeper, metrics = HoldKeeper(kube), Metrics()
        canary = Canary(kube, keeper, "stanch-system", 60.0, metrics.hold_proven.set)
        self.engine = Reconciler(
            kube,
            keeper,
            canary,
            metrics,
            Limits(),
            self.enqueued.append,
            NO_TOOLS,
            clock=lambda: self.now,
        )

    async def contain(self) -> None:
        targets = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "llm"}]
        spec = {"title": "t", "category": "Drift", "severity": "High", "targets": targets}
        await self.api.create(
            AIINCIDENTS, "chat", {"metadata": {"name": "toxic", "namespace": "chat"}, "spec": spec}
        )
        await self.look()
        assert self.status()["phase"] == "Contained"

    async def look(self) -> None:
        for _ in range(3):
            await self.engine.reconcile(KEY)

    def hears(self, fingerprint: str = "a", *, firing: bool = True) -> None:
        self.engine.signalled(KEY, Note(self.now, "ToxicOutput", fingerprint, firing))

    def status(self) -> Json:
        status: Json = self.api.objects[INCIDENT]["status"]
        return status


@pytest.fixture
def engine() -> Engine:
    made = Engine()
    asyncio.run(made.contain())
    return made


async def test_a_contained_incident_takes_a_repeat_in(engine: Engine) -> None:
    engine.hears()
    await engine.look()
    assert engine.status()["signals"]["count"] == 1

    engine.now += timedelta(minutes=1)
    engine.hears()
    await engine.look()

    assert engine.status()["signals"]["count"] == 2
    assert engine.engine.hints.signals(KEY) == (), "told once"
    assert engine.status()["phase"] == "Contained"


async def test_a_storm_of_repeats_is_few_looks_and_fewer_writes(engine: Engine) -> None:
    engine.hears()
    await engine.look()
    engine.enqueued.clear()
    written = engine.api.status_writes

    for _ in range(500):
        engine.hears()
    await engine.look()

    assert len(engine.enqueued) == 1
    assert engine.api.status_writes == written
    engine.now += REPEATS_EVERY
    await engine.look()
    assert engine.status()["signals"]["count"] == 501
    assert engine.api.status_writes == written + 1


async def test_a_resolution_is_looked_at_at_once_and_releases_nothing(engine: Engine) -> None:
    engine.hears()
    await engine.look()
    engine.enqueued.clear()

    engine.hears(firing=False)
    assert engine.enqueued == [KEY]
    await engine.look()

    assert engine.status()["signals"]["resolved"] == ["a"]
    assert engine.status()["phase"] == "Contained"


async def test_what_says_nothing_new_is_not_remembered_for_ever(engine: Engine) -> None:
    written = engine.api.status_writes

    engine.hears("never seen to fire", firing=False)
    await engine.look()

    assert engine.engine.hints.signals(KEY) == ()
    assert engine.api.status_writes == written


async def test_an_incident_that_has_ended_takes_no_more_in(engine: Engine) -> None:
    released = {**engine.api.objects[INCIDENT]["spec"], "desiredState": "Released"}
    engine.api._store(INCIDENT, {**engine.api.objects[INCIDENT], "spec": released})
    await engine.look()
    written = engine.api.status_writes

    engine.hears()
    await engine.look()

    assert engine.status()["phase"] == "Released"
    assert engine.api.status_writes == written
    assert engine.engine.hints.signals(KEY) == ()


async def test_more_than_anybody_could_tell_are_not_kept_in_memory(engine: Engine) -> None:
    for number in range(3000):
        engine.hears(str(number))

    assert len(engine.engine.hints.signals(KEY)) == 1000
