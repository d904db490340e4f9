"""Whether the evidence of an incident is still what was collected, at the time of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.errors import StanchError
from stanch.evidence import timeline
from stanch.evidence.store import Collection, StoreOptions, open_store
from stanch.evidence.timeline import Stored
from stanch.evidence.verify import verify

if TYPE_CHECKING:
    from stanch.api.v1alpha1.evidence import EvidenceRecord
    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.evidence.verify import Finding, Verdict


@dataclass(frozen=True)
class Checked:
    """`verdict` is None when the store could not be asked, which is neither unaltered nor altered."""

    location: str
    verdict: Verdict | None
    why: str = ""


@dataclass(frozen=True)
class CheckedTimeline:
    """`findings` is None when the store could not be asked."""

    stored: Stored
    findings: tuple[Finding, ...] | None
    why: str = ""


@dataclass(frozen=True)
class Rechecked:
    """`timeline` is None when none is stored."""

    collections: tuple[Checked, ...] = ()
    timeline: CheckedTimeline | None = None


async def recheck(incident: AIIncident, options: StoreOptions | None = None) -> Rechecked:
    """Read all of it and compare. Raises no StanchError: what could not be read says why."""
    collections = tuple([await _check(record, options) for record in incident.status.evidence])
    stored = Stored.of(incident.metadata, incident.status.deliveries)
    return Rechecked(collections, await _check_timeline(stored, options) if stored is not None else None)


async def _check(record: EvidenceRecord, options: StoreOptions | None) -> Checked:
    try:
        place = Collection(open_store(record.location, options), "")
        return Checked(record.location, await verify(place, record.head, items=record.items))
    except StanchError as error:
        return Checked(record.location, None, error.message)


async def _check_timeline(stored: Stored, options: StoreOptions | None) -> CheckedTimeline:
    try:
        place = Collection(open_store(stored.location, options), "")
        return CheckedTimeline(stored, await timeline.verify(place, stored.claim))
    except StanchError as error:
        return CheckedTimeline(stored, None, error.message)
