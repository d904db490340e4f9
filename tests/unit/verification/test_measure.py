"""Looks go on in the background, end in time, and never raise: whatever cannot be asked is a reading."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from stanch.api.v1alpha1.recovery import ReleaseStage
from stanch.errors import Unavailable
from stanch.verification import measure
from stanch.verification.reading import Answer
from tests.unit.verification.looks import HEALTHY, TOXICITY
from tests.unit.verification.probation import ALERTS, INTEGRITY, KEY, Stage, now, raising

if TYPE_CHECKING:
    from tests.unit.verification.workloads import Json


async def test_every_check_is_looked_at_and_told_of() -> None:
    stage = Stage()
    stage.prometheus.answers = {"toxicity": "0.004"}
    stage.subject = replace(stage.subject, condemned=frozenset({"image/bad"}))
    began = now()
    found = await stage.look(TOXICITY, HEALTHY, ALERTS, INTEGRITY)
    assert {name: one.answer for name, one in found.items()} == {
        "toxicity": Answer.HOLDS,
        "healthy": Answer.HOLDS,
        "alerts": Answer.HOLDS,
        "integrity": Answer.HOLDS,
    }
    assert all(began <= one.at <= now() for one in found.values())


async def test_the_targets_are_read_once_for_all_of_them() -> None:
    stage = Stage()
    await stage.look(TOXICITY, HEALTHY, ALERTS, INTEGRITY)
    assert stage.cluster.asked == {"get deployments": 1, "list replicasets": 1, "list pods": 1}


async def test_a_check_that_is_looked_at_is_not_looked_at_twice() -> None:
    stage = Stage()
    stage.begin(HEALTHY)
    stage.begin(HEALTHY)
    await stage.enqueued.get()
    stage.begin(HEALTHY)
    await asyncio.sleep(0.01)
    assert stage.cluster.asked["get deployments"] == 1, "a reading waits to be taken"
    stage.measurer.taken(KEY, stage.measurer.readings(KEY))
    assert stage.measurer.readings(KEY) == {}
    assert (await stage.one(HEALTHY)).answer is Answer.HOLDS


async def test_only_what_was_judged_is_taken() -> None:
    stage = Stage()
    first = await stage.look(HEALTHY)
    await _told(stage, HEALTHY)
    stage.measurer.taken(KEY, first)
    assert stage.measurer.readings(KEY).keys() == {"healthy"}, "a newer one is nobody's yet"


async def _told(stage: Stage, body: Json) -> None:
    stage.begin(body)
    await stage.enqueued.get()


async def test_a_slow_check_keeps_up_no_other() -> None:
    stage = Stage()
    stage.prometheus.hang = True
    stage.begin(TOXICITY, HEALTHY)
    await stage.enqueued.get()
    assert stage.measurer.readings(KEY).keys() == {"healthy"}
    stage.measurer.taken(KEY, stage.measurer.readings(KEY))
    await _told(stage, HEALTHY)
    stage.begin(TOXICITY, HEALTHY)
    await asyncio.sleep(0.01)
    assert stage.prometheus.asked.count("toxicity") == 1
    stage.measurer.forget(KEY)
    await asyncio.sleep(0)


async def test_looks_that_end_leave_those_alone_that_began_later() -> None:
    stage = Stage()
    other = TOXICITY | {"name": "other", "prometheus": TOXICITY["prometheus"] | {"query": "other"}}
    gates = stage.prometheus.gates = {"toxicity": asyncio.Event(), "other": asyncio.Event()}
    stage.begin(TOXICITY)
    stage.begin(other)
    await asyncio.sleep(0.01)
    gates["toxicity"].set()
    await stage.enqueued.get()
    await asyncio.sleep(0.01)
    stage.begin(other)
    await asyncio.sleep(0.01)
    assert stage.prometheus.asked.count("other") == 1
    stage.measurer.forget(KEY)


async def test_what_is_forgotten_is_cut() -> None:
    stage = Stage()
    stage.prometheus.hang = True
    stage.begin(TOXICITY)
    await asyncio.sleep(0.01)
    stage.measurer.forget(KEY)
    stage.measurer.forget(KEY)
    async with asyncio.timeout(30):
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
    assert stage.measurer.readings(KEY) == {}
    assert stage.enqueued.empty()


@pytest.mark.parametrize("change", [{"stage": ReleaseStage.FULL}, {"attempt": 2}, {"uid": "uid-other"}])
async def test_another_stage_begins_from_nothing(change: dict[str, Any]) -> None:
    stage = Stage()
    stage.prometheus.hang = True
    stage.begin(TOXICITY)
    await asyncio.sleep(0.01)
    stage.prometheus.hang = False
    stage.prometheus.answers = {"toxicity": "0"}
    stage.begin(TOXICITY, about=replace(stage.subject, **change))
    async with asyncio.timeout(1):
        await stage.enqueued.get()
    assert stage.measurer.readings(KEY)["toxicity"].answer is Answer.HOLDS


async def test_no_look_lasts_longer_than_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "LONGEST_LOOK", 0.05)
    stage = Stage()
    stage.prometheus.hang = True
    reading = await stage.one(TOXICITY)
    assert (reading.answer, reading.reason) == (Answer.BROKEN, "Timeout")


async def test_an_api_server_that_does_not_answer_breaks_every_check() -> None:
    stage = Stage()
    stage.cluster.before["list pods"] = raising(Unavailable("Unavailable", "connection refused", 1.0))
    found = await stage.look(TOXICITY, HEALTHY)
    assert {(one.answer, one.message) for one in found.values()} == {(Answer.BROKEN, "connection refused")}


async def test_an_object_that_cannot_be_understood_breaks_it_too() -> None:
    stage = Stage()
    stage.cluster.add(stage.pod | {"status": {"phase": 7}})
    reading = await stage.one(HEALTHY)
    assert (reading.answer, reading.reason) == (Answer.BROKEN, "NotUnderstood")


async def test_a_defect_proves_nothing_and_ends_no_one_else(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.cluster.before["get deployments"] = raising(KeyError("a defect"))
    stage.begin(HEALTHY)
    await asyncio.sleep(0.01)
    assert stage.measurer.readings(KEY) == {}
    stage.cluster.before.clear()
    assert (await stage.one(HEALTHY)).answer is Answer.HOLDS
