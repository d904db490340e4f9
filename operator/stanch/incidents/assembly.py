"""The engine, from settings and what the composition root has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.actions.protocol import Tools
from stanch.clocks.data import Clocks, load
from stanch.evidence.reading import Limits as EvidenceLimits
from stanch.evidence.store import StoreOptions, open_store
from stanch.evidence.take import Collector
from stanch.holds.canary import Canary
from stanch.holds.keeper import HoldKeeper
from stanch.incidents.archive import Archive
from stanch.incidents.facts import Limits
from stanch.incidents.guardrails import OwnLimits
from stanch.incidents.reconcile import Reconciler, utc_now
from stanch.sinks.receivers import ConfiguredReceivers
from stanch.sinks.worker import Worker
from stanch.verification.measure import Measurer

if TYPE_CHECKING:
    from collections.abc import Callable

    from stanch.evidence.store import Store
    from stanch.main import Services
    from stanch.settings import Settings


def _label(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def prepared(settings: Settings) -> Callable[[Services], Reconciler]:
    """What builds the engine once this process leads.

    The clocks are read and the store is opened now: a standby is ready, and whoever could not lead with these
    must not be, or an upgrade would go on until nobody leads.

    Raises:
        Rejected: they are not understood, or the settings name one that there is not.
    """
    clocks = Clocks.of(load(settings.clocks_file), settings.clocks)
    store = open_store(settings.evidence_url, StoreOptions.of(settings)) if settings.evidence_url else None
    return lambda services: _build(services, clocks, store)


def _build(services: Services, clocks: Clocks, store: Store | None) -> Reconciler:
    settings = services.settings
    keeper = HoldKeeper(services.kube)
    collector = Collector(services.kube, store, EvidenceLimits.of(settings), settings.identity, utc_now)
    return Reconciler(
        kube=services.kube,
        keeper=keeper,
        canary=Canary(
            services.kube,
            keeper,
            settings.namespace,
            settings.canary_seconds,
            services.metrics.hold_proven.set,
        ),
        metrics=services.metrics,
        limits=Limits(
            settings.all_protected_namespaces,
            settings.rejudge_seconds,
            evidence=settings.evidence_url is not None,
            protected_labels=frozenset(map(_label, settings.protected_labels)),
            scope_label=_label(settings.scope_label) if settings.scope_label else None,
            own=OwnLimits(
                settings.max_concurrent,
                settings.storm,
                settings.attempts,
                settings.capacity_floor,
                settings.approve_from,
            ),
        ),
        enqueue=services.enqueue,
        tell_policy=services.enqueue_policy,
        outbox=Worker(ConfiguredReceivers.from_settings(settings, services.kube, store), services.enqueue),
        archive=Archive(store, StoreOptions.of(settings), utc_now),
        clocks=clocks,
        tools=Tools(
            collector,
            Measurer(services.kube, services.prometheus, collector, utc_now, services.enqueue),
        ),
    )
