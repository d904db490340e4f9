"""What every Stanch API type shares: camelCase on the wire, snake_case in Python, immutable once parsed."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

GROUP = "stanch.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class ApiModel(BaseModel):
    """Base of all API types.

    Unknown fields are ignored on read: the API server has already pruned or refused what the CRD does
    not know, and an older operator must be able to read what a newer CRD stored.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def wire(self) -> dict[str, Any]:
        """The JSON object as the API server stores it: camelCase, absent rather than null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
