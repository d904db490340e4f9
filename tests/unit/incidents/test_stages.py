"""A release that is proven stage by stage: what comes back when, and what a failure does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanch.actions.protocol import Leniency
from stanch.api.v1alpha1.hold import HeldEntry, Rule, hold_key
from stanch.api.v1alpha1.incident import DesiredState
from stanch.api.v1alpha1.policy import ContainmentPolicy
from stanch.api.v1alpha1.record import Determination, Resolution
from stanch.api.v1alpha1.recovery import Probation, ReleaseMode, ReleaseStage
from stanch.api.v1alpha1.status import AIIncidentStatus, AskedBy, CheckOutcome, Phase
from stanch.holds import entries
from stanch.incidents import containment, release, stages, ways
from stanch.incidents.acts import Decision, Measure
from stanch.incidents.facts import Facts, Limits
from stanch.incidents.ways import Way
from stanch.policies.match import Choice
from stanch.status import conditions
from stanch.verification.reading import Answer, Reading
from tests.unit.actions.cluster_objects import obj
from tests.unit.incidents.walk import NOW, carry_out, facts_of, incident, with_meta, with_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from stanch.actions.objects import Obj

HOLD = "apps/deployments/llm"
VERIFICATION: dict[str, Any] = {
    "checks": [
        {"name": "toxicity", "prometheus": {"query": "toxicity", "operator": "lt", "value": "0.01"}},
        {"name": "healthy", "healthy": {}},
    ],
    "initialDelay": "10s",
    "interval": "5s",
    "consecutiveSuccesses": 2,
    "failureLimit": 2,
    "inconclusiveLimit": 3,
    "timeout": "5m",
}


def policy(**spec: Any) -> ContainmentPolicy:
    return ContainmentPolicy.model_validate(
        {
            "metadata": {"name": "chat", "namespace": "chat", "uid": "uid-policy", "generation": 1},
            "spec": {
                "selector": {},
                "steps": [{"scaleToZero": {}}],
                "verification": VERIFICATION,
                **spec,
            },
        }
    )


def good(_check: str, _at: datetime) -> Answer:
    return Answer.HOLDS


def bad(_check: str, _at: datetime) -> Answer:
    return Answer.FAILS


@dataclass
class Story:
    """One incident, decided on again and again, on a cluster of plain values."""

    facts: Facts
    now: datetime = NOW
    decisions: list[Decision] = field(default_factory=list)
    seen: list[tuple[str | None, int | None]] = field(default_factory=list)
    """Stage and replicas, each time that one of them was another."""

    @property
    def status(self) -> AIIncidentStatus:
        return self.facts.incident.status

    @property
    def stage(self) -> ReleaseStage | None:
        return self.status.release.stage if self.status.release else None

    @property
    def replicas(self) -> int:
        return int(self.target.json["spec"].get("replicas", -1))

    @property
    def target(self) -> Obj:
        (seen,) = self.facts.observations.values()
        target = seen.target
        assert target is not None
        return target

    @property
    def held(self) -> set[str]:
        return {key for key, entry in self.facts.held.items() if entry.giving_back is None}

    def condition(self, type_: str) -> tuple[str, str]:
        found = conditions.find(self.status.conditions, type_)
        assert found is not None, type_
        return found.status, found.reason

    def run(self, seconds: float, answers: Callable[[str, datetime], Answer] = good) -> Story:
        """As the reconciler does: decide, store, act; then wait as long as the decision says."""
        ends = self.now + timedelta(seconds=seconds)
        while self.now <= ends:
            look_again = self._come_to_rest(answers)
            if look_again is None or self.status.phase in {Phase.RELEASED, Phase.RECOVERED, Phase.CLOSED}:
                break
            self.now += timedelta(seconds=max(look_again, 0.1))
        return self

    def _come_to_rest(self, answers: Callable[[str, datetime], Answer]) -> float | None:
        for _ in range(60):
            decision = self._decide()
            self.decisions.append(decision)
            if decision.status is not None:
                what = self.facts.incident.model_copy(update={"status": decision.status})
                self.facts = replace(self.facts, incident=what, contests=(), readings={})
            for act in decision.acts:
                self._look_away(act, answers)
            if not self.seen or self.seen[-1] != (self.stage, self.replicas):
                self.seen.append((self.stage, self.replicas))
            if not decision.acts and not decision.again and not self.facts.readings:
                return decision.look_again
        raise AssertionError("it never comes to rest")

    def _look_away(self, act: Any, answers: Callable[[str, datetime], Answer]) -> None:
        if isinstance(act, Measure):
            readings = {
                check.name: Reading(answers(check.name, self.now), "Looked", "as asked", self.now)
                for check in act.checks
            }
            self.facts = replace(self.facts, readings={**self.facts.readings, **readings})
        else:
            self.facts = carry_out(self.facts, act)

    def _decide(self) -> Decision:
        match ways.alone(self.facts, ways.way_of(self.facts.incident, self.now)):
            case Way.AT_ONCE:
                return release.decide(self.facts, self.now)
            case Way.STAGED:
                return stages.decide(self.facts, self.now, Limits())
            case Way.STAY:
                return containment.decide(self.facts, self.now, Limits())

    def spec(self, **changes: Any) -> Story:
        self.facts = with_spec(self.facts, **changes)
        generation = self.facts.incident.metadata.generation + 1
        self.facts = with_meta(self.facts, generation=generation)
        return self


def contained(kind: str = "Deployment", **spec: Any) -> Story:
    targets = [{"kind": kind, "name": "llm"}]
    facts = replace(facts_of(incident(targets=targets), obj(kind)), choice=Choice.of(policy(**spec)))
    story = Story(facts).run(0)
    assert story.status.phase is Phase.CONTAINED
    story.seen.clear()
    return story


def asked(story: Story) -> Story:
    return story.spec(desired_state=DesiredState.RELEASED)


def test_one_pod_first_then_all_and_only_then_is_it_recovered() -> None:
    story = asked(contained()).run(600)

    assert story.status.phase is Phase.RECOVERED
    assert [each for each in story.seen if each[0] in ways.UNDER_WAY] == [
        (ReleaseStage.PROBATION, 0),
        (ReleaseStage.PROBATION, 1),
        (ReleaseStage.FULL, 1),
        (ReleaseStage.FULL, 3),
    ]
    assert story.target.json["spec"] == obj("Deployment").json["spec"], "exactly as it was"
    assert story.target.json["metadata"] == obj("Deployment").json["metadata"]
    assert story.held == set()
    assert story.condition(conditions.VERIFIED) == ("True", "ChecksPassed")
    assert story.condition(conditions.RELEASED) == ("True", "GivenBack")
    times = story.status.timestamps
    assert times is not None
    assert times.recovered is not None
    assert times.released == times.recovered
    (step,) = story.status.steps
    assert step.undo is not None
    assert step.undo.message == "replicas 0 → 3"


def test_on_probation_the_rest_stays_held() -> None:
    story = asked(contained()).run(5)

    assert (story.stage, story.replicas) == (ReleaseStage.PROBATION, 1)
    assert story.held == {f"Kept {HOLD}", f"Limited {HOLD}=1"}
    assert story.status.phase is Phase.RELEASING
    assert story.condition(conditions.HELD) == ("True", "DeniedAtAdmission")
    assert story.condition(conditions.RELEASED) == ("False", "Probation")


def test_in_full_it_is_only_kept() -> None:
    story = asked(contained())
    while story.stage is not ReleaseStage.FULL:
        story.run(1)
    story.run(3)

    assert story.replicas == 3
    assert story.held == {f"Kept {HOLD}"}
    assert story.status.phase is Phase.RELEASING


def test_what_was_learnt_closes_it_and_it_stays_recovered() -> None:
    resolution = Resolution(determination=Determination.CONFIRMED, root_cause="the filter was off")
    story = asked(contained()).spec(resolution=resolution).run(600)

    assert story.status.phase is Phase.CLOSED
    times = story.status.timestamps
    assert times is not None
    assert times.recovered == times.closed


@pytest.mark.parametrize("when", [ReleaseStage.PROBATION, ReleaseStage.FULL])
def test_what_fails_is_contained_again_and_says_why(when: ReleaseStage) -> None:
    story = asked(contained())

    def answers(check: str, _at: datetime) -> Answer:
        return Answer.FAILS if story.stage is when and check == "toxicity" else Answer.HOLDS

    story.run(600, answers)

    assert (story.status.phase, story.stage) == (Phase.CONTAINED, ReleaseStage.FAILED)
    assert story.replicas == 0
    assert f"Stopped {HOLD}" in story.held
    assert story.condition(conditions.CONTAINED) == ("True", "AllStepsEffective")
    assert story.condition(conditions.VERIFIED) == ("False", "Failed")
    assert story.condition(conditions.RELEASED) == ("False", "ContainedAgain")
    assert story.status.contested is None, "nobody undid it but Stanch"
    assert "toxicity" in (story.status.summary or "")
    (step,) = story.status.steps
    (change,) = step.changes
    (replicas,) = [one for one in change.fields if one.path == "/spec/replicas"]
    assert (replicas.before, replicas.after, change.rule) == (3, 0, Rule.STOPPED)
    assert step.eased is None


@pytest.mark.parametrize("answer", [Answer.UNKNOWN, Answer.BROKEN])
def test_what_cannot_be_known_is_contained_again(answer: Answer) -> None:
    story = asked(contained()).run(600, lambda _check, _at: answer)

    assert (story.status.phase, story.stage, story.replicas) == (Phase.CONTAINED, ReleaseStage.FAILED, 0)
    outcome = CheckOutcome.ERROR if answer is Answer.BROKEN else CheckOutcome.INCONCLUSIVE
    assert story.status.verification is not None
    assert story.status.verification.outcome is outcome


def test_after_a_failure_it_stays_contained_until_asked_anew_and_then_is_given_back() -> None:
    story = asked(contained()).run(600, bad).run(3600)
    assert (story.status.phase, story.stage) == (Phase.CONTAINED, ReleaseStage.FAILED)

    story.spec(desired_state=DesiredState.CONTAINED).run(60)
    assert story.status.phase is Phase.CONTAINED

    asked(story).run(600)

    assert story.status.phase is Phase.RECOVERED  # type: ignore[comparison-overlap]  # it moved meanwhile
    assert story.status.release is not None
    assert story.status.release.attempt == 2
    assert story.target.json["spec"] == obj("Deployment").json["spec"]


def test_a_person_may_take_it_back() -> None:
    story = asked(contained()).run(5)
    assert story.replicas == 1

    story.spec(desired_state=DesiredState.CONTAINED).run(60)

    assert (story.status.phase, story.replicas) == (Phase.CONTAINED, 0)
    assert story.status.release is not None
    assert story.status.release.message.startswith("withdrawn")


@pytest.mark.parametrize("stage", [ReleaseStage.PROBATION, ReleaseStage.FULL])
def test_a_person_may_do_without_proof_at_any_time(stage: ReleaseStage) -> None:
    story = asked(contained())
    while story.stage is not stage:
        story.run(1)
    story.run(2)

    story.spec(skip_verification=True).run(60)

    assert story.status.phase is Phase.RELEASED, "on a person's word, not recovered"
    assert story.target.json["spec"] == obj("Deployment").json["spec"]
    assert story.held == set()


def test_what_was_never_contained_needs_no_proof() -> None:
    facts = replace(facts_of(incident()), choice=Choice.of(policy()))
    story = Story(facts)
    story.facts = with_spec(story.facts, desired_state=DesiredState.RELEASED)

    story.run(5)

    assert story.status.phase is Phase.RELEASED
    assert story.stage is None


def test_a_policy_tries_by_itself_ever_more_rarely_and_not_for_ever() -> None:
    story = contained(release={"mode": "Automatic", "after": "10m", "attempts": 2})
    assert story.run(500, bad).stage is None

    story.run(200, bad)
    first = story.status.release
    assert first is not None
    assert (first.stage, first.attempt, first.asked_by) == (ReleaseStage.FAILED, 1, AskedBy.POLICY)

    story.run(1000, bad)
    assert story.status.release == first, "twice as long this time"

    story.run(400, bad)
    second = story.status.release
    assert second is not None
    assert (second.stage, second.attempt) == (ReleaseStage.FAILED, 2)

    story.run(24 * 3600, good)
    assert (story.status.release, story.status.phase) == (second, Phase.CONTAINED), "a person has to ask"


def test_a_policy_gives_back_what_is_proven() -> None:
    story = contained(release={"mode": "Automatic", "after": "1m"}).run(300)

    assert story.status.phase is Phase.RECOVERED
    assert story.facts.incident.spec.desired_state is DesiredState.CONTAINED


def test_a_person_keeps_a_policy_from_it() -> None:
    story = contained(release={"mode": "Automatic", "after": "1m"})

    story.spec(release_mode=ReleaseMode.MANUAL).run(3600)

    assert (story.status.phase, story.stage) == (Phase.CONTAINED, None)


def test_another_incident_that_contains_it_meanwhile_ends_the_release() -> None:
    story = asked(contained()).run(5)
    other = HeldEntry.of("leak", "High, DataBreach", NOW)
    held = entries.join(story.facts.held, {hold_key(Rule.KEPT, HOLD): other})
    story.facts = replace(story.facts, held=held)

    story.run(30)

    assert (story.stage, story.replicas) == (ReleaseStage.FAILED, 0)
    assert story.status.release is not None
    assert "leak" in story.status.release.message


def held_by_another_too(story: Story, *keys: str) -> Story:
    other = HeldEntry.of("leak", "High, DataBreach", NOW)
    held = entries.join(story.facts.held, dict.fromkeys(keys, other))
    story.facts = replace(story.facts, held=held)
    return story


def test_what_another_contains_in_the_same_way_is_passed_on_at_once() -> None:
    """Nothing comes back, so there is nothing to prove."""
    story = held_by_another_too(contained(), hold_key(Rule.STOPPED, HOLD))

    asked(story).run(0)

    assert (story.status.phase, story.stage, story.replicas) == (Phase.RELEASED, None, 0)
    assert story.facts.held[hold_key(Rule.STOPPED, HOLD)].incidents == ("leak",)


def test_what_another_contains_in_another_way_does_not_come_back_unproven() -> None:
    story = held_by_another_too(contained(), hold_key(Rule.KEPT, HOLD))

    asked(story).run(3600)

    assert (story.stage, story.status.phase, story.replicas) == (ReleaseStage.FAILED, Phase.CONTAINED, 0)
    assert story.status.release is not None
    assert "release leak first, or set spec.skipVerification" in story.status.release.message
    assert {replicas for _, replicas in story.seen} == {0}, "not for a moment"

    story.spec(skip_verification=True).run(0)
    assert (story.status.phase, story.replicas) == (Phase.RELEASED, 3)


def test_a_policy_does_not_try_to_release_what_another_contains_as_well() -> None:
    """Its attempts are for what could succeed: it tries once the other one is released."""
    story = contained(release={"mode": "Automatic", "after": "1m", "attempts": 1})
    alone = story.facts.held
    held_by_another_too(story, hold_key(Rule.KEPT, HOLD)).run(3600)
    assert (story.stage, story.status.phase) == (None, Phase.CONTAINED)

    story.facts = replace(story.facts, held=alone)
    story.run(300)
    assert story.status.phase is Phase.RECOVERED


def test_a_name_in_the_hold_that_no_incident_answers_to_stops_no_release() -> None:
    story = held_by_another_too(contained(), hold_key(Rule.KEPT, HOLD), hold_key(Rule.STOPPED, HOLD))
    story.facts = replace(story.facts, ghosts=frozenset({"leak"}))

    asked(story).run(600)

    assert (story.status.phase, story.replicas) == (Phase.RECOVERED, 3)


def test_a_version_that_another_condemns_as_well_is_no_workload_in_common() -> None:
    bad = hold_key(Rule.CONDEMNED, "image/llm:bad")
    story = contained()
    mine = {bad: HeldEntry.of(story.facts.name, "Critical, Jailbreak", NOW)}
    story.facts = replace(story.facts, held=entries.join(story.facts.held, mine))
    held_by_another_too(story, bad)

    assert not ways.also_contained_by(story.facts)
    assert asked(story).run(600).status.phase is Phase.RECOVERED


def test_who_scales_it_up_on_probation_is_put_right_and_told() -> None:
    story = asked(contained()).run(5)
    body = story.target.json
    body["spec"]["replicas"] = 3
    story.run(0)

    assert story.replicas == 1
    assert story.status.contested is not None
    assert story.stage is ReleaseStage.PROBATION


def test_who_scales_it_down_on_probation_may() -> None:
    story = asked(contained()).run(5)
    story.target.json["spec"]["replicas"] = 0
    story.run(0)

    assert (story.replicas, story.status.contested) == (0, None)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"])
@pytest.mark.parametrize("answers", [good, bad])
def test_every_kind_comes_back_or_is_stopped_again(
    kind: str, answers: Callable[[str, datetime], Answer]
) -> None:
    story = contained(kind)
    stopped = story.target.json["spec"]

    asked(story).run(600, answers)

    if answers is good:
        assert story.status.phase is Phase.RECOVERED
        assert story.target.json["spec"] == obj(kind).json["spec"]
    else:
        assert story.status.phase is Phase.CONTAINED
        assert story.target.json["spec"] == stopped


@given(
    before=st.integers(0, 5000),
    probation=st.one_of(
        st.builds(lambda n: Probation(replicas=n), st.integers(1, 1000)),
        st.builds(lambda n: Probation(share=f"{n}%"), st.integers(0, 100)),
        st.just(Probation()),
    ),
)
def test_probation_lets_in_something_and_never_more_than_there_was(before: int, probation: Probation) -> None:
    count = Leniency(ReleaseStage.PROBATION, probation).count(before)

    assert min(1, before) <= count <= before
    assert Leniency(ReleaseStage.FULL, probation).count(before) == before


@settings(max_examples=40)  # each is a whole story
@given(st.lists(st.sampled_from(list(Answer)), min_size=1, max_size=40))
def test_whatever_the_checks_say_it_is_recovered_on_proof_or_stopped(answers: list[Answer]) -> None:
    story = asked(contained())
    told: list[Answer] = []

    def say(_check: str, _at: datetime) -> Answer:
        told.append(answers[len(told) % len(answers)])
        return told[-1]

    story.run(1800, say)

    if story.status.phase is Phase.RECOVERED:
        assert story.replicas == 3
        assert Answer.HOLDS in answers
    else:
        assert (story.status.phase, story.replicas) == (Phase.CONTAINED, 0)
        assert f"Stopped {HOLD}" in story.held
    assert story.status.contested is None


@settings(max_examples=40)
@given(st.integers(0, 60), st.sampled_from([good, bad]))
def test_wherever_it_is_interrupted_it_goes_on_from_what_is_stored(
    decisions: int, answers: Callable[[str, datetime], Answer]
) -> None:
    """What a process remembers (readings, measurements) is lost; what is stored decides."""
    story = asked(contained())
    count = 0
    ends = story.now + timedelta(seconds=900)
    while story.now <= ends and story.status.phase is not Phase.RECOVERED:
        decision = story._decide()
        if decision.status is not None:
            what = story.facts.incident.model_copy(update={"status": decision.status})
            story.facts = replace(story.facts, incident=what, readings={})
        for act in decision.acts:
            count += 1
            if count == decisions:  # the act was decided on and never done
                story.facts = replace(story.facts, readings={}, measuring=frozenset())
                break
            story._look_away(act, answers)
        if not decision.acts and not decision.again and not story.facts.readings:
            story.now += timedelta(seconds=decision.look_again or 1)

    if answers is good:
        assert story.status.phase is Phase.RECOVERED
        assert story.target.json["spec"] == obj("Deployment").json["spec"]
    else:
        assert (story.status.phase, story.replicas) == (Phase.CONTAINED, 0)
