"""Reading Kubernetes objects at the boundary: understood whole, or refused by name."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ConfigDict, ValidationError, model_validator

from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.meta import ObjectMeta
from stanch.errors import Rejected

Json = dict[str, Any]
_M = TypeVar("_M", bound=ApiModel)


class Unreadable(Rejected):
    """A policy or a selector that is not understood whole; no claim can be made about what it allows."""


class Part(ApiModel):
    """A part of a Kubernetes object that is understood whole or refused.

    An unknown field may narrow or widen what the rest means: reading past it would be a guess.
    """

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: item for key, item in value.items() if item is not None}
        return value

    def wire(self) -> dict[str, Any]:
        """The JSON object as the API server stores it: what is empty is absent."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


class Named(ApiModel):
    metadata: ObjectMeta


def understand(model: type[_M], raw: Json, what: str) -> _M:
    """Raises Unreadable, which names the object and each field that is not understood."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        where = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'object'}: {item['msg']}" for item in error.errors()[:3]
        )
        raise Unreadable(
            "NotUnderstood", f"{what} is not understood, so what it allows is not known: {where}"
        ) from error


def name_of(raw: Json) -> str:
    metadata = raw.get("metadata")
    return str(metadata.get("name", "without a name")) if isinstance(metadata, dict) else "without metadata"
