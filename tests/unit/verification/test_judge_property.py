"""Whatever is seen, in whatever order: Passed is what was seen to hold, so often in a row, of every check."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from stanch.api.v1alpha1.status import CheckOutcome
from stanch.verification.judge import CONCLUSIVE
from stanch.verification.reading import LONGEST_LOOK, Answer, Reading
from tests.unit.verification.looks import BEGAN, HEALTHY, SINCE, TOXICITY, Watch, at, rules

if TYPE_CHECKING:
    from datetime import datetime

NAMES = ("toxicity", "healthy")
NEEDED = 3
RULES = rules(TOXICITY, HEALTHY, consecutiveSuccesses=NEEDED, failureLimit=4, inconclusiveLimit=5)
OPENS = at(30)
ENDS = BEGAN + timedelta(minutes=15)
GAP = timedelta(seconds=2 * 15 + LONGEST_LOOK)

# Mostly what a calm release looks like, so that it often passes; and all that may come between.
_answers = st.sampled_from(
    [Answer.HOLDS] * 12 + [Answer.FAILS, Answer.UNKNOWN, Answer.BROKEN, Answer.RUNNING]
)
_lags = st.sampled_from([0.0] * 8 + [1.0, 59.0, -5.0, -400.0, 120.0])
_steps = st.sampled_from([15.0] * 8 + [1.0, 16.0, 60.0, 200.0, -30.0])
_look = st.tuples(_steps, st.dictionaries(st.sampled_from(NAMES), st.tuples(_answers, _lags)) | st.just({}))
_calm = st.tuples(_steps, st.fixed_dictionaries(dict.fromkeys(NAMES, st.tuples(_answers, _lags))))
_looks = st.lists(_calm | _look, min_size=1, max_size=25)


class Seen:
    """The looks of one check that a strict reader would count: written down apart from the judge."""

    def __init__(self) -> None:
        self.looks: list[tuple[datetime, Answer]] = []

    def note(self, reading: Reading, now: datetime) -> None:
        self.looks = [one for one in self.looks if one[0] <= now + GAP]
        newest = self.looks[-1][0] if self.looks else None
        if OPENS <= reading.at <= min(now, ENDS) and (newest is None or reading.at > newest):
            self.looks.append((reading.at, reading.answer))

    def proven(self, now: datetime) -> bool:
        row = self.looks[-NEEDED:]
        times = [when for when, _ in row] + [now]
        return (
            len(row) == NEEDED
            and all(answer is Answer.HOLDS for _, answer in row)
            and all(later - sooner <= GAP for sooner, later in pairwise(times))
        )


@settings(max_examples=400, deadline=None)
@given(_looks)
def test_passed_is_said_only_of_what_held_in_a_row_without_a_gap(looks: list[tuple[float, dict]]) -> None:  # type: ignore[type-arg] # hypothesis' own
    watch, seen = Watch(RULES), {name: Seen() for name in NAMES}
    seconds = 25.0
    for step, answers in looks:
        seconds += step
        now = at(seconds)
        readings = {
            name: Reading(answer, answer.value, "", now - timedelta(seconds=lag))
            for name, (answer, lag) in answers.items()
        }
        before = watch.status
        watch.take(seconds, readings)
        if before.outcome in CONCLUSIVE:
            assert watch.status == before
            continue
        for name, reading in readings.items():
            seen[name].note(reading, now)
        proven = all(one.proven(now) for one in seen.values())
        if watch.status.outcome is CheckOutcome.PASSED:
            assert proven
        elif proven:
            assert watch.status.outcome in CONCLUSIVE, "what is proven is said"


@settings(max_examples=200, deadline=None)
@given(_looks, st.integers(0, 24), st.sampled_from([Answer.FAILS, Answer.UNKNOWN, Answer.BROKEN]))
def test_no_row_passes_through_an_answer_that_is_no_success(
    looks: list[tuple[float, dict]],  # type: ignore[type-arg] # hypothesis' own
    where: int,
    answer: Answer,
) -> None:
    watch = Watch(RULES)
    seconds = 25.0
    for index, (step, _) in enumerate(looks):
        seconds += abs(step)
        good = answer if index == where % len(looks) else Answer.HOLDS
        watch.look(seconds, {"toxicity": good, "healthy": Answer.HOLDS})
        if good is answer and SINCE + timedelta(seconds=seconds) >= OPENS:
            if watch.status.outcome not in CONCLUSIVE:
                assert watch["toxicity"].successes == 0
            else:
                break


@settings(max_examples=200, deadline=None)
@given(_looks)
def test_it_always_says_when_to_look_again_until_it_is_concluded(looks: list[tuple[float, dict]]) -> None:  # type: ignore[type-arg] # hypothesis' own
    watch = Watch(RULES)
    seconds = 25.0
    for step, _ in looks:
        seconds += step
        judged = watch.look(seconds, Answer.HOLDS)
        concluded = judged.status.outcome in CONCLUSIVE
        assert (judged.look_again is None) is concluded
        assert judged.look_again is None or 0 < judged.look_again <= 900
        assert not (concluded and judged.due)
