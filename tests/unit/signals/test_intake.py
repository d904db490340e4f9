"""From a signal to an incident: whose target is found, what is merged, what is refused, and who is told."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from stanch.api.v1alpha1.incident import AIIncident
from stanch.signals.model import Outcome
from tests.unit.signals.intake_of import Town
from tests.unit.signals.made import (
    CHAT_ONLY,
    NOW,
    SETTINGS,
    SINCE,
    cluster_policy_body,
    policy_body,
    query,
    ref,
    signal,
    trigger,
)

if TYPE_CHECKING:
    from stanch.signals.model import Taken

Json = dict[str, Any]


def said(taken: Taken) -> tuple[Outcome, str]:
    return taken.outcome, taken.reason


async def test_an_alert_opens_an_incident_for_the_workload_that_it_names() -> None:
    town = Town()

    taken = await town.one()

    assert taken.outcome is Outcome.CREATED
    incident = AIIncident.parse(town.cluster.incident())
    assert taken.incident == ("chat", incident.metadata.name)
    assert [str(one.name) for one in incident.spec.targets] == ["llm"]
    assert incident.metadata.labels["stanch.dev/trigger"] == "toxic"
    ((key, note),) = town.notes
    assert (key, note.firing, note.fingerprint) == (taken.incident, True, "f1")


async def test_what_nobody_has_a_trigger_for_costs_no_more_than_reading_the_policies() -> None:
    town = Town()

    taken = await town.take(*(signal("Other", fingerprint=str(number)) for number in range(50)))

    assert {said(one) for one in taken} == {(Outcome.IGNORED, "NoTrigger")}
    assert town.cluster.asked == {"list containmentpolicies": 1, "list clustercontainmentpolicies": 1}
    assert town.changed == []


async def test_nothing_is_nothing_to_read() -> None:
    town = Town()

    assert await town.intake.take([], CHAT_ONLY) == []
    assert not town.cluster.asked


async def test_a_speaker_cannot_speak_for_another_namespace() -> None:
    town = Town()
    town.cluster.namespace("bank")
    town.cluster.add(cluster_policy_body())

    taken = await town.take(
        signal(fingerprint="1", labels={"namespace": "bank", "deployment": "llm"}),
        signal(
            fingerprint="2", labels={"namespace": "chat", "stanch_namespace": "bank", "deployment": "llm"}
        ),
        signal(fingerprint="3"),
        speaker=CHAT_ONLY,
    )

    assert [said(one) for one in taken] == [
        (Outcome.REFUSED, "NamespaceNotAllowed"),
        (Outcome.REFUSED, "NamespaceNotAllowed"),
        (Outcome.CREATED, "IncidentCreated"),
    ]
    assert taken[2].incident is not None
    assert taken[2].incident.namespace == "chat"


async def test_an_answer_to_a_query_opens_an_incident_by_its_own_trigger() -> None:
    town = Town()
    town.cluster.add(policy_body("drifting", query()))

    taken = await town.one(trigger=ref("drift", "drifting"))

    assert taken.outcome is Outcome.CREATED
    assert town.cluster.incident()["spec"]["policyRef"]["name"] == "drifting"
    assert town.cluster.incident()["spec"]["category"] == "Drift"


class TestTheSameFiring:
    async def test_is_merged(self) -> None:
        town = Town()
        first, again = await town.one(), await town.one()

        assert said(again) == (Outcome.MERGED, "SameSignal")
        assert again.incident == first.incident
        assert len(town.cluster.incidents()) == 1
        assert len(town.notes) == 2

    async def test_is_merged_whoever_of_two_was_first(self) -> None:
        """Two operators, or one that lost its memory: the API server refuses the second."""
        town = Town()
        await town.one()
        for label in list(town.cluster.incident()["metadata"]["labels"]):
            del town.cluster.incident()["metadata"]["labels"][label]

        assert said(await town.one()) == (Outcome.MERGED, "SameSignal")

    async def test_that_was_dealt_with_opens_nothing_again(self) -> None:
        town = Town()
        await town.one()
        town.ended()

        taken = await town.one()

        assert said(taken) == (Outcome.IGNORED, "AlreadyHandled")
        assert "is Released" in taken.message
        assert town.cluster.asked["create aiincidents"] == 1

    async def test_that_was_dealt_with_is_known_by_its_name_alone(self) -> None:
        town = Town()
        await town.one()
        town.ended()
        del town.cluster.incident()["metadata"]["labels"]

        assert said(await town.one()) == (Outcome.IGNORED, "AlreadyHandled")

    async def test_of_pods_that_containment_has_ended_is_merged(self) -> None:
        town = Town()
        replicas = town.cluster.workload("ReplicaSet", "llm-7d9", town.llm)
        pod = town.cluster.workload("Pod", "llm-7d9-x", replicas)
        by_pod = {"namespace": "chat", "pod": "llm-7d9-x"}
        first = await town.one(labels=by_pod)
        assert first.outcome is Outcome.CREATED
        town.cluster.remove(pod)

        again = await town.one(labels=by_pod)

        assert said(again) == (Outcome.MERGED, "SameSignal")
        assert again.incident == first.incident
        assert said(await town.one(labels=by_pod, fingerprint="f2")) == (Outcome.REFUSED, "TargetNotFound")

    async def test_in_one_batch_keeps_its_order(self) -> None:
        town = Town()

        taken = await town.take(signal(), signal(firing=False), signal())

        assert [one.outcome for one in taken] == [Outcome.CREATED, Outcome.RESOLVED, Outcome.MERGED]
        assert [note.firing for _, note in town.notes] == [True, False, True]


class TestAnotherSignalAboutTheSameWorkload:
    async def test_is_merged_while_the_incident_is_open(self) -> None:
        town = Town()
        first = await town.one()

        other = await town.one(fingerprint="f2", starts_at=NOW)

        assert said(other) == (Outcome.MERGED, "SameWorkload")
        assert other.incident == first.incident

    @pytest.mark.parametrize("phase", ["Released", "Recovered", "Closed", "Rejected", "Duplicate"])
    async def test_opens_another_once_that_has_ended(self, phase: str) -> None:
        town = Town()
        await town.one()
        town.ended(phase)

        assert (await town.one(starts_at=NOW)).outcome is Outcome.CREATED
        assert len(town.cluster.incidents()) == 2

    @pytest.mark.parametrize("phase", ["AwaitingApproval", "Contained", "Releasing", "SomethingNewer"])
    async def test_is_merged_in_any_other_phase(self, phase: str) -> None:
        town = Town()
        await town.one()
        town.ended(phase)

        assert (await town.one(starts_at=NOW)).outcome is Outcome.MERGED

    async def test_opens_another_when_that_is_being_deleted(self) -> None:
        town = Town()
        await town.one()
        town.cluster.incident()["metadata"]["deletionTimestamp"] = NOW.isoformat()

        assert (await town.one(starts_at=NOW)).outcome is Outcome.CREATED

    async def test_by_another_policy_opens_another(self) -> None:
        town = Town()
        town.cluster.add(policy_body("leak", trigger("leak", 'alertname="Leak"')))
        await town.one()

        assert (await town.one(name="Leak")).outcome is Outcome.CREATED

    async def test_in_the_same_instant_makes_one_incident(self) -> None:
        town = Town()

        taken = await town.take(*(signal(fingerprint=str(number)) for number in range(40)))

        assert len(town.cluster.incidents()) == 1
        assert sorted(one.outcome for one in taken) == [Outcome.CREATED] + [Outcome.MERGED] * 39

    async def test_in_two_batches_at_once_makes_one_incident(self) -> None:
        town = Town()

        both = await asyncio.gather(town.one(fingerprint="f1"), town.one(fingerprint="f2"))

        assert sorted(one.outcome for one in both) == [Outcome.CREATED, Outcome.MERGED]
        assert len(town.cluster.incidents()) == 1


@pytest.mark.parametrize(
    "spec",
    [
        {"mode": "DryRun"},
        {"exercise": True},
        {"policyRef": {"kind": "ContainmentPolicy", "name": "harmless"}},
        {"targets": [{"kind": "Deployment", "name": "other"}]},
        {"steps": [{"collectEvidence": {}}]},
    ],
    ids=["dry run", "drill", "another policy", "another target", "a plan of its own"],
)
async def test_an_incident_that_does_not_contain_the_workload_swallows_no_signal(spec: Json) -> None:
    """Whoever may create incidents may label them as they like."""
    town = Town()
    await town.one()
    decoy = town.cluster.incident()
    decoy["spec"] |= spec

    assert (await town.one(starts_at=NOW)).outcome is Outcome.CREATED
    taken = await town.one()
    assert taken.outcome is Outcome.MERGED
    assert taken.incident is not None
    assert taken.incident.name != decoy["metadata"]["name"]


async def test_the_name_of_a_firing_that_somebody_took_is_refused() -> None:
    town = Town()
    await town.one()
    town.cluster.incident()["spec"]["mode"] = "DryRun"

    taken = await town.one()

    assert said(taken) == (Outcome.REFUSED, "NameTaken")
    assert "delete it" in taken.message


class TestAResolution:
    async def test_is_told_to_the_incident_and_releases_nothing(self) -> None:
        town = Town()
        first = await town.one()
        before = dict(town.cluster.incident()["spec"])

        taken = await town.one(firing=False)

        assert (taken.outcome, taken.incident) == (Outcome.RESOLVED, first.incident)
        assert town.cluster.incident()["spec"] == before
        assert town.notes[-1][1].firing is False

    async def test_of_a_signal_that_was_merged_finds_it_by_what_the_status_has(self) -> None:
        town = Town()
        first = await town.one()
        town.cluster.incident()["status"] = {"phase": "Contained", "signals": {"firing": ["f1", "f2"]}}

        assert (await town.one(firing=False, fingerprint="f2")).incident == first.incident

    async def test_reaches_the_incident_when_policy_and_workload_are_gone(self) -> None:
        town = Town()
        await town.one()
        town.cluster.remove(town.llm)
        town.cluster.remove(policy_body())

        assert (await town.one(firing=False)).outcome is Outcome.RESOLVED

    async def test_without_a_namespace_label_is_placed_by_the_policy(self) -> None:
        town = Town()
        await town.one(labels={"deployment": "llm"})

        assert (await town.one(labels={"deployment": "llm"}, firing=False)).outcome is Outcome.RESOLVED

    async def test_is_told_to_an_incident_that_the_same_batch_has_opened(self) -> None:
        town = Town()

        taken = await town.take(signal(firing=False), signal(), signal(firing=False))

        assert [one.outcome for one in taken] == [Outcome.IGNORED, Outcome.CREATED, Outcome.RESOLVED]

    async def test_is_not_told_to_a_dry_run_that_somebody_labelled(self) -> None:
        town = Town()
        await town.one()
        town.cluster.incident()["spec"]["mode"] = "DryRun"

        assert said(await town.one(firing=False)) == (Outcome.IGNORED, "NothingOpen")

    async def test_of_many_alerts_reads_the_incidents_once(self) -> None:
        town = Town()

        await town.take(*(signal(firing=False, fingerprint=str(number)) for number in range(50)))

        assert town.cluster.asked["list aiincidents"] == 1

    async def test_of_nothing_that_is_open_is_nothing(self) -> None:
        town = Town()
        assert said(await town.one(firing=False)) == (Outcome.IGNORED, "NothingOpen")
        await town.one()
        town.ended()
        assert said(await town.one(firing=False)) == (Outcome.IGNORED, "NothingOpen")

    async def test_is_not_told_by_those_who_may_not_speak_for_the_namespace(self) -> None:
        town = Town()
        town.cluster.namespace("bank")
        forged = signal(firing=False, labels={"namespace": "bank"})

        (taken,) = await town.take(forged, speaker=CHAT_ONLY)

        assert said(taken) == (Outcome.REFUSED, "NamespaceNotAllowed")


class TestTheCooldown:
    async def contained_and_released(self, ago: timedelta) -> Town:
        town = Town(guardrails={"cooldown": "10m"})
        await town.one()
        town.ended(contained=NOW - ago)
        return town

    async def test_swallows_the_tail_of_the_query_s_window(self) -> None:
        town = await self.contained_and_released(timedelta(minutes=4))

        taken = await town.one(starts_at=NOW)

        assert said(taken) == (Outcome.IGNORED, "Cooldown")
        assert "contained it 240s ago and is Released" in taken.message
        assert "cooldown of 10m lasts another 360s" in taken.message
        assert len(town.cluster.incidents()) == 1

    async def test_ends(self) -> None:
        town = await self.contained_and_released(timedelta(minutes=10))

        assert (await town.one(starts_at=NOW)).outcome is Outcome.CREATED

    async def test_of_one_that_was_never_contained_does_not_begin(self) -> None:
        town = Town(guardrails={"cooldown": "10m"})
        await town.one()
        town.ended("Rejected")

        assert (await town.one(starts_at=NOW)).outcome is Outcome.CREATED

    async def test_counts_from_the_newest_containment(self) -> None:
        town = await self.contained_and_released(timedelta(minutes=30))
        await town.one(starts_at=NOW)
        newest = town.cluster.incidents()[-1]
        newest["status"] = {"phase": "Rejected"}
        first = town.cluster.incidents()[0]
        first["status"]["timestamps"]["contained"] = (NOW - timedelta(minutes=1)).isoformat()

        taken = await town.one(starts_at=NOW + timedelta(seconds=1))

        assert said(taken) == (Outcome.IGNORED, "Cooldown"), "a rejected one in between shortens nothing"

    async def test_is_none_where_the_policy_has_none(self) -> None:
        town = Town()
        await town.one()
        town.ended(contained=NOW)

        assert (await town.one(starts_at=NOW)).outcome is Outcome.CREATED

    @pytest.mark.parametrize(
        ("policy", "seconds", "whose"),
        [("10m", 60.0, "policy"), ("1m", 600.0, "operator"), ("", 600.0, "operator")],
    )
    async def test_the_longer_one_of_policy_and_operator_holds(
        self, policy: str, seconds: float, whose: str
    ) -> None:
        town = Town(
            SETTINGS.model_copy(update={"cooldown_seconds": seconds}),
            guardrails={"cooldown": policy} if policy else {},
        )
        await town.one()
        town.ended(contained=NOW - timedelta(minutes=4))

        taken = await town.one(starts_at=NOW)

        assert said(taken) == (Outcome.IGNORED, "Cooldown")
        assert f"the {whose}'s cooldown of 10m lasts another 360s" in taken.message

    async def test_does_not_keep_open_incidents_from_taking_signals_in(self) -> None:
        town = Town(guardrails={"cooldown": "10m"})
        await town.one()
        town.ended("Contained", contained=NOW)

        assert (await town.one(starts_at=NOW)).outcome is Outcome.MERGED


async def test_a_silence_is_heeded_only_where_the_policy_says_so() -> None:
    town = Town()
    assert (await town.one(silenced=True)).outcome is Outcome.CREATED

    heeding = Town()
    heeding.cluster.add(policy_body("chat", trigger(silenced="Ignore")))
    taken = await heeding.one(silenced=True)
    assert said(taken) == (Outcome.IGNORED, "Silenced")
    assert heeding.board.of(ref().policy)["toxic"].last_signal.startswith("Ignored: it may be silenced")


async def test_an_incident_says_when_it_began() -> None:
    town = Town()
    await town.one()

    assert AIIncident.parse(town.cluster.incident()).spec.occurred_at == SINCE
