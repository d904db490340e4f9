"""What changes between two pod templates, field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stanch.api.v1alpha1.hold import HELD_LABEL
from stanch.api.v1alpha1.status import FieldChange
from stanch.plans.changes import pointer

Json = dict[str, Any]
Keys = tuple[str, ...]

CONTAINED_KEY = "stanch.dev/contained"
OURS: tuple[Keys, ...] = (("spec", "nodeSelector", CONTAINED_KEY), ("metadata", "labels", HELD_LABEL))
"""Fields of other steps: they stay as they stand."""
_GENERATED = ("pod-template-hash", "controller-revision-hash")


@dataclass(frozen=True, slots=True)
class Difference:
    """One field by the keys that lead to it; None is absent."""

    keys: Keys
    before: Any
    after: Any


def diff(current: Json, chosen: Json) -> tuple[Difference, ...]:
    """Maps are walked down, lists and scalars change whole; where a parent is absent, it is named.

    A node selector left without keys stays as an empty map, which the API server takes for none.
    """
    wanted = chosen
    for keys in OURS:
        wanted = put(wanted, keys, _get(current, keys))
    return tuple(_walk((), tidy(current), tidy(wanted)))


def field_changes(differences: tuple[Difference, ...], *under: str) -> tuple[FieldChange, ...]:
    """As changes of the object that has the template `under` these keys."""
    return tuple(
        FieldChange(path=pointer(*under, *each.keys), before=each.before, after=each.after)
        for each in differences
    )


def clean(template: Json) -> Json:
    """A template as a person would have written it: without what controllers and Stanch put into it."""
    labels = [("metadata", "labels", label) for label in _GENERATED]
    for keys in (*OURS, *labels):
        template = put(template, keys, None)
    tidied: Json = tidy(template)
    return tidied


def put(template: Json, keys: Sequence[str], value: Any) -> Json:
    """A copy with the value there, None for no value; a map that is empty without it goes with it."""
    key, *rest = keys
    below: Any = value
    if rest:
        standing = template.get(key)
        if value is None and _get(standing, tuple(rest)) is None:
            return template
        inner = standing if isinstance(standing, Mapping) else {}
        below = put(dict(inner), tuple(rest), value) or None
    others = {name: item for name, item in template.items() if name != key}
    return others if below is None else {**template, key: below}


def tidy(value: Any) -> Any:
    """Without nulls, which stand for absent fields in maps."""
    if isinstance(value, Mapping):
        return {key: tidy(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [tidy(item) for item in value]
    return value


def _walk(keys: Keys, before: Any, after: Any) -> Iterator[Difference]:
    if before == after and type(before) is type(after):
        return
    # What another step writes into a map must survive the map's coming and going here.
    maps = Mapping | None if any(keys == ours[:-1] for ours in OURS) else Mapping
    if isinstance(before, maps) and isinstance(after, maps):
        old, new = before or {}, after or {}
        for key in {**old, **new}:
            yield from _walk((*keys, key), old.get(key), new.get(key))
    else:
        yield Difference(keys, before, after)


def _get(template: Any, keys: Keys) -> Any:
    for key in keys:
        template = template.get(key) if isinstance(template, Mapping) else None
    return template
