"""Everything that may need work, looked up unasked: events are hints, and a missed one is found here.

Nothing watches workloads that nobody holds: how many a policy selects is found out here alone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

import structlog
from pydantic import BaseModel, ConfigDict, Field

from stanch.errors import StanchError
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


def open_keys(incidents: Iterable[Json], *, untold: bool = False) -> list[Key]:
    """All but the closed ones; a closed one that is being deleted still has to be let go.

    With `untold` also those that somebody has yet to be told about.
    """
    parsed = map(_Incident.model_validate, incidents)
    return [
        Key(each.metadata.namespace, each.metadata.name)
        for each in parsed
        if each.status.phase != "Closed"
        or each.metadata.deletion_timestamp is not None
        or (untold and not each.status.told)
    ]


async def sweep(kube: Kube, add_all: Callable[[Iterable[Key]], None], *, every: float) -> NoReturn:
    """Incidents that are not closed, and in the first look those of which somebody has yet to be told."""
    first = True

    async def look() -> None:
        nonlocal first
        add_all(open_keys(await kube.list(AIINCIDENTS), untold=first))
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
