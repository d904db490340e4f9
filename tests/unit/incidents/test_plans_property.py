"""Any plan, any verdicts, crashes and people in between: a later step never begins before its turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanch.actions.protocol import Verdict
from stanch.api.v1alpha1.status import Phase, StepState
from stanch.api.v1alpha1.steps import OnFailure, Step
from stanch.incidents.journal import FAILED
from tests.unit.incidents.plans import MOST, Place, World, install, step

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGETS = ("a", "b", "c")


@pytest.fixture(scope="module", autouse=True)
def _made_up_actions() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        yield


steps = st.builds(
    step,
    number=st.just(0),
    on_failure=st.sampled_from(OnFailure),
    optional=st.booleans(),
    timeout=st.sampled_from([None, "3s"]),
)
verdicts = st.lists(st.sampled_from(Verdict), min_size=1, max_size=5)


@st.composite
def plans(draw: st.DrawFn) -> World:
    """1 to 5 steps, in any order of their numbers, on 1 to 3 targets, each with verdicts of its own."""
    numbers = draw(st.permutations(range(MOST)).map(lambda order: order[: draw(st.integers(1, MOST))]))
    plan: list[Step] = []
    for number in numbers:
        drawn = draw(steps)
        plan.append(step(number, on_failure=drawn.on_failure, optional=drawn.optional, timeout=drawn.timeout))
    targets = TARGETS[: draw(st.integers(1, len(TARGETS)))]
    places = [(target, number) for target in targets for number in numbers]
    script = {place: draw(verdicts) for place in places}
    refused = draw(st.lists(st.sampled_from(places), max_size=2))
    return World.of(plan, targets, script, refused=refused)


def earlier(world: World, place: Place) -> list[Place]:
    order = [int((one.member.action if one.member else "").removeprefix("Made")) for one in world.plan]
    return [(place[0], number) for number in order[: order.index(place[1])]]


def settled(world: World, place: Place) -> bool:
    """Whether the plan goes on after it, by what is stored."""
    entry = world.entry(place)
    if entry.state is StepState.EFFECTIVE:
        return True
    goes_on = entry.optional or world.step(place).on_failure is OnFailure.CONTINUE
    return entry.state in FAILED and goes_on


@settings(max_examples=150)
@given(world=plans(), data=st.data())
def test_no_step_begins_before_those_before_it_on_its_target_are_settled(
    world: World, data: st.DataObject
) -> None:
    released = False
    for _ in range(data.draw(st.integers(3, 25), label="looks")):
        happens = data.draw(st.sampled_from([None, None, None, "crash", "release", "undo"]), label="happens")
        if happens == "crash":
            world.crash()
        elif happens == "release":
            world.release()
            released = True
        elif happens == "undo" and world.writes:
            world.set_by_somebody(data.draw(st.sampled_from(world.writes), label="undone"), None)
        before = list(world.writes)
        decision = world.decide()
        world.store(decision)
        kept = data.draw(st.integers(0, len(decision.acts)), label="acts before a crash or the next look")
        all(world.act(act) for act in decision.acts[:kept])
        begun = [place for place in world.writes[len(before) :] if place not in before]
        for place in begun:
            assert not released, f"{place} begins after its release was seen"
            unsettled = [one for one in earlier(world, place) if not settled(world, one)]
            assert unsettled == [], f"{place} begins before its turn"
        if world.status.phase is Phase.CONTAINED:
            assert set(world.states.values()) == {StepState.EFFECTIVE}
        world.tick()

    world.release().crash().run()

    assert world.status.phase in {Phase.RELEASED, None}
    assert world.as_before
    assert world.facts.held == {}
