"""What is looked at, and what one look at one check gave. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from stanch.api.v1alpha1.evidence import EvidenceRecord
    from stanch.api.v1alpha1.incident import Target
    from stanch.api.v1alpha1.record import KnownGood
    from stanch.api.v1alpha1.recovery import ReleaseStage

LONGEST_LOOK = 60.0
"""Seconds that one look at one check may take, whatever it waits for."""


class Answer(StrEnum):
    HOLDS = "Holds"
    FAILS = "Fails"
    UNKNOWN = "Unknown"
    """There is no answer: it has no data, or nothing serves."""
    BROKEN = "Broken"
    """It could not be asked. No person can say that it would have held."""
    RUNNING = "Running"
    """It is under way: a Job has not ended, pods have not started yet. Only the stage's time ends that."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at one check gave. `reason` and `message` are fit for a condition."""

    answer: Answer
    reason: str
    message: str
    at: datetime
    """When the look began: what it saw may be as old as that."""
    value: str | None = None
    evidence: EvidenceRecord | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose recovery is looked at, in which stage of which release. A Job is run once for each of these."""

    namespace: str
    name: str
    """The incident's."""
    uid: str
    targets: tuple[Target, ...]
    stage: ReleaseStage
    attempt: int
    since: datetime
    """When the stage's effects were seen to be in place."""
    known_good: KnownGood | None = None
    condemned: frozenset[str] = field(default=frozenset())
    """As in the hold: `image/llm:bad`, `arg/--model=m`."""
