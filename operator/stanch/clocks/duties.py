"""How an incident's reporting duties stand: which clocks run, until when, and what was decided. Pure.

No duty ends by itself: only a person's decision says that one is done or does not apply.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from stanch.api.v1alpha1.record import ClockDecision, Duty, Regulatory
from stanch.api.v1alpha1.status import ClockStatus, Phase, Timestamps
from stanch.clocks.calendar import minute, utc
from stanch.clocks.data import Clock, Clocks, RunsFrom

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from stanch.api.v1alpha1.incident import AIIncident

_MOST = 20  # entries of status.clocks
_MESSAGE = 1024
_RATIONALE = 500
_SOON = timedelta(hours=24)
_WITHOUT_DUTIES = {Phase.REJECTED, Phase.DUPLICATE}


class ClockState(StrEnum):
    UNDECIDED = "Undecided"
    RUNNING = "Running"
    DUE_SOON = "DueSoon"
    OVERDUE = "Overdue"
    REPORTED = "Reported"
    NOT_REPORTABLE = "NotReportable"


OPEN = frozenset({ClockState.UNDECIDED, ClockState.RUNNING, ClockState.DUE_SOON, ClockState.OVERDUE})


@dataclass(frozen=True, slots=True)
class _Start:
    """What a clock runs from, and how that is known. Without a time, `words` say what is missing."""

    at: datetime | None
    words: str


@dataclass(frozen=True, slots=True)
class _Running:
    """A clock with its times. `soon` and `due` are None while it is unknown what it runs from."""

    clock: Clock
    start: _Start
    due: datetime | None

    @property
    def soon(self) -> datetime | None:
        """When the last quarter begins, or the last 24 hours, whichever is shorter."""
        if self.due is None or self.start.at is None:
            return None
        return self.due - min((self.due - self.start.at) / 4, _SOON)


@dataclass(frozen=True)
class _Case:
    """One incident and the clocks there are."""

    incident: AIIncident
    clocks: Clocks

    @property
    def regulatory(self) -> Regulatory:
        return self.incident.spec.regulatory or Regulatory()

    @property
    def decisions(self) -> dict[str, ClockDecision]:
        return {decision.clock: decision for decision in self.regulatory.decisions}

    @property
    def shown(self) -> list[Clock]:
        decided = self.decisions
        return [c for c in self.clocks.data.clocks if c.id in self.clocks.concerning or c.id in decided]

    def running(self, clock: Clock) -> _Running:
        start = self._start(clock)
        return _Running(clock, start, clock.within.after(start.at) if start.at is not None else None)

    def _start(self, clock: Clock) -> _Start:
        match clock.runs_from:
            case RunsFrom.AWARENESS:
                return self._awareness()
            case RunsFrom.CLASSIFICATION:
                return self._classification(clock)
            case RunsFrom.REPORT:
                return self._report(clock)

    def _awareness(self) -> _Start:
        aware = self.regulatory.aware_at
        if aware is not None:
            return _Start(utc(aware), f"awareness at {minute(aware)}")
        detected = (self.incident.status.timestamps or Timestamps()).detected
        if detected is None:
            return _Start(None, "awareness, which spec.regulatory.awareAt does not say")
        return _Start(
            utc(detected),
            f"detection at {minute(detected)}, assumed because spec.regulatory.awareAt is not given",
        )

    def _classification(self, clock: Clock) -> _Start:
        decision = self.decisions.get(clock.id)
        if decision is None or decision.duty is not Duty.APPLIES or decision.at is None:
            return _Start(None, "the classification: give its time as `at` of a decision with duty: Applies")
        return _Start(utc(decision.at), f"the classification at {minute(decision.at)}")

    def _report(self, clock: Clock) -> _Start:
        decided = self.decisions
        reports = [
            (utc(decision.at), id_)
            for id_ in clock.after
            if (decision := decided.get(id_)) and decision.duty is Duty.REPORTED and decision.at
        ]
        if reports:
            at, id_ = min(reports)
            return _Start(at, f"the report of {id_} at {minute(at)}")
        latest = [
            (run.due, run.clock.id, run.start.words)
            for before in self.clocks.data.clocks
            if before.id in clock.after and (run := self.running(before)).due is not None
        ]
        found = min(((due, id_, words) for due, id_, words in latest if due is not None), default=None)
        if found is None:
            return _Start(None, f"the report of {' or '.join(clock.after)}, whose time is not known")
        due, id_, words = found
        return _Start(
            due, f"the latest time for {id_}, until that is reported: {minute(due)}, counted from {words}"
        )


def clocks_of(incident: AIIncident, clocks: Clocks, now: datetime) -> tuple[ClockStatus, ...]:
    """Those that concern the organisation and those that somebody decided about, at most 20.

    An exercise has no duties, nor has an incident that was rejected or is another's duplicate.
    """
    if _without(incident):
        return ()
    case = _Case(incident, clocks)
    shown = tuple(_status(case, clock, now) for clock in case.shown)
    return _with_unknown(shown, case)


def next_change(incident: AIIncident, clocks: Clocks, now: datetime) -> float | None:
    """Seconds until the first of them is due soon or overdue by itself; None when none will be."""
    if _without(incident):
        return None
    case = _Case(incident, clocks)
    open_ones = [case.running(clock) for clock in case.shown if not _done(case.decisions.get(clock.id))]
    turns = [turn for run in open_ones for turn in (run.soon, run.due) if turn is not None and turn > now]
    return (min(turns) - now).total_seconds() if turns else None


def next_due(clocks: Iterable[ClockStatus]) -> str | None:
    """The open one that is due first, for the column Due: `gdpr-33 by 2026-01-05 03:10Z`.

    Absolute, because a time that is left would have to be written every minute.
    """
    found = min(
        ((one.due_at, one.id, one.state) for one in clocks if one.state in OPEN and one.due_at is not None),
        default=None,
    )
    if found is None:
        return None
    due, id_, state = found
    words = {ClockState.OVERDUE: "OVERDUE since", ClockState.UNDECIDED: "undecided, by"}
    return f"{id_} {words.get(ClockState(state), 'by')} {minute(due)}"


def _without(incident: AIIncident) -> bool:
    return incident.spec.exercise or incident.status.phase in _WITHOUT_DUTIES


def _done(decision: ClockDecision | None) -> bool:
    return decision is not None and decision.duty is not Duty.APPLIES


def _status(case: _Case, clock: Clock, now: datetime) -> ClockStatus:
    run = case.running(clock)
    decision = case.decisions.get(clock.id)
    state = _state(run, decision, now)
    parts = (_told(run, decision), _shortest(case, run), clock.note or "")
    return ClockStatus(
        id=clock.id,
        version=case.clocks.data.version,
        title=clock.title,
        source=clock.source,
        state=state,
        due_at=run.due,
        message="; ".join(part for part in parts if part)[:_MESSAGE],
    )


def _state(run: _Running, decision: ClockDecision | None, now: datetime) -> ClockState:
    """Undecided is no excuse: a duty that nobody decided about is due soon and overdue as any other."""
    if decision is not None and decision.duty is Duty.REPORTED:
        return ClockState.REPORTED
    if decision is not None and decision.duty is Duty.NOT_REPORTABLE:
        return ClockState.NOT_REPORTABLE
    if run.due is not None and now >= run.due:
        return ClockState.OVERDUE
    if run.soon is not None and now >= run.soon:
        return ClockState.DUE_SOON
    return ClockState.UNDECIDED if decision is None else ClockState.RUNNING


def _told(run: _Running, decision: ClockDecision | None) -> str:
    if _done(decision) and decision is not None:
        return _decided(run, decision)
    if run.due is None:
        when = f"{run.clock.within} from {run.start.words}"
        if run.start.at is not None:
            when += ": later than the calendar goes"
    else:
        when = f"due by {minute(run.due)}, {run.clock.within} from {run.start.words}"
    if decision is None:
        return f"{when}; nobody has decided whether it applies: add a decision to spec.regulatory.decisions"
    return f"{when}; applies, decided by {decision.decided_by}"


def _decided(run: _Running, decision: ClockDecision) -> str:
    because = f": {decision.rationale[:_RATIONALE]}" if decision.rationale else ""
    if decision.duty is Duty.NOT_REPORTABLE:
        return f"not reportable, decided by {decision.decided_by}{because}"
    at = f" at {minute(decision.at)}" if decision.at else ""
    late = ""
    if decision.at and run.due and utc(decision.at) > run.due:
        late = f", after it was due by {minute(run.due)}"
    reference = f", reference {decision.reference[:253]}" if decision.reference else ""
    return f"reported{at}{late}, says {decision.decided_by}{reference}{because}"


def _shortest(case: _Case, run: _Running) -> str:
    """What its group makes of it. Told, never concluded: the longer ones stay until a person decides."""
    group = [clock for clock in case.clocks.data.clocks if run.clock.group and clock.group == run.clock.group]
    if len(group) < 2:  # noqa: PLR2004 - a group of one is none
        return ""
    said = f"of {', '.join(clock.id for clock in group)} only the shortest that applies counts"
    applying = [
        other
        for clock in group
        if (made := case.decisions.get(clock.id))
        and made.duty is not Duty.NOT_REPORTABLE
        and (other := case.running(clock)).due is not None
    ]
    first = min(((other.due, other.clock.id) for other in applying if other.due is not None), default=None)
    if first is None or run.due is None or first[0] >= run.due:
        return said
    return f"{said}: {first[1]} goes before this one"


def _with_unknown(shown: tuple[ClockStatus, ...], case: _Case) -> tuple[ClockStatus, ...]:
    """Decisions about clocks that the data does not have are told, each by itself while there is room."""
    data = case.clocks.data
    known = {clock.id for clock in data.clocks}
    unknown = [decision for id_, decision in case.decisions.items() if id_ not in known]
    room = _MOST - len(shown)
    entries = (*shown, *(_unknown(decision, data.version) for decision in unknown[:room]))
    rest = ", ".join(decision.clock for decision in unknown[room:])
    if not rest:
        return entries
    last = entries[-1]
    more = f"; no room here for decisions about clocks that are not known: {rest}"[: _MESSAGE // 2]
    message = last.message[: _MESSAGE - len(more)] + more
    return (*entries[:-1], last.model_copy(update={"message": message}))


def _unknown(decision: ClockDecision, version: str) -> ClockStatus:
    state = {
        Duty.REPORTED: ClockState.REPORTED,
        Duty.NOT_REPORTABLE: ClockState.NOT_REPORTABLE,
        Duty.APPLIES: ClockState.RUNNING,
    }[decision.duty]
    because = f": {decision.rationale[:_RATIONALE]}" if decision.rationale else ""
    return ClockStatus(
        id=decision.clock,
        version=version,
        title="Unknown clock",
        source="unknown",
        state=state,
        message=f"version {version} of the clocks has none of this id, so nothing is counted; decided by "
        f"{decision.decided_by}: {decision.duty}{because}",
    )
