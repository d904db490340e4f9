"""Alerts as Prometheus' series ALERTS has them. Pure.

https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/#inspecting-alerts-during-runtime
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stanch.prometheus.samples import Labels

FIRING = 'ALERTS{alertstate="firing"}'
MOST_ALERTS = 10_000

_NOT_THE_ALERTS = frozenset({"__name__", "alertstate"})


def own_labels(labels: Labels) -> Labels:
    """Those that the alert has itself."""
    return tuple(pair for pair in labels if pair[0] not in _NOT_THE_ALERTS)
