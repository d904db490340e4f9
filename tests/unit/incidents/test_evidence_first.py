"""Evidence goes first by itself, is taken once and in its turn, and holds up nothing that is urgent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from stanch.actions.protocol import Observation
from stanch.api.v1alpha1.evidence import EvidenceRecord
from stanch.api.v1alpha1.status import Phase
from stanch.errors import Retry
from stanch.evidence.take import Taken
from stanch.holds.canary import Canary
from stanch.holds.keeper import HoldKeeper
from stanch.incidents import containment
from stanch.incidents.acts import EnsureHold, Patch, RunErrand
from stanch.incidents.facts import Facts, Limits, items_of
from stanch.incidents.reconcile import Reconciler
from stanch.kube.resources import AIINCIDENTS, REPLICASETS, ObjectRef, Resource
from stanch.observability.metrics import Metrics
from stanch.queue import Key
from stanch.status import conditions
from tests.unit.actions.cluster_objects import body, obj
from tests.unit.incidents.in_memory import NO_TOOLS, TARGET, WHO, InMemory, tools_of
from tests.unit.incidents.walk import NOW, PROVEN, carry_out, incident

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.kube.client import Kube

Json = dict[str, Any]
KEY = Key("chat", "toxic")
INCIDENT = ObjectRef(AIINCIDENTS, *KEY)
RAG = ObjectRef(REPLICASETS, "chat", "rag")
COLLECT: Json = {"collectEvidence": {}}
STOP: Json = {"scaleToZero": {}}
FIRST, NAMED = "evidence-CollectEvidence-Deployment-llm", "0-CollectEvidence-Deployment-llm"


def ids(what: AIIncident, *, evidence: bool) -> list[str]:
    return [item.id for item in items_of(what, evidence=evidence)]


def begun(*steps: str, phase: str = "Containing") -> Json:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llm"}
    entries = [
        {"id": step, "action": step.split("-")[1], "target": target, "state": "Recorded"} for step in steps
    ]
    return {"phase": phase, "steps": entries}


@pytest.mark.parametrize("spec", [{}, {"steps": [STOP]}], ids=["the default plan", "a plan"])
def test_a_plan_that_says_nothing_of_it_begins_with_evidence_where_there_is_a_place(spec: Json) -> None:
    stop = "0-ScaleToZero-Deployment-llm"

    assert ids(incident(**spec), evidence=True) == [FIRST, stop]
    assert ids(incident(**spec), evidence=False) == [stop]


@pytest.mark.parametrize("steps", [[COLLECT, STOP], [STOP, COLLECT]], ids=["first", "last"])
def test_a_plan_that_names_it_is_left_as_it_is(steps: list[Json]) -> None:
    found = ids(incident(steps=steps), evidence=True)

    assert found == ids(incident(steps=steps), evidence=False)
    assert sum("CollectEvidence" in one for one in found) == 1


@pytest.mark.parametrize("evidence", [True, False])
def test_a_plan_once_begun_is_gone_on_with_whatever_the_settings_say_by_then(evidence: bool) -> None:  # noqa: FBT001
    stop = "0-ScaleToZero-Deployment-llm"
    with_it, without = incident(status=begun(FIRST, stop)), incident(status=begun(stop))

    assert ids(with_it, evidence=evidence) == [FIRST, stop]
    assert ids(without, evidence=evidence) == [stop]


def test_a_plan_that_was_rejected_is_made_anew() -> None:
    rejected = incident(status=begun("0-ScaleToZero-Deployment-llm", phase="Rejected"))

    assert ids(rejected, evidence=True)[0] == FIRST


def test_each_target_has_an_entry_of_its_own() -> None:
    targets = [{"kind": "Deployment", "name": "llm"}, {"kind": "Deployment", "name": "rag"}]

    assert ids(incident(targets=targets), evidence=True) == [
        FIRST,
        "0-ScaleToZero-Deployment-llm",
        "evidence-CollectEvidence-Deployment-rag",
        "0-ScaleToZero-Deployment-rag",
    ]


# In its turn: decisions on plain values.


def facts_of(**spec: Any) -> Facts:
    what = incident(**spec)
    observations = {
        item.id: Observation(obj("Deployment", item.target.name)) for item in items_of(what, evidence=True)
    }
    return Facts(incident=what, observations=observations, proof=PROVEN)


def acts_until_rest(facts: Facts, brought: Json | None = None) -> list[object]:
    """What is asked for; each errand brings back `brought`, and nothing when that is None."""
    acts: list[object] = []
    for second in range(12):
        decision = containment.decide(facts, NOW + timedelta(seconds=second), Limits(evidence=True))
        if decision.status is not None:
            what = facts.incident.model_copy(update={"status": decision.status})
            facts = replace(facts, incident=what, errands={})
        acts += decision.acts
        for act in decision.acts:
            facts = carry_out(facts, act)
            if isinstance(act, RunErrand) and brought is not None:
                facts = replace(facts, errands={act.step_id: brought})
        if not decision.acts:
            break
    return acts


def test_evidence_is_taken_after_the_hold_stands_and_before_the_first_change() -> None:
    kinds = [type(act) for act in acts_until_rest(facts_of(), taken().fields)]

    assert kinds.count(RunErrand) == 1
    assert kinds.index(EnsureHold) < kinds.index(RunErrand) < kinds.index(Patch)


def test_evidence_that_comes_last_is_taken_after_the_change() -> None:
    kinds = [type(act) for act in acts_until_rest(facts_of(steps=[STOP, COLLECT]), taken().fields)]

    assert kinds.count(RunErrand) == 1
    assert kinds.index(Patch) < kinds.index(RunErrand)


def test_nothing_is_changed_while_evidence_is_being_taken() -> None:
    acts = acts_until_rest(facts_of(), None)

    assert any(isinstance(act, RunErrand) for act in acts)
    assert not any(isinstance(act, Patch) for act in acts)


@pytest.mark.parametrize("spec", [{"mode": "DryRun"}, {"exercise": True}])
def test_a_dry_run_takes_no_evidence_and_says_so(spec: Json) -> None:
    facts = facts_of(**spec)

    assert not any(isinstance(act, RunErrand) for act in acts_until_rest(facts))
    decision = containment.decide(facts, NOW, Limits(evidence=True))
    tried = facts
    for act in decision.acts:
        tried = carry_out(tried, act)
    status = containment.decide(tried, NOW, Limits(evidence=True)).status
    assert status is not None
    assert status.steps[0].message == "CollectEvidence of llm would change nothing"
    assert conditions.find(status.conditions, conditions.EVIDENCE_COLLECTED) is None


def test_where_nothing_that_contains_can_be_done_evidence_does_not_keep_the_plan_alive() -> None:
    owner = [{"kind": "ReplicaSet", "name": "rs", "uid": "other", "controller": True}]
    facts = facts_of(steps=[STOP | {"optional": True}])
    owned = Observation(obj("Deployment", ownerReferences=owner))
    facts = replace(facts, observations=dict.fromkeys(facts.observations, owned))

    status = containment.decide(facts, NOW, Limits(evidence=True)).status

    assert status is not None
    assert status.phase is Phase.REJECTED


# Taken once, whatever happens meanwhile: the engine on an API server in memory.


def taken(reason: str = "EvidenceCollected") -> FakeCollector:
    return FakeCollector(reason)


@dataclass
class FakeCollector:
    """Stores nothing. `meanwhile` happens while it is at it."""

    reason: str = "EvidenceCollected"
    meanwhile: Callable[[], Awaitable[None]] | None = None
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def take(
        self, incident: ObjectRef, uid: str, targets: Sequence[ObjectRef], *, seconds: float
    ) -> Taken:
        assert (incident, uid) == (INCIDENT, "uid-toxic")
        self.asked += [(target.name, round(seconds)) for target in targets]
        if self.meanwhile is not None:
            await self.meanwhile()
        return Taken(self.record, cast("Any", self.reason), f"it says {self.reason}")

    async def answers(self, *, seconds: float) -> bool:
        raise AssertionError(f"nothing is tried again within {seconds} s")

    @property
    def record(self) -> EvidenceRecord | None:
        if self.reason not in {"EvidenceCollected", "EvidenceIncomplete"}:
            return None
        return EvidenceRecord(
            location=f"file:///evidence/{len(self.asked)}",
            head="sha256:" + "0" * 64,
            items=7,
            size=4711,
            collected_at=NOW,
            complete=self.reason == "EvidenceCollected",
        )

    @property
    def fields(self) -> Json:
        return {"evidence": self.record, "reason": self.reason, "message": "said"}


class Quick(InMemory):
    """Nobody waits for a turn, and controllers are quick."""

    def __init__(self) -> None:
        super().__init__()
        self._store(RAG, body("ReplicaSet", "rag"))
        self.lost = 0
        """How many of the next statuses are not stored, because the API server is away."""

    async def _turn(self) -> None:
        pass

    def controllers(self) -> None:
        super().controllers()
        rag = self.objects.get(RAG)
        if rag is not None:
            seen = {"observedGeneration": rag["metadata"]["generation"], "replicas": rag["spec"]["replicas"]}
            rag["status"] = seen

    async def json_patch(self, ref: ObjectRef, *args: Any, **options: Any) -> Json:
        answer = await super().json_patch(ref, *args, **options)
        self.controllers()
        return answer

    async def replace_status(self, ref: ObjectRef, new: Json) -> Json:
        steps = new["status"].get("steps", [])
        if self.lost and any("evidence" in step for step in steps):
            self.lost -= 1
            raise Retry("Unavailable", "the API server is away", 0.1)
        return await super().replace_status(ref, new)

    def replicas(self, ref: ObjectRef = TARGET) -> int:
        return int(self.objects[ref]["spec"]["replicas"])

    def status(self) -> Json:
        status: Json = self.objects[INCIDENT]["status"]
        return status

    def condition(self, type_: str) -> Json | None:
        return next((one for one in self.status()["conditions"] if one["type"] == type_), None)


class Story:
    """An incident about one ReplicaSet or two, and the operator's processes that work on it."""

    def __init__(self, collector: FakeCollector | None = None, *, evidence: bool = True) -> None:
        WHO.set("operator")
        self.api = Quick()
        self.seconds = 0
        self.tools = NO_TOOLS if collector is None else tools_of(cast("Any", collector))
        self.limits = Limits(evidence=evidence)
        self.start_process()

    def start_process(self) -> None:
        kube = cast("Kube", self.api)
        keeper, metrics = HoldKeeper(kube), Metrics()
        canary = Canary(kube, keeper, "stanch-system", 60.0, metrics.hold_proven.set)
        canary.proof = PROVEN
        self.engine = Reconciler(
            kube, keeper, canary, metrics, self.limits, lambda _: None, self.tools, clock=self.clock
        )

    def clock(self) -> datetime:
        self.seconds += 1
        return datetime.fromtimestamp(1_767_322_800 + self.seconds, UTC)

    async def report(self, *names: str, **spec: Any) -> None:
        targets = [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name} for name in names or ("llm",)
        ]
        base = {"title": "t", "category": "Drift", "severity": "High", "targets": targets}
        await self.api.create(
            AIINCIDENTS, "chat", {"metadata": {"name": "toxic", "namespace": "chat"}, "spec": base | spec}
        )

    async def work(self) -> Json:
        """Look as often as it takes controllers and the engine to come to rest."""
        for _ in range(3):
            await self.engine.reconcile(KEY)
        return self.api.status()

    async def contain(self, *names: str, **spec: Any) -> Json:
        await self.report(*names, **spec)
        return await self.work()

    async def release(self) -> Json:
        self.api.change(INCIDENT, ("spec", "desiredState"), "Released")
        return await self.work()


async def test_it_is_contained_after_its_evidence_and_the_status_says_where_that_is() -> None:
    collector = FakeCollector()
    story = Story(collector)
    seen: list[int] = []
    collector.meanwhile = lambda: _note(seen, story.api.replicas())

    status = await story.contain()

    assert status["phase"] == "Contained"
    assert seen == [3], "nothing is changed before it"
    assert collector.asked == [("llm", 20)]
    assert [one["location"] for one in status["evidence"]] == ["file:///evidence/1"]
    told = story.api.condition("EvidenceCollected")
    assert told is not None
    assert (told["status"], told["reason"]) == ("True", "EvidenceCollected")
    assert status["summary"] == "contained: llm replicas 3→0; held"


async def _note(seen: list[int], value: int) -> None:
    seen.append(value)


async def test_looked_at_again_and_by_another_process_it_is_not_taken_again() -> None:
    collector = FakeCollector()
    story = Story(collector)
    await story.contain()

    await story.work()
    story.start_process()
    await story.work()

    assert len(collector.asked) == 1


async def test_what_was_taken_stays_told_when_its_target_is_gone() -> None:
    story = Story(FakeCollector())
    before = await story.contain()
    del story.api.objects[TARGET]
    story.api.pods = []

    after = await story.work()

    assert after["phase"] == "Contained"
    assert after["steps"][0] == before["steps"][0]
    assert after["steps"][1]["reason"] == "TargetGone"
    assert after["contested"]["lastWhat"] == "deleted ReplicaSet llm"


async def test_what_was_brought_back_survives_that_somebody_edits_the_incident_meanwhile() -> None:
    collector = FakeCollector()
    story = Story(collector)

    async def edited() -> None:
        story.api.change(INCIDENT, ("metadata", "annotations"), {"note": "looking into it"})

    collector.meanwhile = edited
    status = await story.contain()

    assert len(collector.asked) == 1
    assert status["phase"] == "Contained"
    assert len(status["evidence"]) == 1


async def test_what_was_brought_back_survives_an_api_server_that_is_away() -> None:
    collector = FakeCollector()
    story = Story(collector)
    story.api.lost = 2
    await story.report()
    for _ in range(2):
        with pytest.raises(Retry):
            await story.work()

    status = await story.work()

    assert len(collector.asked) == 1
    assert status["evidence"][0]["location"] == "file:///evidence/1"


async def test_a_process_that_dies_with_what_it_brought_back_is_followed_by_one_that_takes_it_anew() -> None:
    collector = FakeCollector()
    story = Story(collector)
    story.api.lost = 1
    await story.report()
    with pytest.raises(Retry):
        await story.work()

    story.start_process()
    status = await story.work()

    assert len(collector.asked) == 2
    assert [one["location"] for one in status["evidence"]] == ["file:///evidence/2"]
    assert status["phase"] == "Contained"


async def test_a_change_of_mind_while_it_is_taken_changes_nothing_and_keeps_the_evidence() -> None:
    collector = FakeCollector()
    story = Story(collector)

    async def thought_better_of() -> None:
        story.api.change(INCIDENT, ("spec", "desiredState"), "Released")

    collector.meanwhile = thought_better_of
    status = await story.contain()

    assert status["phase"] == "Released"
    assert story.api.replicas() == 3
    assert story.api.objects[TARGET]["metadata"]["generation"] == 2, "it was created and never written"
    assert status["summary"] == "given back: llm: replicas 3, as it was"
    assert [one["location"] for one in status["evidence"]] == ["file:///evidence/1"]
    told = story.api.condition("EvidenceCollected")
    assert told is not None
    assert (told["status"], told["reason"]) == ("True", "EvidenceCollected")


@pytest.mark.parametrize(
    ("reason", "truth"),
    [
        ("EvidenceCollected", "True"),
        ("EvidenceIncomplete", "False"),
        ("EvidenceNotStored", "False"),
    ],
)
async def test_what_became_of_it_is_still_told_after_the_release(reason: str, truth: str) -> None:
    story = Story(FakeCollector(reason))
    await story.contain(severity="Critical")

    status = await story.release()

    assert status["phase"] == "Released"
    told = story.api.condition("EvidenceCollected")
    assert told is not None
    assert (told["status"], told["reason"]) == (truth, reason)
    assert told["message"].startswith(f"it says {reason}")


async def test_of_several_targets_it_is_taken_at_once() -> None:
    collector = FakeCollector()
    story = Story(collector)
    both = asyncio.Barrier(2)

    async def with_the_other() -> None:
        await asyncio.wait_for(both.wait(), timeout=10)

    collector.meanwhile = with_the_other
    status = await story.contain("llm", "rag")

    assert status["phase"] == "Contained"
    assert (story.api.replicas(TARGET), story.api.replicas(RAG)) == (0, 0)
    assert sorted(name for name, _ in collector.asked) == ["llm", "rag"]
    assert len(status["evidence"]) == 2


async def test_it_has_the_time_that_its_step_says() -> None:
    collector = FakeCollector()

    await Story(collector).contain(steps=[COLLECT | {"timeout": "5s"}, STOP])

    assert collector.asked == [("llm", 5)]


# What its failure means.


@pytest.mark.parametrize("reason", ["EvidenceNotStored", "EvidenceNotConfigured"])
@pytest.mark.parametrize(
    ("severity", "steps", "phase", "replicas"),
    [
        ("Critical", [], "PartiallyContained", 0),
        ("Critical", [COLLECT, STOP], "PartiallyContained", 0),
        ("Critical", [COLLECT | {"onFailure": "Release"}, STOP], "PartiallyContained", 0),
        ("High", [], "ContainmentFailed", 3),
        ("High", [COLLECT, STOP], "ContainmentFailed", 3),
        ("High", [COLLECT | {"onFailure": "Continue"}, STOP], "ContainmentFailed", 0),
        ("High", [COLLECT | {"optional": True}, STOP], "PartiallyContained", 0),
        ("High", [COLLECT | {"onFailure": "Release"}, STOP], "Released", 3),
        ("Medium", [], "ContainmentFailed", 3),
        ("Low", [STOP, COLLECT], "ContainmentFailed", 0),
    ],
)
async def test_a_critical_incident_does_not_stop_for_it_and_a_lesser_one_does_as_its_step_says(
    severity: str, steps: list[Json], phase: str, replicas: int, reason: str
) -> None:
    collector = FakeCollector(reason)
    story = Story(collector)

    status = await story.contain(severity=severity, **({"steps": steps} if steps else {}))

    assert status["phase"] == phase
    assert story.api.replicas() == replicas
    assert not status.get("evidence")
    assert len(collector.asked) == 1, "it is not tried again and again"
    told = story.api.condition("EvidenceCollected")
    assert told is not None
    assert (told["status"], told["reason"]) == ("False", reason)
    assert told["message"].startswith(f"it says {reason}")


@pytest.mark.parametrize("severity", ["Critical", "High"])
async def test_evidence_that_is_not_whole_stops_nobody_and_is_told(severity: str) -> None:
    story = Story(FakeCollector("EvidenceIncomplete"))

    status = await story.contain(severity=severity)

    assert status["phase"] == "Contained"
    assert status["evidence"][0]["complete"] is False
    told = story.api.condition("EvidenceCollected")
    assert told is not None
    assert (told["status"], told["reason"]) == ("False", "EvidenceIncomplete")


async def test_an_operator_without_a_place_takes_none_unasked_and_says_nothing_of_it() -> None:
    story = Story(evidence=False)

    status = await story.contain()

    assert status["phase"] == "Contained"
    assert [step["action"] for step in status["steps"]] == ["ScaleToZero"]
    assert story.api.condition("EvidenceCollected") is None


async def test_an_operator_without_a_place_that_is_asked_for_it_says_what_to_set() -> None:
    story = Story(evidence=False)

    status = await story.contain(severity="Critical", steps=[COLLECT, STOP])

    assert status["phase"] == "PartiallyContained"
    told = story.api.condition("EvidenceCollected")
    assert told is not None
    assert told["reason"] == "EvidenceNotConfigured"
    assert "STANCH_EVIDENCE_URL" in told["message"]


async def test_evidence_alone_is_stored_and_is_not_called_containment() -> None:
    story = Story(FakeCollector())

    status = await story.contain(steps=[COLLECT])

    assert status["phase"] == "Detected"
    assert status["summary"] == "evidence of ReplicaSet llm is stored; nothing was changed"
    contained, ready = story.api.condition("Contained"), story.api.condition("Ready")
    assert contained is not None
    assert ready is not None
    assert (contained["status"], ready["status"]) == ("False", "True")
    assert "contained" not in status["timestamps"]
    assert (await story.release())["phase"] == "Released"


class Absent(Quick):
    """Where the API server answers for every ReplicaSet that there is none."""

    async def get(self, ref: ObjectRef) -> Json | None:
        return None if ref.resource == REPLICASETS else await super().get(ref)

    async def list(self, resource: Resource, _namespace: str, **_selectors: str) -> list[Json]:
        return [] if resource == REPLICASETS else await super().list(resource, _namespace, **_selectors)


@pytest.mark.parametrize("severity", ["Critical", "High"])
async def test_of_a_target_that_does_not_exist_none_is_taken(severity: str) -> None:
    collector = FakeCollector()
    story = Story(collector)
    story.api = Absent()
    story.start_process()

    status = await story.contain(severity=severity)

    assert status["phase"] == "Rejected"
    assert "there is no such object" in status["summary"]
    assert collector.asked == []
