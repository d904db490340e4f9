"""Recovery is proven by checks that held so often in a row, all of them, in the stage that stands."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stanch.api.v1alpha1.evidence import EvidenceRecord
from stanch.api.v1alpha1.status import CheckOutcome, VerificationStatus
from stanch.verification.judge import CONCLUSIVE, judge
from stanch.verification.reading import LONGEST_LOOK, Answer
from tests.unit.verification.looks import (
    BEGAN,
    HEALTHY,
    SINCE,
    SUITE,
    TOXICITY,
    Watch,
    at,
    reading,
    rules,
)

HOLDS, FAILS, UNKNOWN, BROKEN, RUNNING = Answer


def test_nothing_is_due_before_the_stage_is_in_place() -> None:
    watch = Watch(rules(), since=None)
    judged = watch.look(0)
    assert (judged.due, judged.status.outcome) == ((), CheckOutcome.PENDING)
    assert "not in place" in judged.status.message
    assert judged.look_again == 880, "the stage's time runs from when it began"


def test_nothing_is_due_until_the_initial_delay_is_over() -> None:
    watch = Watch(rules())
    judged = watch.look(10)
    assert (judged.due, judged.look_again) == ((), 20)
    assert judged.status.message == "the first look is at 03:12:30 UTC, 30s after the stage was in place"
    assert watch.look(30).due == ("toxicity",)


def test_each_check_is_looked_at_again_after_the_interval() -> None:
    watch = Watch(rules(TOXICITY, HEALTHY))
    watch.look(30, HOLDS)
    judged = watch.look(35)
    assert (judged.due, judged.look_again) == ((), 10)
    watch.look(45, {"healthy": HOLDS})
    assert watch.look(46).due == ("toxicity",)


def test_while_a_look_is_under_way_nobody_spins() -> None:
    judged = Watch(rules()).look(31)
    assert (judged.due, judged.look_again) == (("toxicity",), 15)


def test_it_passes_when_every_check_held_three_times_in_a_row() -> None:
    watch = Watch(rules(TOXICITY, HEALTHY))
    for seconds in (30, 45):
        assert watch.look(seconds, HOLDS).status.outcome is CheckOutcome.PASSING
    judged = watch.look(60, HOLDS)
    assert judged.status.outcome is CheckOutcome.PASSED
    assert (judged.due, judged.look_again) == ((), None)
    assert judged.status.message == "toxicity < 0.01 ✓✓✓; healthy ✓✓✓"


def test_the_message_says_how_far_each_check_has_come() -> None:
    watch = Watch(rules(TOXICITY, HEALTHY))
    watch.look(30, {"toxicity": HOLDS})
    watch.look(45, {"toxicity": HOLDS})
    watch.look(46, {"healthy": FAILS}, message="0 of 1 pods ready")
    assert watch.status.message == "toxicity < 0.01 ✓✓ (2 of 3); healthy: 0 of 1 pods ready"


def test_one_that_has_passed_is_looked_at_until_all_have() -> None:
    watch = Watch(rules(TOXICITY, HEALTHY))
    for seconds in (30, 45, 60):
        watch.look(seconds, {"toxicity": HOLDS, "healthy": FAILS if seconds < 60 else HOLDS})
    assert watch["toxicity"].outcome is CheckOutcome.PASSED
    assert watch.status.outcome is CheckOutcome.PASSING
    assert watch.look(75).due == ("toxicity", "healthy")


@pytest.mark.parametrize("answer", [FAILS, UNKNOWN, BROKEN, RUNNING])
def test_one_that_had_passed_loses_its_row_by_any_other_answer(answer: Answer) -> None:
    watch = Watch(rules(TOXICITY, HEALTHY))
    watch.look(30, {"toxicity": HOLDS, "healthy": HOLDS})
    watch.look(45, {"toxicity": HOLDS, "healthy": UNKNOWN})
    watch.look(60, {"toxicity": HOLDS, "healthy": HOLDS})
    watch.look(75, {"toxicity": answer, "healthy": HOLDS})
    watch.look(90, {"toxicity": HOLDS, "healthy": HOLDS})
    assert watch["healthy"].outcome is CheckOutcome.PASSED
    assert watch["toxicity"].successes == 1
    assert watch.status.outcome is CheckOutcome.PASSING


@pytest.mark.parametrize(
    ("answer", "outcome", "looks"),
    [
        (FAILS, CheckOutcome.FAILED, 3),
        (UNKNOWN, CheckOutcome.INCONCLUSIVE, 8),
        (BROKEN, CheckOutcome.ERROR, 8),
    ],
)
def test_so_many_in_a_row_end_it(answer: Answer, outcome: CheckOutcome, looks: int) -> None:
    watch = Watch(rules(TOXICITY, HEALTHY))
    for index in range(looks):
        assert watch.status.outcome not in CONCLUSIVE
        watch.look(30 + 15 * index, {"toxicity": answer, "healthy": HOLDS})
    assert watch.status.outcome is outcome
    assert "toxicity" in watch.status.message
    assert f"{looks} times in a row" in watch.status.message
    assert "healthy" not in watch.status.message, "only what ended it is told"


def test_whether_a_person_may_override_it_is_told_by_the_newest_answer() -> None:
    watch = Watch(rules(inconclusiveLimit=2))
    watch.look(30, BROKEN)
    assert watch.look(45, UNKNOWN).status.outcome is CheckOutcome.INCONCLUSIVE
    watch = Watch(rules(inconclusiveLimit=2))
    watch.look(30, UNKNOWN)
    assert watch.look(45, BROKEN).status.outcome is CheckOutcome.ERROR


def test_no_answer_ends_no_row_of_failures() -> None:
    watch = Watch(rules())
    for seconds, answer in ((30, FAILS), (45, FAILS), (60, UNKNOWN), (75, FAILS)):
        watch.look(seconds, answer)
    assert watch.status.outcome is CheckOutcome.FAILED


def test_one_success_does() -> None:
    watch = Watch(rules())
    for seconds, answer in ((30, FAILS), (45, FAILS), (60, HOLDS), (75, FAILS)):
        watch.look(seconds, answer)
    assert watch.status.outcome is CheckOutcome.PENDING
    assert watch["toxicity"].failures == 1


def test_when_the_time_is_over_it_has_failed_and_says_what_was_missing() -> None:
    watch = Watch(rules(TOXICITY, HEALTHY))
    for seconds in range(30, 880, 15):
        watch.look(seconds, {"toxicity": HOLDS, "healthy": HOLDS if seconds % 2 else UNKNOWN})
    judged = watch.look(880)
    assert judged.status.outcome is CheckOutcome.FAILED
    assert judged.status.message.startswith("not passed within 15m: healthy: ")
    assert (judged.due, judged.look_again) == ((), None)


def test_a_stage_that_never_came_to_be_in_place_fails_by_its_time_as_well() -> None:
    judged = Watch(rules(), since=None).look(880)
    assert judged.status.outcome is CheckOutcome.FAILED
    assert judged.status.message == "not passed within 15m: toxicity: not looked at yet"


def test_what_is_seen_after_the_time_counts_for_nothing() -> None:
    watch = Watch(rules(consecutiveSuccesses=1, timeout="1m"))
    assert watch.look(41, HOLDS).status.outcome is CheckOutcome.FAILED


@pytest.mark.parametrize("outcome", sorted(CONCLUSIVE))
def test_what_is_concluded_stays_so(outcome: CheckOutcome) -> None:
    standing = VerificationStatus(outcome=outcome, since=SINCE)
    answer = FAILS if outcome is CheckOutcome.PASSED else HOLDS
    judged = judge(standing, {"toxicity": reading(answer, 40)}, rules(), began=BEGAN, now=at(2000))
    assert judged.status == standing
    assert (judged.due, judged.look_again) == ((), None)


@pytest.mark.parametrize(
    ("began_at", "now"),
    [(-1, 30), (29, 30), (31, 30), (500, 30)],
    ids=["before the stage", "within the delay", "in a moment", "from a clock that is ahead"],
)
def test_a_look_of_another_time_counts_for_nothing(began_at: float, now: float) -> None:
    watch = Watch(rules(consecutiveSuccesses=1))
    watch.take(now, {"toxicity": reading(HOLDS, began_at)})
    assert watch.status.outcome is CheckOutcome.PENDING
    assert watch.judged.due == ("toxicity",)


@pytest.mark.parametrize("began_at", [30, 45])
def test_a_look_that_is_no_newer_than_the_last_counts_for_nothing(began_at: float) -> None:
    watch = Watch(rules())
    watch.look(45, HOLDS)
    watch.take(50, {"toxicity": reading(HOLDS, began_at)})
    assert watch["toxicity"].successes == 1


def test_a_reading_of_no_check_is_nobodys() -> None:
    watch = Watch(rules())
    watch.look(30, {"other": HOLDS})
    assert [one.name for one in watch.status.checks] == ["toxicity"]


def test_an_operator_that_was_away_begins_the_row_anew() -> None:
    watch = Watch(rules())
    watch.look(30, HOLDS)
    watch.look(45, HOLDS)
    away = 45 + 2 * 15 + LONGEST_LOOK
    assert watch.look(away).status.outcome is CheckOutcome.PASSING
    watch.look(away + 1)
    assert (watch["toxicity"].successes, watch["toxicity"].reason) == (0, "NotLookedAt")


def test_a_look_after_a_gap_is_the_first_of_its_row() -> None:
    watch = Watch(rules())
    watch.look(30, HOLDS)
    watch.look(45, HOLDS)
    assert watch.look(300, HOLDS).status.outcome is CheckOutcome.PASSING
    assert watch["toxicity"].successes == 1


def test_a_leader_whose_clock_was_far_ahead_leaves_nothing_that_counts() -> None:
    watch = Watch(rules())
    watch.look(600, HOLDS)
    watch.look(615, HOLDS)
    watch.look(60, HOLDS)
    assert (watch["toxicity"].successes, watch["toxicity"].looked_at) == (1, at(60))


def test_looks_of_the_stage_before_are_gone_when_the_stage_is_seen_anew() -> None:
    watch = Watch(rules())
    watch.look(30, HOLDS)
    watch.look(45, HOLDS)
    later = watch.status.model_copy(update={"since": SINCE + timedelta(seconds=60)})
    judged = judge(later, {}, watch.rules, began=BEGAN, now=at(95))
    assert (judged.status.checks[0].successes, judged.due) == (0, ("toxicity",))


def test_a_job_passes_by_one_run_and_is_not_run_again() -> None:
    watch = Watch(rules(SUITE, HEALTHY))
    watch.look(30, {"suite": RUNNING, "healthy": HOLDS})
    assert watch["suite"].outcome not in CONCLUSIVE
    record = EvidenceRecord(
        location="file:///e", head="sha256:" + "0" * 64, items=1, size=1, collected_at=SINCE, complete=True
    )
    watch.look(45, {"suite": HOLDS}, evidence=record)
    assert watch["suite"].outcome is CheckOutcome.PASSED
    assert watch["suite"].evidence == record
    assert watch.look(300).due == ("healthy",)
    assert watch["suite"].outcome is CheckOutcome.PASSED, "it has run in this stage, however long ago"


def test_a_job_that_failed_fails_the_stage_at_once() -> None:
    watch = Watch(rules(SUITE, HEALTHY))
    judged = watch.look(30, {"suite": FAILS}, message="BackoffLimitExceeded")
    assert judged.status.outcome is CheckOutcome.FAILED
    assert judged.status.message == "suite failed: BackoffLimitExceeded"


def test_a_job_that_runs_on_and_on_ends_with_the_time() -> None:
    watch = Watch(rules(SUITE))
    for seconds in range(30, 880, 15):
        assert watch.look(seconds, RUNNING).status.outcome is CheckOutcome.PENDING
    assert watch.look(880).status.outcome is CheckOutcome.FAILED


def test_texts_fit_into_the_status() -> None:
    watch = Watch(rules(failureLimit=1))
    judged = watch.look(30, FAILS, reason="R" * 200, message="m" * 9000, value="1" * 200)
    VerificationStatus.model_validate(judged.status.wire())
    assert len(judged.status.message) <= 2048


def test_checks_that_are_no_longer_asked_for_are_gone() -> None:
    watch = Watch(rules(TOXICITY, HEALTHY))
    watch.look(30, HOLDS)
    watch.rules = rules(HEALTHY)
    watch.look(31)
    assert [one.name for one in watch.status.checks] == ["healthy"]
