"""CollectEvidence: changes nothing, is judged by what was brought back, and never blocks what is urgent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast, get_args

import pytest

from stanch.actions.collect_evidence import CollectEvidence
from stanch.actions.protocol import Observation, Refusal, Tools, Verdict
from stanch.actions.registry import ACTIONS
from stanch.api.v1alpha1.evidence import EvidenceRecord
from stanch.api.v1alpha1.incident import Target
from stanch.api.v1alpha1.status import ObjectReference, StepState, StepStatus
from stanch.api.v1alpha1.steps import CollectEvidence as CollectEvidenceStep
from stanch.evidence.take import Reason, Taken
from stanch.kube.resources import AIINCIDENTS, CRONJOBS, DEPLOYMENTS, JOBS, ObjectRef
from stanch.status.conditions import EVIDENCE_REASONS
from tests.unit.actions.cluster_objects import NOW, ask, obj

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stanch.actions.protocol import Ask
    from stanch.kube.client import Kube

Json = dict[str, Any]
TARGET = Target(kind="Deployment", name="llm")
ACTION = CollectEvidence()
SEEN = Observation(obj("Deployment"))


def stored(*, complete: bool = True) -> EvidenceRecord:
    return EvidenceRecord(
        location="file:///evidence/chat/toxic-uid-toxic/20260102T030405Z-3f9c1a",
        head="sha256:" + "0" * 64,
        items=7,
        size=4711,
        collected_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        complete=complete,
    )


def entry(**fields: Any) -> StepStatus:
    target = ObjectReference(api_version="apps/v1", kind="Deployment", name="llm")
    return StepStatus(
        id="0", action="CollectEvidence", target=target, state=StepState.APPLIED, message="7 items", **fields
    )


def asked(record: StepStatus | None = None, target: Target = TARGET) -> Ask:
    return ask(target, CollectEvidenceStep(), record=record)


@dataclass
class FakeCollector:
    """Takes nothing; remembers of whom evidence was asked for."""

    answer: Taken
    there: bool = True
    asked: list[tuple[ObjectRef, str, tuple[ObjectRef, ...], int]] = field(default_factory=list)

    async def take(
        self, incident: ObjectRef, uid: str, targets: Sequence[ObjectRef], *, seconds: float
    ) -> Taken:
        self.asked.append((incident, uid, tuple(targets), round(seconds)))
        return self.answer

    async def answers(self, *, seconds: float) -> bool:
        assert seconds <= 2, "what is undone meanwhile is not put right"
        return self.there

    @property
    def tools(self) -> Tools:
        return Tools(cast("Any", self), cast("Any", None))


def test_it_is_among_the_actions_and_a_critical_incident_does_not_stop_at_its_failure() -> None:
    assert ACTIONS["CollectEvidence"].essential is False
    assert ACTIONS["CollectEvidence"].timeout == timedelta(seconds=20)
    assert [name for name, action in ACTIONS.items() if not action.essential] == ["CollectEvidence"]


def test_it_changes_nothing_holds_nothing_and_ends_no_pod() -> None:
    asks = asked()

    assert ACTION.plan(SEEN, asks) == ()
    assert ACTION.hold(SEEN, asks) == frozenset()
    assert ACTION.hurry(SEEN, asks) == ()
    assert ACTION.condemns(SEEN, asks) == ()
    assert ACTION.keeps(asks) == frozenset()


def test_of_what_does_not_exist_no_evidence_is_taken() -> None:
    refused = ACTION.plan(Observation(None), asked())

    assert isinstance(refused, Refusal)
    assert refused.reason == "TargetNotFound"


@pytest.mark.parametrize(
    ("record", "verdict", "reason"),
    [
        (None, Verdict.PENDING, "Collecting"),
        (entry(), Verdict.PENDING, "Collecting"),
        (entry(reason="UndoProven"), Verdict.PENDING, "Collecting"),
        (entry(evidence=stored()), Verdict.EFFECTIVE, "EvidenceCollected"),
        (entry(evidence=stored(complete=False)), Verdict.EFFECTIVE, "EvidenceIncomplete"),
        (entry(reason="EvidenceNotStored"), Verdict.INEFFECTIVE, "EvidenceNotStored"),
        (entry(reason="EvidenceNotConfigured"), Verdict.INEFFECTIVE, "EvidenceNotConfigured"),
    ],
    ids=["not begun", "begun", "recorded", "all", "in part", "no store took it", "no store"],
)
def test_it_is_judged_by_what_stands_in_the_journal(
    record: StepStatus | None, verdict: Verdict, reason: str
) -> None:
    judgement = ACTION.judge(SEEN, asked(record))

    assert (judgement.verdict, judgement.reason) == (verdict, reason)
    if verdict is not Verdict.PENDING:
        assert judgement.message == "7 items", "what the collector said is what people read"


def test_evidence_that_was_stored_counts_also_when_its_workload_is_gone() -> None:
    judgement = ACTION.judge(Observation(None), asked(entry(evidence=stored())))

    assert judgement.verdict is Verdict.EFFECTIVE


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        (
            Taken(stored(), "EvidenceCollected", "7 items"),
            {"evidence": stored(), "reason": "EvidenceCollected", "message": "7 items"},
        ),
        (
            Taken(None, "EvidenceNotStored", "x" * 3000),
            {
                "reason": "EvidenceNotStored",
                "message": "x" * (1000 - len("; tried again after 1 min")) + "; tried again after 1 min",
                "attempts": 1,
                "applied_at": NOW,
            },
        ),
    ],
)
async def test_the_errand_brings_back_fields_that_the_journal_has_room_for(
    taken: Taken, expected: Json
) -> None:
    collector = FakeCollector(taken)
    errand = ACTION.errand(SEEN, asked())
    assert errand is not None

    brought = await errand.run(collector.tools)

    assert dict(brought) == expected
    assert StepStatus.model_validate(entry().model_dump() | dict(brought)).reason == taken.reason
    (call,) = collector.asked
    assert call == (
        ObjectRef(AIINCIDENTS, "chat", "toxic"),
        "uid-toxic",
        (ObjectRef(DEPLOYMENTS, "chat", "llm"),),
        20,
    )


@pytest.mark.parametrize(("kind", "resource"), [("Job", JOBS), ("CronJob", CRONJOBS)])
async def test_evidence_is_taken_of_what_has_no_replicas_too(kind: str, resource: object) -> None:
    collector = FakeCollector(Taken(stored(), "EvidenceCollected", "7 items"))
    target = Target.model_validate({"apiVersion": "batch/v1", "kind": kind, "name": "eval"})
    errand = ACTION.errand(SEEN, asked(target=target))
    assert errand is not None

    await errand.run(collector.tools)

    assert collector.asked[0][2] == (ObjectRef(cast("Any", resource), "chat", "eval"),)


def test_the_condition_knows_every_word_of_the_collector() -> None:
    assert set(get_args(Reason)) == EVIDENCE_REASONS


@dataclass
class SlowCollector(FakeCollector):
    """Takes a while, and remembers how many it is asked for at a time."""

    seconds: float = 0.05
    busy: int = 0
    most: int = 0
    left: list[float] = field(default_factory=list)

    async def take(
        self, incident: ObjectRef, uid: str, targets: Sequence[ObjectRef], *, seconds: float
    ) -> Taken:
        self.busy += 1
        self.most = max(self.most, self.busy)
        self.left.append(seconds)
        await asyncio.sleep(self.seconds)
        self.busy -= 1
        return await super().take(incident, uid, targets, seconds=seconds)


async def run(tools: Tools, times: int, seconds: float) -> list[Json]:
    errand = ACTION.errand(SEEN, replace(asked(), timeout=timedelta(seconds=seconds)))
    assert errand is not None
    return [dict(one) for one in await asyncio.gather(*(errand.run(tools) for _ in range(times)))]


async def test_of_many_targets_no_more_is_collected_at_a_time_than_there_is_memory_for() -> None:
    collector = SlowCollector(Taken(stored(), "EvidenceCollected", "7 items"))

    brought = await run(collector.tools, times=7, seconds=20)

    assert {one["reason"] for one in brought} == {"EvidenceCollected"}
    assert (len(collector.asked), collector.most) == (7, 2)
    assert collector.left[0] - collector.left[-1] > 2 * collector.seconds, "what waited has less time left"


async def test_for_what_there_was_no_room_in_time_it_is_said() -> None:
    collector = SlowCollector(Taken(stored(), "EvidenceCollected", "7 items"), seconds=0.5)

    brought = await run(collector.tools, times=3, seconds=0.1)

    refused = [one for one in brought if one["reason"] == "EvidenceNotStored"]
    assert len(refused) == 1
    assert "busy with that of other targets for 0.1 s" in refused[0]["message"]


def tried(times: int, ago: timedelta, reason: str = "EvidenceNotStored") -> StepStatus:
    return entry(reason=reason, attempts=times, applied_at=NOW - ago)


@pytest.mark.parametrize(
    ("record", "again"),
    [
        (tried(1, timedelta(seconds=59)), False),
        (tried(1, timedelta(seconds=60)), True),
        (tried(2, timedelta(seconds=119)), False),
        (tried(2, timedelta(seconds=120)), True),
        (tried(60, timedelta(minutes=59)), False),
        (tried(60, timedelta(hours=1)), True),
        (tried(1, timedelta(days=1), "EvidenceNotConfigured"), False),
        (entry(reason="EvidenceNotStored"), True),
    ],
    ids=["soon", "a minute", "doubled", "two", "at most", "an hour", "nowhere to store", "of an older one"],
)
def test_what_no_store_took_is_taken_again_less_and_less_often(record: StepStatus, again: bool) -> None:  # noqa: FBT001 - a parametrised test
    assert (ACTION.errand(SEEN, asked(record)) is not None) is again


async def test_a_store_that_still_does_not_answer_is_not_waited_for() -> None:
    collector = FakeCollector(Taken(stored(), "EvidenceCollected", "7 items"), there=False)
    errand = ACTION.errand(SEEN, asked(tried(2, timedelta(minutes=5))))
    assert errand is not None

    brought = await errand.run(collector.tools)

    assert collector.asked == []
    assert brought == {
        "reason": "EvidenceNotStored",
        "message": "no evidence was taken: the store still does not answer; tried again after 4 min",
        "attempts": 3,
        "applied_at": NOW,
    }


async def test_what_a_later_try_brings_back_counts_as_if_it_were_the_first() -> None:
    collector = FakeCollector(Taken(stored(), "EvidenceCollected", "7 items"))
    record = tried(2, timedelta(minutes=5))
    errand = ACTION.errand(SEEN, asked(record))
    assert errand is not None

    brought = await errand.run(collector.tools)
    told = record.model_copy(update=dict(brought))

    judgement = ACTION.judge(SEEN, asked(told))
    assert (judgement.verdict, judgement.message) == (
        Verdict.EFFECTIVE,
        "late, taken at the try no. 3: 7 items",
    )


class OneObject:
    """An API server with one object, or none."""

    def __init__(self, body: Json | None) -> None:
        self.body = body
        self.read: list[ObjectRef] = []

    async def get(self, ref: ObjectRef) -> Json | None:
        self.read.append(ref)
        return self.body


@pytest.mark.parametrize("there", [True, False])
async def test_it_looks_at_the_target_alone(there: bool) -> None:  # noqa: FBT001 - a parametrised test
    kube = OneObject(obj("Deployment").json if there else None)

    seen = await ACTION.observe(cast("Kube", kube), asked())

    assert (seen.target is not None) is there
    assert kube.read == [ObjectRef(DEPLOYMENTS, "chat", "llm")]
