"""Reporting duties on a real API server: shown, told and counted, also when the containment is over."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.operator_process import condition, eventually, install, running, workload, workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster import Cluster, Kubectl
    from tests.operator_process import Json, OperatorProcess, Space

pytestmark = pytest.mark.long

__all__ = ["workspace"]  # fixture

LLM = "Deployment/llm-chat"
DPO = "dpo@example.test"


@pytest.fixture(scope="module")
def operator(
    cluster: Cluster,
    kubectl: Kubectl,
    once: Callable[[str, Callable[[], None]], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OperatorProcess]:
    """Of an organisation that the GDPR and the AI Act concern."""
    once("operator-installed", lambda: install(kubectl))
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with running(cluster, log, {"STANCH_CLOCKS": "gdpr,eu-ai-act-73-2"}) as process:
        yield process


@pytest.fixture
def llm(workspace: Space) -> None:
    workspace.create(workload("Deployment", "llm-chat", 1))
    workspace.running("Deployment", "llm-chat", 1)


def ago(**parts: float) -> str:
    return (datetime.now(UTC) - timedelta(**parts)).isoformat()


def decide(workspace: Space, *decisions: Json, **more: Any) -> None:
    regulatory = {"decisions": [{"decidedBy": DPO, **one} for one in decisions], **more}
    patch = json.dumps({"spec": {"regulatory": regulatory}})
    workspace("patch", "aii", "leak", "--type=merge", "-p", patch)


def wait_clock(workspace: Space, clock: str, state: str) -> Json:
    workspace.wait("aii/leak", f'{{.status.clocks[?(@.id=="{clock}")].state}}', state)
    return next(one for one in workspace.status("leak")["clocks"] if one["id"] == clock)


def due(workspace: Space) -> str:
    wide = workspace("get", "aii", "leak", "-o", "wide").splitlines()
    at = wide[0].index("DUE")
    return wide[1][at : wide[0].index("SUMMARY")].strip()


def minute(clock: Json) -> str:
    return f"{clock['dueAt'][:10]} {clock['dueAt'][11:16]}Z"


def warned(workspace: Space) -> list[str]:
    """The messages of all Events about clocks, with their reasons."""
    events = workspace.get("events")["items"]
    return [
        f"{event['reason']} {event['message']}" for event in events if event["reason"].startswith("Clock")
    ]


def test_a_duty_presses_is_overdue_and_ends_by_a_decision_though_the_workload_runs_again(
    workspace: Space, operator: OperatorProcess, llm: None
) -> None:
    soon = ago(hours=72, seconds=-30)  # 72 hours are over in 30 seconds
    workspace.contain("leak", LLM, regulatory={"awareAt": soon})
    clock = wait_clock(workspace, "gdpr-33", "DueSoon")
    assert "nobody has decided whether it applies" in clock["message"]
    assert due(workspace) == f"gdpr-33 by {minute(clock)}"
    decide(workspace, {"clock": "gdpr-33", "duty": "Applies"}, awareAt=soon)
    workspace.release("leak")

    clock = wait_clock(workspace, "gdpr-33", "Overdue")
    assert f"applies, decided by {DPO}" in clock["message"]
    assert due(workspace) == f"gdpr-33 OVERDUE since {minute(clock)}"
    assert workspace.status("leak")["phase"] == "Released"
    version = workspace.get("aii", "leak")["metadata"]["resourceVersion"]
    series = f'clock="gdpr-33",incident="leak",namespace="{workspace.name}",state="Overdue"'
    eventually(lambda: series in scraped(operator), "the overdue duty is a metric")
    workspace.wait_event("ClockOverdue")
    assert sum(text.startswith("ClockOverdue gdpr-33") for text in warned(workspace)) == 1
    assert workspace.get("aii", "leak")["metadata"]["resourceVersion"] == version, "it is written once"

    decide(
        workspace,
        {"clock": "gdpr-33", "duty": "Reported", "at": ago(seconds=0), "reference": "AP-2026-77"},
        {"clock": "eu-ai-act-73-2", "duty": "NotReportable", "rationale": "no high-risk system"},
        {"clock": "eu-ai-act-73-4", "duty": "Applies"},
        {"clock": "us-xy-1", "duty": "Applies"},
        awareAt=soon,
    )
    reported = wait_clock(workspace, "gdpr-33", "Reported")
    assert "after it was due" in reported["message"]
    assert "reference AP-2026-77" in reported["message"]
    refused = wait_clock(workspace, "eu-ai-act-73-2", "NotReportable")
    assert f"decided by {DPO}: no high-risk system" in refused["message"]
    assert "has none of this id" in wait_clock(workspace, "us-xy-1", "Running")["message"]
    eventually(lambda: series not in scraped(operator), "a duty that is done is no metric any more")
    workspace.wait_event("ClockDecided")
    death = wait_clock(workspace, "eu-ai-act-73-4", "Running")
    assert due(workspace) == f"eu-ai-act-73-4 by {minute(death)}"

    workspace("delete", "aii", "leak")
    mine = f'namespace="{workspace.name}"'
    eventually(
        lambda: not any(mine in line and "clock_due" in line for line in scraped(operator).splitlines()),
        "nothing stays of an incident that is gone",
    )


def test_an_exercise_has_no_duties(workspace: Space, llm: None) -> None:
    workspace.incident("leak", LLM, exercise=True, regulatory={"awareAt": ago(days=30)})
    status = workspace.wait_phase("leak", "Detected")
    assert "clocks" not in status or status["clocks"] == []
    assert not due(workspace)


def test_a_containment_that_nobody_looks_at_reminds_and_stays(
    workspace: Space, operator: OperatorProcess, llm: None
) -> None:
    workspace.contain("leak", LLM)
    assert condition(workspace.status("leak"), "Attended")["status"] == "True"
    told = workspace.get("aii", "leak")
    old = ago(hours=25)
    told["status"]["timestamps"]["contained"] = old  # as if it had been contained yesterday
    workspace("replace", "--subresource=status", "-f", "-", stdin=told)

    said = workspace.wait_condition("leak", "Attended", "ContainmentUnattended")
    assert "it stays contained until a person releases it" in said["message"]
    workspace.wait_event("ContainmentUnattended")
    series = f'stanch_unattended_containments{{namespace="{workspace.name}"}} 1.0'
    eventually(lambda: series in scraped(operator), "the unattended containment is a metric")

    workspace("annotate", "aii", "leak", "stanch.dev/reviewed-at=tomorrow")
    workspace.wait("aii/leak", '{.status.conditions[?(@.type=="Attended")].status}', "False")
    eventually(
        lambda: "no time as RFC 3339" in condition(workspace.status("leak"), "Attended")["message"],
        "a time that is none is said to be none",
    )
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    workspace("annotate", "aii", "leak", "--overwrite", f"stanch.dev/reviewed-at={now}")
    workspace.wait_condition("leak", "Attended", "LookedAt")
    eventually(lambda: series not in scraped(operator), "somebody looked")
    assert workspace.status("leak")["phase"] == "Contained"
    assert workspace.get("deployment", "llm-chat")["spec"]["replicas"] == 0


def scraped(operator: OperatorProcess) -> str:
    return operator.metrics() or ""
