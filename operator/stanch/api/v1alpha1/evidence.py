"""What an incident says about its evidence: where it is and what it has to be, never what is in it."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.record import Digest

MISSING_KEPT = 20
"""Lines about what is missing that a status has room for; the manifest has all of them."""


class EvidenceRecord(ApiModel):
    """One collection. Whoever could change what is stored cannot change this."""

    location: str = Field(
        min_length=1, max_length=2048, description="URL of the collection, below which its items are stored"
    )
    head: Digest = Field(description="digest of the last link of the collection's chain")
    items: int = Field(ge=0, description="how many items were stored")
    size: int = Field(ge=0, description="of all items, in bytes")
    collected_at: datetime
    complete: bool = Field(description="whether everything could be collected and stored")
    missing: tuple[str, ...] = Field(
        default=(), max_length=MISSING_KEPT, description="what is not there and why, one line each"
    )
