"""Which objects no step begins on, whatever it would do to them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.actions.protocol import Refusal

if TYPE_CHECKING:
    from stanch.actions.objects import Obj

NOT_FOUND = Refusal("TargetNotFound", "there is no such object in the incident's namespace")


def staying(obj: Obj | None) -> Obj | Refusal:
    """The object, if it is there and not about to go."""
    if obj is None:
        return NOT_FOUND
    if obj.meta.deletion_timestamp is not None:
        return Refusal("TargetTerminating", "the object is being deleted already")
    return obj


def uncontrolled(obj: Obj | None, otherwise: str = "would undo the change") -> Obj | Refusal:
    """As `staying`, and no other object controls it, which `otherwise`."""
    found = staying(obj)
    if isinstance(found, Refusal) or found.meta.controller is None:
        return found
    owner = found.meta.controller
    return Refusal(
        "TargetOwned", f"{owner.kind} {owner.name} controls it and {otherwise}; name that as the target"
    )
