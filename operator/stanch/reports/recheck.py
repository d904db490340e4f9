"""Whether the evidence of an incident is still what was collected, at the time of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.errors import StanchError
from stanch.evidence.store import Collection, StoreOptions, open_store
from stanch.evidence.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stanch.api.v1alpha1.evidence import EvidenceRecord
    from stanch.evidence.verify import Verdict


@dataclass(frozen=True)
class Checked:
    """`verdict` is None when the store could not be asked, which is neither unaltered nor altered."""

    location: str
    verdict: Verdict | None
    why: str = ""


async def recheck(
    records: Iterable[EvidenceRecord], options: StoreOptions | None = None
) -> tuple[Checked, ...]:
    """Read all of it and compare. Raises no StanchError: what could not be read says why."""
    return tuple([await _check(record, options) for record in records])


async def _check(record: EvidenceRecord, options: StoreOptions | None) -> Checked:
    try:
        place = Collection(open_store(record.location, options), "")
        return Checked(record.location, await verify(place, record.head, items=record.items))
    except StanchError as error:
        return Checked(record.location, None, error.message)
