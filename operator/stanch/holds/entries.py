"""What stands in a namespace's ContainmentHold: pure functions from one map of entries to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stanch.api.v1alpha1.hold import Held, HeldEntry, Rule, hold_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def join(held: Held, wanted: Held) -> dict[str, HeldEntry]:
    """`held` with the wanted entries; what others hold already is held by one more.

    What was being given back is so no more when it is wanted by the one that gave it back.
    """
    joined = dict(held)
    for key, entry in wanted.items():
        standing = joined.get(key)
        if standing is None:
            joined[key] = entry
            continue
        names = (*standing.incidents, *(name for name in entry.incidents if name not in standing.incidents))
        joined[key] = replace(
            standing,
            incidents=names,
            holders={**dict(entry.holders), **dict(standing.holders)},
            giving_back=None if standing.giving_back in entry.incidents else standing.giving_back,
        )
    return joined


def stands(held: Held, wanted: Held) -> bool:
    """Whether all that is wanted is denied already."""
    return join(held, wanted) == dict(held)


def busy(held: Held, wanted: Held) -> str | None:
    """The incident whose release is restoring one of the wanted objects right now."""
    return next(
        (
            entry.giving_back
            for key in wanted
            if (entry := held.get(key)) is not None
            and entry.giving_back is not None
            and entry.giving_back not in wanted[key].incidents
        ),
        None,
    )


def give_back(
    held: Held, name: str, ghosts: Collection[str], kept: Collection[str] = ()
) -> dict[str, HeldEntry]:
    """Entries that only `name` holds are marked as being given back; the others lose it and stay.

    Names that no incident answers to any more (`ghosts`) hold nothing back. Keys in `kept` stay as they are.
    """
    result: dict[str, HeldEntry] = {}
    for key, entry in held.items():
        if name not in entry.incidents or key in kept:
            result[key] = entry
            continue
        others = tuple(other for other in entry.incidents if other != name and other not in ghosts)
        if others:
            result[key] = _of(entry, others)
        else:
            result[key] = replace(_of(entry, (name,)), giving_back=name)
    return result


def drop(held: Held, name: str) -> dict[str, HeldEntry]:
    """Without the entries that `name` has given back."""
    return {key: entry for key, entry in held.items() if entry.giving_back != name}


def held_by(held: Held, name: str) -> dict[str, HeldEntry]:
    return {key: entry for key, entry in held.items() if name in entry.incidents}


def objects(keys: Iterable[str]) -> frozenset[str]:
    """The objects that the keys are about: `apps/deployments/llm-chat`."""
    return frozenset(key.split(" ", 1)[1] for key in keys)


def holders_of(held: Held, what: str) -> dict[str, HeldEntry]:
    """Every way in which one object is held."""
    keys = (hold_key(rule, what) for rule in Rule)
    return {key: held[key] for key in keys if key in held}


def condemned(held: Held) -> frozenset[str]:
    """What no pod may carry, whoever condemned it."""
    prefix = hold_key(Rule.CONDEMNED, "")
    return frozenset(key.removeprefix(prefix) for key in held if key.startswith(prefix))


def _of(entry: HeldEntry, incidents: tuple[str, ...]) -> HeldEntry:
    return replace(entry, incidents=incidents, holders={name: entry.holders[name] for name in incidents})
