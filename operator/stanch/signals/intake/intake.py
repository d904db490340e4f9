"""The one path from signals to incidents: authorise, resolve the target, deduplicate, grade, create.

What keeps a signal from becoming an incident is said of it, of the triggers that it fired, and as an Event
about their policies; nothing is dropped silently. An incident is stored before its sender is told of it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from stanch.api.v1alpha1.policy import TriggerState
from stanch.errors import Conflict, FenceLost, Rejected
from stanch.incidents.signalled import Note
from stanch.kube.resources import AIINCIDENTS
from stanch.queue import Key
from stanch.signals.intake.declined import Declined, ignored, refused
from stanch.signals.intake.grading import Armed, DeclinedOf, armed, fired, graded
from stanch.signals.intake.manifest import fingerprint_of, incident_of, signal_name
from stanch.signals.intake.past import heed_cooldown, standing
from stanch.signals.intake.places import Places
from stanch.signals.intake.placing import (
    heed_namespace,
    heed_scope,
    heed_workload,
    namespace_by_policy,
    told_namespace,
)
from stanch.signals.intake.reading import Reader
from stanch.signals.intake.targets import NamedBy, naming_of
from stanch.signals.intake.telling import Teller, Told
from stanch.signals.model import Outcome, Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stanch.kube.client import Kube
    from stanch.policies.match import Workload
    from stanch.settings import Settings
    from stanch.signals.board import Board
    from stanch.signals.intake.past import Known
    from stanch.signals.intake.places import Place
    from stanch.signals.model import Signal, Speaker

log = structlog.get_logger(__name__)

AT_ONCE = 32
"""As many as incidents are worked on: of the connections to a slow API server neither takes the other's."""
MOST_REPORTED = 10_000
_NOT_READ = (
    "the policy has something in it that this version of the operator does not know: upgrade the operator"
)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Case:
    """A firing signal on its way, and what is known of it so far."""

    reader: Reader
    signal: Signal
    speaker: Speaker
    namespace: str
    firing: tuple[Armed, ...]


@dataclass(slots=True)
class SignalIntake:
    """`signalled` is told of each report that an incident stands for; it writes the status of that one."""

    kube: Kube
    settings: Settings
    board: Board
    signalled: Callable[[Key, Note], None]
    clock: Callable[[], datetime] = _utc_now
    _teller: Teller = field(init=False)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _places: Places = field(default_factory=Places)
    _reported: dict[tuple[str, str], Key] = field(default_factory=dict)
    """Whom a firing was told to, by namespace and fingerprint: its resolution may come before the status of
    that incident says that it stands for it."""

    def __post_init__(self) -> None:
        self._teller = Teller(self.kube, self.board)

    async def take(self, signals: Sequence[Signal], speaker: Speaker) -> list[Taken]:
        """As `Intake.take` says. Reports of one series keep their order; series are taken side by side."""
        if not signals:
            return []
        reader = Reader(self.kube)
        triggers = await self._triggers(reader)
        series: dict[str, list[int]] = {}
        for place, signal in enumerate(signals):
            series.setdefault(signal.fingerprint, []).append(place)
        told: dict[int, Told] = {}

        async def one_after_another(places: list[int]) -> None:
            async with self._slots:
                for place in places:
                    told[place] = await self._take(reader, triggers, signals[place], speaker)

        ended = await asyncio.gather(*map(one_after_another, series.values()), return_exceptions=True)
        now = self.clock()
        in_order = [told[place] for place in sorted(told)]
        firing = [one for one in in_order if one.taken.signal.firing]
        self._teller.of_signals(firing, now)
        await self._teller.events(firing, now)
        _raise_first([error for error in ended if error is not None])
        return [one.taken for one in in_order]

    async def _triggers(self, reader: Reader) -> list[Armed]:
        policies = await reader.policies()
        ready, problems = armed(policies.readable)
        self._teller.of_matchers(problems, ready)
        for trigger in policies.unreadable:
            self.board.stands(trigger, TriggerState.ERROR, _NOT_READ)
        return ready

    async def _take(
        self, reader: Reader, triggers: Sequence[Armed], signal: Signal, speaker: Speaker
    ) -> Told:
        firing: list[Armed] = []
        try:
            namespace = told_namespace(signal, speaker)
            if namespace is not None:
                heed_scope(namespace, self.settings)
            if not signal.firing and namespace is not None:
                return Told(await self._resolved(reader, signal, namespace))
            firing = fired(triggers, signal, namespace)
            namespace = namespace or namespace_by_policy(firing, speaker)
            if not signal.firing:
                return Told(await self._resolved(reader, signal, namespace))
            return await self._fires(_Case(reader, signal, speaker, namespace, tuple(firing)))
        except DeclinedOf as why:
            return Told(_declined(signal, why), why.triggers)
        except Declined as why:
            return Told(_declined(signal, why), tuple(firing))

    async def _resolved(self, reader: Reader, signal: Signal, namespace: str) -> Taken:
        """Told to the incident that stands for it, whatever became of the policy and the pods meanwhile."""
        about = fingerprint_of(signal)
        incidents = await reader.signalled_incidents(namespace)
        told = self._reported.get((namespace, about))
        known = standing(incidents, about) or standing(one for one in incidents if one.key == told)
        if known is None:
            raise ignored("NothingOpen", "it has resolved, and no open incident stands for it")
        self._note(known.key, signal)
        return Taken(
            signal, Outcome.RESOLVED, "Resolved", "told to the incident; nothing is released", known.key
        )

    async def _fires(self, case: _Case) -> Told:
        labels = await case.reader.namespace_labels(case.namespace)
        heed_namespace(case.namespace, labels, self.settings)
        try:
            workload = await _workload(case, labels)
        except Declined as why:
            return Told(await self._of_the_gone(case, why), case.firing)
        heed_workload(workload, self.settings)
        by = graded(case.firing, workload, labels)
        place = self._places.of(case.namespace, workload.kind, workload.name)
        came = place.moment()
        async with place.turn:
            stands = place.standing(by.policy.metadata.uid, since=came)
            if stands is not None:
                return Told(self._merged(case.signal, stands), (by,))
            return Told(await self._incident(case, by, workload, place), (by,))

    async def _of_the_gone(self, case: _Case, why: Declined) -> Taken:
        """A containment ends the very pods that its alert names: that goes on firing, and is known."""
        if why.reason == "TargetNotFound":
            known = standing(
                await case.reader.signalled_incidents(case.namespace), fingerprint_of(case.signal)
            )
            if known is not None:
                return self._merged(case.signal, known)
        raise why

    async def _incident(self, case: _Case, by: Armed, workload: Workload, place: Place) -> Taken:
        """Merge or create; one at a time for one workload."""
        asked_at = place.moment()
        known = await case.reader.incidents(case.namespace, by.policy, workload)
        stands = standing(known)
        if stands is not None:
            place.stands(by.policy.metadata.uid, stands, asked_at)
            return self._merged(case.signal, stands)
        heed_cooldown(known, by.policy, self.clock(), self.settings.cooldown_seconds)
        body = incident_of(case.signal, case.speaker, by, workload, case.namespace)
        key = Key(case.namespace, body["metadata"]["name"])
        _not_again(next((one for one in known if one.key == key), None))
        try:
            await self.kube.create(AIINCIDENTS, case.namespace, body)
        except Conflict as error:
            if not error.already_exists:
                raise
            return await self._named_alike(case, by, workload, key)
        except Rejected as error:
            raise refused(error.reason, error.message) from error
        case.reader.opened(case.namespace)
        self._note(key, case.signal)
        log.info(
            "incident opened",
            incident=str(key),
            target=str(workload),
            signal=signal_name(case.signal),
            trigger=by.ref.name,
        )
        grave = f"{by.trigger.severity}, {by.trigger.category}"
        return Taken(case.signal, Outcome.CREATED, "IncidentCreated", f"{workload} ({grave})", key)

    async def _named_alike(self, case: _Case, by: Armed, workload: Workload, key: Key) -> Taken:
        """An incident by that name that its labels do not show to be one of this workload and policy."""
        found = await case.reader.incident(*key)
        if found is None:
            raise Conflict("AlreadyExists", f"AIIncident {key} was there, and is gone: tried again")
        if not found.stands_for(by.policy, workload):
            raise refused(
                "NameTaken",
                f"AIIncident {key} has the name of this firing and is about something else; delete it",
            )
        _not_again(found)
        return self._merged(case.signal, found)

    def _merged(self, signal: Signal, known: Known) -> Taken:
        self._note(known.key, signal)
        repeat = fingerprint_of(signal) in known.fingerprints
        reason, message = (
            ("SameSignal", "the incident stands for it already")
            if repeat
            else ("SameWorkload", "an open incident by the same policy is about the same workload")
        )
        return Taken(signal, Outcome.MERGED, reason, message, known.key)

    def _note(self, key: Key, signal: Signal) -> None:
        about = (key.namespace, fingerprint_of(signal))
        self._reported.pop(about, None)
        if signal.firing:
            self._reported[about] = key
        if len(self._reported) > MOST_REPORTED:
            del self._reported[next(iter(self._reported))]
        self.signalled(key, Note(self.clock(), signal_name(signal), fingerprint_of(signal), signal.firing))


async def _workload(case: _Case, namespace_labels: Mapping[str, str]) -> Workload:
    naming = naming_of(case.signal.labels)
    if naming.by is not NamedBy.NOTHING:
        return await case.reader.named(case.namespace, naming)
    policies = {one.policy.metadata.uid: one.policy for one in case.firing}
    return await case.reader.only_selected(case.namespace, policies.values(), namespace_labels)


def _not_again(known: Known | None) -> None:
    """Raises Declined when the incident of this very firing has ended: it was dealt with."""
    if known is not None and not known.open:
        raise ignored(
            "AlreadyHandled", f"AIIncident {known.key} was opened for this firing, and is {known.phase}"
        )


def _declined(signal: Signal, why: Declined) -> Taken:
    return Taken(signal, why.outcome, why.reason, why.message)


def _raise_first(errors: Sequence[BaseException]) -> None:
    """What ends the process comes first, then what is to be tried again."""
    for error in errors:
        log.warning("a signal was not taken", problem=str(error))
    worst = next((one for one in errors if isinstance(one, FenceLost)), None) or next(iter(errors), None)
    if worst is not None:
        raise worst
