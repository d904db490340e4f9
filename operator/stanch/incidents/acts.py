"""What a decision asks for, carried out in order after its status is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stanch.actions.objects import Obj
    from stanch.actions.protocol import Doomed, Errand, Intent
    from stanch.api.v1alpha1.hold import HeldEntry
    from stanch.api.v1alpha1.recovery import Check
    from stanch.api.v1alpha1.status import AIIncidentStatus, FieldChange
    from stanch.kube.resources import ObjectRef
    from stanch.verification.reading import Subject

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    pass


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    pass


@dataclass(frozen=True, slots=True)
class TryOut:
    """Dry-run a change and its undo. Nothing is stored. The last three are an edit's."""

    step_id: str
    intent: Intent
    fields: tuple[FieldChange, ...] = ()
    way_there: list[Json] = field(default_factory=list)
    way_back: list[Json] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class EnsureHold:
    entries: Mapping[str, HeldEntry]


@dataclass(frozen=True, slots=True)
class GiveBackHold:
    """Mark the entries that only this incident holds as being given back, pass on the others."""

    ghosts: frozenset[str]
    kept: frozenset[str] = frozenset()
    """Keys that outlast the release."""


@dataclass(frozen=True, slots=True)
class DropHold:
    pass


@dataclass(frozen=True, slots=True)
class Patch:
    obj: Obj
    ops: list[Json]


@dataclass(frozen=True, slots=True)
class Create:
    ref: ObjectRef
    manifest: Json


@dataclass(frozen=True, slots=True)
class Delete:
    obj: Obj


@dataclass(frozen=True, slots=True)
class EndPods:
    doomed: tuple[Doomed, ...]


@dataclass(frozen=True, slots=True)
class RunErrand:
    step_id: str
    errand: Errand


@dataclass(frozen=True, slots=True)
class Measure:
    """Begin to look at these checks; what they say comes with a later look at the incident."""

    subject: Subject
    checks: tuple[Check, ...]


Act = (
    AddFinalizer
    | RemoveFinalizer
    | TryOut
    | EnsureHold
    | GiveBackHold
    | DropHold
    | Patch
    | Create
    | Delete
    | EndPods
    | RunErrand
    | Measure
)


@dataclass(frozen=True, slots=True)
class Decision:
    """The status to store first (None: as it is), then what to do, then when to look again (seconds)."""

    status: AIIncidentStatus | None = None
    acts: tuple[Act, ...] = ()
    look_again: float | None = None
    again: bool = False
    """Whether the stored status by itself calls for another decision at once."""
