"""Plans of made-up steps on workloads in memory: what is written when, and what a look then shows.

Each step sets one field of its target. What is observed afterwards is the test's to say: a verdict for each
look at a step whose field is set, the last one for good.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from stanch.actions.objects import Obj
from stanch.actions.protocol import Ask, Edit, Intent, Judgement, Observation, Plain, Refusal, Verdict
from stanch.actions.registry import ACTIONS
from stanch.api.v1alpha1.hold import Rule
from stanch.api.v1alpha1.incident import DesiredState
from stanch.api.v1alpha1.steps import OnFailure, Step, StepMember
from stanch.incidents import containment, release
from stanch.incidents.acts import Act, Decision, Patch, RemoveFinalizer
from stanch.incidents.facts import Facts, Limits, items_of
from stanch.plans.changes import field_change, lookup, pointer
from tests.unit.actions.cluster_objects import obj
from tests.unit.incidents.walk import (
    NOW,
    PROVEN,
    carry_out,
    incident,
    with_object,
    with_spec,
    written_ahead,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pytest

    from stanch.api.v1alpha1.status import AIIncidentStatus, StepState, StepStatus
    from stanch.kube.client import Kube

MOST = 5
TIMEOUT = timedelta(seconds=60)
EFFECTIVE, PENDING = Verdict.EFFECTIVE, Verdict.PENDING
INEFFECTIVE, INCONCLUSIVE = Verdict.INEFFECTIVE, Verdict.INCONCLUSIVE


class _Member(StepMember):
    pass


MEMBERS = tuple(type(f"Made{n}", (_Member,), {"action": f"Made{n}"}) for n in range(MOST))


class MadeStep(Step):
    made: _Member | None = None


def step(
    number: int,
    *,
    on_failure: OnFailure = OnFailure.STOP,
    optional: bool = False,
    timeout: str | None = None,
) -> Step:
    """The step that sets the field `made<number>`."""
    return MadeStep(made=MEMBERS[number](), on_failure=on_failure, optional=optional, timeout=timeout)


@dataclass(frozen=True)
class Seen(Observation):
    verdict: Verdict = Verdict.EFFECTIVE
    refused: bool = False


class Made(Plain):
    """One made-up action."""

    timeout = TIMEOUT
    rule = Rule.STOPPED

    def __init__(self, number: int) -> None:
        self.name = f"Made{number}"
        self.path = pointer("spec", f"made{number}")

    async def observe(self, kube: Kube, ask: Ask) -> Observation:
        raise NotImplementedError

    def plan(self, seen: Any, ask: Ask) -> tuple[Intent, ...] | Refusal:
        if seen.target is None or seen.refused:
            return Refusal("Unwilling", "this step cannot be done here")
        assert ask.target.name == seen.target.meta.name
        change = field_change(seen.target.json, self.path, f"by {self.name}")
        return (Edit(seen.target, (change,), f"{self.name} of {ask.target.name}", self.rule),)

    def judge(self, seen: Any, ask: Ask) -> Judgement:
        assert ask.record is not None
        return Judgement(seen.verdict, f"Seen{seen.verdict}", f"{self.name} looks {seen.verdict}", 0.2)


def install(patch: pytest.MonkeyPatch) -> None:
    for number in range(MOST):
        action = Made(number)
        patch.setitem(ACTIONS, action.name, action)


Place = tuple[str, int]
"""One step on one target: the target's name and the step's number."""


@dataclass
class World:
    """One incident, its targets, and what is observed of them."""

    facts: Facts
    script: Mapping[Place, Sequence[Verdict]] = field(default_factory=dict)
    now: datetime = NOW
    looks: defaultdict[Place, int] = field(default_factory=lambda: defaultdict(int))
    writes: list[Place] = field(default_factory=list)
    """Forward writes of containment, in order."""
    undone: list[Place] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        steps: Sequence[Step],
        targets: Sequence[str] = ("a",),
        script: Mapping[Place, Sequence[Verdict]] | None = None,
        *,
        refused: Sequence[Place] = (),
        **spec: Any,
    ) -> World:
        what = incident(targets=[{"kind": "Deployment", "name": name} for name in targets], **spec)
        facts = with_spec(Facts(incident=what, proof=PROVEN), steps=tuple(steps))
        seen = {
            item.id: Seen(
                obj("Deployment", item.target.name),
                refused=(item.target.name, _number(item.action)) in refused,
            )
            for item in items_of(facts.incident)
        }
        return cls(replace(facts, observations=seen), script or {})

    @property
    def status(self) -> AIIncidentStatus:
        return self.facts.incident.status

    @property
    def states(self) -> dict[Place, StepState]:
        return {place_of(entry): entry.state for entry in self.status.steps}

    def entry(self, place: Place) -> StepStatus:
        return next(entry for entry in self.status.steps if place_of(entry) == place)

    @property
    def plan(self) -> tuple[Step, ...]:
        return self.facts.incident.spec.steps or ()

    def step(self, place: Place) -> Step:
        return next(one for one in self.plan if one.member and _number(one.member.action) == place[1])

    def tick(self, seconds: float = 1.0) -> None:
        self.now += timedelta(seconds=seconds)

    def target(self, name: str) -> Obj:
        found = (seen.target for seen in self.facts.observations.values())
        return next(one for one in found if one is not None and one.meta.name == name)

    def is_set(self, place: Place) -> bool:
        return lookup(self.target(place[0]).json, f"/spec/made{place[1]}") is not None

    def decide(self) -> Decision:
        """A look at everything, and what is decided on it."""
        self._look()
        if release.wanted(self.facts.incident):
            return release.decide(self.facts, self.now)
        return containment.decide(self.facts, self.now, Limits())

    def _look(self) -> None:
        seen = {}
        for item in items_of(self.facts.incident):
            place = item.target.name, _number(item.action)
            old = self.facts.observations[item.id]
            assert isinstance(old, Seen)
            verdicts = self.script.get(place, (EFFECTIVE,))
            look = min(self.looks[place], len(verdicts) - 1)
            seen[item.id] = replace(old, verdict=verdicts[look])
            if self.is_set(place):
                self.looks[place] += 1
        self.facts = replace(self.facts, observations=seen)

    def store(self, decision: Decision) -> None:
        if decision.status is not None:
            what = self.facts.incident.model_copy(update={"status": decision.status})
            self.facts = replace(self.facts, incident=what, contests=())
        written_ahead(self.facts, decision)

    def act(self, act: Act) -> bool:
        """False when it was decided on something outdated, so that everything must be read anew."""
        if isinstance(act, Patch):
            if act.obj.json != self.target(act.obj.meta.name).json:
                return False
            for op in act.ops:
                _, _, last = op["path"].rpartition("/")
                if last.startswith("made"):
                    place = act.obj.meta.name, int(last.removeprefix("made"))
                    (self.undone if op["op"] == "remove" else self.writes).append(place)
        self.facts = carry_out(self.facts, act)
        return True

    def passes(self, most: int = 60, seconds: float = 1.0) -> Iterator[Decision]:
        """Decide, store, act. Ends when a decision asks for nothing and nothing is waited for."""
        for _ in range(most):
            decision = self.decide()
            self.store(decision)
            all(self.act(act) for act in decision.acts)
            yield decision
            ended = decision.acts and isinstance(decision.acts[-1], RemoveFinalizer)
            if ended or not (decision.acts or decision.again or self.waits):
                return
            self.tick(seconds)

    @property
    def waits(self) -> bool:
        """Whether another look may show something else than the last one."""
        return any(
            self.is_set(place) and self.looks[place] < len(verdicts)
            for place, verdicts in self.script.items()
            if place in self.states
        )

    def run(self, **pace: Any) -> World:
        for _ in self.passes(**pace):
            pass
        return self

    def release(self) -> World:
        self.facts = with_spec(self.facts, desired_state=DesiredState.RELEASED)
        return self

    def crash(self) -> World:
        """A new process: of the old one only what is stored is left."""
        self.facts = replace(self.facts, preflights={}, errands={})
        return self

    def set_by_somebody(self, place: Place, value: str | None) -> None:
        old = self.target(place[0])
        body = {**old.json, "spec": {**old.json["spec"], f"made{place[1]}": value}}
        body["spec"] = {key: kept for key, kept in body["spec"].items() if kept is not None}
        body["metadata"] = {**body["metadata"], "generation": body["metadata"]["generation"] + 1}
        self.facts = with_object(self.facts, Obj(old.resource, body))

    @property
    def as_before(self) -> bool:
        """Whether every target is as it was made, byte for byte, but for the count of its changes."""
        return all(
            _given(self.target(target.name)) == _given(obj("Deployment", target.name))
            for target in self.facts.incident.spec.targets
        )


def _given(one: Obj) -> dict[str, Any]:
    metadata = {key: value for key, value in one.json["metadata"].items() if key != "generation"}
    return {**one.json, "metadata": metadata, "status": {}}


def place_of(entry: StepStatus) -> Place:
    return entry.target.name, _number(entry.action)


def _number(action: str) -> int:
    return int(action.removeprefix("Made"))
