"""Somebody on call looks at Stanch through Prometheus: a real one, which scrapes a real operator."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.observability import shipped
from tests.operator_process import eventually, operator, workload, workspace
from tests.prometheus import monitoring

if TYPE_CHECKING:
    from pathlib import Path

    from tests.operator_process import Json, OperatorProcess, Space
    from tests.prometheus import Monitoring

pytestmark = pytest.mark.long

__all__ = ["operator", "workspace"]  # fixtures

ALWAYS = {
    "Contained now",
    "Leader",
    "Hold proven",
    "Incidents by phase",
    "Contained, by namespace",
    "Queue: oldest work",
    "Queue: depth",
    "Requests to the API",
}
"""Panels that have something to show whenever one incident is contained."""


def empty(watching: Monitoring) -> set[str]:
    """The panels of which no query gives a sample; every query has to be one."""
    answers: dict[str, bool] = {}
    for title, query in shipped.panels():
        answers[title] = bool(watching.ask(query)) or answers.get(title, False)
    return {title for title, shows in answers.items() if not shows}


def lines_about(operator: OperatorProcess, space: Space) -> list[Json]:
    """What the operator logged while it worked on this namespace's incident, and on nothing else."""
    logged = operator.log.read_text().splitlines()
    return [json.loads(line) for line in logged if line.startswith("{") and space.name in line]


def test_what_prometheus_scrapes_answers_every_query_of_the_dashboard_and_of_the_rules(
    operator: OperatorProcess, workspace: Space, tmp_path: Path
) -> None:
    workspace.create(workload("Deployment", "llm-chat", 2))
    workspace.running("Deployment", "llm-chat", 2)
    (group,) = shipped.rule().spec.groups
    rules = [rule.model_dump(by_alias=True, exclude_none=True) for rule in group.rules]
    with monitoring(tmp_path, rules=rules, scraped=operator.port) as watching:
        workspace.contain("toxic", "Deployment/llm-chat", steps=[{"scaleToZero": {}}])
        mine = f'namespace="{workspace.name}"'
        watching.until(f'stanch_incidents{{{mine},phase="Contained"}} == 1')
        watching.until(f'stanch_incident_conditions{{{mine},type="Held",status="True"}} == 1')
        watching.until("stanch_detection_to_contained_seconds_count >= 1")
        watching.until("stanch_api_calls_per_incident_count >= 1")
        eventually(
            lambda: not ALWAYS & empty(watching), "panels show it", seen=lambda: str(ALWAYS & empty(watching))
        )
        for name, alert in shipped.alerts().items():
            watching.ask(alert.expr)
            assert not watching.ask(f'ALERTS{{alertname="{name}",alertstate="firing",{mine}}}'), name

        workspace.release("toxic")
        watching.until(f'stanch_incidents{{{mine},phase="Released"}} == 1')
        eventually(
            lambda: not watching.ask(f"stanch_incident_conditions{{{mine}}}"),
            "nothing is said of one that has ended",
        )
        workspace("delete", "aii", "toxic")
        eventually(
            lambda: not watching.ask(f"stanch_incidents{{{mine}}}"), "and nothing of one that is deleted"
        )

    lines = lines_about(operator, workspace)
    told = {line["event"] for line in lines}
    assert {"Detected", "StepEffective", "Contained", "Releasing", "Released", "changed"} <= told
    for line in lines:
        assert line["incident"] == f"{workspace.name}/toxic", line
        assert line["target"].endswith("/llm-chat"), line
        assert line["event"] != "StepEffective" or line["step"].endswith("llm-chat"), line
