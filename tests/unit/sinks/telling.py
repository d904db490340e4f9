"""Incidents with a timeline, and receivers that take it, or do not."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stanch.api.v1alpha1.evidence import EvidenceRecord
from stanch.api.v1alpha1.plan import CarriedNotification, PlanPolicy, PlanStatus
from stanch.api.v1alpha1.status import (
    AIIncidentStatus,
    Contested,
    DeliveryStatus,
    Phase,
    TimelineEntry,
    Timestamps,
)
from tests.unit.incidents.walk import NOW, incident

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.sinks.model import Sink

SINK = "cloudevents"


def entry(seq: int, type_: str = "StepApplied", **more: Any) -> TimelineEntry:
    return TimelineEntry(seq=seq, at=NOW + timedelta(seconds=seq), type=type_, **more)


def timeline(first: int, last: int) -> tuple[TimelineEntry, ...]:
    return tuple(entry(seq) for seq in range(first, last + 1))


def told(
    *entries: TimelineEntry, deliveries: Sequence[DeliveryStatus] = (), uid: str = "toxic", **spec: Any
) -> AIIncident:
    """A contained incident with this timeline."""
    what = incident(uid, title="Toxic output", **spec)
    status = AIIncidentStatus(
        phase=Phase.CONTAINED,
        summary="contained: llm replicas 3→0; held",
        deliveries=tuple(deliveries),
        timeline=entries,
        contested=Contested(count=sum(one.type == "Contested" for one in entries)),
        timestamps=Timestamps(detected=NOW),
        evidence=(
            EvidenceRecord(
                location="s3://evidence/chat/toxic",
                head=f"sha256:{'0' * 64}",
                items=3,
                size=100,
                collected_at=NOW,
                complete=True,
            ),
        ),
    )
    return what.model_copy(update={"status": status})


def with_notifications(
    what: AIIncident, *ones: CarriedNotification, kind: str = "ContainmentPolicy"
) -> AIIncident:
    policy = PlanPolicy.model_validate(
        {"kind": kind, "name": "chat", "uid": "p1", "generation": 1, "notifications": ones}
    )
    plan = PlanStatus(hash="5be1", source=str(policy), policy=policy)
    return what.model_copy(update={"status": what.status.model_copy(update={"plan": plan})})


def with_status(what: AIIncident, **changes: Any) -> AIIncident:
    return what.model_copy(update={"status": what.status.model_copy(update=changes)})


@dataclass
class Recorder:
    """Takes everything, unless `answer` raises."""

    answer: Callable[[TimelineEntry], None] = field(default=lambda _: None)
    line: str = "one"
    unwanted: frozenset[str] = frozenset()
    taken: list[tuple[str, int]] = field(default_factory=list)

    def wants(self, incident: AIIncident, entry: TimelineEntry) -> bool:
        del incident
        return entry.type not in self.unwanted

    async def deliver(self, incident: AIIncident, entry: TimelineEntry) -> None:
        self.answer(entry)
        self.taken.append((incident.metadata.name, entry.seq))


@dataclass
class All:
    """The same receivers for every incident."""

    sinks: dict[str, Sink]
    closed: bool = False

    def of(self, incident: AIIncident) -> Mapping[str, Sink]:
        del incident
        return self.sinks

    async def close(self) -> None:
        self.closed = True


def seqs(taken: Iterable[tuple[str, int]], name: str = "toxic") -> list[int]:
    return [seq for who, seq in taken if who == name]
