"""One `dedupKey`, one containment: pipelines may report the same thing twice. Reading and deciding on it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.meta import ObjectMeta
from stanch.api.v1alpha1.status import ENDED, Phase
from stanch.kube.resources import AIINCIDENTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.kube.client import Kube

_EARLIEST = datetime.min.replace(tzinfo=UTC)


class _Spec(ApiModel):
    dedup_key: str | None = None


class _Status(ApiModel):
    phase: Phase | None = None


class Reported(ApiModel):
    """As much of an AIIncident as tells what it stands for."""

    metadata: ObjectMeta
    spec: _Spec
    status: _Status = _Status()

    @property
    def order(self) -> tuple[datetime, str]:
        return self.metadata.creation_timestamp or _EARLIEST, self.metadata.name


async def read(kube: Kube, incident: AIIncident) -> tuple[Reported, ...]:
    """The incidents of its namespace, where it has a key to compare with theirs. Raises StanchError."""
    if incident.spec.dedup_key is None:
        return ()
    listed = await kube.list(AIINCIDENTS, incident.metadata.namespace)
    return tuple(Reported.model_validate(body) for body in listed)


def same_as(incident: AIIncident, reported: Iterable[Reported]) -> str:
    """The open one of the same key that is acted on already, else the oldest; empty: act on this one."""
    mine = incident.metadata.creation_timestamp or _EARLIEST, incident.metadata.name
    before = [
        one
        for one in reported
        if one.spec.dedup_key == incident.spec.dedup_key
        and one.metadata.uid != incident.metadata.uid
        and one.status.phase not in ENDED
        and one.metadata.deletion_timestamp is None
        and (one.status.phase is not None or one.order < mine)
    ]
    first = min(before, key=lambda one: (one.status.phase is None, one.order), default=None)
    return first.metadata.name if first else ""
