"""manifests/observability as its tests read it: the rules, and every query of rules and dashboard."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from stanch.observability.metrics import Metrics
from tests.installation import ROOT
from tests.triggers import library

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY = ROOT / "manifests" / "observability"
HOW_TO = ROOT / "docs" / "how-to" / "observability.md"
_VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$namespace": ".*"}
"""As Grafana fills them in."""
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")


class Annotations(library.Annotations):
    runbook: str


class Alert(library.Alert):
    annotations: Annotations


class Group(library.Group):
    rules: tuple[Alert, ...]


class Groups(library.Groups):
    groups: tuple[Group, ...]


class PrometheusRule(library.PrometheusRule):
    spec: Groups


@cache
def rule() -> PrometheusRule:
    return PrometheusRule.model_validate(yaml.safe_load((DIRECTORY / "rules.yaml").read_text()))


def alerts() -> dict[str, Alert]:
    return {alert.alert: alert for group in rule().spec.groups for alert in group.rules}


def replaced(changed: Alert) -> Groups:
    """The rules with one alert changed."""
    (group,) = rule().spec.groups
    rules = tuple(changed if one.alert == changed.alert else one for one in group.rules)
    return Groups(groups=(Group(name=group.name, rules=rules),))


@cache
def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DIRECTORY / "dashboard.json").read_text())
    return loaded


def filled_in(query: str) -> str:
    for variable, value in _VARIABLES.items():
        query = query.replace(variable, value)
    return query


def panels() -> Iterator[tuple[str, str]]:
    """A panel's title and a query of it, as Prometheus is asked."""
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield panel["title"], filled_in(target["expr"])


def queries() -> list[tuple[str, str]]:
    return [*panels(), *((name, alert.expr) for name, alert in alerts().items())]


@cache
def series() -> dict[str, frozenset[str]]:
    """Every name that the operator's /metrics has, with the labels that are its own."""
    found: dict[str, frozenset[str]] = {}
    for family in Metrics().families:
        labels = frozenset(family.labels)
        if family.type == "histogram":
            found |= {f"{family.name}_{part}": labels for part in ("sum", "count")}
            found[f"{family.name}_bucket"] = labels | {"le"}
        else:
            found[family.name] = labels
    return found


def selected(query: str) -> list[tuple[str, frozenset[str]]]:
    """Each metric that is selected, with the labels that it is selected by."""
    found = re.findall(r"\b(stanch_\w+)\s*(\{[^}]*\})?", query)
    return [(name, frozenset(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", braces))) for name, braces in found]


def grouped_by(query: str) -> frozenset[str]:
    return frozenset(
        label.strip() for group in _GROUPING.findall(query) for label in group.split(",") if label.strip()
    )
