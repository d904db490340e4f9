"""What a look at all incidents brings up, and when: what nobody has seen yet does not wait for its turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from stanch.sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stanch.kube.client import Kube
    from stanch.queue import Key

EVERY = 0.01
CONTAINED = {
    "metadata": {"namespace": "chat", "name": "contained", "generation": 1},
    "status": {"phase": "Contained", "observedGeneration": 1},
}
NEW = {"metadata": {"namespace": "chat", "name": "new", "generation": 1}}


class Incidents:
    """An API server with these incidents."""

    async def list(self, _resource: object) -> list[dict[str, Any]]:
        return [CONTAINED, NEW]


async def test_all_are_looked_at_at_once_first_and_later_only_what_is_news() -> None:
    brought: list[tuple[str, float]] = []
    enough = asyncio.Event()

    def add(keys: Iterable[Key], seconds: float) -> None:
        brought.extend((key.name, seconds) for key in keys)
        if len(brought) >= 2 * 2:
            enough.set()

    task = asyncio.create_task(sweep(cast("Kube", Incidents()), add, every=EVERY))
    async with asyncio.timeout(5):
        await enough.wait()
    task.cancel()

    assert brought[:4] == [("new", 0.0), ("contained", 0.0), ("new", 0.0), ("contained", EVERY)]
