"""Changing fields and giving them back: pure functions over JSON documents.

A `FieldChange` names one field by JSON Pointer (RFC 6901) with its value before and after. The way there
and the way back are JSON Patches (RFC 6902), which, unlike merge patches, can replace maps and lists whole.
`None` stands for an absent field: the API server never stores null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stanch.api.v1alpha1.status import FieldChange

Json = dict[str, Any]


def escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def pointer(*keys: str) -> str:
    return "".join(f"/{escape(key)}" for key in keys)


def keys_of(path: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def lookup(document: Any, path: str) -> Any:
    """The value at `path`, None when it or a parent of it is absent."""
    for key in keys_of(path):
        if not isinstance(document, Mapping) or key not in document:
            return None
        document = document[key]
    return document


def field_change(document: Json, path: str, value: Any) -> FieldChange:
    """The change that makes `path` hold `value`, named at the topmost absent parent.

    Giving back then removes the parents that this change itself created, and no others.
    """
    keys = keys_of(path)
    for depth in range(1, len(keys)):
        if lookup(document, pointer(*keys[:depth])) is None:
            for key in reversed(keys[depth:]):
                value = {key: value}
            return FieldChange(path=pointer(*keys[:depth]), after=value)
    return FieldChange(path=path, before=lookup(document, path), after=value)


def in_place(wanted: Any, current: Any) -> bool:
    """Whether `current` has all that `wanted` asks for; other people's fields beside it do not matter."""
    if isinstance(wanted, Mapping) and isinstance(current, Mapping):
        return all(key in current and in_place(value, current[key]) for key, value in wanted.items())
    return bool(wanted == current)


def stands(field: FieldChange, document: Json) -> bool:
    """Whether the document is as the change needs it."""
    current = lookup(document, field.path)
    if field.members:
        return _with_members(current or [], field.after or [], field.before or []) == (current or [])
    return in_place(field.after, current)


def _with_members(current: list[Any], wanted: list[Any], unwanted: list[Any]) -> list[Any]:
    """`current` without the members that only `unwanted` has, with those that only `wanted` has, in place."""
    members = [member for member in current if member in wanted or member not in unwanted]
    for place, member in enumerate(wanted):
        if member not in members and member not in unwanted:
            members.insert(place, member)
    return members


def apart(one: Iterable[FieldChange], other: Iterable[FieldChange]) -> bool:
    """Whether both changes may stand in one object and be undone each by itself.

    They may when all they mean is members of lists, and none that both mean.
    """
    theirs = {field.path: field for field in other if field.members}
    mine = [field for field in one if field.members]
    return bool(mine) and all(
        field.path in theirs and not both_mean(field, theirs[field.path]) for field in mine
    )


def both_mean(one: FieldChange, other: FieldChange) -> bool:
    """Whether both changes are about the same value: of a list, about one of its members."""
    if one.path != other.path:
        return False
    return not (one.members and other.members) or any(member in _meant(other) for member in _meant(one))


def _meant(field: FieldChange) -> list[Any]:
    before, after = field.before or [], field.after or []
    return [member for member in (*before, *after) if (member in before) != (member in after)]


def overlay(wanted: Any, current: Any) -> Any:
    """`current` with all that `wanted` asks for."""
    if isinstance(wanted, Mapping) and isinstance(current, Mapping):
        return {**current, **{key: overlay(value, current.get(key)) for key, value in wanted.items()}}
    return wanted


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of a change that is no map, for people: `None` is unset."""

    path: str
    before: Any
    after: Any

    @property
    def name(self) -> str:
        return keys_of(self.path)[-1]


def leaves(field: FieldChange) -> list[Leaf]:
    """The single values that `after` asks for."""

    def below(path: str, before: Any, after: Any) -> list[Leaf]:
        if not isinstance(after, Mapping):
            return [Leaf(path, before, after)]
        old = before if isinstance(before, Mapping) else {}
        return [
            leaf for key, value in after.items() for leaf in below(path + pointer(key), old.get(key), value)
        ]

    return below(field.path, field.before, field.after)


def all_in_place(fields: Iterable[FieldChange], document: Json) -> bool:
    return all(stands(field, document) for field in fields)


def forward(fields: Iterable[FieldChange], document: Json) -> list[Json]:
    """The JSON Patch that puts in place what is not."""
    ops: list[Json] = []
    for field in fields:
        current = lookup(document, field.path)
        if field.members:
            wanted = _with_members(current or [], field.after or [], field.before or [])
            ops += _set(document, field.path, current, wanted or None)
        else:
            ops += _set(document, field.path, current, overlay(field.after, current))
    return ops


@dataclass(frozen=True, slots=True)
class Undo:
    """The JSON Patch back, and the paths that someone else changed meanwhile and that are left alone."""

    ops: list[Json]
    kept: tuple[str, ...]


def back(fields: Sequence[FieldChange], document: Json) -> Undo:
    ops: list[Json] = []
    kept: list[str] = []
    for field in reversed(fields):
        current = lookup(document, field.path)
        if field.members:
            restored = _with_members(current or [], field.before or [], field.after or [])
            ops += _set(document, field.path, current, restored or None)
            continue
        ours = field.after if field.stored is None else field.stored
        target, clashes = _merge(field.before, ours, current, field.path)
        kept += clashes
        ops += _set(document, field.path, current, target)
    return Undo(ops, tuple(kept))


def same(fields: Iterable[FieldChange], document: Json) -> list[Json]:
    """The JSON Patch that writes what is already there: the document that giving back will produce.

    Sent as a dry run it shows that nothing (RBAC, admission, validation) would refuse that document.
    """
    ops = []
    for field in fields:
        current = lookup(document, field.path)
        if current is not None:
            ops.append({"op": "replace", "path": field.path, "value": current})
    return ops


def stored_as(fields: Iterable[FieldChange], document: Json) -> tuple[FieldChange, ...]:
    """The fields with what the server made of `after` (defaults around it), where that differs."""
    return tuple(
        field
        if (value := lookup(document, field.path)) == field.after
        else field.model_copy(update={"stored": value})
        for field in fields
    )


def _merge(before: Any, ours: Any, current: Any, path: str) -> tuple[Any, list[str]]:
    """Three-way merge: what is still ours goes back to `before`; what is not stays, and is named."""
    if current == ours:
        return before, []
    if current == before:
        return current, []
    if isinstance(ours, Mapping) and isinstance(current, Mapping) and isinstance(before, Mapping | None):
        old = before or {}
        merged: Json = {}
        clashes: list[str] = []
        for key in {**old, **current}:
            value, below = _merge(old.get(key), ours.get(key), current.get(key), path + pointer(key))
            clashes += below
            if value is not None:
                merged[key] = value
        return (merged if merged or before is not None else None), clashes
    return current, [path]


def _set(document: Json, path: str, current: Any, value: Any) -> list[Json]:
    if value == current:
        return []
    if value is None:
        return [{"op": "remove", "path": path}]
    parent = pointer(*keys_of(path)[:-1])
    if current is None and parent and lookup(document, parent) is None:
        # Someone removed the parent meanwhile; RFC 6902 `add` wants it to exist.
        key = keys_of(path)[-1]
        return _set(document, parent, None, {key: value})
    return [{"op": "replace" if current is not None else "add", "path": path, "value": value}]
