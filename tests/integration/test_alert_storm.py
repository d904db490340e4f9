"""5 000 alerts in a minute, a slow API server, an operator killed twice: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from stanch.kube.resources import AIINCIDENTS
from tests.alert_sender import Answer, Sender, sending
from tests.integration.alert_mix import UNREADABLE, Delivery, Fate, Sent, by_group, storm
from tests.integration.storm_ground import TOKEN, Ground, deployments, held, prepared, until, victims

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster import OwnSandbox
    from tests.operator_process import Json

ALERTS = 5000
SECONDS = 60.0
DELAY = 0.1  # seconds that the API server takes longer for every request
KILLS = (0.3, 0.65)  # of the storm
LIMIT_MIB = 256  # manifests/operator/deployment.yaml
OVER = {"Rejected", "Duplicate"}


@dataclass
class Ledger:
    """What each alert was said to have become, in a 200."""

    told: list[tuple[Sent, Json]] = field(default_factory=list)
    malformed: int = 0

    def note(self, delivery: Delivery, answer: Answer) -> None:
        """Every alert that was sent is accounted for."""
        told = f"{delivery.group}: {answer}"
        if not delivery.alerts:
            assert answer.status == 400, told
            return
        assert answer.status == 200, told
        assert len(answer.body["alerts"]) == len(delivery.alerts), told
        assert len(answer.body["malformed"]) == len(delivery.malformed), told
        self.told += zip(delivery.alerts, answer.body["alerts"], strict=True)
        self.malformed += len(delivery.malformed)


async def rage(ground: Ground, sender: Sender, deliveries: list[Delivery]) -> Ledger:
    """Each group delivers in its order, all groups side by side, while the operator is killed."""
    rng = random.Random(4)
    bodies = {id(one): one.body(rng) for one in deliveries}
    flushes = max(one.flush for one in deliveries) + 1
    began = time.monotonic()
    ledger = Ledger()

    async def wait_for(share: float) -> None:
        await asyncio.sleep(max(0.0, began + SECONDS * share - time.monotonic()))

    async def group(own: list[Delivery], offset: float) -> None:
        for delivery in own:
            await wait_for((delivery.flush + offset) / flushes)
            ledger.note(delivery, await sender.deliver(bodies[id(delivery)]))

    async def nonsense() -> None:
        for place, body in enumerate(UNREADABLE):
            await wait_for(place / len(UNREADABLE))
            assert (await sender.deliver(body)).status == 400, body

    async def killer() -> None:
        for share in KILLS:
            await wait_for(share)
            await asyncio.to_thread(ground.kill_operator)
            ground.start_operator()

    groups = by_group(deliveries)
    offsets = [rng.random() for _ in groups]
    await asyncio.gather(*map(group, groups, offsets), nonsense(), killer())
    return ledger


EXPECTED = {
    Fate.CONTAINED: {"Created", "Merged"},
    Fate.NO_TRIGGER: {"NoTrigger"},
    Fate.NOT_SELECTED: {"NotSelected"},
}


def assert_told_rightly(ledger: Ledger) -> None:
    for sent, told in ledger.told:
        what = f"{sent} became {told}"
        if sent.victim is None:
            assert told["reason"] == "TargetNotFound", what
        elif not sent.firing:
            assert told["outcome"] in {"Resolved", "Ignored"}, what
        elif sent.victim.fate is not Fate.CONTAINED:
            assert told["reason"] in EXPECTED[sent.victim.fate], what
        elif (
            sent.by_pod
        ):  # once its pod is gone, only an incident that has heard of this alert knows whose it was
            assert told["outcome"] in {"Created", "Merged"} or told["reason"] == "TargetNotFound", what
        else:
            assert told["outcome"] in {"Created", "Merged"}, what


@pytest.mark.long
@pytest.mark.timeout(1200)  # three minutes on an idle machine
async def test_a_storm_of_alerts_contains_every_workload_once_and_loses_none(
    own_sandbox: OwnSandbox, tmp_path: Path
) -> None:
    async with prepared(own_sandbox(), tmp_path) as ground:
        began = time.monotonic()
        each = await victims(ground)
        spared = {(one.namespace, one.name) for one in each if one.fate is not Fate.CONTAINED}
        doomed = {(one.namespace, one.name) for one in each} - spared
        before = {place: body for place, body in (await deployments(ground)).items() if place in spared}
        deliveries = storm(random.Random(3), each, ALERTS)
        assert sum(one.count for one in deliveries) == ALERTS
        staged = time.monotonic()

        ground.proxy.slow(DELAY)
        url = f"https://127.0.0.1:{ground.endpoint.port}/alerts"
        async with sending(url, TOKEN, ground.endpoint.ca_file) as sender:
            ledger = await rage(ground, sender, deliveries)
        taken = time.monotonic()

        async def not_contained() -> str:
            phases = Counter(phase(body) for body in await ground.admin.list(AIINCIDENTS))
            return "" if phases["Contained"] >= len(doomed) else str(dict(phases))

        await until(not_contained, f"{len(doomed)} are contained", ground.operator)
        contained = time.monotonic()
        assert ground.operator.running, ground.operator.tail()
        ground.kill_operator()
        figures = {
            "staged": f"{staged - began:.0f} s",
            "all taken": f"{taken - staged:.0f} s",
            "all contained": f"{contained - staged:.0f} s",
            "answers": dict(sender.statuses),
            "without an answer": sender.unreachable,
            "outcomes": dict(Counter(f"{told['outcome']} {told['reason']}" for _, told in ledger.told)),
            "most memory of each operator, MiB": [round(one) for one in ground.memory],
        }
        print(json.dumps(figures))  # noqa: T201 - shown by pytest -rP

        assert set(sender.statuses) <= {200, 400, 503}
        assert_told_rightly(ledger)
        incidents = {key(body): body for body in await ground.admin.list(AIINCIDENTS)}
        named = {told["incident"] for _, told in ledger.told if told["outcome"] in {"Created", "Merged"}}
        assert named <= incidents.keys(), "acknowledged and lost"
        owners = Counter(target(body) for body in incidents.values() if phase(body) not in OVER)
        assert owners == Counter(doomed), "each by one incident, and nothing else by any"
        after = await deployments(ground)
        assert {place for place, body in after.items() if body["spec"]["replicas"] == 0} == doomed
        assert {place: body for place, body in after.items() if place in spared} == before
        assert await held(ground) == dict.fromkeys(doomed, 1)
        assert max(ground.memory) < LIMIT_MIB


def phase(incident: Json) -> str:
    found: str = incident.get("status", {}).get("phase", "")
    return found


def key(body: Json) -> str:
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"


def target(incident: Json) -> tuple[str, str]:
    (one,) = incident["spec"]["targets"]
    return incident["metadata"]["namespace"], one["name"]
