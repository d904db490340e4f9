"""From a metric that crosses a threshold to a contained workload, with a real Prometheus and Alertmanager."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.alerts import forget_all, policy, receiver, workloads
from bench.report import ms, ratio, section, table
from bench.stage import wait_for
from stanch.kube.resources import AIINCIDENTS, CLUSTERCONTAINMENTPOLICIES, ObjectRef
from tests.prometheus import Monitoring, monitoring

if TYPE_CHECKING:
    from bench.stage import Stage

Json = dict[str, Any]

ROUNDS = 5
_FLOOR = (
    "A gauge of a model server crosses the threshold of a rule; Prometheus scrapes and evaluates every "
    "second, Alertmanager sends without waiting. `fires`: the floor, until Prometheus itself says so."
)


async def metric(on: Stage) -> None:
    route, settings = receiver(on.home)
    await on.admin.create(CLUSTERCONTAINMENTPOLICIES, None, policy())
    with section(f"From a metric to a contained workload ({ROUNDS} times)", _FLOOR):
        rules = [{"alert": "Toxic", "expr": "toxic_share > 0.5", "labels": {"severity": "critical"}}]
        with monitoring(on.home / "monitoring", rules=rules, route=route) as watching:
            await on.start_operator(**settings)
            rounds = [await _cross(on, watching, f"metric-{number}") for number in range(ROUNDS)]
        on.stop_operator()
        fires, contained_after = (list(each) for each in zip(*rounds, strict=True))
        table(
            ("", "p50", "longest"),
            [
                ("fires (floor)", ms(median(fires)), ms(max(fires))),
                ("contained", ms(median(contained_after)), ms(max(contained_after))),
                ("ratio", ratio(median(contained_after), median(fires)), ""),
            ],
        )
    await on.admin.delete(ObjectRef(CLUSTERCONTAINMENTPOLICIES, None, "bench"))


async def _cross(on: Stage, watching: Monitoring, name: str) -> tuple[float, float]:
    """Seconds from the change of the metric until it fires, and until the workload is contained."""
    await workloads(on, [name], 1)
    labels = {"namespace": name, "deployment": "llm-0"}
    watching.exporter.set("toxic_share", 0.01, **labels)
    await asyncio.to_thread(watching.until, f'toxic_share{{namespace="{name}"}}')
    began = time.perf_counter()
    watching.exporter.set("toxic_share", 0.9, **labels)
    firing = f'ALERTS{{alertstate="firing",namespace="{name}"}}'

    async def fired() -> float:
        await asyncio.to_thread(watching.until, firing)
        return time.perf_counter() - began

    async def contained() -> float:
        found: list[Json] = []

        async def look() -> bool:
            found[:] = await on.admin.list(AIINCIDENTS, name)
            return [(body.get("status") or {}).get("phase") for body in found] == ["Contained"]

        await wait_for(look, f"{name} is contained")
        took = time.perf_counter() - began
        watching.exporter.remove("toxic_share", **labels)
        await forget_all(on, found)
        return took

    fires, took = await asyncio.gather(fired(), contained())
    return fires, took
