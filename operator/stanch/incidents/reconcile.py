"""Level-based reconciliation of one AIIncident: gather, decide, store the status, act; until nothing is left.

Nothing is remembered between two passes that the cluster does not hold, but for hints: a process that starts
anew goes on from what it reads.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import structlog

from stanch.api.v1alpha1.incident import AIIncident
from stanch.api.v1alpha1.status import ENDED, AIIncidentStatus, Phase
from stanch.clocks.data import Clocks, load
from stanch.errors import Conflict, NotFound, Rejected, StanchError
from stanch.incidents import containment, release, signalled, stages
from stanch.incidents.acts import Decision, RemoveFinalizer
from stanch.incidents.archive import Archive
from stanch.incidents.census import Census
from stanch.incidents.duties import pressing, unattended, with_duties
from stanch.incidents.events import event, given_up, notes
from stanch.incidents.facts import Contest, Facts, Limits, begun
from stanch.incidents.gather import gather
from stanch.incidents.hints import Hints
from stanch.incidents.perform import Performer
from stanch.incidents.ways import Way, alone, looked_at, way_of
from stanch.kube.resources import AIINCIDENTS, EVENTS, NETWORKPOLICIES, ObjectRef, Resource
from stanch.kube.transport import calls_so_far
from stanch.policies.reconcile import concerned
from stanch.queue import Key
from stanch.sinks.worker import Worker
from stanch.status.text import target_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from stanch.actions.protocol import Tools
    from stanch.holds.canary import Canary
    from stanch.holds.keeper import HoldKeeper
    from stanch.incidents.signalled import Note
    from stanch.kube.client import Json, Kube
    from stanch.observability.audit import Denied
    from stanch.observability.metrics import Metrics

log = structlog.get_logger(__name__)

_MOST_PASSES = 30
_READ_ANEW_SECONDS = 0.05
_STORE_AGAIN_SECONDS = 60.0


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Reconciler:
    """Drives incidents towards what their specs ask for. Raises StanchError; the queue retries."""

    kube: Kube
    keeper: HoldKeeper
    canary: Canary
    metrics: Metrics
    limits: Limits
    enqueue: Callable[[Key], None]
    tools: Tools
    hints: Hints = field(default_factory=Hints)
    clock: Callable[[], datetime] = utc_now
    tell_policy: Callable[[ObjectRef], None] | None = None
    """Who follows which policy is part of that policy's status."""
    census: Census = field(default_factory=Census)
    _counting: asyncio.Lock = field(default_factory=asyncio.Lock)
    outbox: Worker = field(default_factory=Worker)
    """Tells others of what is stored."""
    archive: Archive = field(default_factory=Archive)
    clocks: Clocks = field(default_factory=lambda: Clocks(load()))

    async def background(self) -> None:
        """Tell others, and prove the hold again and again: its verdict is every incident's `Held`."""

        def changed() -> None:
            for key in self.hints.known():
                self.enqueue(key)

        await asyncio.gather(self.canary.run(changed), self.outbox.run())

    def workload_changed(self, resource: Resource, namespace: str, name: str) -> list[Key]:
        """The incidents known to this process that hold this object; others are found by the sweep.

        Policies of one namespace add up: one that nobody holds may let through what another one isolates.
        """
        if resource == NETWORKPOLICIES:
            return self.hints.holders_of_kind(namespace, resource.key)
        return self.hints.holders(namespace, f"{resource.key}/{name}")

    def denied(self, denied: Denied) -> list[Key]:
        """Remember who was denied what, for the incidents that hold it and the one that the denial names.

        What is denied for its owner or its version has a name of its own, which no hold knows.
        """
        if denied.only_replaces:
            return []
        scale = f"/{denied.subresource}" if denied.subresource else ""
        contest = Contest(
            at=denied.at,
            by=denied.username,
            what=f"was denied: {denied.verb} {denied.resource}{scale} {denied.name}",
        )
        resource = f"{denied.group}/{denied.resource}" if denied.group else denied.resource
        holders = self.hints.holders(denied.namespace, f"{resource}/{denied.name}")
        if denied.incident and Key(denied.namespace, denied.incident) not in holders:
            holders.append(Key(denied.namespace, denied.incident))
        for key in holders:
            self.hints.contest(key, contest)
        return holders

    def signalled(self, key: Key, note: Note) -> None:
        """Remember a report of an alert that the incident stands for. A repeat waits for the next look."""
        waiting = [one for one in self.hints.signals(key) if one.fingerprint == note.fingerprint]
        self.hints.signal(key, note)
        if not waiting or waiting[-1].firing is not note.firing:
            self.enqueue(key)

    async def reconcile(self, key: Key) -> float | None:
        """Seconds until it wants to look again; None when only an event can bring news."""
        seen_at = self.hints.first_seen(key, self.clock())
        for _ in range(_MOST_PASSES):
            body = await self.kube.get(ObjectRef(AIINCIDENTS, key.namespace, key.name))
            if body is None:
                self.hints.forget(key)
                self.census.forget(key)
                self.tools.measurer.forget(key)
                self.outbox.forget(key)
                self.metrics.duties.forget(key.namespace, key.name)
                self.metrics.incidents.forget(key.namespace, key.name)
                return None
            incident = AIIncident.parse(body)
            self._tell(incident)
            rests = self._rests(key, incident)
            if rests is not None:
                return await self._at_rest(key, body, incident, self._with_duties(incident, rests))
            facts = await gather(
                self.kube,
                self.keeper,
                incident,
                proof=self.canary.proof,
                contests=self.hints.contests(key),
                signals=signalled.due(incident.status.signals, self.hints.signals(key), self.clock()),
                problem=self.hints.problem(key),
                seen_at=seen_at,
                now=self.clock(),
                evidence=self.limits.evidence,
                capacity=self.limits.own.capacity_floor is not None,
                errands=self.hints.errands(key),
                readings=self.tools.measurer.readings(key),
                measuring=self.tools.measurer.running(key),
            )
            self.hints.holds(key, facts.held)
            if facts.policy is not None and not begun(incident):
                await self._count()
            try:
                done, look_again = await self._settle(key, body, facts)
            except (Conflict, NotFound):
                continue  # decided on something outdated: read again, decide again
            except Rejected as error:
                if self.hints.refused(key, error.message):
                    continue  # tell it in the status, try once more
                raise
            if done and self.archive.owes(incident):  # what is condemned for good keeps it from resting
                return await self._at_rest(key, body, incident, Decision(look_again=look_again))
            if done:
                return look_again
        log.warning("still moving", passes=_MOST_PASSES)
        return 1.0

    def _tell(self, incident: AIIncident) -> None:
        """Of an incident as it is stored. What this piece of work logs from here on has its target."""
        structlog.contextvars.bind_contextvars(target=target_line(incident.spec.targets))
        self.outbox.offer(incident)
        self.metrics.incidents.note(incident.metadata.namespace, incident.metadata.name, incident.status)

    async def _count(self) -> None:
        """Once, however many begin at the same time: it reads every incident there is."""
        async with self._counting:
            if not self.census.complete:
                self.census.fill(map(AIIncident.parse, await self.kube.list(AIINCIDENTS)))

    def _rests(self, key: Key, incident: AIIncident) -> Decision | None:
        """When to look again at one for which nothing is to be decided now; None when something is."""
        if _settled(incident):
            self.hints.heard(key, self.hints.signals(key))  # an incident that has ended takes no more in
            return Decision()
        wait = self._waits(key, incident)
        return Decision(look_again=wait) if wait > 0 else None

    async def _at_rest(self, key: Key, body: Json, incident: AIIncident, duties: Decision) -> float | None:
        """Duties, deliveries and the report outlive the containment: all that changes of one at rest."""
        status = duties.status or incident.status
        look_again = duties.look_again
        if self.archive.owes(incident):
            try:
                status = await self.archive.with_report(incident, status)
            except StanchError as error:
                log.warning(
                    "the report is not stored yet",
                    reason=error.reason,
                    message=error.message,
                )
                look_again = min(look_again or _STORE_AGAIN_SECONDS, _STORE_AGAIN_SECONDS)
        if self.outbox.folded(incident.status, status, incident) == incident.status:
            return look_again
        events: list[Json] = []
        try:
            stored = await self._store(key, body, Facts(incident), status, events)
        except (Conflict, NotFound):
            return _READ_ANEW_SECONDS
        self._tell(AIIncident.parse(stored))
        await self._publish(key, events)
        return look_again

    def _waits(self, key: Key, incident: AIIncident) -> float:
        """Seconds until the plan of one that awaits approval is made anew, unless its spec changes."""
        if incident.status.phase is not Phase.AWAITING_APPROVAL or release.wanted(incident):
            return 0.0
        if self.hints.signals(key):  # they are told with the plan
            return 0.0
        age = self.hints.plan_age(key, incident.metadata.generation, self.clock())
        return 0.0 if age is None else containment.PLAN_AGAIN_SECONDS - age

    async def _settle(self, key: Key, body: Json, facts: Facts) -> tuple[bool, float | None]:
        """Decide and act until a decision asks for nothing; False when everything must be read anew."""
        events: list[Json] = []
        try:
            return await self._go_on(key, body, facts, events)
        finally:
            await self._publish(key, events)

    async def _go_on(
        self, key: Key, body: Json, facts: Facts, events: list[Json]
    ) -> tuple[bool, float | None]:
        for _ in range(_MOST_PASSES):
            decision = self._decide(facts)
            if decision.status is not None:
                self.census.note(facts.incident.model_copy(update={"status": decision.status}))
                body = await self._store(key, body, facts, decision.status, events)
                self.tools.measurer.taken(key, facts.readings)
                if not looked_at(decision.status):
                    self.tools.measurer.forget(key)
                facts = replace(
                    facts, incident=AIIncident.parse(body), contests=(), signals=(), errands={}, readings={}
                )
                self._tell(facts.incident)
                self.hints.brought(key, {})
            if not decision.acts:
                return not decision.again, decision.look_again
            performer = Performer(
                self.kube,
                self.keeper,
                facts,
                body,
                doubt=partial(self.hints.doubt, key),
                tools=self.tools,
            )
            await performer.perform_all(decision.acts)
            facts, body = replace(performer.facts, problem=""), performer.body
            self.hints.refused(key, "")
            self.hints.brought(key, facts.errands)
            self.hints.holds(key, facts.held)
            if isinstance(decision.acts[-1], RemoveFinalizer):
                if facts.incident.metadata.deletion_timestamp is not None:
                    self.census.forget(key)
                return True, None
            if performer.moved:
                return False, None
        return False, None

    def _with_duties(self, incident: AIIncident, decision: Decision) -> Decision:
        """The decision with the reporting duties and the reminder that go with it; the metrics show them."""
        full = with_duties(incident, decision, self.clocks, self.clock())
        meta, status = incident.metadata, full.status or incident.status
        self.metrics.duties.note(meta.namespace, meta.name, pressing(status), unattended=unattended(status))
        return full

    def _decide(self, facts: Facts) -> Decision:
        return self._with_duties(facts.incident, self._contain_or_release(facts))

    def _contain_or_release(self, facts: Facts) -> Decision:
        now, limits = self.clock(), self.limits.paced(self.hints.holding)
        match alone(facts, way_of(facts.incident, now)):
            case Way.AT_ONCE:
                return release.decide(facts, now)
            case Way.STAGED:
                return stages.decide(facts, now, limits)
            case Way.STAY:
                pass
        if not begun(facts.incident):  # counted now: whatever was decided since they were gathered counts
            facts = replace(facts, containments=self.census.containments())
        return containment.decide(facts, now, limits)

    async def _store(
        self, key: Key, body: Json, facts: Facts, status: AIIncidentStatus, events: list[Json]
    ) -> Json:
        """Write the status if it says anything new, and note what to tell about it. The one status writer."""
        old = facts.incident.status
        status = self.outbox.folded(old, status, facts.incident)
        wire = status.wire()
        if old.wire() == wire:
            self.hints.heard(key, facts.signals)
            self._shown(key, facts.incident, status)
            return body
        ref = ObjectRef(AIINCIDENTS, key.namespace, key.name)
        stored = await self.kube.replace_status(ref, {**body, "status": wire})
        self.hints.told(key, facts.contests)
        self.hints.heard(key, facts.signals)
        self._shown(key, facts.incident, status)
        self._measure(key, old, status)
        policy = concerned(key.namespace, old, status)
        if policy is not None and self.tell_policy is not None:
            self.tell_policy(policy)
        version = str(stored["metadata"]["resourceVersion"])
        for note in notes(old, status):
            about = {"step": note.step, "target": note.target} if note.step else {}
            log.info(note.reason, message=note.message, **about)
            events.append(event(facts.incident, note, version, self.clock()))
        return stored

    def _shown(self, key: Key, incident: AIIncident, status: AIIncidentStatus) -> None:
        if status.phase is Phase.AWAITING_APPROVAL:
            self.hints.plan_shown(key, incident.metadata.generation, self.clock())

    async def _publish(self, key: Key, events: list[Json]) -> None:
        """After the acts: an Event is a courtesy that containment does not wait for; status says the same."""
        for body in events:
            try:
                await self.kube.create(EVENTS, key.namespace, body)
            except StanchError as error:
                log.warning("event not written", reason=error.reason, message=error.message)

    def _measure(self, key: Key, old: AIIncidentStatus, new: AIIncidentStatus) -> None:
        contests = (new.contested.count if new.contested else 0) - (
            old.contested.count if old.contested else 0
        )
        if contests > 0:
            self.metrics.contested.labels(key.namespace).inc(contests)
        for sink, dropped, _ in given_up(old, new):
            self.metrics.sink_dropped.labels(sink).inc(dropped)
        times = new.timestamps
        first = old.timestamps is None or old.timestamps.contained is None
        if times and times.contained and times.detected and first:
            self.metrics.detection_to_contained.observe((times.contained - times.detected).total_seconds())
            if times.begun and self.hints.first_seen(key, self.clock()) <= times.begun:  # all of them by us
                self.metrics.api_calls_per_incident.observe(calls_so_far())
        if new.release is not None:
            return  # what is effective once more says nothing of how long containing takes
        effective = {step.id for step in old.steps if step.effective_at}
        for step in new.steps:
            if step.effective_at and step.applied_at and step.id not in effective:
                self.metrics.step_effective.labels(step.action).observe(
                    (step.effective_at - step.applied_at).total_seconds()
                )


def _settled(incident: AIIncident) -> bool:
    """Ended for good, as far as this spec goes."""
    return (
        incident.status.phase in ENDED
        and incident.status.observed_generation == incident.metadata.generation
        and incident.metadata.deletion_timestamp is None
        and not release.unfinished(incident)
    )
