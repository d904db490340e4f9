"""Recovery proven stage by stage, as people live it: a real API server and a real Prometheus.

Pods are KWOK's. The model's metric is set by the test; the operator is the real process.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.operator_process import (
    autoscaler,
    condition,
    eventually,
    fresh_space,
    install,
    running,
    shape,
    workload,
)
from tests.prometheus import monitoring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster import Cluster, Kubectl
    from tests.operator_process import Json, OperatorProcess, Space
    from tests.prometheus import Monitoring

LLM = "Deployment/llm"
NAME = "toxic"
GOOD, BAD = 0.001, 0.9
REPLICAS = 3
PATIENT = {"failureLimit": 100, "inconclusiveLimit": 100}
"""For what is to stay on probation while a test looks around."""
AGAIN = {"spec": {"desiredState": "Contained"}}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitoring]:
    with monitoring(tmp_path_factory.mktemp("prometheus")) as found:
        yield found


@pytest.fixture(scope="module")
def operator(
    cluster: Cluster,
    kubectl: Kubectl,
    once: Callable[[str, Callable[[], None]], None],
    watched: Monitoring,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OperatorProcess]:
    once("operator-installed", lambda: install(kubectl))
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with running(cluster, log, prometheus_url=watched.url) as process:
        yield process


@pytest.fixture
def model(
    cluster: Cluster, kubectl: Kubectl, operator: OperatorProcess, watched: Monitoring
) -> Iterator[Model]:
    with fresh_space(cluster, kubectl, operator) as space:
        yield Model(space, watched)


@dataclass(frozen=True)
class Model:
    """A model server in a namespace of its own, what it measures, and the policy that contains it."""

    space: Space
    monitoring: Monitoring

    def serves(self, *manifests: Json, metric: float | None = BAD, **spec: Any) -> Json:
        """It runs, and it is bad; what has to come back."""
        for manifest in manifests or (workload("Deployment", "llm", REPLICAS),):
            self.space.create(manifest)
        self.space.create(self.policy(**spec))
        if metric is not None:
            self.measures(metric)
        self.space.running("Deployment", "llm", REPLICAS)
        return self.shapes()

    def shapes(self) -> Json:
        return {
            f"{item['kind']}/{item['metadata']['name']}": shape(item | {"spec": item.get("spec")})
            for item in self.space.get("deployments,hpa,networkpolicies,serviceaccounts")["items"]
        }

    def measures(self, value: float) -> None:
        self.monitoring.exporter.set("toxicity", value, space=self.space.name)
        query = f'toxicity{{space="{self.space.name}"}}'
        eventually(lambda: self.monitoring.until(query) == value, "Prometheus has scraped it")

    def policy(self, *steps: Json, release: Json | None = None, **verification: Any) -> Json:
        query = f'max(toxicity{{space="{self.space.name}"}})'
        checks = [
            {"name": "toxicity", "prometheus": {"query": query, "operator": "lt", "value": "0.01"}},
            {"name": "healthy", "healthy": {}},
        ]
        times = {"initialDelay": "1s", "interval": "1s", "timeout": "60s"}
        limits = {"consecutiveSuccesses": 2, "failureLimit": 2, "inconclusiveLimit": 2}
        spec = {
            "selector": {},
            "steps": list(verification.pop("steps", steps)) or [{"scaleToZero": {}}],
            "verification": {"checks": checks} | times | limits | verification,
        }
        return {
            "apiVersion": "stanch.dev/v1alpha1",
            "kind": "ContainmentPolicy",
            "metadata": {"name": "chat"},
            "spec": spec | ({"release": release} if release else {}),
        }

    def edit(self, name: str = NAME, **spec: Any) -> None:
        self.space("patch", "aii", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def stage(self, name: str = NAME) -> str:
        found: str = self.space.status(name).get("release", {}).get("stage", "")
        return found

    def in_stage(self, stage: str, name: str = NAME) -> Json:
        self.space.wait(f"aii/{name}", "{.status.release.stage}", stage)
        return self.space.status(name)

    def on_probation(self, pods: int = 1) -> Json:
        """The status, with so many pods running and the rest held."""
        self.in_stage("Probation")
        self.space.running("Deployment", "llm", pods)
        self.space.wait(f"aii/{NAME}", "{.status.verification.outcome}", "Pending")
        return self.space.status(NAME)

    @property
    def replicas(self) -> int:
        count: int = self.space.get("deployment", "llm")["spec"]["replicas"]
        return count

    def contained_again(self, attempt: int = 1) -> Json:
        """The status, once it is contained, held and without pods, after that attempt to release it."""
        self.space.wait(f"aii/{NAME}", "{.status.release.attempt}", str(attempt))
        self.in_stage("Failed")
        self.space.wait_phase(NAME, "Contained")
        status = self.space.wait_held(NAME)
        assert status["release"]["attempt"] == attempt
        assert self.replicas == 0
        eventually(lambda: self.space.pods() == [], "no pod is left")
        assert "at 0 replicas" in self.space.refused("scale", "deployment/llm", "--replicas=1")
        assert before(status) == [REPLICAS]
        return status

    def recovered(self, originally: Json) -> Json:
        """The status, once nothing of the containment is left."""
        status = self.space.wait_phase(NAME, "Recovered")
        assert self.shapes() == originally
        self.space.running("Deployment", "llm", REPLICAS)
        self.nothing_left()
        verified, released = condition(status, "Verified"), condition(status, "Released")
        assert (verified["status"], verified["reason"]) == ("True", "ChecksPassed")
        assert (released["status"], released["reason"]) == ("True", "GivenBack")
        assert before(status) == [REPLICAS]
        return status

    def nothing_left(self) -> None:
        assert self.space.get("containmentholds")["items"] == []
        labels = json.loads(self.space("get", "namespace", self.space.name, "-o", "json"))["metadata"][
            "labels"
        ]
        assert "stanch.dev/holding" not in labels


def before(status: Json) -> list[Any]:
    """The original counts, as recorded."""
    return [
        field.get("before")
        for step in status["steps"]
        for change in step.get("changes", [])
        for field in change.get("fields", [])
        if field["path"] == "/spec/replicas"
    ]


def test_fixed_while_it_was_at_zero_it_is_proven_and_recovered(model: Model) -> None:
    originally = model.serves(workload("Deployment", "llm", REPLICAS), autoscaler("llm"))
    space = model.space
    contained = space.contain(NAME, LLM)
    awaited = condition(contained, "Verified")
    assert (awaited["status"], awaited["reason"]) == ("False", "AwaitingRelease")
    assert "1 replica on probation; to be shown: toxicity, healthy" in awaited["message"]
    space("set", "image", "deployment/llm", "server=registry.example.test/llm:2.5.1")
    model.measures(GOOD)
    space.let_go(NAME)
    fixed = {name: text.replace("llm:2.4.0", "llm:2.5.1") for name, text in originally.items()}
    status = model.recovered(fixed)
    assert status["timestamps"]["recovered"]
    for reason in ("ReleaseProbation", "ReleaseFull", "Recovered"):
        space.wait_event(reason)


def test_on_probation_nobody_makes_it_more_than_it_may_be(model: Model) -> None:
    originally = model.serves(workload("Deployment", "llm", REPLICAS), autoscaler("llm"), **PATIENT)
    space = model.space
    space.contain(NAME, LLM)
    space.let_go(NAME)
    status = model.on_probation()
    assert status["phase"] == "Releasing"
    assert condition(status, "Held")["status"] == "True"
    said = space.until_denied("until its checks have passed", "scale", "deployment/llm", "--replicas=3")
    assert "which gives it back step by step: at most 1 replicas" in said
    assert "it cannot be deleted before it is given back" in space.refused("delete", "deployment", "llm")
    assert "selectPolicy stays Disabled" in space.refused(
        "patch", "hpa", "llm", "--type=merge", "-p", '{"spec":{"behavior":null}}'
    )
    space("scale", "replicaset", "-l", "app=llm", "--replicas=3")
    space.wait("deployment/llm", "{.status.replicas}", "1")
    space("scale", "deployment/llm", "--replicas=0")
    space("scale", "deployment/llm", "--replicas=1")
    space.running("Deployment", "llm", 1)
    assert model.stage() == "Probation"

    model.measures(GOOD)
    model.recovered(originally)


@pytest.mark.long
def test_still_bad_it_is_contained_again_and_may_be_asked_for_anew(model: Model) -> None:
    originally = model.serves()
    space = model.space
    space.contain(NAME, LLM)
    space.let_go(NAME)
    status = model.contained_again()
    said = condition(status, "Released")
    assert (said["status"], said["reason"]) == ("False", "ContainedAgain")
    assert "toxicity" in said["message"]
    assert "0.9 is not < 0.01" in said["message"]
    assert "set spec.desiredState to Contained and then to Released" in said["message"]
    assert condition(status, "Verified")["reason"] == "Failed"
    assert "contained again: toxicity" in status["summary"]
    space.wait_event("ReleaseFailed")

    model.measures(GOOD)
    model.edit(desiredState="Contained")
    eventually(
        lambda: space.status(NAME)["observedGeneration"] == space.get("aii", NAME)["metadata"]["generation"],
        "it has seen the new spec",
    )
    assert model.stage() == "Failed"
    space.let_go(NAME)
    assert model.recovered(originally)["release"]["attempt"] == 2


@pytest.mark.long
def test_what_turns_bad_in_full_is_contained_again(model: Model) -> None:
    originally = model.serves(metric=GOOD, initialDelay="4s")
    space = model.space
    space.contain(NAME, LLM)
    space.let_go(NAME)
    model.in_stage("Full")
    model.measures(BAD)
    model.contained_again()
    model.measures(GOOD)
    model.edit(desiredState="Contained")
    model.edit(desiredState="Released")
    model.recovered(originally)


@pytest.mark.long
def test_with_prometheus_gone_nothing_passes(model: Model) -> None:
    originally = model.serves(metric=GOOD, initialDelay="3s")
    space = model.space
    space.contain(NAME, LLM)
    space.let_go(NAME)
    model.in_stage("Probation")
    model.monitoring.prometheus.kill()
    try:
        status = model.contained_again()
    finally:
        model.monitoring.prometheus.restart()
    assert condition(status, "Verified")["reason"] == "Error"
    assert "Prometheus" in condition(status, "Released")["message"]
    model.measures(GOOD)
    model.edit(desiredState="Contained")
    model.edit(desiredState="Released")
    model.recovered(originally)


@pytest.mark.long
def test_a_metric_that_nobody_gives_is_inconclusive(model: Model) -> None:
    model.serves(metric=None)
    model.space.contain(NAME, LLM)
    model.space.let_go(NAME)
    status = model.contained_again()
    assert condition(status, "Verified")["reason"] == "Inconclusive"


@pytest.mark.long
def test_a_policy_tries_by_itself_unless_a_person_says_otherwise(model: Model) -> None:
    release = {"mode": "Automatic", "after": "1s"}
    originally = model.serves(metric=GOOD, release=release)
    space = model.space
    space.incident(NAME, LLM, releaseMode="Manual")
    space.wait_phase(NAME, "Contained")
    space.wait_held(NAME)
    contained = space.status(NAME)
    space("annotate", "aii", NAME, "look=again")
    assert "release" not in contained

    model.edit(releaseMode=None)
    status = model.recovered(originally)
    assert status["release"]["askedBy"] == "Policy"


@pytest.mark.long
def test_a_person_stops_a_try_of_the_policy(model: Model) -> None:
    model.serves(release={"mode": "Automatic", "after": "1s"}, **PATIENT)
    model.space.incident(NAME, LLM)
    model.on_probation()
    model.edit(releaseMode="Manual")
    status = model.contained_again()
    assert "spec.releaseMode is Manual" in status["release"]["message"]


def test_a_person_who_needs_no_proof_gets_it_back_at_once(model: Model) -> None:
    originally = model.serves(**PATIENT)
    model.space.contain(NAME, LLM)
    model.space.let_go(NAME)
    model.on_probation()
    model.edit(skipVerification=True)
    status = model.space.wait_phase(NAME, "Released")
    assert model.shapes() == originally
    assert condition(status, "Verified")["status"] == "False"
    model.nothing_left()


def test_deleted_on_probation_it_gives_all_back(model: Model) -> None:
    originally = model.serves(**PATIENT)
    model.space.contain(NAME, LLM)
    model.space.let_go(NAME)
    model.on_probation()
    model.space("delete", "aii", NAME, "--timeout=60s")
    assert model.shapes() == originally
    model.nothing_left()


@pytest.mark.long
def test_of_several_steps_each_is_let_go_in_its_stage_and_all_are_back_when_it_fails(model: Model) -> None:
    deployment = workload("Deployment", "llm", REPLICAS)
    deployment["spec"]["template"]["spec"]["serviceAccountName"] = "llm"
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "llm", "labels": {"a": "b"}},
    }
    peer = {"podSelector": {"matchLabels": {"app": "canary"}}}
    originally = model.serves(
        account,
        deployment,
        steps=[{"isolate": {"direction": ["Ingress"]}}, {"revokeServiceAccount": {}}, {"scaleToZero": {}}],
        release={"probation": {"replicas": 2, "peers": [peer]}},
        **PATIENT,
    )
    space = model.space
    space.contain(NAME, LLM)
    assert ingress(space) == [[]], "nobody"
    assert "llm" not in names(space, "serviceaccounts")

    space.let_go(NAME)
    model.on_probation(2)
    assert "llm" in names(space, "serviceaccounts"), "no pod is born without it"
    assert ingress(space) == [[{"from": [peer]}]], "still cut off from all others"

    model.edit(**AGAIN["spec"])
    model.contained_again()
    eventually(lambda: "llm" not in names(space, "serviceaccounts"), "the account is revoked again")
    assert ingress(space) == [[]]

    model.measures(GOOD)
    space.let_go(NAME)
    model.in_stage("Full")
    space.running("Deployment", "llm", REPLICAS)
    model.recovered(originally)


def ingress(space: Space) -> list[Any]:
    """What each NetworkPolicy lets in."""
    return [item["spec"].get("ingress", []) for item in space.get("networkpolicies")["items"]]


def names(space: Space, resource: str) -> set[str]:
    return {item["metadata"]["name"] for item in space.get(resource)["items"]}


@pytest.mark.long
def test_one_that_contains_it_on_probation_ends_the_release(model: Model) -> None:
    originally = model.serves(**PATIENT)
    space = model.space
    space.contain(NAME, LLM)
    space.let_go(NAME)
    model.on_probation()
    space.contain("another", LLM)
    status = model.contained_again()
    assert "AIIncident another contains it as well" in status["release"]["message"]
    assert before(space.status("another")) == [REPLICAS]
    assert "and 1 more" in space.refused("scale", "deployment/llm", "--replicas=1")

    model.edit(desiredState="Contained")
    space.let_go(NAME)
    space.wait_phase(NAME, "Released")
    assert model.replicas == 0
    model.measures(GOOD)
    space.let_go("another")
    space.wait_phase("another", "Recovered")
    assert model.shapes() == originally
    model.nothing_left()
