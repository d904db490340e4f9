"""What /metrics shows is what docs/reference/metrics.md says, and what was stored last."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from stanch.api.v1alpha1.status import AIIncidentStatus, Condition, DeliveryStatus, Phase, TimelineEntry
from stanch.observability.metrics import Metrics
from stanch.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def status(phase: Phase, *, held: str = "True", through: int = 2, failing: bool = False) -> AIIncidentStatus:
    """Of two entries in the timeline, so many were told."""
    return AIIncidentStatus(
        phase=phase,
        conditions=(Condition(type="Held", status=held, last_transition_time=NOW, reason="Proven"),),
        timeline=tuple(TimelineEntry(seq=seq, at=NOW, type="Contained") for seq in (1, 2)),
        deliveries=(DeliveryStatus(sink="ocsf", through=through, failing_since=NOW if failing else None),),
    )


def shown(metrics: Metrics, prefix: str) -> dict[str, float]:
    lines = [line for line in metrics.render().decode().splitlines() if line.startswith(prefix)]
    return {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines)}


def test_every_metric_is_described_and_nothing_else_is() -> None:
    metrics = Metrics()
    made = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in metrics.registry.collect()
        if not family.name.startswith("process_")
    }
    assert {family.name for family in metrics.families} == made


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_in_the_reference(name: str) -> None:
    assert f"| `STANCH_{name.upper()}` |" in (ROOT / "docs" / "reference" / "settings.md").read_text()


def test_incidents_are_counted_by_phase_and_by_what_they_say() -> None:
    metrics = Metrics()
    board = metrics.incidents
    board.note("chat", "a", status(Phase.CONTAINED))
    board.note("chat", "b", status(Phase.CONTAINED, held="False"))
    board.note("rag", "c", status(Phase.DETECTED))
    board.note("rag", "c", status(Phase.CONTAINMENT_FAILED))  # it went on
    assert shown(metrics, "stanch_incidents{") == {
        'stanch_incidents{namespace="chat",phase="Contained"}': 2,
        'stanch_incidents{namespace="rag",phase="ContainmentFailed"}': 1,
    }
    assert shown(metrics, "stanch_incident_conditions{") == {
        'stanch_incident_conditions{namespace="chat",status="False",type="Held"}': 1,
        'stanch_incident_conditions{namespace="chat",status="True",type="Held"}': 1,
        'stanch_incident_conditions{namespace="rag",status="True",type="Held"}': 1,
    }
    for namespace, name in (("chat", "a"), ("chat", "b"), ("rag", "c"), ("rag", "never seen")):
        board.forget(namespace, name)
    assert not shown(metrics, "stanch_incident")


def test_what_has_ended_says_nothing_that_somebody_would_be_woken_by() -> None:
    metrics = Metrics()
    metrics.incidents.note("chat", "a", status(Phase.RELEASED, held="False"))
    assert shown(metrics, "stanch_incidents{") == {'stanch_incidents{namespace="chat",phase="Released"}': 1}
    assert not shown(metrics, "stanch_incident_conditions{")


def test_of_a_receiver_it_is_known_how_far_it_is_behind_and_whether_it_fails() -> None:
    metrics = Metrics()
    metrics.incidents.note("chat", "a", status(Phase.CONTAINED, through=0, failing=True))
    metrics.incidents.note("chat", "b", status(Phase.CLOSED, through=1))
    metrics.incidents.note("chat", "new", AIIncidentStatus())
    assert shown(metrics, "stanch_sink_") == {
        'stanch_sink_backlog{sink="ocsf"}': 3,
        'stanch_sink_failing{sink="ocsf"}': 1,
    }
    metrics.incidents.note("chat", "a", status(Phase.CONTAINED))
    assert shown(metrics, "stanch_sink_") == {
        'stanch_sink_backlog{sink="ocsf"}': 1,
        'stanch_sink_failing{sink="ocsf"}': 0,
    }
