"""The report of an incident that is closed, stored beside its evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from stanch.api.v1alpha1.status import AIIncidentStatus, Phase
from stanch.evidence.store import StoreOptions
from stanch.reports.compose import compose
from stanch.reports.keep import keep
from stanch.reports.recheck import recheck

if TYPE_CHECKING:
    from collections.abc import Callable

    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.evidence.store import Store

_MOST = 9
"""Records that a status keeps: of three forms each. Older ones stay stored."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Archive:
    """`store` is None when there is nowhere to keep anything: then `stanch report` makes the report."""

    store: Store | None = None
    options: StoreOptions = field(default_factory=StoreOptions)
    clock: Callable[[], datetime] = _utc_now

    def owes(self, incident: AIIncident) -> bool:
        """Whether it is closed, and no report tells of it as its spec is now."""
        status, generation = incident.status, incident.metadata.generation
        closed = status.phase is Phase.CLOSED and status.observed_generation == generation
        return (
            self.store is not None
            and closed
            and not any(record.generation == generation for record in status.reports)
        )

    async def with_report(self, incident: AIIncident, status: AIIncidentStatus) -> AIIncidentStatus:
        """Reads all evidence anew for it. Raises StanchError when the store does not take it."""
        if self.store is None:
            return status
        told = incident.model_copy(update={"status": status})
        report = compose(told, await recheck(told, self.options), self.clock())
        records = await keep(self.store, incident, report)
        return status.model_copy(update={"reports": (*status.reports, *records)[-_MOST:]})
