"""What a decision has to tell beside containment: reporting duties, and whether anybody looks. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stanch.clocks.attendance import attendance
from stanch.clocks.duties import OPEN, clocks_of, next_change, next_due
from stanch.observability.duties import Due
from stanch.status import conditions

if TYPE_CHECKING:
    from datetime import datetime

    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.api.v1alpha1.status import AIIncidentStatus
    from stanch.clocks.data import Clocks
    from stanch.incidents.acts import Decision


def with_duties(incident: AIIncident, decision: Decision, clocks: Clocks, now: datetime) -> Decision:
    """The decision, with the clocks and the condition Attended in its status, looking again when they change.

    A status that the decision leaves as it is becomes part of it only when one of these has changed. Acts
    that need no status stored first do not wait for these.
    """
    status = decision.status or incident.status
    if decision.status is None and (status.phase is None or decision.acts):
        return decision
    decided = incident.model_copy(update={"status": status})
    found = clocks_of(decided, clocks, now)
    attended = attendance(decided, now)
    generation = status.observed_generation
    said = conditions.merge(incident.status.conditions, [attended.say], generation, now) if attended else ()
    others = tuple(one for one in status.conditions if one.type != conditions.ATTENDED)
    told = status.model_copy(
        update={"clocks": found, "clock": next_due(found), "conditions": (*others, *said)}
    )
    waits = [
        wait
        for wait in (
            decision.look_again,
            next_change(decided, clocks, now),
            attended.look_again if attended else None,
        )
        if wait is not None
    ]
    unchanged = decision.status is None and told.wire() == incident.status.wire()
    return replace(decision, status=None if unchanged else told, look_again=min(waits) if waits else None)


def pressing(status: AIIncidentStatus) -> tuple[Due, ...]:
    """The open clocks that are due at a known time."""
    return tuple(
        Due(clock.due_at.timestamp(), clock.id, clock.state)
        for clock in status.clocks
        if clock.state in OPEN and clock.due_at is not None
    )


def unattended(status: AIIncidentStatus) -> bool:
    attended = conditions.find(status.conditions, conditions.ATTENDED)
    return attended is not None and attended.status == "False"
