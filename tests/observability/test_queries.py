"""Rules and dashboard ask for what the operator has: a metric by another name is a panel that stays empty."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.observability import shipped
from tests.triggers.library import promtool

if TYPE_CHECKING:
    from pathlib import Path

    from tests.installation import Installed

QUERIES = [
    pytest.param(query, id=f"{number} {name}") for number, (name, query) in enumerate(shipped.queries())
]
FROM_SCRAPING = {"pod", "instance", "job"}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_only_for_metrics_and_labels_that_there_are(query: str) -> None:
    series, selected = shipped.series(), shipped.selected(query)
    assert selected
    known: set[str] = set()
    for name, labels in selected:
        assert name in series, f"the operator has no {name}"
        assert labels <= series[name], f"{name} has no label {', '.join(labels - series[name])}"
        known |= series[name]
    assert shipped.grouped_by(query) <= known | FROM_SCRAPING


def test_prometheus_can_parse_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": query} for number, (_, query) in enumerate(shipped.queries())
    ]
    file = tmp_path / "rules.yaml"

    def checked() -> int:
        file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
        return subprocess.run(
            [promtool(), "check", "rules", "--lint=none", file], check=False, capture_output=True
        ).returncode

    assert checked() == 0
    rules[0]["expr"] += ")"
    assert checked() != 0


def test_every_metric_is_watched_by_a_rule_or_a_panel() -> None:
    asked = {name for _, query in shipped.queries() for name, _ in shipped.selected(query)}
    unseen = [
        name
        for name in shipped.series()
        if name not in asked and not name.endswith(("_bucket", "_sum", "_count"))
    ]
    assert unseen == []


def test_the_dashboard_can_be_imported_into_any_grafana() -> None:
    board = shipped.dashboard()
    assert board["schemaVersion"] >= 39
    assert "id" not in board
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        assert panel["title"]
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert shipped.filled_in(target["expr"]).count("$") == 0, "a variable that nobody fills in"


def test_panels_do_not_cover_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in shipped.dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_whoever_scrapes_keeps_the_incidents_namespace() -> None:
    monitor = yaml.safe_load((shipped.DIRECTORY / "servicemonitor.yaml").read_text())
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["honorLabels"] is True


def test_the_directory_is_built_by_kustomize(stanch_installed: Installed) -> None:
    built = list(yaml.safe_load_all(stanch_installed.admin("kustomize", str(shipped.DIRECTORY))))
    assert sorted(body["kind"] for body in built) == ["ConfigMap", "PrometheusRule", "ServiceMonitor"]
    assert {body["metadata"]["namespace"] for body in built} == {"monitoring"}
