"""Looking at an incident until it is at rest: a screen drawn anew on a terminal, lines elsewhere."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live

from stanch.api.v1alpha1.incident import AIIncident
from stanch.cli.screen import console, lines
from stanch.cli.session import incident_ref
from stanch.cli.standing import at_rest
from stanch.cli.story import news, story
from stanch.errors import Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stanch.kube.client import Kube

_PAUSE = 0.5  # seconds; about as long as an eye takes

Timeout = Annotated[
    float, typer.Option(help="Seconds until waiting is given up, which ends with 3; what was asked goes on.")
]


class Told(StrEnum):
    """Where it is told what happens meanwhile."""

    SCREEN = "screen"
    BESIDE = "beside"
    """On stderr: stdout is for a program."""
    NOWHERE = "nowhere"


async def follow(
    kube: Kube, namespace: str, name: str, *, within: float | None = None, told: Told = Told.SCREEN
) -> AIIncident | None:
    """The incident once it is at rest, or as it was last seen when `within` seconds are over.

    None when it is gone. An API server that does not answer for a while is waited for, and that is told.

    Raises Rejected when it may not be read, pydantic.ValidationError when it cannot be, Retry when within
    that time it could not be read once.
    """
    ref = incident_ref(namespace, name)
    deadline = math.inf if within is None else time.monotonic() + within
    seen: AIIncident | None = None
    with _shown(told) as show:
        while True:
            try:
                body = await kube.get(ref)
            except Retry as error:
                if seen is None and time.monotonic() >= deadline:
                    raise
                typer.echo(lines(f"{error}; looking again"), err=True)
            else:
                if body is None:
                    return None
                seen = AIIncident.parse(body)
                show(seen)
                if at_rest(seen):
                    return seen
            if time.monotonic() >= deadline:
                return seen
            await asyncio.sleep(_PAUSE)


@contextmanager
def _shown(told: Told) -> Iterator[Callable[[AIIncident], None]]:
    screen = console()
    if told is Told.SCREEN and screen.is_terminal:
        with Live(console=screen, auto_refresh=False, vertical_overflow="visible") as live:
            yield lambda incident: live.update(story(incident, datetime.now(UTC)), refresh=True)
        return
    before: AIIncident | None = None

    def tell(incident: AIIncident) -> None:
        nonlocal before
        for line in news(before, incident) if told is not Told.NOWHERE else ():
            typer.echo(line, err=told is Told.BESIDE)
        before = incident

    yield tell
