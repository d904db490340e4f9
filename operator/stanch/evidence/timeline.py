"""The whole timeline of an incident as a hash chain, an object an entry, and what of it is altered.

An object's link is the SHA-256 of its bytes, as `sha256sum` says it, and stands in the next object as
`previous`; the first one has the digest of the incident's identity there. The last link, the head, stands in
the incident's status.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from stanch.api.v1alpha1.status import TimelineEntry
from stanch.evidence.model import Digest, Incident, canonical, digest_of, digest_of_bytes
from stanch.evidence.verify import Fault, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from stanch.api.v1alpha1.meta import ObjectMeta
    from stanch.api.v1alpha1.status import DeliveryStatus
    from stanch.evidence.verify import Reader

FOLDER = "timeline"
"""Below the incident's folder."""
RECORD = "record"
"""The line of `status.deliveries` that says how far it is stored."""
_NAME = re.compile(r"[0-9]{6,}\.json")


class Kept(BaseModel):
    """One object: an entry as it stands in the status, whose it is, and the link before it."""

    model_config = ConfigDict(frozen=True)

    version: Literal["stanch.dev/timeline/v1"] = "stanch.dev/timeline/v1"
    incident: Incident
    entry: TimelineEntry
    previous: Digest

    def render(self) -> bytes:
        """Canonical JSON: the same entry after the same link is the same bytes."""
        return canonical(self.model_dump(mode="json", by_alias=True, exclude_none=True))


@dataclass(frozen=True, slots=True)
class Claim:
    """What the incident's status says of its stored timeline."""

    incident: Incident
    head: str
    through: int
    """No entry after this one is vouched for yet: what is stored of them is left out."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Where the timeline of an incident is stored, and what is claimed of it."""

    location: str
    claim: Claim

    @classmethod
    def of(cls, meta: ObjectMeta, deliveries: Iterable[DeliveryStatus]) -> Stored | None:
        """`deliveries` are the incident's. None until an entry of it is stored."""
        who = Incident(namespace=meta.namespace, name=meta.name, uid=meta.uid)
        for one in deliveries:
            if one.sink == RECORD and one.head is not None and one.location is not None:
                return cls(one.location, Claim(who, one.head, one.through))
        return None


@dataclass(frozen=True, slots=True)
class Seen:
    """A stored object as it is now. `kept` is None if it is none of ours."""

    link: str
    kept: Kept | None

    @classmethod
    def of(cls, body: bytes) -> Seen:
        try:
            kept = Kept.model_validate_json(body)
        except ValidationError:
            kept = None
        return cls(digest_of_bytes(body), kept)


def name_of(seq: int) -> str:
    return f"{seq:06d}.json"


def start_of(incident: Incident) -> str:
    """What the first object has for the link before it."""
    return digest_of(incident.wire())


async def verify(reader: Reader, claim: Claim) -> tuple[Finding, ...]:
    """Read all of it and judge it. Raises StanchError when the store cannot be asked."""
    seen = {}
    for seq in range(1, claim.through + 1):
        body = await reader.get(name_of(seq))
        if body is not None:
            seen[seq] = Seen.of(body)
    return judge(claim, seen, await reader.list())


def judge(claim: Claim, seen: Mapping[int, Seen], stored: Iterable[str]) -> tuple[Finding, ...]:
    """What differs, by seq. `seen`: the objects up to `through`; `stored`: the names of all there are.

    An entry that was given up has no object: the next one's `previous` passes over it, and proves so.
    """
    expected = {name_of(seq) for seq in range(1, claim.through + 1)}
    extra = [
        Finding(name, Fault.EXTRA, "it is stored here, but no entry of the timeline", claim.through + 1)
        for name in sorted(set(stored) - expected)
        if not (_NAME.fullmatch(name) and int(name.partition(".")[0]) > claim.through)
    ]
    found = sorted(_broken(claim, seen), key=lambda finding: finding.number)
    return (*found, *extra)


def _broken(claim: Claim, seen: Mapping[int, Seen]) -> Iterator[Finding]:
    """From the head, which is trusted, backwards: each object vouches for the one before it."""
    sound = _sound(claim.incident, seen)
    vouched: str | None = claim.head
    gap: list[int] = []
    proven = True
    for seq in range(claim.through, 0, -1):
        here = seen.get(seq)
        if here is None:
            gap.append(seq)
            continue
        if here.link != vouched:
            if not proven and seq in sound:
                # What is above it is altered, its word on this one too; from the beginning to here all fits.
                yield from _missing(gap)
                return
            yield from _missing(gap)
            if not gap or not _numbered(here, seq):
                yield _altered(here, seq)
            proven = False
        gap = []
        vouched = here.kept.previous if here.kept is not None else None
    if vouched != start_of(claim.incident):
        yield from _missing(gap)
        if proven and not gap:
            yield Finding(name_of(1), Fault.ALTERED, "the chain does not begin with this incident", 1)


def _sound(incident: Incident, seen: Mapping[int, Seen]) -> set[int]:
    """The objects that follow each other from the incident's identity on. This alone proves nothing."""
    sound: set[int] = set()
    link = start_of(incident)
    for seq in sorted(seen):
        here = seen[seq]
        if here.kept is None or here.kept.entry.seq != seq or here.kept.previous != link:
            break
        sound.add(seq)
        link = here.link
    return sound


def _numbered(here: Seen, seq: int) -> bool:
    return here.kept is not None and here.kept.entry.seq == seq


def _missing(gap: Iterable[int]) -> Iterator[Finding]:
    for seq in gap:
        yield Finding(name_of(seq), Fault.MISSING, "the entry is not stored", seq)


def _altered(here: Seen, seq: int) -> Finding:
    if here.kept is None:
        return Finding(name_of(seq), Fault.ALTERED, "it is no entry as Stanch writes them", seq)
    if here.kept.entry.seq != seq:
        return Finding(name_of(seq), Fault.REORDERED, f"it is entry {here.kept.entry.seq}", seq)
    return Finding(name_of(seq), Fault.ALTERED, f"its digest is {here.link[:19]}…, another was recorded", seq)
