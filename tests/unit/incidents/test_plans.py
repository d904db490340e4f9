"""Plans of several steps: their order, what a failed step means for the others, and changes of mind."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from stanch.actions.registry import ACTIONS
from stanch.api.v1alpha1.hold import Rule, hold_key
from stanch.api.v1alpha1.incident import Target
from stanch.api.v1alpha1.status import ObjectReference, Phase, StepState, StepStatus
from stanch.api.v1alpha1.steps import OnFailure
from stanch.incidents.acts import EnsureHold, Patch, TryOut
from stanch.incidents.facts import Item
from stanch.incidents.journal import Turn, next_turn
from stanch.incidents.record import waits
from stanch.plans.changes import lookup
from stanch.status import conditions
from tests.unit.incidents.plans import (
    EFFECTIVE,
    INCONCLUSIVE,
    INEFFECTIVE,
    PENDING,
    Place,
    World,
    install,
    place_of,
    step,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stanch.actions.protocol import Verdict

S = StepState
THREE = (step(0), step(1), step(2))
CONTINUE, STOP, RELEASE = OnFailure.CONTINUE, OnFailure.STOP, OnFailure.RELEASE


@pytest.fixture(autouse=True)
def _made_up_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


@pytest.mark.parametrize("on_failure", OnFailure)
@pytest.mark.parametrize("optional", [True, False])
@pytest.mark.parametrize("state", StepState)
def test_whose_turn_it_is(state: StepState, optional: bool, on_failure: OnFailure) -> None:  # noqa: FBT001
    item = Item("0", step(0, on_failure=on_failure), Target(kind="Deployment", name="a"))
    reference = ObjectReference(api_version="apps/v1", kind="Deployment", name="a")
    entry = StepStatus(id="0", action="Made0", target=reference, state=state, optional=optional)
    after_a_failure = Turn.OPEN if optional or on_failure is CONTINUE else Turn.SKIP
    expected = {S.EFFECTIVE: Turn.OPEN, S.INEFFECTIVE: after_a_failure, S.REFUSED: after_a_failure}

    assert next_turn(Turn.OPEN, item, entry) is expected.get(state, Turn.WAIT)
    begins_what_was_skipped = next_turn(Turn.SKIP, item, entry) is Turn.OPEN
    assert not begins_what_was_skipped


def test_the_steps_on_one_target_are_done_one_after_the_other() -> None:
    world = World.of(THREE, script={("a", 0): (PENDING, PENDING, EFFECTIVE), ("a", 1): (PENDING, EFFECTIVE)})

    world.run()

    assert world.writes == [("a", 0), ("a", 1), ("a", 2)]
    assert world.status.phase is Phase.CONTAINED
    times = [world.entry(("a", number)) for number in range(3)]
    for earlier, later in pairwise(times):
        assert earlier.effective_at is not None
        assert later.applied_at is not None
        assert earlier.effective_at <= later.applied_at


def test_all_steps_are_proven_recorded_and_held_before_the_first_write() -> None:
    world = World.of(THREE, targets=("a", "b"))
    acts = [act for decision in world.passes() for act in decision.acts]
    kinds = [type(act) for act in acts]

    assert kinds.count(TryOut) == 6
    last_try = max(at for at, kind in enumerate(kinds) if kind is TryOut)
    first_patch = kinds.index(Patch)
    assert last_try < kinds.index(EnsureHold) < first_patch
    first = acts[kinds.index(EnsureHold)]
    assert isinstance(first, EnsureHold)
    assert {f"{rule} apps/deployments/{name}" for rule in ("Stopped", "Kept") for name in "ab"} == set(
        first.entries
    )


@pytest.mark.parametrize("verdict", [PENDING, INEFFECTIVE])
def test_a_workload_is_held_as_stopped_only_when_the_step_that_stops_it_begins(
    monkeypatch: pytest.MonkeyPatch, verdict: Verdict
) -> None:
    """The step before may have to start pods; when that one fails, nothing was stopped."""
    monkeypatch.setattr(ACTIONS["Made0"], "rule", Rule.KEPT)
    kept, stopped = (hold_key(rule, "apps/deployments/a") for rule in (Rule.KEPT, Rule.STOPPED))
    world = World.of((step(0), step(1)), script={("a", 0): (PENDING, verdict, verdict, EFFECTIVE)})

    while_it_waits = [
        set(world.facts.held)
        for _ in world.passes()
        if ("a", 1) in world.states and waits(world.entry(("a", 1)))
    ]

    assert while_it_waits[-2:] == [{kept}] * 2
    assert world.writes == [("a", 0), ("a", 1)]
    assert set(world.facts.held) == {kept, stopped}
    world.release().run()
    assert world.as_before
    assert world.facts.held == {}


@pytest.mark.parametrize("verdict", [PENDING, INEFFECTIVE])
def test_what_somebody_sets_while_a_step_waits_is_what_comes_back(verdict: Verdict) -> None:
    """Though an earlier step has marked the object as held: the mark does not tell who wrote the field."""
    world = World.of((step(0), step(1)), script={("a", 0): (verdict, verdict, EFFECTIVE)})
    for _ in world.passes():
        if world.is_set(("a", 0)):
            break
    world.set_by_somebody(("a", 1), "theirs")

    world.crash().run()  # what was tried before is not known when it is looked at anew

    assert world.status.phase is Phase.CONTAINED
    assert world.status.contested is None
    world.release().run()
    assert lookup(world.target("a").json, "/spec/made1") == "theirs"


def test_targets_do_not_wait_for_each_other() -> None:
    world = World.of(THREE, targets=("a", "b"), script={("a", 0): (PENDING,)})

    for decision in world.passes(most=12):
        assert decision.status is None or decision.status.phase in {Phase.CONTAINING, None}

    assert world.writes == [("a", 0), ("b", 0), ("b", 1), ("b", 2)]
    assert [world.states["a", number] for number in range(3)] == [S.APPLIED, S.RECORDED, S.RECORDED]
    assert {world.states["b", number] for number in range(3)} == {S.EFFECTIVE}
    assert world.entry(("a", 1)).reason == "WaitsForEarlierStep"


@pytest.mark.parametrize(
    ("on_failure", "optional", "states", "phase"),
    [
        (STOP, False, (S.INEFFECTIVE, S.SKIPPED, S.SKIPPED), Phase.CONTAINMENT_FAILED),
        (CONTINUE, False, (S.INEFFECTIVE, S.EFFECTIVE, S.EFFECTIVE), Phase.CONTAINMENT_FAILED),
        (RELEASE, False, (S.UNDONE, S.UNDONE, S.UNDONE), Phase.RELEASED),
        (STOP, True, (S.INEFFECTIVE, S.EFFECTIVE, S.EFFECTIVE), Phase.PARTIALLY_CONTAINED),
        (CONTINUE, True, (S.INEFFECTIVE, S.EFFECTIVE, S.EFFECTIVE), Phase.PARTIALLY_CONTAINED),
        (RELEASE, True, (S.INEFFECTIVE, S.EFFECTIVE, S.EFFECTIVE), Phase.PARTIALLY_CONTAINED),
    ],
)
@pytest.mark.parametrize(
    "verdicts",
    [(INEFFECTIVE,), (PENDING, INEFFECTIVE), (PENDING,) * 3, (INCONCLUSIVE,) * 3],
    ids=["at once", "after a while", "never done", "never known"],
)
def test_what_a_failed_step_means(
    on_failure: OnFailure,
    optional: bool,  # noqa: FBT001 - a parametrised test
    states: Sequence[StepState],
    phase: Phase,
    verdicts: Sequence[Verdict],
) -> None:
    plan = (step(0, on_failure=on_failure, optional=optional), step(1), step(2))
    world = World.of(plan, script={("a", 0): verdicts})

    world.run(seconds=31)

    assert tuple(world.states["a", number] for number in range(3)) == states
    assert world.status.phase is phase
    went_on = states[1] is S.EFFECTIVE
    assert world.writes == [("a", 0), *([("a", 1), ("a", 2)] if went_on else [])]
    assert world.as_before is (phase is Phase.RELEASED)


def test_a_target_whose_step_failed_stops_alone_and_stays_as_it_is() -> None:
    world = World.of(THREE, targets=("a", "b"), script={("a", 1): (INEFFECTIVE,)})

    world.run()

    assert [world.states["a", number] for number in range(3)] == [S.EFFECTIVE, S.INEFFECTIVE, S.SKIPPED]
    assert [world.states["b", number] for number in range(3)] == [S.EFFECTIVE] * 3
    assert world.status.phase is Phase.CONTAINMENT_FAILED
    assert world.is_set(("a", 0)), "what was done stays done"
    assert "Stopped apps/deployments/a" in world.facts.held


def test_a_failure_that_releases_gives_back_every_target() -> None:
    plan = (step(0), step(1, on_failure=RELEASE))
    world = World.of(plan, targets=("a", "b"), script={("b", 1): (PENDING, INEFFECTIVE)})

    world.run()

    assert world.status.phase is Phase.RELEASED
    assert world.as_before
    assert world.facts.held == {}
    assert world.undone == [("b", 1), ("b", 0), ("a", 1), ("a", 0)], "the other way round"


def test_what_is_to_be_released_by_its_failure_is_not_contained_again() -> None:
    plan = (step(0), step(1, on_failure=RELEASE))
    world = World.of(plan, script={("a", 1): (INEFFECTIVE, EFFECTIVE)}).run()
    assert world.status.phase is Phase.RELEASED

    world.crash().run()

    assert world.writes == [("a", 0), ("a", 1)]
    assert world.as_before


def test_each_step_has_its_own_time() -> None:
    plan = (step(0, timeout="10s"), step(1))  # the action's own: 60 s
    slow = {("a", 0): (PENDING,) * 4, ("b", 0): (PENDING, EFFECTIVE), ("b", 1): (PENDING,) * 9}
    world = World.of(plan, targets=("a", "b"), script=slow)
    failed: dict[Place, float] = {}

    for _ in world.passes(seconds=9):
        for entry in world.status.steps:
            if entry.state is S.INEFFECTIVE:
                assert entry.applied_at is not None
                failed.setdefault(place_of(entry), (world.now - entry.applied_at).total_seconds())

    assert failed == {("a", 0): 18, ("b", 1): 63}, "at the first look after its time"
    assert world.entry(("a", 0)).message == "after 10 s: Made0 looks Pending"
    assert world.entry(("b", 1)).message == "after 60 s: Made1 looks Pending"


def test_a_step_that_waits_loses_none_of_its_time() -> None:
    plan = (step(0), step(1, timeout="10s"))
    world = World.of(plan, script={("a", 0): (PENDING,) * 5 + (EFFECTIVE,), ("a", 1): (PENDING, EFFECTIVE)})

    world.run(seconds=8)

    assert world.status.phase is Phase.CONTAINED


def test_steps_that_were_skipped_are_done_when_the_one_before_becomes_effective_after_all() -> None:
    world = World.of(THREE, script={("a", 0): (INEFFECTIVE, INEFFECTIVE, EFFECTIVE)})
    phases = [decision.status.phase for decision in world.passes() if decision.status is not None]

    assert phases.index(Phase.CONTAINMENT_FAILED) < phases.index(Phase.CONTAINING, 2) < len(phases) - 1
    assert phases[-1] is Phase.CONTAINED
    assert world.writes == [("a", 0), ("a", 1), ("a", 2)]


@pytest.mark.parametrize(
    ("refused", "on_failure", "optional", "phase"),
    [
        (("a", 0), STOP, False, Phase.REJECTED),
        (("a", 2), STOP, False, Phase.REJECTED),
        (("a", 2), RELEASE, False, Phase.REJECTED),
        (("a", 2), CONTINUE, False, Phase.CONTAINMENT_FAILED),
        (("a", 2), STOP, True, Phase.PARTIALLY_CONTAINED),
    ],
)
def test_a_step_that_cannot_be_done_is_known_before_the_first_write(
    refused: tuple[str, int],
    on_failure: OnFailure,
    optional: bool,  # noqa: FBT001 - a parametrised test
    phase: Phase,
) -> None:
    plan = tuple(step(number, on_failure=on_failure, optional=optional) for number in range(3))
    world = World.of(plan, refused=[refused])

    world.run()

    assert world.status.phase is phase
    if phase is Phase.REJECTED:
        assert world.writes == []
        assert world.as_before
        assert "this step cannot be done here" in (world.status.summary or "")
    else:
        assert world.writes == [("a", 0), ("a", 1)]


def test_when_nothing_is_left_of_an_optional_plan_it_is_rejected() -> None:
    plan = (step(0, optional=True), step(1, optional=True))

    world = World.of(plan, refused=[("a", 0), ("a", 1)]).run()

    assert world.status.phase is Phase.REJECTED
    assert world.writes == []


def test_optional_steps_that_all_fail_have_contained_nothing() -> None:
    plan = (step(0, optional=True), step(1, optional=True))

    world = World.of(plan, script={("a", 0): (INEFFECTIVE,), ("a", 1): (INEFFECTIVE,)}).run()

    assert world.status.phase is Phase.CONTAINMENT_FAILED
    assert not conditions.is_true(world.status.conditions, conditions.CONTAINED)
    assert world.status.timestamps is not None
    assert world.status.timestamps.contained is None


def test_an_earlier_step_that_is_undone_by_somebody_is_put_right_beside_the_later_ones() -> None:
    world = World.of(THREE).run()
    world.set_by_somebody(("a", 0), None)

    world.run()

    assert world.writes == [("a", 0), ("a", 1), ("a", 2), ("a", 0)]
    assert world.status.phase is Phase.CONTAINED
    assert world.status.contested is not None
    assert world.status.contested.count == 1


# A change of mind.

SLOW = {("a", 0): (PENDING, PENDING, EFFECTIVE), ("b", 1): (PENDING, EFFECTIVE)}


def uninterrupted() -> World:
    return World.of(THREE, targets=("a", "b"), script=SLOW)


def acts_of_a_whole_run() -> int:
    return sum(len(decision.acts) for decision in uninterrupted().passes())


def test_a_release_asked_for_at_any_moment_pre_empts_what_is_left() -> None:
    """After each act of the plan in turn: from then on nothing is written forward."""
    for moment in range(acts_of_a_whole_run() + 1):
        world = uninterrupted()
        until(world, moment)
        before = list(world.writes)

        world.release().run()

        assert world.writes == before, f"after act {moment}"
        assert world.status.phase is Phase.RELEASED
        assert world.as_before
        assert world.facts.held == {}
        assert not world.facts.incident.metadata.finalizers


def test_a_release_undoes_the_last_step_first() -> None:
    world = World.of(THREE).run()

    world.release().run()

    assert world.undone == [("a", 2), ("a", 1), ("a", 0)]


def test_killed_after_any_act_it_ends_as_if_nothing_had_happened() -> None:
    """After each act in turn, a status having been stored before each; a new process goes on."""
    expected = uninterrupted().run()
    for moment in range(acts_of_a_whole_run() + 1):
        world = uninterrupted()
        until(world, moment)

        world.crash().run()

        assert sorted(world.writes) == sorted(expected.writes), f"killed after act {moment}"
        assert world.states == expected.states
        assert world.status.phase is Phase.CONTAINED
        assert world.status.contested is None, "nobody but the operator did anything"
        assert changes(world) == changes(expected)
        world.release().run()
        assert world.as_before


def until(world: World, acts: int) -> None:
    """Run until so many acts are done and the next decision's status is stored."""
    done = 0
    for _ in range(60):
        decision = world.decide()
        world.store(decision)
        for act in decision.acts:
            if done == acts:
                return
            if not world.act(act):
                break
            done += 1
        if not (decision.acts or world.waits):
            return


def changes(world: World) -> list[object]:
    return [(place_of(entry), entry.changes) for entry in world.status.steps]


def test_one_record_for_each_change_and_one_entry_of_the_hold_for_each_object() -> None:
    world = World.of(THREE, targets=("a", "b")).run()

    assert [len(entry.changes) for entry in world.status.steps] == [1] * 6
    keys = {
        hold_key(rule, f"apps/deployments/{change.object.name}")
        for entry in world.status.steps
        for change in entry.changes
        for rule in (change.rule, Rule.KEPT)  # kept while it waited
    }
    assert set(world.facts.held) == keys
