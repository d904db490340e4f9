"""Telling the owners of policies what became of signals: the board of triggers, and Events about policies."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from stanch.api.v1alpha1.policy import TriggerState
from stanch.errors import Conflict, StanchError
from stanch.incidents.events import Note, Subject, event_about
from stanch.kube.resources import EVENTS
from stanch.signals.intake.wording import one_line
from stanch.signals.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from stanch.kube.client import Kube
    from stanch.signals.board import Board
    from stanch.signals.intake.grading import Armed
    from stanch.signals.model import Taken, TriggerRef

log = structlog.get_logger(__name__)

_LONGEST = 1000
_SAME_NEWS_EVERY = timedelta(seconds=30)
_SAME_EVENT_EVERY = timedelta(minutes=10)
_MOST_REMEMBERED = 10_000
_MATCHERS = "alert.matchers["
# Of several signals of one batch the one that needs a person most is told.
_MOST_TELLING = (Outcome.REFUSED, Outcome.CREATED, Outcome.MERGED, Outcome.IGNORED)


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a signal, for the triggers that it fired."""

    taken: Taken
    triggers: tuple[Armed, ...] = ()

    @property
    def line(self) -> str:
        taken = self.taken
        where = f" {taken.incident}" if taken.incident else ""
        return one_line(f"{taken.outcome}{where}: {taken.message or taken.reason}", _LONGEST)


@dataclass(slots=True)
class Teller:
    kube: Kube
    board: Board
    _unreadable: set[TriggerRef] = field(default_factory=set)
    _events: dict[str, datetime] = field(default_factory=dict)

    def of_matchers(self, problems: Mapping[TriggerRef, str], armed: Iterable[Armed]) -> None:
        """An alert trigger whose matchers cannot be read is in error; one whose can is so no longer."""
        for trigger, problem in problems.items():
            self._unreadable.add(trigger)
            self.board.stands(trigger, TriggerState.ERROR, one_line(problem, _LONGEST))
        for one in armed:
            if one.ref in self._unreadable or self._was_unreadable(one):
                self._unreadable.discard(one.ref)
                self.board.stands(one.ref, TriggerState.ACTIVE)

    def _was_unreadable(self, one: Armed) -> bool:
        """By the policy's status, of which this process has told nothing else."""
        left_over = any(
            old.name == one.ref.name
            and old.state is TriggerState.ERROR
            and (old.message or "").startswith(_MATCHERS)
            for old in one.policy.status.triggers
        )
        if not left_over:
            return False
        news = self.board.of(one.ref.policy).get(one.ref.name)
        return news is None or news.state is None

    def of_signals(self, told: Sequence[Told], now: datetime) -> None:
        """What the last signals came to, by trigger: once for all of a batch, and seldom for what repeats."""
        latest: dict[TriggerRef, Told] = {}
        for one in sorted(told, key=lambda one: _MOST_TELLING.index(one.taken.outcome)):
            for trigger in one.triggers:
                latest.setdefault(trigger.ref, one)
        for ref, one in latest.items():
            news = self.board.of(ref.policy).get(ref.name)
            last = news.last_signal_at if news and news.last_signal == one.line else None
            if last is None or now - last >= _SAME_NEWS_EVERY:
                self.board.signalled(ref, now, one.line)

    async def events(self, told: Iterable[Told], now: datetime) -> None:
        """A warning about each policy whose trigger fired in vain: one an hour of the same.

        An Event is a courtesy: one that cannot be written is logged, and the policy's status says it too.
        """
        for one in told:
            if one.taken.outcome is not Outcome.REFUSED:
                continue
            for trigger in one.triggers:
                await self._event(one, trigger, now)

    async def _event(self, told: Told, trigger: Armed, now: datetime) -> None:
        meta = trigger.policy.metadata
        note = Note("Warning", told.taken.reason, f"trigger {trigger.trigger.name}: {told.line}")
        subject = Subject(trigger.policy.kind, meta.name, meta.namespace, meta.uid, meta.resource_version)
        hour = now.strftime("%Y-%m-%dT%H")
        body = event_about(subject, note, f"{hour}/{trigger.trigger.name}/{note.reason}", now)
        name = body["metadata"]["name"]
        if now - self._events.get(name, now - _SAME_EVENT_EVERY) < _SAME_EVENT_EVERY:
            return
        if len(self._events) >= _MOST_REMEMBERED:
            self._events.clear()
        self._events[name] = now
        try:
            await self.kube.create(EVENTS, body["metadata"]["namespace"], body)
        except Conflict as error:
            if not error.already_exists:
                log.warning("event not written", reason=error.reason, message=error.message)
        except StanchError as error:
            log.warning("event not written", reason=error.reason, message=error.message)
