"""All incidents as they change: the table drawn anew on a terminal; elsewhere it once, and then lines."""

from __future__ import annotations

from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import typer

from stanch.api.v1alpha1.incident import AIIncident
from stanch.cli.drawn import Drawn, looking_again
from stanch.cli.screen import Part, can_be_drawn_on, cell, lines, plain, show
from stanch.cli.story import incidents_table, news
from stanch.kube.resources import AIINCIDENTS
from stanch.kube.watch import watch_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import RenderableType

    from stanch.errors import Retry
    from stanch.kube.client import Kube
    from stanch.kube.watch import Key

    Incidents = Mapping[Key, AIIncident]


@dataclass(frozen=True, slots=True)
class Listing:
    """What is listed, and how."""

    namespace: str | None
    """None: of every namespace."""
    wide: bool

    def table(self, incidents: Incidents, most: int | None = None) -> RenderableType:
        """What needs somebody first comes first, `most` of them; where there is none, that it is so."""
        if not incidents:
            return cell(self.nobody)
        return incidents_table(
            incidents.values(),
            datetime.now(UTC),
            all_namespaces=self.namespace is None,
            wide=self.wide,
            most=most,
        )

    @property
    def nobody(self) -> str:
        inside = f"in namespace {self.namespace}; -A looks in all of them"
        return f"no incident {inside if self.namespace else 'in any namespace'}"


async def follow_all(kube: Kube, listing: Listing) -> None:
    """Never ends by itself. An API server that does not answer is waited for, and that is told.

    Raises Rejected when they may not be watched, pydantic.ValidationError when one cannot be read.
    """
    bodies: Mapping[Key, object] = {}
    parsed: Incidents = {}
    with _shown(listing) as view:
        states = watch_all(kube, AIINCIDENTS, listing.namespace, view.trouble)
        async with aclosing(states):
            async for now in states:
                parsed = {
                    key: parsed[key] if bodies.get(key) is body else AIIncident.parse(body)
                    for key, body in now.items()
                }
                bodies = now
                view.show(parsed)


class _View(Protocol):
    """What somebody is shown."""

    def show(self, incidents: Incidents) -> None: ...

    def trouble(self, error: Retry) -> None: ...


@contextmanager
def _shown(listing: Listing) -> Iterator[_View]:
    if can_be_drawn_on():
        view = _Screen(listing)
        with view.drawn.on_screen():
            yield view
    else:
        yield _Lines(listing)


class _Screen:
    """The table, as much of it as fits."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._seen: Incidents | None = None
        self.drawn = Drawn(self._now, Part.BEGIN)

    def show(self, incidents: Incidents) -> None:
        self._seen = incidents
        self.drawn.answered()  # in a storm they come by the hundred

    def trouble(self, error: Retry) -> None:
        self.drawn.trouble(error)

    def _now(self, height: int | None) -> Iterator[RenderableType]:
        seen = self._seen  # the thread that draws reads it, too
        if seen is not None:
            yield self._listing.table(seen, height)


@dataclass
class _Lines:
    """The table as it is at first; then `chat/toxic-output  03:12:04 UTC  Contained  …`, a line each."""

    listing: Listing
    _seen: Incidents | None = None
    _trouble: str = ""

    def show(self, incidents: Incidents) -> None:
        self._trouble = ""
        if self._seen is None:
            show(self.listing.table(incidents))
        else:
            for line in _told(self._seen, incidents):
                typer.echo(line)
        self._seen = incidents

    def trouble(self, error: Retry) -> None:
        if error.message != self._trouble:
            typer.echo(lines(looking_again(error)), err=True)
        self._trouble = error.message


def _told(before: Incidents, after: Incidents) -> Iterator[str]:
    for key, incident in after.items():
        if incident is not before.get(key):
            yield from (f"{plain('/'.join(key))}  {line}" for line in news(before.get(key), incident))
    for key in before.keys() - after.keys():
        yield f"{plain('/'.join(key))} is gone"
