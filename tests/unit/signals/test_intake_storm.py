"""Many signals about one workload at the same time: one incident, few questions, nothing stale."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from stanch.kube.resources import AIINCIDENTS
from stanch.signals.intake import intake
from stanch.signals.intake.intake import AT_ONCE
from stanch.signals.intake.past import Known
from stanch.signals.intake.places import Place, Places
from stanch.signals.model import Outcome
from tests.unit.signals.intake_of import Town
from tests.unit.signals.made import signal

if TYPE_CHECKING:
    import pytest

    from stanch.kube.resources import Resource

MANY = 8 * AT_ONCE
OPEN = Known.model_validate({"metadata": {"name": "toxic", "namespace": "chat"}, "spec": {}})


async def test_of_a_workload_whose_pods_all_fire_the_incidents_are_not_read_once_each() -> None:
    town = Town()

    taken = await town.take(*(signal(fingerprint=f"pod-{number}") for number in range(MANY)))

    assert Counter(one.outcome for one in taken) == {Outcome.CREATED: 1, Outcome.MERGED: MANY - 1}
    assert len({one.incident for one in taken}) == len(town.cluster.incidents()) == 1
    assert len(town.notes) == MANY
    assert town.cluster.asked["list aiincidents"] < MANY // 4


async def test_what_was_asked_for_before_a_signal_came_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town()
    await town.one(fingerprint="f1")
    read, released = asyncio.Event(), asyncio.Event()

    async def list_(resource: Resource, *arguments: Any, **options: Any) -> list[Any]:
        found = await original(resource, *arguments, **options)
        if resource == AIINCIDENTS:
            read.set()
            await released.wait()
        return found

    original = town.cluster.list
    monkeypatch.setattr(town.cluster, "list", list_)

    early = asyncio.create_task(town.one(fingerprint="f2"))
    await read.wait()
    late = asyncio.create_task(town.one(fingerprint="f3"))
    for _ in range(100):  # until it waits for its turn
        await asyncio.sleep(0)
    town.ended()
    released.set()

    assert (await early).outcome is Outcome.MERGED
    assert (await late).outcome is Outcome.CREATED
    assert len(town.cluster.incidents()) == 2


class TestAResolution:
    """Which comes before the engine has written what fires into the incident's status."""

    async def test_of_what_was_merged_a_moment_ago_is_told_to_the_same_incident(self) -> None:
        town = Town()
        first, _ = await town.one(fingerprint="f1"), await town.one(fingerprint="f2")

        taken = await town.one(fingerprint="f2", firing=False)

        assert (taken.outcome, taken.incident) == (Outcome.RESOLVED, first.incident)
        assert [(key, note.fingerprint, note.firing) for key, note in town.notes[1:]] == [
            (first.incident, "f2", True),
            (first.incident, "f2", False),
        ]

    async def test_is_remembered_once(self) -> None:
        town = Town()
        await town.one(fingerprint="f1")
        await town.one(fingerprint="f2")
        await town.one(fingerprint="f2", firing=False)

        assert (await town.one(fingerprint="f2", firing=False)).reason == "NothingOpen"

    async def test_of_what_fired_too_many_signals_ago_is_forgotten(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(intake, "MOST_REPORTED", 2)
        town = Town()
        for fingerprint in ("f1", "f2", "f3", "f4"):
            await town.one(fingerprint=fingerprint)

        assert (await town.one(fingerprint="f2", firing=False)).reason == "NothingOpen"
        assert (await town.one(fingerprint="f4", firing=False)).reason == "Resolved"


class TestAPlace:
    def test_believes_what_was_asked_for_after_it_came(self) -> None:
        place = Place()
        came = place.moment()
        place.stands("policy", OPEN, asked_at=place.moment())

        assert place.standing("policy", since=came) is OPEN
        assert place.standing("policy", since=place.moment()) is None
        assert place.standing("another policy", since=came) is None

    def test_is_one_for_all_who_wait_and_forgotten_after_them(self) -> None:
        places = Places()
        place = places.of("chat", "Deployment", "llm")
        came = place.moment()
        place.stands("policy", OPEN, asked_at=place.moment())

        assert places.of("chat", "Deployment", "llm") is place
        assert places.of("chat", "Deployment", "other") is not place
        del place
        assert places.of("chat", "Deployment", "llm").standing("policy", since=came) is None
