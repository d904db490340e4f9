"""Which workload of the cluster a signal is about: by its labels, by who controls what, or none."""

from __future__ import annotations

from typing import Any

import pytest

from stanch.signals.model import Outcome, Taken
from tests.unit.policies import made
from tests.unit.signals.intake_of import Town
from tests.unit.signals.made import SETTINGS, cluster_policy_body, policy_body, signal, trigger

Json = dict[str, Any]


def refused(taken: Taken) -> str:
    assert taken.outcome is Outcome.REFUSED, taken
    return taken.reason


def target(town: Town) -> str:
    (one,) = town.cluster.incident()["spec"]["targets"]
    return f"{one['kind']}/{one['name']}"


async def test_a_pod_is_followed_to_the_deployment_that_runs_it() -> None:
    town = Town()
    replicas = town.cluster.workload("ReplicaSet", "llm-7d9", town.llm)
    town.cluster.workload("Pod", "llm-7d9-x", replicas)

    assert (await town.one(labels={"namespace": "chat", "pod": "llm-7d9-x"})).outcome is Outcome.CREATED
    assert target(town) == "Deployment/llm"


async def test_a_pod_of_a_job_is_followed_to_its_cron_job() -> None:
    town = Town()
    nightly = town.cluster.workload("CronJob", "nightly")
    job = town.cluster.workload("Job", "nightly-1", nightly)
    town.cluster.workload("Pod", "nightly-1-x", job)

    assert (await town.one(labels={"namespace": "chat", "pod": "nightly-1-x"})).outcome is Outcome.CREATED
    assert target(town) == "CronJob/nightly"
    assert town.cluster.incident()["spec"]["targets"][0]["apiVersion"] == "batch/v1"


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "Job", "ReplicaSet"])
async def test_a_pod_is_followed_to_whatever_controls_it(kind: str) -> None:
    town = Town()
    owner = town.cluster.workload(kind, "own")
    town.cluster.workload("Pod", "own-0", owner)

    assert (await town.one(labels={"namespace": "chat", "pod": "own-0"})).outcome is Outcome.CREATED
    assert target(town) == f"{kind}/own"


@pytest.mark.parametrize(
    "labels",
    [{"replicaset": "llm-7d9"}, {"stanch_kind": "ReplicaSet", "stanch_name": "llm-7d9"}],
    ids=["known", "explicit"],
)
async def test_what_is_controlled_is_followed_to_what_controls_it(labels: dict[str, str]) -> None:
    town = Town()
    town.cluster.workload("ReplicaSet", "llm-7d9", town.llm)

    assert (await town.one(labels={"namespace": "chat", **labels})).outcome is Outcome.CREATED
    assert target(town) == "Deployment/llm"


async def test_a_deployment_that_an_operator_controls_is_the_target_itself() -> None:
    town = Town()
    service = {"kind": "InferenceService", "metadata": {"name": "llm", "uid": "u"}}
    town.cluster.workload("Deployment", "predictor", service)

    assert (
        await town.one(labels={"namespace": "chat", "deployment": "predictor"})
    ).outcome is Outcome.CREATED
    assert target(town) == "Deployment/predictor"


async def test_what_its_controller_would_make_anew_is_no_target() -> None:
    town = Town()
    rollout = {"kind": "Rollout", "metadata": {"name": "llm", "uid": "u"}}
    replicas = town.cluster.workload("ReplicaSet", "canary", rollout)
    town.cluster.workload("Pod", "canary-x", replicas)
    town.cluster.workload("Pod", "bare")

    taken = await town.one(labels={"namespace": "chat", "pod": "canary-x"})
    assert refused(taken) == "TargetUnsupported"
    assert "controlled by Rollout llm" in taken.message
    assert refused(await town.one(labels={"namespace": "chat", "pod": "bare"})) == "TargetUnsupported"


async def test_an_owner_that_was_made_again_is_another_one() -> None:
    town = Town()
    gone = {"kind": "Deployment", "metadata": {"name": "llm", "uid": "uid of the one before"}}
    town.cluster.workload("ReplicaSet", "llm-7d9", gone)

    assert refused(await town.one(labels={"namespace": "chat", "replicaset": "llm-7d9"})) == "TargetNotFound"


async def test_labels_that_name_two_workloads_name_none() -> None:
    town = Town()
    town.cluster.workload("StatefulSet", "store")

    taken = await town.one(labels={"namespace": "chat", "deployment": "llm", "statefulset": "store"})

    assert refused(taken) == "TargetAmbiguous"
    assert "Deployment llm (label deployment) is Deployment llm" in taken.message
    assert "StatefulSet store (label statefulset) is StatefulSet store" in taken.message
    assert town.cluster.incidents() == []


async def test_labels_that_name_a_workload_and_its_parts_name_one() -> None:
    town = Town()
    town.cluster.workload("ReplicaSet", "llm-7d9", town.llm)
    labels = {"workload": "llm", "workload_type": "deployment", "replicaset": "llm-7d9"}

    assert (await town.one(labels={"namespace": "chat", **labels})).outcome is Outcome.CREATED
    assert target(town) == "Deployment/llm"


async def test_a_label_that_names_nothing_beside_one_that_does_leaves_a_doubt() -> None:
    town = Town()

    taken = await town.one(labels={"namespace": "chat", "deployment": "llm", "statefulset": "gone"})

    assert refused(taken) == "TargetAmbiguous"
    assert "is not there" in taken.message


@pytest.mark.parametrize(
    "labels",
    [
        {"namespace": "chat", "deployment": "gone"},
        {"namespace": "chat", "pod": "gone-0"},
        {"namespace": "nowhere", "deployment": "llm"},
    ],
)
async def test_what_is_not_there_is_no_target(labels: dict[str, str]) -> None:
    town = Town()
    town.cluster.add(cluster_policy_body())

    assert refused(await town.one(labels=labels)) == "TargetNotFound"


async def test_the_job_label_never_chooses() -> None:
    town = Town()
    town.cluster.workload("Job", "prometheus")
    town.cluster.workload("Deployment", "embedder")

    assert refused(await town.one(labels={"namespace": "chat", "job": "prometheus"})) == "TargetUnknown"


class TestWithoutALabelThatTells:
    async def test_the_one_workload_that_the_policy_selects_is_meant(self) -> None:
        town = Town(selector=made.selector("Deployment", app="llm"))
        town.cluster.workload("Deployment", "embedder", labels={"app": "embedder"})
        town.cluster.workload("StatefulSet", "llm", labels={"app": "llm"})

        assert (await town.one(labels={"model_name": "llama"})).outcome is Outcome.CREATED
        assert target(town) == "Deployment/llm"

    async def test_parts_of_it_are_not_counted(self) -> None:
        town = Town(selector=made.selector(app="llm"))
        town.cluster.workload("ReplicaSet", "llm-7d9", town.llm, labels={"app": "llm"})

        assert (await town.one(labels={})).outcome is Outcome.CREATED

    async def test_several_are_a_doubt(self) -> None:
        town = Town()
        town.cluster.workload("Deployment", "embedder")

        taken = await town.one(labels={"namespace": "chat"})

        assert refused(taken) == "TargetUnknown"
        assert "not one but 2: Deployment embedder, Deployment llm" in taken.message

    async def test_none_is_none(self) -> None:
        taken = await Town(selector=made.selector(app="other")).one(labels={"namespace": "chat"})

        assert refused(taken) == "TargetUnknown"
        assert "but none" in taken.message

    async def test_two_policies_that_select_different_ones_are_a_doubt(self) -> None:
        town = Town(selector=made.selector(app="llm"))
        town.cluster.workload("Deployment", "embedder", labels={"app": "embedder"})
        town.cluster.add(policy_body("embedder", selector=made.selector(app="embedder")))

        assert refused(await town.one(labels={"namespace": "chat"})) == "TargetUnknown"

    async def test_a_cluster_policy_needs_the_namespace_label(self) -> None:
        town = Town()
        town.cluster.remove(policy_body())
        town.cluster.add(cluster_policy_body())

        assert refused(await town.one(labels={"deployment": "llm"})) == "TargetUnknown"
        assert (await town.one(labels={"namespace": "chat"})).outcome is Outcome.CREATED

    async def test_a_cluster_policy_is_for_its_namespaces(self) -> None:
        town = Town()
        town.cluster.remove(policy_body())
        town.cluster.add(cluster_policy_body(selector=made.selector(namespace={"ai": "true"})))

        assert refused(await town.one(labels={"namespace": "chat"})) == "TargetUnknown"
        town.cluster.namespace("chat", ai="true")
        assert (await town.one(labels={"namespace": "chat"})).outcome is Outcome.CREATED


async def test_a_workload_that_the_policy_does_not_select_is_left_alone() -> None:
    town = Town(selector=made.selector(app="embedder"))

    taken = await town.one()

    assert (taken.outcome, taken.reason) == (Outcome.IGNORED, "NotSelected")
    assert town.cluster.incidents() == []


@pytest.mark.parametrize("name", [*SETTINGS.protected_namespaces, "stanch-system"])
async def test_nothing_in_a_protected_namespace_is_a_target(name: str) -> None:
    town = Town()
    town.cluster.namespace(name)
    town.cluster.workload("Deployment", "llm", namespace=name)
    town.cluster.add(cluster_policy_body())

    assert refused(await town.one(labels={"namespace": name, "deployment": "llm"})) == "NamespaceProtected"


async def test_a_protected_workload_is_no_target() -> None:
    town = Town()
    town.cluster.workload("Deployment", "llm", labels={"stanch.dev/protected": "true"})

    taken = await town.one()

    assert refused(taken) == "WorkloadProtected"
    assert "stanch.dev/protected=true" in taken.message


async def test_a_namespace_out_of_scope_has_no_targets() -> None:
    town = Town(SETTINGS.model_copy(update={"scope_label": "stanch.dev/ai=true"}))

    assert refused(await town.one()) == "NamespaceOutOfScope"
    town.cluster.namespace("chat", **{"stanch.dev/ai": "true"})
    assert (await town.one()).outcome is Outcome.CREATED


async def test_a_namespace_that_the_operator_does_not_act_in_is_not_even_looked_at() -> None:
    town = Town(SETTINGS.model_copy(update={"namespaces": ("search",)}))

    for firing in (True, False):
        taken = await town.one(firing=firing)
        assert (taken.reason, taken.outcome) == ("NamespaceOutOfScope", Outcome.REFUSED)
        assert "add it to STANCH_NAMESPACES" in taken.message
    assert set(town.cluster.asked) == {"list containmentpolicies", "list clustercontainmentpolicies"}


async def test_policies_that_tie_open_nothing() -> None:
    town = Town()
    town.cluster.add(policy_body("other", trigger("other")))

    assert refused(await town.one()) == "PolicyAmbiguous"
    assert town.cluster.incidents() == []


async def test_a_batch_about_one_workload_reads_it_once() -> None:
    town = Town()
    replicas = town.cluster.workload("ReplicaSet", "llm-7d9", town.llm)
    for number in range(20):
        town.cluster.workload("Pod", f"llm-{number}", replicas)

    await town.take(
        *(
            signal(fingerprint=str(one), labels={"namespace": "chat", "pod": f"llm-{one}"})
            for one in range(20)
        )
    )

    assert len(town.cluster.incidents()) == 1
    assert town.cluster.asked["get deployments"] == town.cluster.asked["get replicasets"] == 1
    assert town.cluster.asked["get namespaces"] == 1
