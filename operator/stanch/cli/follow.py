"""Looking at an incident until it is at rest: a screen drawn anew on a terminal, lines elsewhere."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from stanch.api.v1alpha1.incident import AIIncident
from stanch.cli.drawn import Drawn, looking_again
from stanch.cli.screen import Part, can_be_drawn_on, lines
from stanch.cli.session import incident_ref
from stanch.cli.standing import at_rest
from stanch.cli.story import news, story
from stanch.errors import Unavailable
from stanch.kube.watch import watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from stanch.errors import Retry
    from stanch.kube.client import Kube

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

    Raises Rejected when it may not be watched, pydantic.ValidationError when it cannot be read, Retry when
    within that time it could not be read once.
    """
    ref = incident_ref(namespace, name)
    seen: AIIncident | None = None
    trouble: Retry | None = None

    def troubled(error: Retry) -> None:
        nonlocal trouble
        trouble = error
        view.trouble(error)

    with _shown(told) as view:
        try:
            async with asyncio.timeout(within), aclosing(watch(kube, ref, troubled)) as states:
                async for body in states:
                    if body is None:
                        return None
                    seen = AIIncident.parse(body)
                    view.show(seen)
                    if at_rest(seen):
                        return seen
        except TimeoutError:
            if seen is None:
                raise trouble or Unavailable("Timeout", f"{ref}: not read in time", 1.0) from None
        return seen


class _View(Protocol):
    """What somebody is shown meanwhile."""

    def show(self, incident: AIIncident) -> None: ...

    def trouble(self, error: Retry) -> None:
        """The API server does not answer: what is shown may be over. The next `show` ends that."""


@contextmanager
def _shown(told: Told) -> Iterator[_View]:
    if told is Told.SCREEN and can_be_drawn_on():
        view = _Screen()
        with view.drawn.on_screen():
            yield view
    else:
        yield _Lines(told)


@dataclass
class _Lines:
    """A line for each thing that happens, and one for each cause of an outage."""

    told: Told
    _seen: AIIncident | None = None
    _trouble: str = ""

    def show(self, incident: AIIncident) -> None:
        for line in news(self._seen, incident) if self.told is not Told.NOWHERE else ():
            typer.echo(line, err=self.told is Told.BESIDE)
        self._seen = incident
        self._trouble = ""

    def trouble(self, error: Retry) -> None:
        if error.message != self._trouble:
            typer.echo(lines(looking_again(error)), err=True)
        self._trouble = error.message


class _Screen:
    """The end of the story, drawn in place as it goes on; when that is over all of it, once."""

    def __init__(self) -> None:
        self._seen: AIIncident | None = None
        self.drawn = Drawn(self._now, Part.END)

    def show(self, incident: AIIncident) -> None:
        self._seen = incident
        self.drawn.anew()

    def trouble(self, error: Retry) -> None:
        self.drawn.trouble(error)

    def _now(self, _height: int | None) -> Iterator[RenderableType]:
        seen = self._seen  # the thread that draws reads it, too
        if seen is not None:
            yield story(seen, datetime.now(UTC))
