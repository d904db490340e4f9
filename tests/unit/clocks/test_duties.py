"""How reporting duties stand: who decides, from when they count, when they press."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.clocks.duties import OPEN, clocks_of, next_change, next_due
from tests.unit.clocks.duty_cases import ALL, AWARE, DATA, NONE, by_id, case, decided

HOUR = timedelta(hours=1)
NOW = AWARE + HOUR
MOMENTS = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=60)).map(lambda later: AWARE + later)


def test_without_a_setting_or_a_decision_there_are_no_clocks() -> None:
    assert clocks_of(case(), NONE, NOW) == ()
    assert next_change(case(), NONE, NOW) is None


def test_undecided_shows_when_it_is_due_all_the_same() -> None:
    found = by_id(case(), NOW)
    assert list(found) == [clock.id for clock in DATA.clocks]
    gdpr = found["gdpr-33"]
    assert gdpr.state == "Undecided"
    assert gdpr.due_at == AWARE + 72 * HOUR
    assert gdpr.version == DATA.version
    assert gdpr.source == "Regulation (EU) 2016/679, Art. 33(1)"
    assert gdpr.message.startswith(
        "due by 2026-01-05 03:10Z, 72 hours from awareness at 2026-01-02 03:10Z; nobody has decided whether "
        "it applies: add a decision to spec.regulatory.decisions"
    )


def test_without_awareness_detection_is_assumed_and_that_is_said() -> None:
    status = {"timestamps": {"detected": "2026-01-02T04:00:00Z"}}
    gdpr = by_id(case(aware=None, status=status), NOW)["gdpr-33"]
    assert gdpr.due_at == datetime(2026, 1, 5, 4, tzinfo=UTC)
    assert "detection at 2026-01-02 04:00Z, assumed because spec.regulatory.awareAt is not" in gdpr.message


def test_with_neither_nothing_is_invented() -> None:
    gdpr = by_id(case(aware=None), NOW)["gdpr-33"]
    assert (gdpr.state, gdpr.due_at) == ("Undecided", None)
    assert "awareness, which spec.regulatory.awareAt does not say" in gdpr.message


def test_an_awareness_at_the_end_of_the_calendar_breaks_nothing() -> None:
    gdpr = by_id(case(aware=datetime(9999, 12, 31, tzinfo=UTC)), NOW)["gdpr-33"]
    assert gdpr.due_at is None
    assert "later than the calendar goes" in gdpr.message


@pytest.mark.parametrize(
    ("clock", "hours", "state"),
    [
        ("gdpr-33", 53.9, "Running"),
        ("gdpr-33", 54, "DueSoon"),  # the last quarter of 72 hours
        ("gdpr-33", 71.9, "DueSoon"),
        ("gdpr-33", 72, "Overdue"),
        ("gdpr-33", 9999, "Overdue"),
        ("eu-ai-act-73-2", 15 * 24 - 24.1, "Running"),  # the last 24 hours are shorter
        ("eu-ai-act-73-2", 15 * 24 - 24, "DueSoon"),
        ("nis2-23-24h", 18, "DueSoon"),
    ],
)
def test_it_presses_when_time_runs_out(clock: str, hours: float, state: str) -> None:
    now = AWARE + hours * HOUR
    applies = case(decided(clock, "Applies"))
    assert by_id(applies, now, NONE)[clock].state == state
    undecided = by_id(case(), now)[clock]
    assert undecided.state == ("Undecided" if state == "Running" else state)
    assert "nobody has decided" in undecided.message


def test_a_report_ends_it_and_one_that_was_late_says_so() -> None:
    early = case(decided("gdpr-33", "Reported", at="2026-01-03T00:00:00Z", reference="AP-77"))
    late = case(decided("gdpr-33", "Reported", at="2026-01-06T00:00:00Z"))
    later = AWARE + 999 * HOUR
    assert by_id(early, later, NONE)["gdpr-33"].state == "Reported"
    assert by_id(early, later, NONE)["gdpr-33"].message.startswith(
        "reported at 2026-01-03 00:00Z, says dpo@example.test, reference AP-77"
    )
    assert ", after it was due by 2026-01-05 03:10Z" in by_id(late, later, NONE)["gdpr-33"].message
    assert next_change(early, NONE, NOW) is None


def test_a_decision_not_to_report_names_who_and_why() -> None:
    done = case(decided("gdpr-33", "NotReportable", rationale="no personal data was affected"))
    gdpr = by_id(done, AWARE + 999 * HOUR, NONE)["gdpr-33"]
    assert gdpr.state == "NotReportable"
    assert gdpr.message.startswith(
        "not reportable, decided by dpo@example.test: no personal data was affected"
    )


def test_of_article_73_only_the_shortest_counts_and_the_longer_ones_are_not_concluded_away() -> None:
    found = by_id(case(decided("eu-ai-act-73-3", "Applies")), NOW)
    said = "of eu-ai-act-73-2, eu-ai-act-73-3, eu-ai-act-73-4 only the shortest that applies counts"
    assert f"{said}: eu-ai-act-73-3 goes before this one" in found["eu-ai-act-73-2"].message
    assert said in found["eu-ai-act-73-3"].message
    assert "goes before" not in found["eu-ai-act-73-3"].message
    assert found["eu-ai-act-73-2"].state == "Undecided"
    assert next_due([found["eu-ai-act-73-2"], found["eu-ai-act-73-3"]]) == (
        "eu-ai-act-73-3 by 2026-01-04 03:10Z"
    )


def test_what_runs_from_a_report_counts_from_it_and_until_then_from_its_latest_time() -> None:
    before = by_id(case(), NOW)["nis2-23-month"]
    assert before.due_at == datetime(2026, 2, 5, 3, 10, tzinfo=UTC)
    assert "from the latest time for nis2-23-72h, until that is reported" in before.message
    reported = case(decided("nis2-23-72h", "Reported", at="2026-01-31T12:00:00Z"))
    assert by_id(reported, NOW)["nis2-23-month"].due_at == datetime(2026, 2, 28, 12, tzinfo=UTC)


def test_four_hours_from_classification_need_to_know_when_that_was() -> None:
    unknown = by_id(case(), NOW)["dora-19-4h"]
    assert (unknown.state, unknown.due_at) == ("Undecided", None)
    assert "give its time as `at` of a decision with duty: Applies" in unknown.message
    classified = by_id(case(decided("dora-19-4h", "Applies", at="2026-01-02T06:00:00Z")), NOW)
    assert classified["dora-19-4h"].due_at == datetime(2026, 1, 2, 10, tzinfo=UTC)
    assert classified["dora-19-72h"].due_at == datetime(2026, 1, 5, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("duty", "state"), [("Applies", "Running"), ("Reported", "Reported"), ("NotReportable", "NotReportable")]
)
def test_a_decision_about_a_clock_that_is_not_known_is_told(duty: str, state: str) -> None:
    odd = case(decided("ca-sb53", duty, at="2026-01-03T00:00:00Z", rationale="counsel says so"))
    found = by_id(odd, NOW, NONE)["ca-sb53"]
    assert (found.state, found.due_at) == (state, None)
    assert "has none of this id, so nothing is counted; decided by dpo@example.test" in found.message


def test_more_than_there_is_room_for_is_named() -> None:
    odd = case(*(decided(f"odd-{number}", "Applies") for number in range(20)))
    found = clocks_of(odd, ALL, NOW)
    assert len(found) == 20
    named = {one.id for one in found} | set(found[-1].message.replace(",", "").split())
    assert {f"odd-{number}" for number in range(20)} <= named


@pytest.mark.parametrize("phase", ["Released", "Recovered", "Closed", "Detected", "AwaitingApproval"])
def test_duties_outlive_the_containment(phase: str) -> None:
    assert by_id(case(phase=phase), AWARE + 100 * HOUR)["gdpr-33"].state == "Overdue"


def test_an_exercise_a_rejection_and_a_duplicate_have_none() -> None:
    for none in (case(exercise=True), case(phase="Rejected"), case(phase="Duplicate")):
        assert clocks_of(none, ALL, NOW) == ()
        assert next_change(none, ALL, NOW) is None


def test_the_column_shows_the_open_one_that_is_due_first() -> None:
    undecided = clocks_of(case(), ALL, NOW)
    assert next_due(undecided) == "dora-19-24h undecided, by 2026-01-03 03:10Z"
    late = clocks_of(case(decided("gdpr-33", "Applies")), NONE, AWARE + 100 * HOUR)
    assert next_due(late) == "gdpr-33 OVERDUE since 2026-01-05 03:10Z"
    done = clocks_of(case(decided("gdpr-33", "Reported", at="2026-01-03T00:00:00Z")), NONE, NOW)
    assert next_due(done) is None
    assert next_due(()) is None


DUTIES = st.sampled_from(["Applies", "Reported", "NotReportable"])
DECISIONS = st.dictionaries(
    st.sampled_from([clock.id for clock in DATA.clocks]), st.tuples(DUTIES, MOMENTS), max_size=15
).map(
    lambda made: [
        decided(clock, duty, at=at.isoformat(), rationale="r") for clock, (duty, at) in made.items()
    ]
)
ORDER = {"Undecided": 0, "Running": 0, "DueSoon": 1, "Overdue": 2}


@given(DECISIONS, MOMENTS, MOMENTS)
def test_time_alone_never_takes_an_alarm_back(
    decisions: list[dict[str, str]], a: datetime, b: datetime
) -> None:
    what = case(*decisions)
    first, then = by_id(what, min(a, b)), by_id(what, max(a, b))
    for id_, before in first.items():
        if before.state in OPEN:
            assert ORDER[then[id_].state] >= ORDER[before.state]
        else:
            assert then[id_].state == before.state
        assert then[id_].due_at == before.due_at
        assert before.due_at is None or before.due_at > AWARE


@given(DECISIONS, MOMENTS)
def test_nothing_changes_before_the_next_look(decisions: list[dict[str, str]], now: datetime) -> None:
    """And every status that is stored says the same until then: nothing is written in between."""
    what = case(*decisions)
    wait = next_change(what, ALL, now)
    found = clocks_of(what, ALL, now)
    if wait is None:
        assert clocks_of(what, ALL, now + timedelta(days=999)) == found
        return
    assert wait > 0
    assert clocks_of(what, ALL, now + timedelta(seconds=wait, microseconds=-1)) == found
    assert clocks_of(what, ALL, now + timedelta(seconds=wait)) != found


@given(DECISIONS, MOMENTS)
def test_only_a_person_ends_a_duty_and_everything_fits(
    decisions: list[dict[str, str]], now: datetime
) -> None:
    ended = {one["clock"] for one in decisions if one["duty"] != "Applies"}
    found = clocks_of(case(*decisions), ALL, now)
    assert {one.id for one in found if one.state not in OPEN} == ended
    assert len(next_due(found) or "") <= 63
