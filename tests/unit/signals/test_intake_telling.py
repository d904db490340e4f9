"""Nothing is dropped silently: what policies, their Events and the sender are told, what is sent again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.incident import AIIncident
from stanch.api.v1alpha1.policy import TriggerState
from stanch.errors import Conflict, FenceLost, Forbidden, Invalid, StanchError, Unavailable
from stanch.signals.intake.intake import AT_ONCE
from stanch.signals.model import Outcome, Speaker
from tests.unit.signals.intake_of import Town
from tests.unit.signals.made import (
    HOSTILE,
    NOW,
    SINCE,
    cluster_policy_body,
    policy_body,
    ref,
    signal,
    trigger,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from stanch.signals.board import News

Json = dict[str, Any]


def news(town: Town, name: str = "toxic") -> News:
    return town.board.of(ref().policy)[name]


def fails(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


class TestAPolicy:
    async def test_says_what_its_trigger_led_to(self) -> None:
        town = Town()
        taken = await town.one()

        assert news(town).last_signal_at == NOW
        assert news(town).last_signal == (
            f"Created {taken.incident}: Deployment llm (Critical, OutputPolicyViolation)"
        )
        assert town.changed == [ref().policy]

    async def test_says_why_its_trigger_led_to_nothing(self) -> None:
        town = Town()
        await town.one(labels={"namespace": "chat", "deployment": "gone"})

        assert news(town).last_signal.startswith("Refused: there is no Deployment gone (label deployment)")

    async def test_is_not_told_of_resolutions(self) -> None:
        town = Town()
        await town.one()
        town.later(timedelta(hours=1))

        await town.one(firing=False)

        assert news(town).last_signal_at == NOW

    async def test_is_told_once_of_a_whole_batch_what_needs_a_person_most(self) -> None:
        town = Town()
        lost = [
            signal(fingerprint=str(number), labels={"namespace": "chat", "deployment": f"gone-{number}"})
            for number in range(30)
        ]

        await town.take(signal(fingerprint="f1"), *lost)

        assert len(town.changed) == 1
        assert news(town).last_signal.startswith("Refused")

    async def test_is_not_told_the_same_again_and_again(self) -> None:
        town = Town()
        for _ in range(5):
            await town.one()
            town.later(timedelta(seconds=1))
        assert len(town.changed) == 2, "created, then merged"

        town.later(timedelta(seconds=30))
        await town.one()
        assert len(town.changed) == 3
        assert news(town).last_signal_at == town.now

    async def test_with_a_matcher_that_cannot_be_read_says_so_until_it_can(self) -> None:
        town = Town()
        town.cluster.add(policy_body("chat", trigger("toxic", 'pod=~"("'), trigger("good")))
        assert (await town.one()).outcome is Outcome.CREATED
        assert news(town).state is TriggerState.ERROR
        assert news(town).message == (
            'alert.matchers[0] pod=~"(": unclosed group; no alert fires this trigger until it can be read'
        )

        town.cluster.add(policy_body("chat"))
        await town.one()
        assert news(town).state is TriggerState.ACTIVE

    async def test_whose_error_an_earlier_operator_told_is_active_again(self) -> None:
        town = Town()
        error = {"name": "toxic", "state": "Error", "message": "alert.matchers[0]: unclosed group"}
        town.cluster.add(policy_body() | {"status": {"triggers": [error]}})

        await town.one(name="Other")

        assert news(town).state is TriggerState.ACTIVE

    async def test_whose_trigger_is_inactive_for_another_reason_stays_so(self) -> None:
        town = Town()
        town.board.stands(ref(), TriggerState.ERROR, "metric absent")
        await town.one()
        assert news(town).state is TriggerState.ERROR

    async def test_that_is_newer_than_the_operator_is_passed_over_and_says_so(self) -> None:
        town = Town()
        newer = policy_body("newer", trigger("toxic"))
        newer["spec"]["mode"] = "SomethingNew"
        town.cluster.add(newer)

        with structlog.testing.capture_logs() as logs:
            assert (await town.one()).outcome is Outcome.CREATED

        assert town.board.of(ref(policy="newer").policy)["toxic"].state is TriggerState.ERROR
        assert "upgrade the operator" in town.board.of(ref(policy="newer").policy)["toxic"].message
        newer["spec"]["triggers"] = {"of": "another shape"}
        town.cluster.add(newer)
        assert (await town.one()).outcome is Outcome.MERGED, "whatever it looks like, the others go on"
        assert any(
            line["log_level"] == "warning" and "newer" in line["policy"] for line in logs if "policy" in line
        )


class TestAnEvent:
    async def test_warns_of_a_target_that_cannot_be_told(self) -> None:
        town = Town()
        town.cluster.workload("StatefulSet", "store")
        await town.one(labels={"namespace": "chat", "deployment": "llm", "statefulset": "store"})

        (event,) = town.cluster.events.values()
        assert (event["type"], event["reason"]) == ("Warning", "TargetAmbiguous")
        assert event["message"].startswith("trigger toxic: Refused: its labels name different workloads")
        assert event["metadata"]["namespace"] == "chat"
        assert event["involvedObject"]["kind"] == "ContainmentPolicy"
        assert event["involvedObject"]["uid"] == "uid-chat"

    async def test_about_a_policy_of_the_cluster_stands_in_namespace_default(self) -> None:
        town = Town()
        town.cluster.remove(policy_body())
        town.cluster.add(cluster_policy_body())
        await town.one(labels={"namespace": "chat", "deployment": "gone"})

        (event,) = town.cluster.events.values()
        assert event["metadata"]["namespace"] == "default"
        assert "namespace" not in event["involvedObject"]

    async def test_is_about_both_policies_that_tie(self) -> None:
        town = Town()
        town.cluster.add(policy_body("other", trigger("other")))
        await town.one()

        assert {event["involvedObject"]["name"] for event in town.cluster.events.values()} == {
            "chat",
            "other",
        }
        assert news(town).last_signal.startswith("Refused")
        assert town.board.of(ref(policy="other").policy)["other"].last_signal.startswith("Refused")

    async def test_of_a_storm_is_one(self) -> None:
        town = Town()
        for batch in range(3):
            await town.take(
                *(
                    signal(
                        fingerprint=f"{batch}-{one}", labels={"namespace": "chat", "deployment": f"no-{one}"}
                    )
                    for one in range(50)
                )
            )

        assert len(town.cluster.events) == 1
        assert town.cluster.asked["create events"] == 1

    async def test_is_repeated_after_a_while(self) -> None:
        town = Town()
        lost = {"namespace": "chat", "deployment": "gone"}
        await town.one(labels=lost)
        town.later(timedelta(minutes=11))
        await town.one(labels=lost)
        assert len(town.cluster.events) == 1, "the API server refused a second of the hour"
        town.later(timedelta(hours=1))
        await town.one(labels=lost)
        assert len(town.cluster.events) == 2

    @pytest.mark.parametrize("error", [Unavailable("Timeout", "t", 1.0), Forbidden("Forbidden", "no")])
    async def test_that_cannot_be_written_fails_nothing(self, error: StanchError) -> None:
        town = Town()
        town.cluster.before["create events"] = fails(error)

        taken = await town.one(labels={"namespace": "chat", "deployment": "gone"})

        assert taken.outcome is Outcome.REFUSED

    async def test_is_not_written_of_what_is_merely_ignored(self) -> None:
        town = Town()
        await town.one(name="Other")
        await town.one()
        await town.one()

        assert town.cluster.events == {}


class TestTheSender:
    @pytest.mark.parametrize(
        "what",
        [
            "list containmentpolicies",
            "get namespaces",
            "get deployments",
            "list aiincidents",
            "create aiincidents",
        ],
    )
    async def test_sends_again_what_could_not_be_stored(self, what: str) -> None:
        town = Town()
        town.cluster.before[what] = fails(Unavailable("ServerError", "down", 1.0))

        with pytest.raises(Unavailable):
            await town.one()
        assert town.cluster.incidents() == []
        assert town.notes == []

        del town.cluster.before[what]
        assert (await town.one()).outcome is Outcome.CREATED

    async def test_sends_all_again_and_nothing_is_done_twice(self) -> None:
        town = Town()
        town.cluster.workload("Deployment", "embedder")
        batch = [
            signal(fingerprint="1"),
            signal(fingerprint="2", labels={"namespace": "chat", "deployment": "embedder"}),
            signal(fingerprint="3", labels={"namespace": "chat", "statefulset": "store"}),
        ]
        town.cluster.before["get statefulsets"] = fails(Unavailable("ServerError", "down", 1.0))
        with pytest.raises(Unavailable):
            await town.take(*batch)
        assert len(town.cluster.incidents()) == 2, (
            "one that fails does not keep the others from being contained"
        )
        assert news(town).last_signal.startswith("Created")

        town.cluster.before.clear()
        outcomes = [one.outcome for one in await town.take(*batch)]

        assert outcomes == [Outcome.MERGED, Outcome.MERGED, Outcome.REFUSED]
        assert len(town.cluster.incidents()) == 2

    @pytest.mark.parametrize(
        "error",
        [
            Forbidden("Forbidden", "namespace chat is being terminated"),
            Invalid("Invalid", "spec.title: too long"),
        ],
    )
    async def test_does_not_send_again_what_the_api_server_will_never_take(self, error: StanchError) -> None:
        town = Town()
        town.cluster.before["create aiincidents"] = fails(error)

        taken = await town.one()

        assert (taken.outcome, taken.reason, taken.message) == (Outcome.REFUSED, error.reason, error.message)
        assert news(town).last_signal.endswith(error.message)

    async def test_sends_again_when_the_incident_went_away_in_between(self) -> None:
        town = Town()
        town.cluster.before["create aiincidents"] = fails(Conflict("AlreadyExists", "exists"))

        with pytest.raises(Conflict, match="tried again"):
            await town.one()

    async def test_is_not_told_anything_by_an_operator_that_has_lost_its_lease(self) -> None:
        town = Town()
        town.cluster.workload("Deployment", "embedder")
        town.cluster.before["get statefulsets"] = fails(Unavailable("ServerError", "down", 1.0))
        town.cluster.before["create aiincidents"] = fails(FenceLost("another one leads"))

        with pytest.raises(FenceLost):
            await town.take(
                signal(fingerprint="1", labels={"namespace": "chat", "statefulset": "store"}),
                signal(fingerprint="2"),
            )


async def test_no_more_series_than_allowed_are_worked_on_at_once() -> None:
    town = Town()
    busy, most = 0, 0
    list_ = town.cluster.list

    async def slow(*asked: Any, **how: Any) -> list[Json]:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        try:
            await asyncio.sleep(0)
            return await list_(*asked, **how)
        finally:
            busy -= 1

    for number in range(60):
        town.cluster.workload("Deployment", f"llm-{number}")
    town.cluster.list = slow  # type: ignore[method-assign]

    taken = await town.take(
        *(
            signal(fingerprint=str(one), labels={"namespace": "chat", "deployment": f"llm-{one}"})
            for one in range(60)
        )
    )

    assert [one.outcome for one in taken] == [Outcome.CREATED] * 60
    assert [one.signal.fingerprint for one in taken] == [str(number) for number in range(60)]
    assert 1 < most <= AT_ONCE


LABELS = st.dictionaries(
    st.sampled_from(
        [
            "namespace",
            "stanch_namespace",
            "stanch_kind",
            "stanch_name",
            "deployment",
            "pod",
            "job",
            "workload",
        ]
    ),
    st.one_of(HOSTILE, st.sampled_from(["chat", "bank", "llm", "Deployment", "deployment"])),
)


@given(LABELS, HOSTILE, HOSTILE, HOSTILE, st.sampled_from(["chat", "bank", ""]))
async def test_whatever_comes_in_no_one_is_contained_who_was_not_for_the_speaker(
    labels: dict[str, str], fingerprint: str, summary: str, name: str, may: str
) -> None:
    town = Town()
    town.cluster.namespace("bank")
    town.cluster.workload("Deployment", "llm", namespace="bank")
    town.cluster.add(cluster_policy_body("all", trigger("any", 'alertname=~"(?s).*"')))
    speaker = Speaker("somebody", frozenset({may} - {""}))
    hostile = replace(
        signal(labels=labels, starts_at=SINCE),
        name=name,
        fingerprint=fingerprint,
        annotations={"summary": summary},
    )

    (taken,) = await town.take(hostile, speaker=speaker)

    assert taken.message.isprintable()
    for body in town.cluster.incidents():
        incident = AIIncident.parse(body)
        assert speaker.may(incident.metadata.namespace)
        assert [one.name for one in incident.spec.targets] == ["llm"]
    assert bool(town.cluster.incidents()) is (taken.outcome is Outcome.CREATED)
