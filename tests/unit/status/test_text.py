"""What people read in `kubectl get` and `kubectl describe`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.incident import AIIncident, Target, TargetKind
from stanch.api.v1alpha1.status import (
    Change,
    Contested,
    FieldChange,
    ObjectReference,
    Phase,
    StepState,
    StepStatus,
    UndoRecord,
)
from stanch.status.text import clock, contested_line, span, summary, target_line

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def targets(*names: str) -> list[Target]:
    return [Target(kind=TargetKind.DEPLOYMENT, name=name) for name in names]


def incident(*names: str) -> AIIncident:
    spec = {
        "title": "t",
        "category": "Drift",
        "severity": "High",
        "targets": [{"kind": "Deployment", "name": name} for name in names],
    }
    return AIIncident.parse({"metadata": {"name": "drift", "namespace": "chat"}, "spec": spec})


def step(state: StepState, message: str = "", undo: UndoRecord | None = None) -> StepStatus:
    target = ObjectReference(api_version="apps/v1", kind="Deployment", name="llm", uid="u1")
    fields = (
        FieldChange(path="/metadata/labels", after={"stanch.dev/held": "true"}),
        FieldChange(path="/spec/replicas", before=3, after=0),
    )
    change = Change(object=target, fields=fields)
    return StepStatus(
        id="0",
        action="ScaleToZero",
        target=target,
        state=state,
        message=message,
        changes=(change,),
        undo=undo,
    )


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(milliseconds=412), "412ms"),
        (timedelta(seconds=1.94), "1.9s"),
        (timedelta(seconds=74), "74s"),
        (timedelta(minutes=12), "12m"),
        (timedelta(seconds=-1), "0ms"),
    ],
)
def test_durations_at_the_precision_a_reader_needs(duration: timedelta, text: str) -> None:
    assert span(duration) == text


@given(st.timedeltas(timedelta(0), timedelta(days=30)))
def test_every_duration_fits_its_column(duration: timedelta) -> None:
    assert len(span(duration)) <= 6
    assert span(duration)[0].isdigit()


def test_the_target_column() -> None:
    assert target_line(targets("llm")) == "Deploy/llm"
    assert target_line(targets("llm", "rag", "bot")) == "Deploy/llm +2"
    assert target_line([Target(kind=TargetKind.STATEFUL_SET, name="db")]) == "StatefulSet/db"


def test_contests_are_told_with_who_what_and_when() -> None:
    once = Contested(count=1, last_at=AT, last_by="ana", last_what="was denied: update scale llm")

    assert contested_line(once) == "once; last: ana was denied: update scale llm at 03:04:05 UTC"
    assert contested_line(once.model_copy(update={"count": 7})).startswith("7 times; ")
    assert clock(AT) == "03:04:05 UTC"


@pytest.mark.parametrize(
    ("phase", "steps", "held", "says"),
    [
        (Phase.CONTAINED, [step(StepState.EFFECTIVE)], True, "contained: llm replicas 3→0; held"),
        (
            Phase.CONTAINED,
            [step(StepState.EFFECTIVE)],
            False,
            "contained: llm replicas 3→0; NOT held: policy missing",
        ),
        (
            Phase.CONTAINING,
            [step(StepState.APPLIED, "2 pods left: a, b")],
            True,
            "containing Deployment llm: 0 of 1 steps effective; llm: 2 pods left: a, b",
        ),
        (
            Phase.CONTAINMENT_FAILED,
            [step(StepState.INEFFECTIVE, "after 600 s: 1 pod left: a")],
            True,
            "NOT contained: llm: after 600 s: 1 pod left: a",
        ),
        (Phase.REJECTED, [], False, "rejected, nothing was changed: policy missing"),
        (Phase.RELEASING, [], False, "giving back Deployment llm"),
        (
            Phase.RELEASED,
            [step(StepState.UNDONE, undo=UndoRecord(at=AT, message="replicas 0 → 3"))],
            False,
            "given back: llm: replicas 0 → 3",
        ),
        (Phase.RELEASED, [], False, "given back: nothing had been changed"),
        (
            Phase.DETECTED,
            [step(StepState.PLANNED, "would change llm: replicas 3 → 0")],
            False,
            "dry run for Deployment llm: would change llm: replicas 3 → 0; nothing was changed",
        ),
    ],
)
def test_the_summary_says_what_is_stopped_and_what_is_left(
    phase: Phase, steps: list[StepStatus], says: str, *, held: bool
) -> None:
    assert summary(incident("llm"), phase, steps, held=held, problem="policy missing") == says


def test_many_targets_stay_one_line() -> None:
    text = summary(incident(*"abcdef"), Phase.RELEASING, [], held=False, problem="")

    assert text == "giving back Deployment a, Deployment b, Deployment c and 3 more"


@given(st.sampled_from(Phase), st.text(max_size=3000), st.sampled_from(StepState), st.booleans())
def test_a_summary_always_fits_the_status(phase: Phase, message: str, state: StepState, held: bool) -> None:  # noqa: FBT001 - hypothesis passes it by position
    text = summary(incident("llm"), phase, [step(state, message[:1000])], held=held, problem=message)

    assert len(text) <= 2048
