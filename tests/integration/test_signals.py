"""From an alert to a contained workload, with the operator's own account: opened once, held, told."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from stanch.errors import Retry
from stanch.incidents.assembly import prepared
from stanch.kube.client import Kube
from stanch.main import Services
from stanch.observability.metrics import Metrics
from stanch.queue import Key, WorkQueue
from stanch.settings import Settings
from stanch.signals.board import Board
from stanch.signals.intake.intake import SignalIntake
from stanch.signals.model import Outcome, Signal, Speaker, Taken
from tests.operator_process import WITHIN, workload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from stanch.incidents.reconcile import Reconciler
    from tests.installation import Installed
    from tests.operator_process import Json

SINCE = datetime.now(UTC).replace(microsecond=123000)
ALERTMANAGER = Speaker("alertmanager", None)


@dataclass
class Desk:
    """An engine and an intake in this process, in a namespace of one test."""

    installed: Installed
    space: str
    intake: SignalIntake
    board: Board

    def kubectl(self, *arguments: str, stdin: object = None) -> str:
        return self.installed.admin("-n", self.space, *arguments, stdin=stdin)

    def get(self, *what: str) -> Json:
        answer: Json = json.loads(self.kubectl("get", *what, "-o", "json"))
        return answer

    def create(self, manifest: Json) -> None:
        self.kubectl("create", "-f", "-", stdin=manifest)

    def policy(self, kind: str = "ContainmentPolicy", name: str = "chat", **spec: Any) -> None:
        alert = {"matchers": ['alertname="ToxicOutput"', 'severity=~"crit.*"']}
        trigger = {
            "name": "toxic",
            "category": "OutputPolicyViolation",
            "severity": "Critical",
            "alert": alert,
        }
        base = {"selector": {}, "triggers": [trigger], "steps": [{"scaleToZero": {}}]}
        head = {"apiVersion": "stanch.dev/v1alpha1", "kind": kind, "metadata": {"name": name}}
        self.create(head | {"spec": base | spec})

    async def running(self) -> str:
        """Deployment llm-chat; the name of its pod."""
        self.create(workload("Deployment", "llm-chat", 1))
        await self.until(lambda: self.get("deployment", "llm-chat")["status"].get("readyReplicas") == 1)
        name: str = self.get("pods")["items"][0]["metadata"]["name"]
        return name

    async def one(self, *, firing: bool = True, since: datetime = SINCE, **more: Any) -> Taken:
        labels = {"alertname": "ToxicOutput", "severity": "critical", "namespace": self.space}
        labels |= more.pop("labels", {"deployment": "llm-chat"})
        fields: Json = {"fingerprint": "9f86d081884c7d65", **more}
        signal = Signal("ToxicOutput", starts_at=since, firing=firing, labels=labels, **fields)
        return await self.sent(signal)

    async def sent(self, signal: Signal) -> Taken:
        """Sent again while it cannot be taken, as Alertmanager does: CRDs were installed a moment ago."""
        deadline = time.monotonic() + WITHIN
        while time.monotonic() < deadline:
            try:
                (taken,) = await self.intake.take([signal], ALERTMANAGER)
            except Retry as error:
                await asyncio.sleep(error.after)
            else:
                return taken
        raise AssertionError(f"not taken within {WITHIN:.0f} s: {signal.name}")

    def status(self, key: Key | None) -> Json:
        assert key is not None
        status: Json = self.get("aii", key.name).get("status", {})
        return status

    async def until_phase(self, key: Key | None, phase: str) -> Json:
        await self.until(lambda: self.status(key).get("phase") == phase)
        return self.status(key)

    async def until(self, look: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WITHIN
        while not look():
            assert time.monotonic() < deadline, self.kubectl("get", "aii", "-o", "yaml")
            await asyncio.sleep(0.2)


@asynccontextmanager
async def at_work(installed: Installed, space: str) -> AsyncIterator[Desk]:
    settings = Settings(kubeconfig=installed.operator.kubeconfig, rejudge_seconds=1.0)
    kube = await Kube.connect(settings)

    async def work(key: Key) -> float | None:
        return await engine.reconcile(key) if key.namespace == space else None

    queue: WorkQueue[Key] = WorkQueue(work)
    engine: Reconciler = prepared(settings)(Services(settings, kube, Metrics(), queue.add, lambda _: None))
    board = Board(lambda _: None)
    working = asyncio.create_task(queue.run())
    try:
        yield Desk(installed, space, SignalIntake(kube, settings, board, engine.signalled), board)
    finally:
        queue.stop()
        await working
        await kube.close()


@pytest.fixture
async def desk(stanch_installed: Installed, space: str) -> AsyncIterator[Desk]:
    async with at_work(stanch_installed, space) as desk:
        yield desk
    stanch_installed.admin("-n", space, "delete", "aii", "--all", "--wait=false")


async def test_an_alert_about_a_pod_contains_its_deployment_and_nothing_but_a_person_releases_it(
    desk: Desk,
) -> None:
    desk.policy()
    pod = {"pod": await desk.running()}

    taken = await desk.one(labels=pod, annotations={"summary": "Toxic output"}, value="0.41")

    assert taken.outcome is Outcome.CREATED, taken
    status = await desk.until_phase(taken.incident, "Contained")
    assert desk.get("deployment", "llm-chat")["spec"]["replicas"] == 0
    assert status["plan"]["source"].startswith("ContainmentPolicy/chat")
    assert status["timestamps"]["occurred"] == SINCE.isoformat().replace("+00:00", "Z")

    again = await desk.one(labels=pod)
    assert (again.outcome, again.reason, again.incident) == (Outcome.MERGED, "SameSignal", taken.incident)
    other = await desk.one(fingerprint="f2")
    assert (other.outcome, other.incident) == (Outcome.MERGED, taken.incident)
    await desk.until(lambda: desk.status(taken.incident).get("signals", {}).get("count") == 3)

    for fingerprint in ("9f86d081884c7d65", "f2"):
        resolved = await desk.one(firing=False, labels=pod, fingerprint=fingerprint)
        assert (resolved.outcome, resolved.incident) == (Outcome.RESOLVED, taken.incident)
    await desk.until(lambda: "resolvedAt" in desk.status(taken.incident)["signals"])
    await desk.until(lambda: not desk.status(taken.incident)["signals"].get("firing"))
    status = desk.status(taken.incident)
    assert status["phase"] == "Contained"
    assert desk.get("deployment", "llm-chat")["spec"]["replicas"] == 0
    told = [entry["type"] for entry in status["timeline"]]
    assert told.count("Signalled") == told.count("SignalResolved") == 1
    assert len(desk.get("aii")["items"]) == 1

    await desk.one()
    await desk.until(lambda: desk.status(taken.incident)["signals"].get("flaps") == 1)


async def test_the_tail_of_an_alert_opens_nothing_during_the_cooldown(desk: Desk) -> None:
    desk.policy(guardrails={"cooldown": "10m"})
    await desk.running()
    taken = await desk.one()
    await desk.until_phase(taken.incident, "Contained")
    assert taken.incident is not None
    desk.kubectl(
        "patch", "aii", taken.incident.name, "--type=merge", "-p", '{"spec":{"desiredState":"Released"}}'
    )
    await desk.until_phase(taken.incident, "Released")

    tail = await desk.one(since=SINCE + timedelta(seconds=40))

    assert (tail.outcome, tail.reason) == (Outcome.IGNORED, "Cooldown"), tail
    assert "cooldown of 10m lasts another" in tail.message
    assert len(desk.get("aii")["items"]) == 1


async def test_an_alert_that_names_two_workloads_changes_nothing_and_the_policy_s_events_say_so(
    desk: Desk,
) -> None:
    desk.policy()
    await desk.running()
    desk.create(workload("StatefulSet", "store", 0))

    for number in range(3):
        taken = await desk.one(
            labels={"deployment": "llm-chat", "statefulset": "store"}, fingerprint=str(number)
        )
        assert (taken.outcome, taken.reason) == (Outcome.REFUSED, "TargetAmbiguous")

    assert desk.get("aii")["items"] == []
    about = [
        one for one in desk.get("events")["items"] if one["involvedObject"]["kind"] == "ContainmentPolicy"
    ]
    (event,) = about
    assert (event["reason"], event["involvedObject"]["name"]) == ("TargetAmbiguous", "chat")
    assert "TargetAmbiguous" in desk.kubectl("describe", "cpol", "chat")


async def test_an_event_about_a_policy_of_the_cluster_is_taken_too(desk: Desk) -> None:
    desk.policy("ClusterContainmentPolicy", desk.space)
    try:
        taken = await desk.one(labels={"deployment": "gone"})
        assert (taken.outcome, taken.reason) == (Outcome.REFUSED, "TargetNotFound")
        events = desk.installed.admin.get("-n", "default", "events")["items"]
        assert [one["reason"] for one in events if one["involvedObject"]["name"] == desk.space] == [
            "TargetNotFound"
        ]
    finally:
        desk.kubectl("delete", "ccpol", desk.space)


async def test_two_operators_at_once_open_one_incident(desk: Desk) -> None:
    """One has lost its lease and does not know yet."""
    desk.policy(mode="DryRun")
    await desk.running()
    async with at_work(desk.installed, desk.space) as other:
        both = await asyncio.gather(desk.one(), other.one())

    assert sorted(one.outcome for one in both) == [Outcome.CREATED, Outcome.MERGED]
    assert len(desk.get("aii")["items"]) == 1


@pytest.mark.parametrize(
    "text",
    ['"} or vector(1)\n---\nkind: Secret', "\u202e\x00\x1b[2J\ud800", "ﬃ" * 20_000],
    ids=["yaml", "codes", "long"],
)
async def test_the_crd_takes_an_incident_of_a_hostile_alert(desk: Desk, text: str) -> None:
    desk.policy(mode="DryRun")
    await desk.running()

    taken = await desk.one(
        fingerprint=text,
        value=text,
        url=f"https://{text}",
        annotations={"summary": text, "description": text},
        labels={"deployment": "llm-chat", "note": text},
    )

    assert taken.outcome is Outcome.CREATED, taken
    await desk.until_phase(taken.incident, "Detected")
    await desk.until(lambda: desk.status(taken.incident).get("signals", {}).get("count") == 1)


async def test_a_namespace_that_ends_takes_no_incident_and_says_so(desk: Desk) -> None:
    desk.policy()
    kept = workload("Deployment", "llm-chat", 0)
    kept["metadata"]["finalizers"] = ["example.test/kept"]
    desk.create(kept)
    cluster = f"ending-{desk.space}"
    desk.policy("ClusterContainmentPolicy", cluster)
    desk.kubectl("delete", "namespace", desk.space, "--wait=false")
    await desk.until(lambda: desk.get("cpol")["items"] == [])
    try:
        taken = await desk.one()
        assert taken.outcome is Outcome.REFUSED
        assert "because it is being terminated" in taken.message
    finally:
        desk.kubectl("delete", "ccpol", cluster)
        desk.kubectl(
            "patch", "deployment", "llm-chat", "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
        )
