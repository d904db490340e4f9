"""A collection that is stored in memory, to be tampered with."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from stanch.evidence.model import (
    MANIFEST,
    Draft,
    Header,
    Incident,
    Incomplete,
    Manifest,
    Source,
    digest_of_bytes,
    item_name,
    seal,
)

AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def draft(number: int, body: bytes) -> Draft:
    return Draft(
        name=item_name(number, "pod", "application/json"),
        kind="pod",
        media_type="application/json",
        size=len(body),
        sha256=digest_of_bytes(body),
        collected_at=AT + timedelta(seconds=number),
        source=Source(api_version="v1", kind="Pod", namespace="chat", name=f"llm-{number}"),
    )


def header(*, skipped: tuple[int, ...] = ()) -> Header:
    return Header(
        incident=Incident(namespace="chat", name="leak", uid="81d2e"),
        tool="stanch 0.1.0",
        collector="stanch-0_3f9c1a",
        started_at=AT,
        finished_at=AT + timedelta(seconds=9),
        incomplete=(Incomplete(what="events", reason="Forbidden", message="no"),),
        skipped=skipped,
    )


@dataclass
class Stored:
    """What a store holds of one collection; `head` and `items` are what the incident's status says."""

    objects: dict[str, bytes]
    head: str
    items: int
    manifest: Manifest
    read: list[str] = field(default_factory=list)

    async def get(self, key: str) -> bytes | None:
        self.read.append(key)
        return self.objects.get(key)

    async def list(self) -> tuple[str, ...]:
        return tuple(sorted(self.objects))

    def rewrite(self, manifest: Manifest) -> None:
        self.objects[MANIFEST] = manifest.render()


def stored(bodies: list[bytes], *, skipped: tuple[int, ...] = ()) -> Stored:
    """As it is right after it was taken; the items with the numbers `skipped` could not be stored."""
    numbers = [number for number in range(len(bodies) + len(skipped)) if number not in skipped]
    drafts = [draft(number, body) for number, body in zip(numbers, bodies, strict=True)]
    manifest = seal(header(skipped=skipped), drafts)
    objects = {each.name: body for each, body in zip(drafts, bodies, strict=True)}
    objects[MANIFEST] = manifest.render()
    return Stored(objects, manifest.head, len(manifest.items), manifest)
