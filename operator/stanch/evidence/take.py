"""Taking evidence: collect, store, seal. The manifest is written last: without it nothing was taken."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from stanch import __version__
from stanch.api.v1alpha1.evidence import MISSING_KEPT, EvidenceRecord
from stanch.errors import StanchError
from stanch.evidence.collector import collect
from stanch.evidence.model import (
    MANIFEST,
    Draft,
    Header,
    Incident,
    Incomplete,
    Manifest,
    digest_of_bytes,
    item_name,
    seal,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from stanch.evidence.collector import Collected, Collection
    from stanch.evidence.reading import Limits
    from stanch.evidence.store import Collection as Place
    from stanch.evidence.store import Store
    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef

COLLECTING_SHARE = 0.7  # of the time; the rest is for storing
_AT_ONCE = 8  # items on their way to the store
_NAME = 180  # characters of the incident's name in a directory's, which file systems limit to 255 bytes
_LINE = 400  # characters of a line in the status
_NOTHING = "is-anybody-there"  # a key that is never written

Reason = Literal["EvidenceCollected", "EvidenceIncomplete", "EvidenceNotConfigured", "EvidenceNotStored"]

NOT_CONFIGURED = (
    "no evidence was taken: the operator has nowhere to store it. Set STANCH_EVIDENCE_URL, "
    "for instance to s3://bucket/prefix"
)


@dataclass(frozen=True, slots=True)
class Taken:
    """`record` is None if nothing was stored. `reason` and `message` are fit for a condition."""

    record: EvidenceRecord | None
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Collector:
    """This process, as the one who takes evidence. `identity` is as in the lease."""

    kube: Kube
    store: Store | None
    limits: Limits
    identity: str
    now: Callable[[], datetime]

    async def take(
        self, incident: ObjectRef, uid: str, targets: Sequence[ObjectRef], *, seconds: float
    ) -> Taken:
        """Takes at most about `seconds`, and what is there by then. Raises no StanchError."""
        if self.store is None:
            return Taken(None, "EvidenceNotConfigured", NOT_CONFIGURED)
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        collection = await collect(
            self.kube, incident, targets, self.limits, seconds=seconds * COLLECTING_SHARE, now=self.now
        )
        place = self.store.below(place_of(incident, uid, collection.started_at))
        about = Incident(namespace=incident.namespace or "", name=incident.name, uid=uid)
        try:
            async with asyncio.timeout_at(deadline):
                manifest = await self._store(place, about, collection, deadline - clock())
                await place.put(MANIFEST, manifest.render())
        except TimeoutError:
            return _not_stored(place, f"the store did not take it within {seconds:g} s")
        except StanchError as error:
            return _not_stored(place, error.message)
        return _taken(place, manifest)

    async def answers(self, *, seconds: float) -> bool:
        """Whether the store can be read, within so long; of what could be written it says nothing."""
        if self.store is None:
            return False
        try:
            async with asyncio.timeout(seconds):
                await self.store.get(_NOTHING)
        except (TimeoutError, StanchError):
            return False
        return True

    async def _store(self, place: Place, about: Incident, collection: Collection, seconds: float) -> Manifest:
        """Items first. Those that the store did not take are told in the manifest of those it did."""
        drafts = [_draft(number, item) for number, item in enumerate(collection.items)]
        slots = asyncio.Semaphore(_AT_ONCE)
        # The manifest needs some of the time, too.
        until = asyncio.get_running_loop().time() + 0.8 * seconds

        async def put(draft: Draft, item: Collected) -> Incomplete | None:
            try:
                async with asyncio.timeout_at(until), slots:
                    await place.put(draft.name, item.body)
            except TimeoutError:
                return Incomplete(what=str(item.source), reason="NotStored", message="the time was over")
            except StanchError as error:
                return Incomplete(what=str(item.source), reason="NotStored", message=error.message)
            return None

        lost = await asyncio.gather(
            *(put(draft, item) for draft, item in zip(drafts, collection.items, strict=True))
        )
        header = Header(
            incident=about,
            tool=f"stanch {__version__}",
            collector=self.identity,
            started_at=collection.started_at,
            finished_at=collection.finished_at,
            incomplete=(*collection.incomplete, *(each for each in lost if each is not None)),
            skipped=tuple(number for number, each in enumerate(lost) if each is not None),
        )
        return seal(header, (draft for draft, each in zip(drafts, lost, strict=True) if each is None))


def place_of(incident: ObjectRef, uid: str, started_at: datetime) -> str:
    """`chat/toxic-output-<uid>/20260102T030405Z-3f9c1a`.

    Each attempt has a directory of its own: one that ended half-way stays as it is, without a manifest, and
    nothing that was stored is ever in the way of what is stored next.
    """
    stamp = started_at.strftime("%Y%m%dT%H%M%SZ")
    return f"{folder_of(incident.namespace or '', incident.name, uid)}/{stamp}-{secrets.token_hex(3)}"


def folder_of(namespace: str, name: str, uid: str) -> str:
    """`chat/toxic-output-<uid>`: all that is kept of one incident is below."""
    return f"{namespace}/{name[:_NAME]}-{uid}"


def _draft(number: int, item: Collected) -> Draft:
    return Draft(
        name=item_name(number, item.kind, item.media_type),
        kind=item.kind,
        media_type=item.media_type,
        size=len(item.body),
        sha256=digest_of_bytes(item.body),
        collected_at=item.collected_at,
        source=item.source,
        truncated=item.truncated,
        redactions=item.redactions,
    )


def _not_stored(place: Place, why: str) -> Taken:
    return Taken(None, "EvidenceNotStored", f"no evidence was stored at {place.location}: {why}")


def _taken(place: Place, manifest: Manifest) -> Taken:
    missing = manifest.header.incomplete
    record = EvidenceRecord(
        location=place.location,
        head=manifest.head,
        items=len(manifest.items),
        size=manifest.size,
        collected_at=manifest.header.finished_at,
        complete=not missing,
        missing=tuple(str(each)[:_LINE] for each in missing[:MISSING_KEPT]),
    )
    stored = f"{len(manifest.items)} items, {manifest.size} bytes at {place.location}"
    if not missing:
        return Taken(record, "EvidenceCollected", stored)
    more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
    return Taken(record, "EvidenceIncomplete", f"{stored}; missing: {str(missing[0])[:_LINE]}{more}")
