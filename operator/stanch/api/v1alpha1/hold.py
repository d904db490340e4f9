"""ContainmentHold: the one object per namespace that the admission policies read (design: the hold)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import accumulate
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from stanch.api.resource import AGE, Column, Resource
from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.meta import ObjectMeta

HOLD_NAME = "stanch"
HOLDING_LABEL = "stanch.dev/holding"
HELD_LABEL = "stanch.dev/held"


class Rule(StrEnum):
    """What is denied for an object that is held. What `Stopped` means depends on the object's kind."""

    STOPPED = "Stopped"
    KEPT = "Kept"
    LIMITED = "Limited"
    SEALED = "Sealed"
    ABSENT = "Absent"
    CONDEMNED = "Condemned"


def hold_key(rule: Rule, what: str) -> str:
    """`Stopped apps/deployments/llm-chat`: one entry of a hold. `what` is the object, or the version."""
    return f"{rule} {what}"


def limit_of(what: str, replicas: int) -> str:
    """What a `Limited` entry names: `apps/deployments/llm-chat=1`, beside one that keeps the object."""
    return f"{what}={replicas}"


class Holder(ApiModel):
    """An incident that holds something: what a denial says of it."""

    why: str = Field(max_length=128, description="severity and category, for the denial message")
    since: datetime


@dataclass(frozen=True, slots=True)
class HeldEntry:
    """Who holds one thing in one way, in the map by `hold_key` that the operator works with."""

    incidents: tuple[str, ...]
    """All that hold, oldest first."""
    holders: Mapping[str, Holder]
    giving_back: str | None = None
    """The incident whose release is restoring this object now."""

    @property
    def incident(self) -> str:
        """The one a denial names."""
        return self.incidents[0]

    @classmethod
    def of(cls, incident: str, why: str, since: datetime) -> Self:
        return cls((incident,), {incident: Holder(why=why, since=since)})


Held = Mapping[str, HeldEntry]
Names = Annotated[tuple[Annotated[str, Field(max_length=253)], ...], Field(max_length=50)]


class ContainmentHoldSpec(ApiModel):
    """Small on purpose: the API server (1.37) turns the whole object into JSON and back for every write that
    the hold's admission policies look at, and a text costs it a thirtieth of a map of structs.
    """

    held: str = Field(
        default="",
        max_length=131072,
        description="one line for each object and way it is held: rule, group/resource/name, incident",
    )
    condemned: dict[str, Annotated[str, Field(max_length=253)]] | None = Field(
        default=None,
        max_length=200,
        description="what no pod and no pod template may carry, and the incident that says so",
    )
    shared: dict[str, Names] = Field(
        default_factory=dict,
        max_length=1000,
        description="all incidents that hold an entry, oldest first, where there are several",
    )
    giving_back: dict[str, Annotated[str, Field(max_length=253)]] = Field(
        default_factory=dict,
        max_length=1000,
        description="entries that are being restored now, and the incident whose release does so",
    )
    incidents: dict[str, Holder] = Field(
        default_factory=dict, max_length=1000, description="who holds: why, and since when"
    )
    objects: str | None = Field(
        default=None, max_length=253, description="what is held, shortened, for `kubectl get holds`"
    )
    names: str | None = Field(
        default=None, max_length=253, description="by which incidents, shortened, for `kubectl get holds`"
    )
    since: datetime | None = Field(default=None, description="since when the oldest entry is held")

    @classmethod
    def of(cls, held: Held) -> Self:
        """The spec that holds these entries, with what `kubectl get holds` shows of them.

        Raises pydantic.ValidationError when they are more than one object may say.
        """
        holders = {name: holder for entry in held.values() for name, holder in entry.holders.items()}
        objects = {key: entry for key, entry in held.items() if not key.startswith(f"{Rule.CONDEMNED} ")}
        prefix = hold_key(Rule.CONDEMNED, "")
        return cls(
            held="\n".join(["", *(f"{key} {entry.incident}" for key, entry in sorted(objects.items())), ""])
            if objects
            else "",
            condemned={
                key.removeprefix(prefix): entry.incident
                for key, entry in held.items()
                if key.startswith(prefix)
            }
            or None,
            shared={key: entry.incidents for key, entry in held.items() if len(entry.incidents) > 1},
            giving_back={key: entry.giving_back for key, entry in held.items() if entry.giving_back},
            incidents=holders,
            objects=_shortened(
                [
                    key.split(" ", 1)[1].split("/", 1)[-1]
                    for key in held
                    if not key.startswith(f"{Rule.LIMITED} ")
                ]
            ),
            names=_shortened([incident for entry in held.values() for incident in entry.incidents]),
            since=min((holder.since for holder in holders.values()), default=None),
        )

    def entries(self) -> dict[str, HeldEntry]:
        """What is held, by `hold_key`."""
        first = {line.rsplit(" ", 1)[0]: line.rsplit(" ", 1)[1] for line in self.held.split("\n") if line}
        first |= {
            hold_key(Rule.CONDEMNED, what): incident for what, incident in (self.condemned or {}).items()
        }
        entries: dict[str, HeldEntry] = {}
        for key, incident in first.items():
            incidents = self.shared.get(key, (incident,))
            entries[key] = HeldEntry(
                incidents, {name: self.incidents[name] for name in incidents}, self.giving_back.get(key)
            )
        return entries


_SHOWN = 240


def _shortened(names: list[str]) -> str | None:
    """The first names that fit, each once, and how many more there are."""
    distinct = sorted(set(names))
    lengths = accumulate(len(name) + 2 for name in distinct)
    shown = [name for name, length in zip(distinct, lengths, strict=True) if length <= _SHOWN]
    more = len(distinct) - len(shown)
    return ", ".join([*shown, *([f"+{more}"] if more else [])]) or None


class ContainmentHold(ApiModel):
    """What is held in this namespace. Written by the operator alone, read by its admission policies."""

    resource: ClassVar[Resource] = Resource(
        kind="ContainmentHold",
        plural="containmentholds",
        short_names=("hold", "holds"),
        columns=(
            Column("Held", ".spec.objects", description="resource/name of what is held"),
            Column("Incidents", ".spec.names", description="the AIIncidents that hold it"),
            Column("Since", ".spec.since", "date"),
            AGE,
        ),
        status=False,
    )

    api_version: Literal["stanch.dev/v1alpha1"] = "stanch.dev/v1alpha1"
    kind: Literal["ContainmentHold"] = "ContainmentHold"
    metadata: ObjectMeta
    spec: ContainmentHoldSpec
