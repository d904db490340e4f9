"""Duties in status, Events and metrics: each change is written and told once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from stanch.incidents.acts import AddFinalizer, Decision
from stanch.incidents.duties import pressing, unattended, with_duties
from stanch.incidents.events import notes
from stanch.observability.duties import MOST, Due, DutyBoard
from stanch.observability.metrics import Metrics
from tests.unit.clocks.duty_cases import ALL, AWARE, NONE, case, decided

if TYPE_CHECKING:
    from stanch.api.v1alpha1.incident import AIIncident

HOUR = timedelta(hours=1)


def course(what: AIIncident, *moments: datetime) -> list[tuple[str, str]]:
    """The Events of an incident that is looked at so often, as (reason, what of the message comes first)."""
    told: list[tuple[str, str]] = []
    for now in moments:
        status = with_duties(what, Decision(), NONE, now).status
        if status is not None:
            told += [(note.reason, note.message.split()[0]) for note in notes(what.status, status)]
            what = what.model_copy(update={"status": status})
    return told


def test_an_ended_incident_tells_each_turn_of_its_duty_once() -> None:
    what = case(decided("gdpr-33", "Applies"), phase="Closed")
    looks = [AWARE + hours * HOUR for hours in (1, 2, 54, 55, 72, 73, 500)]
    assert course(what, *looks) == [
        ("ClockDecided", "gdpr-33"),
        ("ClockDueSoon", "gdpr-33"),
        ("ClockOverdue", "gdpr-33"),
    ]


def test_a_decision_is_told() -> None:
    first = with_duties(case(), Decision(), ALL, AWARE + HOUR).status
    assert first is not None
    assert [note.reason for note in notes(case().status, first) if note.reason.startswith("Clock")] == []
    done = case(decided("gdpr-33", "NotReportable", rationale="none affected"))
    done = done.model_copy(update={"status": first})
    then = with_duties(done, Decision(), ALL, AWARE + HOUR).status
    assert then is not None
    (note,) = notes(first, then)
    assert (note.type, note.reason) == ("Normal", "ClockDecided")
    assert "not reportable, decided by dpo@example.test: none affected" in note.message


def test_an_unattended_containment_is_told_once_in_each_review_after() -> None:
    what = case(status={"timestamps": {"contained": AWARE.isoformat()}})
    looks = [AWARE + hours * HOUR for hours in (1, 24, 25, 30, 48, 49)]
    assert course(what, *looks) == [("ContainmentUnattended", "nobody"), ("ContainmentUnattended", "nobody")]


def test_nothing_new_writes_nothing_and_looks_again_in_time() -> None:
    what = case(decided("gdpr-33", "Applies"), phase="Released")
    first = with_duties(what, Decision(), NONE, AWARE + HOUR)
    assert first.look_again == 53 * 3600
    assert first.status is not None
    what = what.model_copy(update={"status": first.status})
    again = with_duties(what, Decision(look_again=15.0), NONE, AWARE + 2 * HOUR)
    assert again == Decision(look_again=15.0)


def test_acts_are_not_held_up_and_a_stored_status_carries_the_duties() -> None:
    what = case(decided("gdpr-33", "Applies"))
    assert with_duties(what, Decision(acts=(AddFinalizer(),)), NONE, AWARE).status is None
    full = with_duties(what, Decision(status=what.status, acts=(AddFinalizer(),)), NONE, AWARE)
    assert full.status is not None
    assert full.status.clock == "gdpr-33 by 2026-01-05 03:10Z"


def test_without_clocks_a_released_incident_is_never_looked_at_again() -> None:
    assert with_duties(case(phase="Released"), Decision(), NONE, AWARE) == Decision()


def test_metrics_show_what_is_open_and_forget_what_is_gone() -> None:
    metrics = Metrics()
    status = with_duties(
        case(decided("gdpr-33", "Applies"), status={"timestamps": {"contained": AWARE.isoformat()}}),
        Decision(),
        NONE,
        AWARE + 60 * HOUR,
    ).status
    assert status is not None
    metrics.duties.note("chat", "toxic", pressing(status), unattended=unattended(status))
    shown = metrics.render().decode()
    due = (AWARE + 72 * HOUR).timestamp()
    series = 'stanch_regulatory_clock_due_timestamp_seconds{clock="gdpr-33",incident="toxic",namespace="chat"'
    (line,) = [line for line in shown.splitlines() if line.startswith(series)]
    assert line.startswith(f'{series},state="DueSoon"}}')
    assert float(line.split()[1]) == due
    assert 'stanch_unattended_containments{namespace="chat"} 1.0' in shown
    metrics.duties.forget("chat", "toxic")
    assert 'namespace="chat"' not in metrics.render().decode()


def test_metrics_are_bounded_and_keep_what_is_due_first() -> None:
    board = DutyBoard()
    for number in range(MOST + 7):
        board.note("chat", f"i-{number}", [Due(float(number), "gdpr-33", "Running")], unattended=False)
    clocks, _ = board.collect()
    assert [sample.value for sample in clocks.samples] == [float(number) for number in range(MOST)]
    board.note("chat", "i-0", (), unattended=False)
    clocks, _ = board.collect()
    assert clocks.samples[0].value == 1.0
