"""The composition root: wait for the lease, then watch, work and sweep; end when any of these does."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

import kopf
import structlog

from stanch.certificates.kept import KeptCertificate
from stanch.drills.runner import Drills
from stanch.errors import FenceLost, StanchError
from stanch.handlers.enqueue import Enqueue
from stanch.handlers.watches import WATCHED, Watches, kopf_settings, register
from stanch.kube.client import Kube
from stanch.kube.discovery import not_served
from stanch.kube.resources import AIINCIDENTS, LEASES, ObjectRef, Resource
from stanch.kube.rights import may
from stanch.kube.transport import CallCount, agent_of, count_calls
from stanch.leader.decision import Timings
from stanch.leader.election import Elector
from stanch.observability.metrics import Metrics
from stanch.observability.server import Health, Servers
from stanch.policies.reconcile import PolicyReconciler
from stanch.prometheus.client import PromClient
from stanch.queue import Key, WorkQueue
from stanch.signals.alertmanager.receiver import AlertReceiver
from stanch.signals.board import Board
from stanch.signals.intake.intake import SignalIntake
from stanch.signals.prometheus.poller import Poller
from stanch.sweep import sweep, sweep_policies

if TYPE_CHECKING:
    from stanch.incidents.signalled import Note
    from stanch.observability.audit import Denied
    from stanch.settings import Settings
    from stanch.signals.model import Intake

log = structlog.get_logger(__name__)

BEAT_SECONDS = 1.0
CRD_PAUSE_SECONDS = 1.0
CANCEL_SECONDS = 2.0
POLICIES_AT_ONCE = 2  # what they show can wait; containment cannot


class ExitCode(IntEnum):
    STOPPED = 0
    FAILED = 1  # the lease or the watches are lost: start again
    USAGE = 2


class Reconcile(Protocol):
    """The engine, as the shell sees it."""

    async def reconcile(self, key: Key) -> float | None:
        """Seconds until it wants to look again; None: when an event comes."""
        ...

    async def background(self) -> None:
        """Whatever it does beside incidents, such as proving the hold. Cancelled in the end."""
        ...

    def workload_changed(self, resource: Resource, namespace: str, name: str) -> Iterable[Key]:
        """Whom an event about this held workload concerns."""
        ...

    def denied(self, denied: Denied) -> Iterable[Key]:
        """Whom a denial by the hold concerns."""
        ...

    def signalled(self, key: Key, note: Note) -> None:
        """Remember a report of an alert that this incident stands for."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """What the engine is built from. `kube` writes only while this process leads."""

    settings: Settings
    kube: Kube
    metrics: Metrics
    enqueue: Callable[[Key], None]
    enqueue_policy: Callable[[ObjectRef], None]
    prometheus: PromClient | None = None
    """For checks, beside the poller's: neither waits for the other. None: no such check has an answer."""


Build = Callable[[Services], Reconcile]


async def run(settings: Settings, build: Build) -> ExitCode:
    """Until SIGTERM, SIGINT or the first failure. Raises Rejected if there is no cluster to talk to."""
    metrics = Metrics()
    kube = await Kube.connect(
        settings, observe=metrics.observe_request, user_agent=agent_of(settings.identity)
    )
    try:
        return await Operator(settings, kube, metrics, build).run()
    finally:
        await kube.close()


@dataclass(slots=True)
class Operator:
    settings: Settings
    kube: Kube
    metrics: Metrics
    build: Build
    elector: Elector = field(init=False)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _leadership: Leadership | None = None

    def __post_init__(self) -> None:
        ref = ObjectRef(LEASES, self.settings.namespace, self.settings.lease_name)
        self.elector = Elector(self.kube, ref, self.settings.identity, Timings.from_settings(self.settings))

    async def run(self) -> ExitCode:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self._stop.set)
        health = Health(self._standing)
        alerts = AlertReceiver.from_settings(self.settings, self._intake, self.metrics)
        kept = KeptCertificate.from_settings(self.settings, self.kube)
        servers = Servers(
            self.settings,
            health,
            self.metrics,
            self._on_denied,
            lambda: self._leadership is not None,
            None if alerts is None else alerts.handle,
            kept,
        )
        tasks = [asyncio.create_task(_beat(health), name="heartbeat")]
        if kept is not None:
            tasks.append(asyncio.create_task(kept.run(), name="certificate of the receiver"))
        try:
            await servers.start()
            if not await self._until_leading():
                return ExitCode.STOPPED
            self._leadership = Leadership(self.settings, self.kube, self.metrics, self.build, self.elector)
            return await self._leadership.run(self._stop)
        finally:
            self._leadership = None
            await self.elector.release()
            await servers.stop()
            await _cancel(*tasks)
            for number in signals:
                loop.remove_signal_handler(number)

    def _standing(self) -> str | None:
        """Ready as the leader once the watches run; as a standby while the lease can be read."""
        if self._leadership is not None:
            return "leading" if self.elector.leading and self._leadership.watching else None
        return f"standby: {self.elector.holder or 'nobody'} leads" if self.elector.sees_the_lease else None

    def _intake(self) -> Intake | None:
        return self._leadership.intake if self._leadership is not None else None

    def _on_denied(self, denied: Denied) -> None:
        self.metrics.denied.labels(denied.namespace).inc()
        if self._leadership is not None and self.kube.scope.acts_in(denied.namespace):
            self._leadership.on_denied(denied)

    async def _until_leading(self) -> bool:
        """False if asked to stop first."""
        leading = asyncio.create_task(self.elector.acquire(), name="election")
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait([leading, stopped], return_when=asyncio.FIRST_COMPLETED)
            if leading.done():
                leading.result()
            return leading.done()
        finally:
            await _cancel(leading, stopped)


class Leadership:
    """Everything that runs only while this process leads."""

    def __init__(
        self, settings: Settings, kube: Kube, metrics: Metrics, build: Build, elector: Elector
    ) -> None:
        self._settings = settings
        self._kube = kube
        self._elector = elector
        self._calls: dict[Key, CallCount] = {}
        self._queue = WorkQueue(self._work, parallelism=settings.parallelism, on_error=metrics.count_error)
        fenced = kube.fenced(elector.fence)
        board = Board(self._policy_told_of)
        self._policies = WorkQueue(
            PolicyReconciler(fenced, settings.all_protected_namespaces, news=board.of).reconcile,
            parallelism=POLICIES_AT_ONCE,
            about="policy",
            on_error=metrics.count_error,
        )
        self._engine = build(
            Services(settings, fenced, metrics, self._queue.add, self._policies.add, _prometheus(settings))
        )
        self.intake = SignalIntake(fenced, settings, board, self._engine.signalled)
        self._poller = Poller(
            fenced,
            self.intake,
            board,
            _prometheus(settings),
            every=settings.prometheus_interval_seconds,
            within=settings.prometheus_timeout_seconds,
        )
        self._drills = Drills(
            fenced, settings.all_protected_namespaces, self._policy_told_of, settings.drill_seconds
        )
        self._watches = self._make_watches(())
        metrics.watch_queue(self._queue.oldest_age, self._queue.depth, lambda: elector.leading)

    @property
    def watching(self) -> bool:
        return self._watches.running

    def _policy_told_of(self, policy: ObjectRef) -> None:
        self._policies.add(policy)

    def on_denied(self, denied: Denied) -> None:
        self._queue.add_all(self._engine.denied(denied))

    async def run(self, stop: asyncio.Event) -> ExitCode:
        """Until `stop`, or until one of the tasks ends, which none of them should."""
        working = asyncio.create_task(self._queue.run(), name="queue")
        tasks: set[asyncio.Task[None]] = {
            working,
            asyncio.create_task(self._elector.hold(), name="lease"),
            asyncio.create_task(self._watch(), name="watches"),
            asyncio.create_task(
                sweep(self._kube, self._queue.add_within, every=self._settings.sweep_seconds), name="sweep"
            ),
            asyncio.create_task(self._policies.run(), name="policies"),
            asyncio.create_task(
                sweep_policies(self._kube, self._policies.add_all, every=self._settings.policy_seconds),
                name="sweep of policies",
            ),
            asyncio.create_task(self._engine.background(), name="background"),
            asyncio.create_task(self._poller.run(), name="poller"),
            asyncio.create_task(self._drills.run(), name="drills"),
        }
        stopped = asyncio.create_task(stop.wait(), name="stop")
        try:
            ended, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
            failed = [task for task in tasks if task in ended]
            if failed:
                return _failure(failed)
            return await self._finish(working)
        finally:
            await _cancel(stopped, *tasks)
            await self._watches.stop()

    async def _finish(self, working: asyncio.Task[None]) -> ExitCode:
        """Let running reconciles end, under the lease that is still being renewed."""
        log.info("asked to stop: no further work is taken")
        self._queue.stop()
        done, _ = await asyncio.wait([working], timeout=self._settings.shutdown_seconds)
        if not done:
            log.warning("work still running is cut off: the next leader goes on from the journal")
        elif working.exception() is not None:
            return _failure([working])
        return ExitCode.STOPPED

    async def _work(self, key: Key) -> float | None:
        with count_calls(self._calls.setdefault(key, CallCount())):
            after = await self._engine.reconcile(key)
        if after is None:
            self._calls.pop(key, None)
        return after

    def _make_watches(self, namespaces: Collection[str]) -> Watches:
        loop = asyncio.get_running_loop()

        def workload_seen(resource: Resource, namespace: str, name: str) -> None:
            self._queue.add_all(self._engine.workload_changed(resource, namespace, name))

        def workload(resource: Resource, namespace: str, name: str) -> None:
            loop.call_soon_threadsafe(workload_seen, resource, namespace, name)

        registry = kopf.OperatorRegistry()
        register(
            registry,
            self._kube.transport.credentials,
            Enqueue(
                incident=self._queue.add_threadsafe, workload=workload, policy=self._policies.add_threadsafe
            ),
        )
        settings = self._settings
        return Watches(
            registry,
            kopf_settings(request_timeout=settings.request_timeout, connect_timeout=settings.connect_timeout),
            namespaces,
        )

    async def _watch(self) -> None:
        """Returns or raises when the watches have ended."""
        await _until_served(self._kube)
        if not self._kube.scope.whole:
            self._watches = self._make_watches(await _until_let_in(self._kube))
        self._watches.start()
        await asyncio.shield(self._watches.ended)


def _prometheus(settings: Settings) -> PromClient | None:
    """Raises Rejected when its URL is none."""
    if settings.prometheus_url is None:
        return None
    return PromClient(
        settings.prometheus_url,
        settings.prometheus_token_file,
        settings.prometheus_ca_file,
        settings.prometheus_timeout_seconds / 2,  # to wait for its turn, and again for its answer
    )


async def _until_served(kube: Kube) -> None:
    """Kopf never looks again for a resource it does not find when it starts."""
    while True:
        try:
            missing = await not_served(kube, WATCHED)
            if not missing:
                return
            log.warning(
                "the CRDs are not installed: nothing is watched", missing=[each.key for each in missing]
            )
        except StanchError as error:
            log.warning("the watches cannot start yet", reason=error.reason, message=error.message)
        await asyncio.sleep(CRD_PAUSE_SECONDS)


async def _until_let_in(kube: Kube) -> list[str]:
    """Those of the namespaces in scope in which the operator may watch; at least one.

    Kopf ends when it may not watch in one: who gives up a namespace ends nothing in the others.
    """
    while True:
        try:
            asked = [(each, ObjectRef(AIINCIDENTS, each, "")) for each in kube.scope.namespaces]
            open_ = [each for each, ref in asked if await may(kube, "watch", ref)]
            shut = sorted(set(kube.scope.namespaces) - set(open_))
            if shut:
                log.error(
                    "the operator's roles are not bound in some of its namespaces: nothing there is watched; "
                    "bind them, and start it again",
                    namespaces=shut,
                )
            if open_:
                return open_
        except StanchError as error:
            log.warning("the watches cannot start yet", reason=error.reason, message=error.message)
        await asyncio.sleep(CRD_PAUSE_SECONDS)


def _failure(ended: Iterable[asyncio.Task[None]]) -> ExitCode:
    for task in ended:
        error = task.exception()
        if isinstance(error, FenceLost):
            log.critical("leadership lost: ending at once, nothing further is written", why=str(error))
        else:
            log.critical(
                "ending: a part of the operator ended by itself", part=task.get_name(), exc_info=error
            )
    return ExitCode.FAILED


async def _beat(health: Health) -> None:
    while True:
        health.beat()
        await asyncio.sleep(BEAT_SECONDS)


async def _cancel(*tasks: asyncio.Task[None] | asyncio.Task[bool]) -> None:
    """Cancel and wait, but not for long: who does not let itself be cancelled ends with the process."""
    for task in tasks:
        task.cancel()
    done, hung = await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
    for task in done:
        if not task.cancelled() and task.exception() is not None:
            log.debug("a task had failed when cancelled", task=task.get_name(), exc_info=task.exception())
    for task in hung:
        log.warning("a task did not end when cancelled", task=task.get_name())
