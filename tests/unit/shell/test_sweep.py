"""What a look at all incidents brings up, and when: what nobody has seen yet does not wait for its turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from stanch.incidents.facts import LOOKS_A_SECOND, Limits
from stanch.queue import Key, WorkQueue
from stanch.sweep import sweep
from tests.unit.shell.virtual_time import run_virtually

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stanch.kube.client import Kube

EVERY = 0.2
CONTAINED: dict[str, Any] = {
    "metadata": {"namespace": "chat", "name": "contained", "generation": 1},
    "status": {"phase": "Contained", "observedGeneration": 1},
}
NEW = {"metadata": {"namespace": "chat", "name": "new", "generation": 1}}


class Incidents(list[dict[str, Any]]):
    """An API server with these incidents."""

    async def list(self, _resource: object) -> list[dict[str, Any]]:
        return list(self)


async def test_all_are_looked_at_at_once_first_and_later_only_what_is_news() -> None:
    assert await two_sweeps(Incidents([CONTAINED, NEW])) == [
        ("new", 0.0),
        ("contained", 0.0),
        ("new", 0.0),
        ("contained", EVERY),
    ]


async def test_a_sweep_over_many_is_no_faster_than_the_pace_at_which_what_is_held_is_looked_at() -> None:
    many = [CONTAINED | {"metadata": CONTAINED["metadata"] | {"name": f"c-{one}"}} for one in range(30)]
    within = {seconds for _, seconds in (await two_sweeps(Incidents(many)))[len(many) :]}
    assert within == {len(many) / LOOKS_A_SECOND}


async def two_sweeps(incidents: Incidents) -> list[tuple[str, float]]:
    """What was brought up, and the seconds within which it is to be looked at."""
    brought: list[tuple[str, float]] = []
    enough = asyncio.Event()

    def add(keys: Iterable[Key], seconds: float) -> None:
        brought.extend((key.name, seconds) for key in keys)
        if len(brought) >= 2 * len(incidents):
            enough.set()

    task = asyncio.create_task(sweep(cast("Kube", incidents), add, every=EVERY))
    async with asyncio.timeout(5):
        await enough.wait()
    task.cancel()
    return brought[: 2 * len(incidents)]


def test_a_thousand_held_incidents_are_all_looked_at_and_no_faster_than_the_pace() -> None:
    looked: list[tuple[float, Key]] = []
    many = [CONTAINED | {"metadata": CONTAINED["metadata"] | {"name": f"c-{one}"}} for one in range(1_000)]
    minutes = 20

    async def story() -> None:
        loop = asyncio.get_running_loop()

        async def work(key: Key) -> float:
            looked.append((loop.time(), key))
            return Limits().paced(len(many)).rejudge_seconds

        queue = WorkQueue(work)
        running = asyncio.create_task(queue.run())
        sweeping = asyncio.create_task(sweep(cast("Kube", Incidents(many)), queue.add_within, every=60))
        await asyncio.sleep(minutes * 60)
        sweeping.cancel()
        queue.stop()
        await running

    run_virtually(story())
    settled = [(at, key) for at, key in looked if at - looked[0][0] > minutes * 60 / 2]
    assert len(settled) / (minutes * 60 / 2) <= LOOKS_A_SECOND * 1.05
    assert len({key for _, key in settled}) == len(many)
