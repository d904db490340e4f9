"""Whether stored evidence is what was collected, and the first item that is not. `judge` is pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from stanch.evidence.model import MANIFEST, Manifest, digest_of_bytes, number_of, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class Fault(StrEnum):
    ALTERED = "Altered"
    MISSING = "Missing"
    EXTRA = "Extra"
    REORDERED = "Reordered"


@dataclass(frozen=True)
class Finding:
    """`name` is the item's, or `manifest.json` where the manifest as a whole is at fault."""

    name: str
    fault: Fault
    message: str
    number: int

    def __str__(self) -> str:
        return f"{self.name}: {self.fault.lower()}: {self.message}"


@dataclass(frozen=True)
class Found:
    """A stored object as it is now."""

    size: int
    sha256: str

    @classmethod
    def of(cls, body: bytes) -> Found:
        return cls(len(body), digest_of_bytes(body))


@dataclass(frozen=True)
class Verdict:
    """`findings` in the order of the items; `manifest` is None when there is no readable one."""

    manifest: Manifest | None
    findings: tuple[Finding, ...]

    @property
    def intact(self) -> bool:
        return not self.findings

    @property
    def first(self) -> Finding | None:
        return self.findings[0] if self.findings else None


class Reader(Protocol):
    """Where one collection is stored. Both raise StanchError when the store cannot be asked."""

    async def get(self, key: str) -> bytes | None: ...
    async def list(self) -> tuple[str, ...]: ...


async def verify(reader: Reader, head: str, *, items: int | None = None) -> Verdict:
    """Read everything, one object at a time, and judge it.

    `head`, and the number of `items` where it is known, are from where the one who stores cannot write:
    the incident's status. Raises StanchError when the store cannot be asked: that is no verdict.
    """
    body = await reader.get(MANIFEST)
    if body is None:
        gone = Finding(MANIFEST, Fault.MISSING, "there is none: nothing here can be verified", -1)
        return Verdict(None, (gone,))
    try:
        manifest = parse(body)
    except ValueError as error:
        first_line = str(error).partition("\n")[0]
        return Verdict(None, (Finding(MANIFEST, Fault.ALTERED, f"no manifest of ours: {first_line}", -1),))
    found: dict[str, Found] = {}
    for name in {item.name for item in manifest.items}:
        content = await reader.get(name)
        if content is not None:
            found[name] = Found.of(content)
    return Verdict(manifest, judge(manifest, head, found, await reader.list(), items=items))


def judge(
    manifest: Manifest,
    head: str,
    found: Mapping[str, Found],
    stored: Iterable[str],
    *,
    items: int | None = None,
) -> tuple[Finding, ...]:
    """What differs, in the order of the items; the manifest's own faults come first.

    `found`: the stored objects of the manifest's items; `stored`: the names of all stored objects.
    """
    order = [*_numbering(manifest, items)]
    chain = [] if order else [*_chain(manifest, head)]
    content = [*_content(manifest, found)]
    faulty = {finding.name for finding in (*order, *content)}
    known = {MANIFEST, *(item.name for item in manifest.items)}
    extra = [
        Finding(name, Fault.EXTRA, "it is stored here, but no item of the manifest", _place(name))
        for name in sorted(set(stored) - known)
        if name not in faulty
    ]
    links = [finding for finding in chain if finding.name not in faulty]
    return tuple(sorted((*order, *links, *content, *extra), key=lambda finding: finding.number))


def _numbering(manifest: Manifest, items: int | None) -> Iterator[Finding]:
    """Items taken out of the manifest, put into it, or put elsewhere in it."""
    numbers = [item.number for item in manifest.items]
    names = {item.number: item.name for item in manifest.items}
    times = Counter(numbers)
    highest = max([*numbers, *manifest.header.skipped], default=-1)
    if items is not None and len(numbers) < items:
        # What was cut off at the end leaves no gap. Items that were never stored have a number, too.
        highest = max(highest, items + len(manifest.header.skipped) - 1)
    accounted = {*numbers, *manifest.header.skipped}
    for number in sorted(set(range(highest + 1)) - accounted):
        yield Finding(f"{number:03d}", Fault.MISSING, "it was taken out of the manifest", number)
    for number in sorted(number for number, count in times.items() if count > 1):
        yield Finding(names[number], Fault.EXTRA, f"the manifest has number {number:03d} twice", number)
    if max(times.values(), default=0) > 1:
        return
    for before, number in pairwise(numbers):
        if number < before:
            message = f"the manifest has it after {before:03d}"
            yield Finding(names[number], Fault.REORDERED, message, number)


def _chain(manifest: Manifest, head: str) -> Iterator[Finding]:
    """Entries that are not those the next link vouches for: from the head, which is trusted, backwards."""
    expected = head
    for item in reversed(manifest.items):
        if item.link != expected:
            yield _broken(item.name, item.number, at_head=expected == head)
        expected = item.previous
    if manifest.header.link != expected:
        yield _broken(MANIFEST, -1, at_head=not manifest.items)


def _broken(name: str, number: int, *, at_head: bool) -> Finding:
    if at_head:
        message = (
            "the chain does not end in the recorded head: the manifest was rewritten, from an item on that "
            "the head alone cannot name, or it is another collection's"
        )
        return Finding(MANIFEST, Fault.ALTERED, message, -1)
    what = "its header" if name == MANIFEST else "its entry in the manifest"
    return Finding(name, Fault.ALTERED, f"{what} is not the one the next link was made from", number)


def _content(manifest: Manifest, found: Mapping[str, Found]) -> Iterator[Finding]:
    for item in manifest.items:
        now = found.get(item.name)
        if now is None:
            yield Finding(item.name, Fault.MISSING, f"the copy of {item.source} is not stored", item.number)
        elif now.size != item.size:
            message = f"it has {now.size} bytes, collected were {item.size}"
            yield Finding(item.name, Fault.ALTERED, message, item.number)
        elif now.sha256 != item.sha256:
            yield Finding(item.name, Fault.ALTERED, f"its digest is {now.sha256[:19]}…", item.number)


def _place(name: str) -> int:
    try:
        return number_of(name)
    except ValueError:
        return 1_000_000  # after all items
