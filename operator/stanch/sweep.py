"""Everything that may need work, looked up unasked: events are hints, and a missed one is found here.

Nothing watches workloads that nobody holds: how many a policy selects is found out here alone.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import structlog
from pydantic import BaseModel, ConfigDict, Field

from stanch.errors import StanchError
from stanch.incidents.facts import LOOKS_A_SECOND
from stanch.kube.resources import (
    AIINCIDENTS,
    CLUSTERCONTAINMENTPOLICIES,
    CONTAINMENTPOLICIES,
    ObjectRef,
)
from stanch.queue import Key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from stanch.kube.client import Json, Kube

log = structlog.get_logger(__name__)

FIRST_RETRY_SECONDS = 1.0


class _Meta(BaseModel):
    model_config = ConfigDict(frozen=True)

    namespace: str
    name: str
    generation: int = 1
    deletion_timestamp: str | None = Field(default=None, alias="deletionTimestamp")


class _PolicyMeta(BaseModel):
    model_config = ConfigDict(frozen=True)

    namespace: str | None = None
    name: str


class _Delivery(BaseModel):
    model_config = ConfigDict(frozen=True)

    through: int = 0


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True)

    seq: int = 0


class _Status(BaseModel):
    model_config = ConfigDict(frozen=True)

    phase: str | None = None
    observed_generation: int | None = Field(default=None, alias="observedGeneration")
    deliveries: tuple[_Delivery, ...] = ()
    timeline: tuple[_Entry, ...] = ()

    @property
    def told(self) -> bool:
        """Whether everybody has been told of everything."""
        last = max((entry.seq for entry in self.timeline), default=0)
        return all(delivery.through >= last for delivery in self.deliveries)


class _Incident(BaseModel):
    """As much of an AIIncident as tells whether there may be something to do."""

    model_config = ConfigDict(frozen=True)

    metadata: _Meta
    status: _Status = _Status()

    @property
    def key(self) -> Key:
        return Key(self.metadata.namespace, self.metadata.name)

    @property
    def news(self) -> bool:
        """Whether nobody has looked at it as it is now: the event was lost, or is still on its way."""
        seen = self.status.phase is not None and self.status.observed_generation == self.metadata.generation
        return not seen or self.metadata.deletion_timestamp is not None


@dataclass(frozen=True, slots=True)
class Open:
    """The incidents that a look at all of them brings up: at once, and some time until the next look."""

    at_once: tuple[Key, ...]
    by_the_way: tuple[Key, ...]


def open_keys(incidents: Iterable[Json], *, untold: bool = False) -> Open:
    """All but the closed ones; a closed one that is being deleted still has to be let go.

    With `untold` also those that somebody has yet to be told about.
    """
    found = [
        each
        for each in map(_Incident.model_validate, incidents)
        if each.status.phase != "Closed"
        or each.metadata.deletion_timestamp is not None
        or (untold and not each.status.told)
    ]
    return Open(
        tuple(each.key for each in found if each.news), tuple(each.key for each in found if not each.news)
    )


async def sweep(kube: Kube, add: Callable[[Iterable[Key], float], None], *, every: float) -> NoReturn:
    """Incidents that are not closed, and in the first look those of which somebody has yet to be told.

    `add` is given the seconds within which they are to be looked at: none the first time, then `every`, or
    more where they are so many that this would be faster than the pace of looks at what is held.
    """
    first = True

    async def look() -> None:
        nonlocal first
        found = open_keys(await kube.list(AIINCIDENTS), untold=first)
        add(found.at_once, 0.0)
        add(found.by_the_way, 0.0 if first else max(every, len(found.by_the_way) / LOOKS_A_SECOND))
        first = False

    await _again_and_again(look, every)


async def sweep_policies(
    kube: Kube, add_all: Callable[[Iterable[ObjectRef]], None], *, every: float
) -> NoReturn:
    async def look() -> None:
        for resource in (CONTAINMENTPOLICIES, CLUSTERCONTAINMENTPOLICIES):
            listed = await kube.list(resource, metadata_only=True)
            metas = [_PolicyMeta.model_validate(policy["metadata"]) for policy in listed]
            add_all(ObjectRef(resource, meta.namespace, meta.name) for meta in metas)

    await _again_and_again(look, every)


async def _again_and_again(look: Callable[[], Awaitable[None]], every: float) -> NoReturn:
    """At once, then `every` so many seconds. A list that fails is tried again soon."""
    while True:
        pause = every
        try:
            await look()
        except StanchError as error:
            pause = min(FIRST_RETRY_SECONDS, every)
            log.warning("the sweep could not list", reason=error.reason, message=error.message)
        await asyncio.sleep(pause)
