"""Whatever is logged while an incident is worked on says which one, whoever logs it."""

from __future__ import annotations

import asyncio

import structlog
from structlog.testing import capture_logs

from stanch.errors import Rejected
from stanch.queue import Key, WorkQueue

log = structlog.get_logger("some.library")
KEY = Key("chat", "toxic")


async def logged(about: str) -> list[dict[str, object]]:
    """While one piece of work is done, and refused."""
    refused = asyncio.Event()
    queue = WorkQueue(refuse, about=about, on_error=lambda _: refused.set())
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        running = asyncio.create_task(queue.run())
        queue.add(KEY)
        async with asyncio.timeout(5):
            await refused.wait()
        queue.stop()
        await running
    return [dict(line) for line in lines]


async def refuse(_key: Key) -> float | None:
    log.info("deep below")
    await asyncio.gather(child(), child())
    raise Rejected("Forbidden", "may not patch Deployment chat/llm")


async def child() -> None:
    log.info("in a task of its own")


async def test_a_line_has_the_incident_that_is_worked_on() -> None:
    lines = await logged("incident")
    assert [line["event"] for line in lines] == [
        "deep below",
        "in a task of its own",
        "in a task of its own",
        "rejected",
    ]
    assert {line["incident"] for line in lines} == {"chat/toxic"}


async def test_what_is_no_incident_is_not_called_one() -> None:
    lines = await logged("policy")
    assert {line["policy"] for line in lines} == {"chat/toxic"}
    assert not [line for line in lines if "incident" in line]
