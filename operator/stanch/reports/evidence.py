"""The inventory of evidence as it stands at the time of the report. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.evidence.model import MANIFEST
from stanch.reports.model import CollectionChecked, ItemChecked, TimelineChecked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from stanch.api.v1alpha1.evidence import EvidenceRecord
    from stanch.evidence.model import Item
    from stanch.evidence.verify import Finding, Verdict
    from stanch.reports.recheck import Checked, CheckedTimeline

_NOBODY_LOOKED = "it was not read for this report"


def checked(records: Iterable[EvidenceRecord], verdicts: Iterable[Checked]) -> tuple[CollectionChecked, ...]:
    found = {each.location: each for each in verdicts}
    return tuple(_collection(record, found.get(record.location)) for record in records)


def checked_timeline(check: CheckedTimeline | None) -> TimelineChecked | None:
    """None when none is stored."""
    if check is None:
        return None
    first = check.findings[0] if check.findings else None
    return TimelineChecked(
        location=check.stored.location,
        head=check.stored.claim.head,
        through=check.stored.claim.through,
        result="NotVerified" if check.findings is None else "Altered" if first else "Unaltered",
        message=str(first) if first else check.why,
    )


def _collection(record: EvidenceRecord, check: Checked | None) -> CollectionChecked:
    base = CollectionChecked(
        location=record.location,
        head=record.head,
        count=record.items,
        size=record.size,
        collected_at=record.collected_at,
        complete=record.complete,
        missing=record.missing,
        result="NotVerified",
        message=_NOBODY_LOOKED,
    )
    if check is None or check.verdict is None:
        why = check.why if check else _NOBODY_LOOKED
        return base.model_copy(update={"message": why})
    verdict = check.verdict
    return base.model_copy(
        update={
            "result": "Unaltered" if verdict.intact else "Altered",
            "message": str(verdict.first) if verdict.first else "",
            "tool": verdict.manifest.header.tool if verdict.manifest else "",
            "items": tuple(_items(verdict)),
        }
    )


def _items(verdict: Verdict) -> Iterator[ItemChecked]:
    """The items in their order, each with its first fault, then what is at fault and is no item."""
    faults: dict[str, Finding] = {}
    for finding in verdict.findings:
        faults.setdefault(finding.name, finding)
    manifest = faults.pop(MANIFEST, None)
    if manifest is not None:
        yield _fault(manifest)
    for item in verdict.manifest.items if verdict.manifest else ():
        yield _item(item, faults.pop(item.name, None))
    yield from map(_fault, faults.values())


def _item(item: Item, fault: Finding | None) -> ItemChecked:
    return ItemChecked(
        name=item.name,
        result=fault.fault if fault else "Unaltered",
        message=fault.message if fault else "",
        source=f"{item.source}{', the newest part' if item.truncated else ''}",
        size=item.size,
        sha256=item.sha256,
        collected_at=item.collected_at,
        collector=item.collector,
    )


def _fault(finding: Finding) -> ItemChecked:
    return ItemChecked(name=finding.name, result=finding.fault, message=finding.message)
