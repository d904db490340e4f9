"""Incidents with reporting duties, and all the clocks there are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stanch.clocks.data import Clocks, load
from stanch.clocks.duties import clocks_of
from tests.unit.incidents.walk import incident

if TYPE_CHECKING:
    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.api.v1alpha1.status import ClockStatus

AWARE = datetime(2026, 1, 2, 3, 10, tzinfo=UTC)
DATA = load()
ALL = Clocks.of(DATA, ("eu-ai-act", "gdpr", "nis2", "dora", "gpai"))
NONE = Clocks(DATA)


def decided(clock: str, duty: str, **more: Any) -> dict[str, Any]:
    return {"clock": clock, "duty": duty, "decidedBy": "dpo@example.test", **more}


def case(
    *decisions: dict[str, Any], aware: datetime | None = AWARE, phase: str = "Contained", **more: Any
) -> AIIncident:
    regulatory: dict[str, Any] = {"decisions": decisions}
    if aware is not None:
        regulatory["awareAt"] = aware.isoformat()
    status = {"phase": phase, "observedGeneration": 1, **more.pop("status", {})}
    return incident(status=status, regulatory=regulatory, **more)


def by_id(what: AIIncident, now: datetime, clocks: Clocks = ALL) -> dict[str, ClockStatus]:
    return {one.id: one for one in clocks_of(what, clocks, now)}
