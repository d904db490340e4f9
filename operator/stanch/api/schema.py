"""What JSON Schema cannot say about a field, said beside the field: CEL rules, list keys, free-form values.

The API server's message for a failed `pattern` quotes the expression. A CEL rule carries a sentence instead,
so types that people fill in are checked by CEL in the CRD and by the same pattern when parsed here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import GroupedMetadata
from pydantic import Field, JsonValue, StringConstraints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

RULES = "x-kubernetes-validations"


def rule(
    expression: str, message: str = "", *, message_expression: str = "", reason: str = "", path: str = ""
) -> dict[str, str]:
    """One entry of `x-kubernetes-validations`: CEL that must hold, and what a person reads if it does not."""
    entry = {
        "rule": expression,
        "message": message,
        "messageExpression": message_expression,
        "reason": reason,
        "fieldPath": path,
    }
    return {key: value for key, value in entry.items() if value}


def exactly_one(what: str, *, beside: tuple[str, ...]) -> Callable[[dict[str, Any]], None]:
    """A `json_schema_extra` for a union of member structs: exactly one field that is not `beside` is set."""

    def extend(schema: dict[str, Any]) -> None:
        members = sorted(name for name in schema["properties"] if name not in beside)
        present = ", ".join(f"has(self.{name})" for name in members)
        one_of = members[0] if len(members) == 1 else f"exactly one of {', '.join(members)}"
        schema[RULES] = [rule(f"[{present}].filter(set, set).size() == 1", f"{what} is {one_of}")]

    return extend


def rules(*entries: dict[str, str]) -> dict[str, JsonValue]:
    """A `json_schema_extra` that adds CEL rules to an object."""
    return {RULES: [dict[str, JsonValue](entry) for entry in entries]}


@dataclass(frozen=True)
class Rules:
    """Annotation: adds CEL rules to the schema of a string, in place of the pattern that they restate."""

    rules: tuple[dict[str, str], ...]

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = dict(handler.resolve_ref_schema(handler(core_schema)))
        schema.pop("pattern", None)
        return schema | {RULES: [*schema.get(RULES, []), *self.rules]}


@dataclass(frozen=True)
class Matching(GroupedMetadata):
    """Annotation of a string that matches the anchored `pattern`, and is refused with `message`."""

    pattern: str
    message: str
    max_length: int
    min_length: int | None = None

    def __iter__(self) -> Iterator[object]:
        yield StringConstraints(pattern=self.pattern, max_length=self.max_length, min_length=self.min_length)
        yield Rules((rule(f"self.matches({json.dumps(self.pattern)})", self.message),))


def items(max_items: int, *, keys: tuple[str, ...] = (), unique: bool = False, **constraints: Any) -> Any:
    """A bounded list field: a map by `keys`, a set, or atomic, which is what server-side apply merges by."""
    extra: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
    if keys:
        extra = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
    elif unique:
        extra = {"x-kubernetes-list-type": "set"}
    return Field(max_length=max_items, json_schema_extra=extra, **constraints)


Name = Annotated[
    str,
    Matching(
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "a name has lower-case letters, digits, '-' and '.' only, and begins and ends with a letter or digit",
        min_length=1,
        max_length=253,
    ),
]
"""The name of an object, https://kubernetes.io/docs/concepts/overview/working-with-objects/names/."""

Duration = Annotated[
    str,
    Matching(
        r"^([0-9]{1,6}(ms|s|m|h))+$",
        "a duration looks like 20s, 5m or 1h30m",
        min_length=2,
        max_length=32,
    ),
]
"""A length of time as Kubernetes writes it; `seconds` turns it into a number."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(duration: str) -> float:
    """A `Duration` in seconds."""
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)(ms|s|m|h)", duration))
