"""Rounds of the poller: what the intake is told, what the policies are told, and what a failure changes.

Prometheus, Kubernetes and the intake are fakes; so is time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from stanch.api.v1alpha1.policy import TriggerState
from stanch.errors import FenceLost, Unavailable
from stanch.kube.resources import CLUSTERCONTAINMENTPOLICIES, CONTAINMENTPOLICIES, ObjectRef
from stanch.prometheus.client import PromClient
from stanch.prometheus.firing import FIRING
from stanch.prometheus.samples import QueryFailed, Reason, Sample, Samples
from stanch.signals.board import Board
from stanch.signals.model import Speaker, TriggerRef
from stanch.signals.prometheus.alerts import ACTIVE
from stanch.signals.prometheus.poller import Poller
from stanch.signals.prometheus.triggers import Moment
from tests.unit.policies.made import cluster, own
from tests.unit.signals.fake_ends import FakeIntake, FakeKube
from tests.unit.signals.fake_prometheus import answers, floods, hangs, says, serving, vector

if TYPE_CHECKING:
    from collections.abc import Callable

    from stanch.policies.match import Policy
    from tests.unit.signals.fake_prometheus import Handler

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CHAT = Speaker("prometheus", frozenset({"chat"}))
ALL = Speaker("prometheus", None)
GUARD = ObjectRef(CONTAINMENTPOLICIES, "chat", "guard")
EVERY = ObjectRef(CLUSTERCONTAINMENTPOLICIES, None, "every")
DOWN = QueryFailed(Reason.UNREACHABLE, "Prometheus cannot be reached, Connection refused")
AWAY = Unavailable("Unavailable", "the API server is away", 1.0)

Json = dict[str, Any]


def drift(**more: Any) -> Json:
    comparison = {"query": "drift", "operator": "gt", "value": "0.2"} | more.pop("prometheus", {})
    return {"name": "drift", "category": "Drift", "severity": "Medium", "prometheus": comparison} | more


def toxic(**more: Any) -> Json:
    alert = {"matchers": ['alertname="Toxic"']}
    return {
        "name": "toxic",
        "category": "OutputPolicyViolation",
        "severity": "Critical",
        "alert": alert,
    } | more


def guard(*triggers: Json, metadata: Json | None = None, **spec: Any) -> Policy:
    return own("guard", metadata=metadata, triggers=list(triggers or [drift()]), **spec)


def one(value: float = 0.3, **labels: str) -> Samples:
    return (Sample(tuple(sorted(labels.items())), value, str(value)),)


@dataclass
class FakeClient:
    answers: dict[str, Samples | QueryFailed] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def query(self, expression: str, *, most: int) -> Samples:  # noqa: ARG002 - of the protocol
        self.asked.append(expression)
        answer = self.answers.get(expression, ())
        if isinstance(answer, QueryFailed):
            raise answer
        return answer

    def graph(self, expression: str) -> str:
        return f"http://prometheus/graph?g0.expr={expression}"


class Stage:
    """A poller with fakes all around it, and a clock that only `round` moves."""

    def __init__(self, *policies: Policy, client: Any = ..., within: float = 10.0) -> None:
        self.second = 0.0
        self.kube = FakeKube(list(policies))
        self.intake = FakeIntake()
        self.client = FakeClient()
        self.changed: list[ObjectRef] = []
        self.board = Board(self.changed.append)
        self.poller = Poller(
            cast("Any", self.kube),
            self.intake,
            self.board,
            self.client if client is ... else client,
            every=15.0,
            within=within,
            now=lambda: Moment(START + timedelta(seconds=self.second), self.second),
        )

    async def round(
        self, answer: Samples | QueryFailed | None = None, query: str = "drift"
    ) -> list[tuple[str, bool]]:
        """What the intake is told in the next round; the first is at 15 s."""
        if answer is not None:
            self.client.answers[query] = answer
        self.second += 15
        await self.poller.round()
        return self.intake.told()

    def says(self, trigger: str, policy: ObjectRef = GUARD) -> tuple[TriggerState | None, str]:
        news = self.board.of(policy)[trigger]
        return news.state, news.message


async def test_a_metric_that_crosses_its_threshold_is_a_signal() -> None:
    stage = Stage(guard())
    assert await stage.round(one(0.1, deployment="llm")) == []
    stage.client.answers["drift"] = one(0.3, deployment="llm")
    stage.second += 15
    await stage.poller.round()
    ((speaker, (signal,)),) = stage.intake.batches
    assert speaker == CHAT
    assert signal.trigger == TriggerRef(GUARD, "drift")
    assert (signal.starts_at, signal.value, signal.labels) == (
        START + timedelta(seconds=30),
        "0.3",
        {"deployment": "llm"},
    )
    assert signal.url == "http://prometheus/graph?g0.expr=drift"
    assert stage.says("drift") == (
        TriggerState.ACTIVE,
        "firing for 1 series, the first since 2026-01-02T03:04:35Z",
    )


async def test_a_policy_of_a_namespace_speaks_for_it_alone_and_a_cluster_policy_for_all() -> None:
    stage = Stage(guard(), cluster("every", triggers=[drift()]))
    stage.client.answers["drift"] = one()
    stage.second += 15
    await stage.poller.round()
    assert {(speaker, signal.trigger) for speaker, signals in stage.intake.batches for signal in signals} == {
        (CHAT, TriggerRef(GUARD, "drift")),
        (ALL, TriggerRef(EVERY, "drift")),
    }
    assert stage.client.asked == ["drift"]  # once for both


async def test_while_it_fires_the_intake_is_told_once_a_minute_and_at_the_end() -> None:
    stage = Stage(guard())
    told = [await stage.round(one()) for _ in range(6)]
    assert told == [[("drift", True)], [], [], [], [("drift", True)], []]
    assert await stage.round(one(0.1)) == [("drift", False)]
    assert await stage.round(one(0.1)) == []


async def test_the_status_changes_only_when_something_does() -> None:
    stage = Stage(guard(), client=...)
    for value in (0.1, 0.11, 0.12, 0.13):
        await stage.round(one(value))
    assert stage.changed == [GUARD]
    for value in (0.3, 0.31, 0.32):
        await stage.round(one(value))
    assert stage.changed == [GUARD, GUARD]


@pytest.mark.parametrize("failed", [QueryFailed(reason, "what to do") for reason in Reason], ids=str)
async def test_a_failure_is_said_and_changes_nothing_else(failed: QueryFailed) -> None:
    stage = Stage(guard(drift(), toxic()))
    stage.client.answers |= {"drift": one(), FIRING: one(1.0, alertname="Toxic")}
    assert sorted(await stage.round()) == [("Toxic", True), ("drift", True)]
    stage.client.answers |= {"drift": failed, FIRING: failed}
    for _ in range(6):
        assert await stage.round() == []
    for trigger in ("drift", "toxic"):
        state, message = stage.says(trigger)
        assert state == TriggerState.ERROR
        assert f"{failed.reason}: what to do" in message


async def test_alerts_are_asked_for_once_for_all_policies_and_without_their_matchers() -> None:
    stage = Stage(guard(toxic()), cluster("every", triggers=[toxic()]))
    stage.client.answers |= {
        FIRING: one(1.0, __name__="ALERTS", alertname="Toxic", alertstate="firing", namespace="chat"),
        ACTIVE: one(START.timestamp(), __name__="ALERTS_FOR_STATE", alertname="Toxic", namespace="chat"),
    }
    stage.second += 15
    await stage.poller.round()
    ((speaker, (signal,)),) = stage.intake.batches
    assert speaker == ALL
    assert signal.trigger is None
    assert signal.silenced  # for all that Prometheus knows
    assert (signal.starts_at, signal.labels) == (START, {"alertname": "Toxic", "namespace": "chat"})
    assert sorted(stage.client.asked) == sorted([FIRING, ACTIVE])
    assert stage.says("toxic") == (TriggerState.ACTIVE, "an alert Toxic is firing in Prometheus")
    del stage.client.answers[FIRING]
    stage.intake.batches.clear()
    assert await stage.round() == [("Toxic", False)]


async def test_a_matcher_that_is_none_is_an_error_whatever_fires() -> None:
    stage = Stage(guard(toxic(alert={"matchers": ['alertname=~"Toxic("']})))
    stage.client.answers |= {FIRING: one(1, alertname="Toxic"), ACTIVE: ()}
    await stage.poller.round()
    news = stage.board.of(GUARD)["toxic"]
    assert news.state is TriggerState.ERROR
    assert news.message.startswith("alert.matchers[0]")


async def test_where_no_policy_listens_alerts_are_not_asked_for() -> None:
    stage = Stage(guard())
    await stage.round(one())
    assert stage.client.asked == ["drift"]


async def test_a_metric_that_is_absent_is_named() -> None:
    stage = Stage(guard(drift(metrics=["drift_total", "up"]), toxic(metrics=["up"])))
    stage.client.answers["absent(up)"] = one(1.0)
    assert await stage.round(one()) == []
    for trigger in ("drift", "toxic"):
        assert stage.says(trigger) == (
            TriggerState.INACTIVE,
            "no series for up: see whether its target is scraped",
        )
    stage.client.answers["absent(up)"] = ()
    assert await stage.round() == [("drift", True)]


async def test_a_selector_that_is_none_is_an_error() -> None:
    stage = Stage(guard(drift(metrics=["up{"]), toxic(metrics=["up{"])))
    stage.client.answers["absent(up{)"] = QueryFailed(Reason.BAD_QUERY, "parse error")
    assert await stage.round(one()) == []
    for trigger in ("drift", "toxic"):
        state, message = stage.says(trigger)
        assert state == TriggerState.ERROR
        assert "BadQuery: metric up{: parse error" in message


async def test_without_prometheus_queries_say_so_and_alerts_are_left_alone() -> None:
    stage = Stage(guard(drift(), toxic()), client=None)
    assert await stage.round() == []
    assert stage.says("drift") == (
        TriggerState.ERROR,
        "no Prometheus is configured: set --prometheus-url",
    )
    assert "toxic" not in stage.board.of(GUARD)


@pytest.mark.parametrize(
    "resting",
    [
        guard(drift(), toxic(), suspend=True),
        guard(drift(), toxic(), metadata={"deletionTimestamp": "2026-01-02T03:04:05Z"}),
    ],
    ids=["suspended", "being deleted"],
)
async def test_a_policy_that_takes_on_nothing_is_not_evaluated(resting: Policy) -> None:
    stage = Stage(resting)
    assert await stage.round(one()) == []
    assert stage.client.asked == []
    state, message = stage.says("drift")
    assert state == TriggerState.INACTIVE
    assert "takes on no incidents" in message


async def test_a_policy_that_is_gone_is_forgotten() -> None:
    stage = Stage(guard())
    assert await stage.round(one()) == [("drift", True)]
    stage.kube.policies.clear()
    assert await stage.round() == []
    assert stage.board.of(GUARD) == {}


@pytest.mark.parametrize(
    "edited",
    [
        guard(drift(prometheus={"value": "0.1", "for": "30s"})),
        guard(drift(prometheus={"for": "30s", "query": "drift > 0"})),
        guard(drift(prometheus={"for": "30s"}), metadata={"uid": "another"}),
    ],
    ids=["threshold", "query", "another policy of that name"],
)
async def test_what_was_true_of_another_rule_does_not_count(edited: Policy) -> None:
    stage = Stage(guard(drift(prometheus={"for": "30s"})))
    stage.client.answers["drift > 0"] = one()
    assert await stage.round(one()) == []
    assert await stage.round(one()) == []
    stage.kube.policies = [edited]
    assert await stage.round(one()) == []
    assert await stage.round(one()) == []
    assert await stage.round(one()) == [("drift", True)]


async def test_an_edit_that_does_not_touch_the_rule_keeps_what_it_came_to() -> None:
    stage = Stage(guard(drift(prometheus={"for": "30s"})))
    await stage.round(one())
    await stage.round(one())
    stage.kube.policies = [
        guard(drift(prometheus={"for": "30s"}, severity="High"), metadata={"generation": 2})
    ]
    assert await stage.round(one()) == [("drift", True)]


async def test_what_could_not_be_handed_in_is_handed_in_the_next_time() -> None:
    stage = Stage(guard())
    stage.intake.fails = AWAY
    assert await stage.round(one()) == []
    assert await stage.round(one(0.1)) == []
    stage.intake.fails = None
    assert await stage.round(DOWN) == [("drift", True), ("drift", False)]
    assert await stage.round(DOWN) == []


async def test_a_lost_lease_ends_it() -> None:
    stage = Stage(guard())
    stage.intake.fails = FenceLost("somebody else leads")
    with pytest.raises(FenceLost):
        await stage.round(one())


async def test_without_the_policies_nothing_is_evaluated_and_the_waiting_survives_one_such_round() -> None:
    stage = Stage(guard(drift(prometheus={"for": "30s"})))
    await stage.round(one())
    stage.kube.fails = AWAY
    assert await stage.round() == []
    stage.kube.fails = None
    assert await stage.round() == [("drift", True)]
    assert stage.client.asked == ["drift"] * 2


async def test_after_a_long_time_without_the_policies_the_waiting_begins_anew() -> None:
    stage = Stage(guard(drift(prometheus={"for": "30s"})))
    await stage.round(one())
    stage.kube.fails = AWAY
    for _ in range(10):
        await stage.round()
    stage.kube.fails = None
    assert await stage.round() == []


async def test_a_policy_newer_than_the_operator_keeps_no_other_from_being_evaluated() -> None:
    stage = Stage(guard())
    newer = own("newer").model_dump(by_alias=True, mode="json")
    newer["spec"]["triggers"] = [{"name": "x", "somethingNew": {}}]
    stage.kube.more = [newer]
    assert await stage.round(one()) == [("drift", True)]
    assert await stage.round(one(0.1)) == [("drift", False)]


@pytest.mark.parametrize(
    "behave",
    [
        hangs,
        floods,
        answers(b"oops", 500),
        answers(b"no", 404),
        answers(b"", 302, {"Location": "http://127.0.0.1:1/"}),
        answers(b"<html>"),
        answers(vector(({}, "NaN"))),
        answers(vector()),
        says(b"no HTTP at all"),
    ],
    ids=["hung", "flood", "500", "404", "redirect", "a page", "NaN", "empty", "garbage"],
)
async def test_whatever_a_server_does_a_round_ends_and_nothing_fires(
    behave: Callable[[Handler], None],
) -> None:
    with serving(behave) as fake:
        stage = Stage(guard(drift(), toxic()), client=PromClient(fake.url, None, None, 0.2), within=0.5)
        assert await asyncio.wait_for(stage.round(), 20) == []
    assert stage.says("drift")[0] in {TriggerState.ERROR, TriggerState.INACTIVE}


async def test_one_deadline_for_all_and_what_was_late_is_asked_last() -> None:
    class Slow(FakeClient):
        async def query(self, expression: str, *, most: int) -> Samples:  # noqa: ARG002 - of the protocol
            self.asked.append(expression)
            if expression == "aaa":
                await asyncio.sleep(60)
            return one()

    slow = Slow()
    policy = guard(drift(name="first", prometheus={"query": "aaa"}), drift(name="then"))
    stage = Stage(policy, client=slow, within=0.2)
    assert await stage.round() == [("then", True)]
    assert stage.says("first")[0] == TriggerState.ERROR
    assert "Timeout" in stage.says("first")[1]
    await stage.round()
    assert slow.asked == ["aaa", "drift", "drift", "aaa"]


async def test_rounds_begin_at_a_steady_pace_and_end_only_when_cancelled() -> None:
    pauses: list[float] = []
    stage = Stage()

    class Takes(FakeKube):
        async def list(self, resource: Any) -> list[Json]:  # noqa: ARG002 - of the protocol
            stage.second += [1, 2, 20][len(pauses)] / 2
            return []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        stage.second += seconds
        if len(pauses) == 3:
            raise asyncio.CancelledError

    stage.poller.kube = cast("Any", Takes([]))
    stage.poller.sleep = sleep
    with pytest.raises(asyncio.CancelledError):
        await stage.poller.run()
    assert pauses == [14.0, 13.0, 0.0]
