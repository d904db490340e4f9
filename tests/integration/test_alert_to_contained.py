"""Nobody types: a metric crosses, Prometheus and Alertmanager say so, and the workload is held."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from stanch.status.text import span
from tests.alerting import Receiver
from tests.operator_process import (
    OperatorProcess,
    condition,
    eventually,
    fresh_space,
    install,
    running,
    workload,
)
from tests.prometheus import Monitoring, monitoring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cluster import Cluster, Kubectl
    from tests.operator_process import Json, Space

RULES = [
    {
        "alert": "ToxicOutput",
        "expr": "toxic_share > 0.5",
        "labels": {"severity": "critical"},
        "annotations": {"summary": "Half of the answers are toxic", "description": "share {{ $value }}"},
    }
]
TRIGGERS: Json = {
    "toxic": {"alert": {"matchers": ['alertname="ToxicOutput"']}, "metrics": ["toxic_share"]},
    "drift": {"prometheus": {"query": "model_drift", "operator": "gt", "value": "0.2"}},
}


@dataclass(frozen=True)
class Watched:
    """A namespace, what watches it, and the operator that hears of it."""

    space: Space
    monitoring: Monitoring
    operator: OperatorProcess

    def policy(self, trigger: str, **spec: Any) -> None:
        triggers = [
            {"name": trigger, "category": "OutputPolicyViolation", "severity": "Critical"} | TRIGGERS[trigger]
        ]
        self.space.create(
            {
                "apiVersion": "stanch.dev/v1alpha1",
                "kind": "ContainmentPolicy",
                "metadata": {"name": "chat"},
                "spec": {"selector": {}, "triggers": triggers, "steps": [{"scaleToZero": {}}]} | spec,
            }
        )

    def measure(self, metric: str, value: float) -> None:
        self.monitoring.exporter.set(metric, value, namespace=self.space.name, deployment="llm-chat")

    def incidents(self) -> list[Json]:
        items: list[Json] = self.space.get("aii")["items"]
        return items

    def contained(self) -> Json:
        eventually(lambda: bool(self.incidents()), "an incident is created", seen=self.trigger_states)
        (incident,) = self.incidents()
        name = incident["metadata"]["name"]
        self.space.wait_phase(name, "Contained")
        self.space.wait_held(name)
        found: Json = self.space.get("aii", name)
        return found

    def trigger_states(self) -> str:
        return json.dumps(self.space.get("cpol", "chat").get("status", {}).get("triggers"))

    def until_trigger(self, state: str, word: str = "") -> None:
        def told() -> bool:
            (trigger,) = json.loads(self.trigger_states()) or [{"state": ""}]
            return trigger["state"] == state and word in trigger.get("message", "")

        eventually(told, f"the trigger is {state}: {word}", seen=self.trigger_states)


@pytest.fixture(scope="module")
def place(
    cluster: Cluster,
    kubectl: Kubectl,
    once: Callable[[str, Callable[[], None]], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[OperatorProcess, Monitoring]]:
    """Prometheus and Alertmanager, and the operator that hears from both."""
    directory = tmp_path_factory.mktemp("alerts")
    once("operator-installed", lambda: install(kubectl))
    with receiving(cluster, directory) as place:
        yield place


@contextmanager
def receiving(cluster: Cluster, directory: Path) -> Iterator[tuple[OperatorProcess, Monitoring]]:
    receiver = Receiver.reserve(directory)
    with monitoring(directory / "monitoring", rules=RULES, route=receiver.route) as watching:
        flags: Any = receiver.flags | {
            "alertmanager_url": watching.alertmanager,
            "prometheus_url": watching.url,
            "prometheus_interval_seconds": "1",
        }
        with running(cluster, directory / "operator.log", **flags) as operator:
            yield operator, watching


@pytest.fixture
def watched(
    cluster: Cluster, kubectl: Kubectl, place: tuple[OperatorProcess, Monitoring]
) -> Iterator[Watched]:
    operator, watching = place
    with fresh_space(cluster, kubectl, operator) as space:
        space.create(workload("Deployment", "llm-chat", 2))
        space.running("Deployment", "llm-chat", 2)
        yield Watched(space, watching, operator)
        watching.exporter.gauges.clear()


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.compatibility("alerts")
def test_a_metric_that_crosses_ends_in_a_held_workload(watched: Watched) -> None:
    watched.measure("toxic_share", 0.01)
    watched.policy("toxic")
    watched.until_trigger("Active")
    crossed = datetime.now(UTC)
    watched.measure("toxic_share", 0.9)
    incident = watched.contained()
    status, spec = incident["status"], incident["spec"]
    assert watched.space.get("deployment", "llm-chat")["spec"]["replicas"] == 0
    assert spec["title"] == "Half of the answers are toxic"
    assert spec["policyRef"] == {"kind": "ContainmentPolicy", "name": "chat"}
    assert spec["detection"]["method"] == "Alert"
    assert status["signals"]["count"] >= 1
    fired = moment(spec["occurredAt"])
    detected, contained = (moment(status["timestamps"][which]) for which in ("detected", "contained"))
    legs = {"fires": fired - crossed, "incident": detected - fired, "contained": contained - detected}
    told = ", ".join(f"{leg} {span(took)}" for leg, took in legs.items())
    print(f"{told}; in all {span(contained - crossed)}")  # noqa: T201 - shown by pytest -rP

    watched.measure("toxic_share", 0.01)
    name = incident["metadata"]["name"]
    eventually(lambda: not watched.space.status(name)["signals"]["firing"], "the alert has resolved")
    time.sleep(2)  # for a release that must not come
    still = watched.space.status(name)
    assert still["phase"] == "Contained"
    assert "this proves no recovery" in json.dumps(still["timeline"])
    assert watched.space.get("deployment", "llm-chat")["spec"]["replicas"] == 0
    assert "held by AIIncident" in watched.space.refused("scale", "deployment/llm-chat", "--replicas=1")
    watched.space.release(name)


@pytest.mark.long
def test_prometheus_dies_in_the_middle_and_nothing_fires_or_is_released(watched: Watched) -> None:
    watched.measure("model_drift", 0.01)
    watched.policy("drift")
    watched.until_trigger("Active")
    watched.monitoring.prometheus.kill()
    watched.until_trigger("Error")
    watched.measure("model_drift", 0.9)
    time.sleep(3)  # for an incident that must not come
    assert watched.incidents() == []
    watched.monitoring.prometheus.start()
    incident = watched.contained()
    name = incident["metadata"]["name"]
    assert incident["spec"]["detection"]["method"] == "Metric"
    watched.monitoring.prometheus.kill()
    watched.until_trigger("Error")
    time.sleep(3)  # for a release that must not come
    assert watched.space.status(name)["phase"] == "Contained"
    assert condition(watched.space.status(name), "Held")["status"] == "True"
    watched.monitoring.prometheus.start()
    watched.until_trigger("Active")
    assert [each["metadata"]["name"] for each in watched.incidents()] == [name]
    watched.space.release(name)


def test_a_metric_that_is_absent_is_told(watched: Watched) -> None:
    watched.policy("toxic")
    watched.until_trigger("Inactive", "toxic_share")
    assert watched.incidents() == []


def test_what_waits_for_a_person_is_not_contained_by_repeats(watched: Watched) -> None:
    watched.policy("drift", guardrails={"approval": {"required": "Always"}})
    watched.measure("model_drift", 0.9)
    eventually(lambda: bool(watched.incidents()), "an incident is created", seen=watched.trigger_states)
    (incident,) = watched.incidents()
    name = incident["metadata"]["name"]
    status = watched.space.wait_phase(name, "AwaitingApproval")
    hash_ = status["plan"]["hash"]
    assert watched.space.get("deployment", "llm-chat")["spec"]["replicas"] == 2
    approval = json.dumps({"spec": {"approval": {"planHash": hash_, "by": "bob"}}})
    bob = watched.space.user("bob")
    watched.space("patch", "aii", name, "--type=merge", "-p", approval, as_=bob)
    assert watched.space.wait_phase(name, "Contained")["approval"]["by"] == "bob"
    watched.space.release(name)
