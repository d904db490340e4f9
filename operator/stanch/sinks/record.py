"""The timeline in the evidence store: all of it, where the status has room for the newest entries only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.errors import StanchError
from stanch.evidence.model import Incident, digest_of_bytes
from stanch.evidence.store import DifferentContent
from stanch.evidence.take import folder_of
from stanch.evidence.timeline import FOLDER, RECORD, Kept, name_of, start_of
from stanch.sinks.model import Link, Undelivered

if TYPE_CHECKING:
    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.api.v1alpha1.status import TimelineEntry
    from stanch.evidence.store import Store


@dataclass(frozen=True, slots=True)
class RecordSink:
    """Each entry is an object of its own, written once: `chat/toxic-output-<uid>/timeline/000014.json`."""

    store: Store
    line: str = RECORD

    def wants(self, incident: AIIncident, entry: TimelineEntry) -> bool:  # noqa: ARG002 - every one
        return True

    async def deliver(self, incident: AIIncident, entry: TimelineEntry) -> Link:
        """The new head. The link before is the status's: what was altered in the store is never built on.

        The same entry again, after a crash before its link was recorded, finds the same bytes stored.
        """
        meta = incident.metadata
        place = self.store.below(f"{folder_of(meta.namespace, meta.name, meta.uid)}/{FOLDER}")
        body = kept(incident, entry).render()
        try:
            await place.put(name_of(entry.seq), body)
        except StanchError as error:
            # The store's location may be told: the status of each incident has it.
            raise Undelivered(error.message, permanent=isinstance(error, DifferentContent)) from None
        return Link(digest_of_bytes(body), place.location)


def kept(incident: AIIncident, entry: TimelineEntry) -> Kept:
    """The object of this entry, as the next one after those that `status.deliveries` tells of."""
    meta = incident.metadata
    who = Incident(namespace=meta.namespace, name=meta.name, uid=meta.uid)
    heads = [one.head for one in incident.status.deliveries if one.sink == RECORD and one.head is not None]
    return Kept(incident=who, entry=entry, previous=heads[0] if heads else start_of(who))
