"""What a receiver of the timeline is, as those who deliver to it see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.api.v1alpha1.status import TimelineEntry


@dataclass(frozen=True, slots=True)
class Link:
    """What stands in the status of a receiver that chains what it is given."""

    head: str
    location: str


class Undelivered(Exception):
    """The receiver has not taken it. `message` is for people, and names no address and no credential.

    `permanent`: the same would be refused again. `after`: seconds that the receiver asks to wait.
    """

    def __init__(self, message: str, *, permanent: bool = False, after: float = 0.0) -> None:
        super().__init__(message)
        self.message = message
        self.permanent = permanent
        self.after = after


class Sink(Protocol):
    @property
    def line(self) -> str:
        """Whatever has the same one is the same receiver: its turns are counted together."""
        ...

    def wants(self, incident: AIIncident, entry: TimelineEntry) -> bool:
        """Whether this entry is for it at all."""
        ...

    async def deliver(self, incident: AIIncident, entry: TimelineEntry) -> Link | None:
        """Returns when the receiver has said that it has it. Raises Undelivered.

        `incident.status.deliveries` says how far this receiver is at this moment.
        """
        ...
