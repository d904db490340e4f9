"""Kopf in a thread and an event loop of its own: when it ends it cancels every task of its loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

import kopf
import structlog
from kopf._cogs.structs.references import Insights  # what kopf.operator(insights=) takes; not exported
from kopf._core.engines.peering import Identity  # likewise, identity=

from stanch.handlers import aiincidents, holds, login, policies, workloads
from stanch.kube.resources import AIINCIDENTS, CONTAINMENTHOLDS, NETWORKPOLICIES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from stanch.handlers.enqueue import Enqueue
    from stanch.kube.credentials import Credentials

log = structlog.get_logger(__name__)

PREFIX = "kopf.stanch.dev"
STOP_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 1.0
WATCHED = (AIINCIDENTS, CONTAINMENTHOLDS, NETWORKPOLICIES, *policies.POLICIES, *workloads.HELD)
# Among Kopf's peers, of which there are none. It would look up the user's name, which fails for a user in no
# /etc/passwd: what OpenShift runs a pod as.
NOBODY = Identity("stanch")
# Together about a minute; then Kopf gives up, the process ends, and the next one starts anew.
ERROR_BACKOFFS = (0.2, 0.5, 1, 2, 4, 8, 15, 30)


def kopf_settings(*, request_timeout: float, connect_timeout: float) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # Events are ours: they tell a person what was done
    settings.posting.loggers = False
    settings.posting.level = 30  # logging.WARNING
    settings.peering.standalone = True  # the Lease is the fence
    settings.scanning.disabled = True  # no rights on CRDs: a CRD that vanishes ends Kopf, and us
    settings.process.ultimate_exiting_timeout = None  # Kopf's is SIGKILL from a thread
    settings.queueing.error_delays = (1, 2, 5, 10, 30, 60)
    settings.queueing.exit_timeout = 2.0
    settings.execution.default_backoff = 5
    settings.watching.inactivity_timeout = 70
    settings.watching.server_timeout = 300
    settings.watching.connect_timeout = connect_timeout
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = request_timeout
    settings.networking.connect_timeout = connect_timeout
    settings.networking.error_backoffs = ERROR_BACKOFFS
    # Never written by event handlers; ours all the same, should one ever be.
    settings.persistence.finalizer = f"{PREFIX}/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=PREFIX)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=PREFIX)
    workloads.select(settings)
    return settings


def register(registry: kopf.OperatorRegistry, credentials: Credentials, enqueue: Enqueue) -> None:
    login.register(registry, credentials)
    aiincidents.register(registry, enqueue)
    workloads.register(registry, enqueue)
    holds.register(registry, enqueue)
    policies.register(registry, enqueue)


class Watches:
    """Started once; `ended` is done when Kopf has ended for whatever reason, with an exception if by one."""

    def __init__(
        self,
        registry: kopf.OperatorRegistry,
        settings: kopf.OperatorSettings,
        namespaces: Collection[str] = (),
    ) -> None:
        """`namespaces` are watched, each by itself; none given: the whole cluster."""
        self._namespaces = namespaces
        self._registry = registry
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._complete = False
        self._stopping = False
        self._stop: asyncio.Event | None = None
        self._kopf_loop: asyncio.AbstractEventLoop | None = None
        # A daemon: a hung watch must not keep a process alive that has to end.
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self.ended: asyncio.Future[None] = self._loop.create_future()

    @property
    def running(self) -> bool:
        """Whether Kopf watches everything it should."""
        return self._complete and not self.ended.done()

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        """Ask Kopf to end, and wait for it, but not for long."""
        self._stopping = True
        if not self._thread.is_alive():
            return
        if self._kopf_loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # that loop has ended; the next one asks first
                self._kopf_loop.call_soon_threadsafe(self._stop.set)
        done, _ = await asyncio.wait([self.ended], timeout=STOP_SECONDS)
        if not done:
            log.warning("the watches did not end in time; they end with the process")

    def _run(self) -> None:
        failure: str | None = None
        try:
            while not asyncio.run(self._operate()):
                log.info("the watches start over")
        except BaseException as error:  # whatever ended Kopf has to reach the main loop
            failure = f"the watches ended: {type(error).__name__}: {error}"
            log.exception("the watches ended")
        self._report(failure)

    async def _operate(self) -> bool:
        """Until Kopf ends. False if it has to start over.

        That it ends is reported when the first of its tasks does: its own way out can hang for ever, with
        watches that wait for credentials of a login that has ended already (seen with Kopf 1.45).
        """
        # In this order, and before asking whether to stop: `stop` looks at them the other way round.
        self._stop = asyncio.Event()
        self._kopf_loop = asyncio.get_running_loop()
        if self._stopping:
            return True
        insights = Insights()
        checking = asyncio.create_task(self._check(insights, self._stop))
        before = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=self._registry,
            settings=self._settings,
            identity=NOBODY,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            insights=insights,
            stop_flag=self._stop,
        )
        ending = asyncio.create_task(kopf.run_tasks(tasks, ignored=before))
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        checking.cancel()
        start_over = self._stop.is_set() and not self._complete and not self._stopping
        if not start_over and not self._stopping:
            self._report(_why(ended))
        _, hanging = await asyncio.wait([ending], timeout=STOP_SECONDS)
        if hanging:
            self._report("the watches ended, and hang in doing so")
        elif ending.exception() is not None:
            log.debug("how Kopf ended", exc_info=ending.exception())
        return not start_over

    async def _check(self, insights: Insights, stop: asyncio.Event) -> None:
        """An API server that starts up serves discovery before it knows every resource. Kopf looks once, and
        would then silently watch the rest, or nothing, for ever.
        """
        await insights.ready_resources.wait()
        found = {(each.group, each.version, each.plural) for each in insights.watched_resources}
        missing = [each.key for each in WATCHED if (each.group, each.version, each.plural) not in found]
        try:
            async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                await insights.ready_namespaces.wait()  # it never is without the resource "namespaces"
        except TimeoutError:
            missing.append("namespaces")
        if missing:
            log.warning("the API server does not tell all it serves: looking again", missing=missing)
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            stop.set()
        self._complete = not missing

    def _report(self, failure: str | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._end, failure)
        except RuntimeError:  # the main loop is closed: the process is ending anyway
            log.debug("the watches ended after the process's main loop")

    def _end(self, failure: str | None) -> None:
        if self.ended.done():
            return
        if failure is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(RuntimeError(failure))


def _why(ended: Iterable[asyncio.Task[None]]) -> str:
    errors = [f"{task.get_name()}: {error}" for task in ended if (error := task.exception()) is not None]
    return "the watches ended: " + ("; ".join(errors) or "Kopf stopped by itself")
