"""What every source of signals is turned into: from here on nobody asks whether it was an alert or a sample.

Labels and annotations are as they came: hostile. They are data, and never become part of a query, a path or a
manifest without being checked for what they are to be there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from stanch.kube.resources import ObjectRef
    from stanch.queue import Key


class TriggerRef(NamedTuple):
    """One trigger of one policy."""

    policy: ObjectRef
    name: str


@dataclass(frozen=True, slots=True)
class Signal:
    """One alert, or one sample that has compared true, as it stands now.

    `fingerprint` is the same for every report of the same series; with `starts_at` it names one firing.
    """

    name: str
    fingerprint: str
    starts_at: datetime
    firing: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    silenced: bool = False
    """Whether it may be: Alertmanager delivers nothing that is, and Prometheus knows of no silences."""
    url: str = ""
    """Of the rule or graph, for people."""
    value: str = ""
    trigger: TriggerRef | None = None
    """The trigger whose query it answers; None: triggers are matched by labels."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who a batch of signals comes from, and for which namespaces that credential may speak."""

    name: str
    namespaces: frozenset[str] | None = frozenset()
    """None: for every namespace."""

    def may(self, namespace: str) -> bool:
        return self.namespaces is None or namespace in self.namespaces


class Outcome(StrEnum):
    CREATED = "Created"
    MERGED = "Merged"
    """Into an incident that stands for the same firing, or for the same workload and policy."""
    RESOLVED = "Resolved"
    """Told to the incident; changes nothing that is held."""
    IGNORED = "Ignored"
    """Nothing is to be done: no trigger matches, in cooldown, or silenced where the policy honours that."""
    REFUSED = "Refused"
    """Something is wrong with it: not for this speaker, no target, or more than one."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one signal. `reason` is a CamelCase word, `message` a sentence for people."""

    signal: Signal
    outcome: Outcome
    reason: str
    message: str = ""
    incident: Key | None = None


class Intake(Protocol):
    """The one path from signals to incidents, whatever their source."""

    async def take(self, signals: Sequence[Signal], speaker: Speaker) -> list[Taken]:
        """What became of each, in order. Whatever is `Created` or `Merged` is stored when this returns.

        Raises StanchError when that cannot be said of all: the sender has to send the batch again.
        """
        ...
