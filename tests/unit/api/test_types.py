"""The types in Python: what the API server stores can be read, and is refused for the same reasons."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stanch.api.schema import seconds
from stanch.api.v1alpha1.hold import ContainmentHoldSpec, HeldEntry, Holder, Rule, hold_key
from stanch.api.v1alpha1.incident import AIIncident, Mode, Severity, TargetKind
from stanch.api.v1alpha1.steps import ScaleToZero, Step, Terminate, default_steps


def stored(**spec: Any) -> dict[str, Any]:
    base = {
        "title": "Toxic output",
        "category": "OutputPolicyViolation",
        "severity": "Critical",
        "targets": [{"kind": "Deployment", "name": "llm-chat"}],
    }
    return {"metadata": {"name": "toxic", "namespace": "chat"}, "spec": base | spec}


def test_an_incident_is_read_as_it_is_stored() -> None:
    incident = AIIncident.parse(stored(steps=[{"scaleToZero": {"terminate": "Immediate"}}]))
    assert incident.spec.severity is Severity.CRITICAL
    assert incident.spec.mode is Mode.ENFORCE
    assert incident.spec.targets[0].api_version == "apps/v1"
    assert incident.status.phase is None
    assert incident.spec.steps is not None
    assert incident.spec.steps[0].member == ScaleToZero(terminate=Terminate.IMMEDIATE)


def test_a_field_of_a_newer_version_is_no_obstacle() -> None:
    incident = AIIncident.parse(stored(colour="red", steps=[{"paint": {"colour": "red"}}]))
    assert incident.spec.steps == (Step(),)
    assert incident.spec.steps[0].member is None


@pytest.mark.parametrize(
    "spec",
    [
        {"targets": []},
        {"targets": [{"kind": "Pod", "name": "x"}]},
        {"targets": [{"kind": "Deployment", "name": "LLM_Chat"}]},
        {"targets": [{"kind": "Deployment", "name": f"llm-{number}"} for number in range(21)]},
        {"attacks": ["T0051"]},
        {"owaspRefs": ["LLM01"]},
        {"steps": [{"scaleToZero": {}, "timeout": "20 seconds"}]},
        {"severity": "Severe"},
        {"description": "x" * 16385},
    ],
)
def test_what_the_crd_refuses_is_refused_here_as_well(spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AIIncident.parse(stored(**spec))


@pytest.mark.parametrize("kind", list(TargetKind))
def test_without_a_plan_there_is_one_for_every_kind(kind: TargetKind) -> None:
    (step,) = default_steps(kind)
    assert step.member is not None
    assert step.member.action == ("Suspend" if kind in {"Job", "CronJob"} else "ScaleToZero")


def test_status_on_the_wire_has_camel_case_and_no_nulls() -> None:
    step = {
        "id": "0",
        "action": "ScaleToZero",
        "target": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llm-chat"},
        "state": "Recorded",
        "startedAt": "2026-01-02T03:04:05Z",
    }
    wire = AIIncident.parse(stored() | {"status": {"phase": "Containing", "steps": [step]}}).status.wire()
    assert wire["steps"][0]["startedAt"] == "2026-01-02T03:04:05Z"
    assert "appliedAt" not in wire["steps"][0]


@pytest.mark.parametrize(
    ("duration", "expected"), [("20s", 20.0), ("5m", 300.0), ("1h30m", 5400.0), ("1500ms", 1.5)]
)
def test_a_duration_in_seconds(duration: str, expected: float) -> None:
    assert seconds(duration) == expected


def entry(*incidents: str, day: int = 1) -> HeldEntry:
    since = datetime(2026, 1, day, tzinfo=UTC)
    return HeldEntry(incidents, dict.fromkeys(incidents, Holder(why="High, DataBreach", since=since)))


def test_a_hold_shows_what_by_whom_since_when() -> None:
    spec = ContainmentHoldSpec.of(
        {
            "Stopped apps/deployments/b": entry("leak", day=2),
            "Stopped apps/deployments/a": entry("toxic", day=1),
        }
    )
    assert spec.objects == "deployments/a, deployments/b"
    assert spec.names == "leak, toxic"
    assert spec.since == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_hold_of_nothing_shows_nothing() -> None:
    spec = ContainmentHoldSpec.of({})
    assert (spec.held, spec.objects, spec.names, spec.since) == ("", None, None, None)


ENTRIES = st.dictionaries(
    st.builds(
        hold_key,
        st.sampled_from(Rule),
        st.sampled_from(
            ["apps/deployments/a", "apps/deployments/a.b", "pods/x", "arg/--model=a b", "env/A=\n"]
        ),
    ).filter(lambda key: "\n" not in key or key.startswith("Condemned ")),
    st.lists(st.sampled_from(["leak", "toxic"]), min_size=1, unique=True).map(lambda names: entry(*names)),
)


@given(ENTRIES)
def test_what_is_held_is_read_as_it_was_written(held: dict[str, HeldEntry]) -> None:
    spec = ContainmentHoldSpec.model_validate(ContainmentHoldSpec.of(held).wire())
    assert spec.entries() == held


def test_a_name_that_begins_like_another_is_another() -> None:
    """The policy looks for whole lines: `llm` is not held because `llm-chat` is."""
    spec = ContainmentHoldSpec.of({"Stopped apps/deployments/llm-chat": entry("leak")})
    assert spec.held == "\nStopped apps/deployments/llm-chat leak\n"


NAME = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,251}[a-z0-9])?", fullmatch=True)


@given(st.sets(NAME, min_size=1, max_size=60))
def test_however_much_is_held_it_is_shown_within_the_column(names: set[str]) -> None:
    spec = ContainmentHoldSpec.of({f"Stopped apps/deployments/{name}": entry("leak") for name in names})
    assert spec.objects is not None
    assert len(spec.objects) <= 253
    *shown, last = spec.objects.split(", ")
    hidden = int(last.removeprefix("+")) if last.startswith("+") else 0
    assert hidden + len(shown) + (0 if hidden else 1) == len(names)
