"""What it costs those who have no incident: their writes, and the operator's memory."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import TYPE_CHECKING

from bench.by_hand import held
from bench.report import ms, p95, progress, ratio, section, table
from bench.stage import BenchError, at_once, space
from stanch.api.v1alpha1.hold import HOLDING_LABEL
from stanch.errors import Conflict
from stanch.kube.resources import CONTAINMENTHOLDS, DEPLOYMENTS, NAMESPACES, ObjectRef
from stanch.plans.changes import pointer
from tests.operator_process import workload

if TYPE_CHECKING:
    from bench.stage import Json, Stage
    from stanch.kube.client import Kube

CROWD = 5000
WRITES = 300
HOLDS = 1000
_STEP = 1000
_WHY = (
    "Since 1.37 the API server turns a policy's parameter object into JSON and back for every evaluation "
    "(`SchemalessTypedToVal` in k8s.io/apiserver). So the hold keeps its entries as lines of one text "
    "(0.4 ms for 1 000; 12.1 ms as structs in a map), and lets go of what concerns nothing held after one. "
    "The aim is 1.2x."
)


async def holds(on: Stage) -> None:
    """The same write to a Deployment nobody holds, in a namespace with HOLDS holds and in one with none."""
    with section(f"A write to an unrelated Deployment ({WRITES} each, in turns)", _WHY):
        free, full = "no hold in the namespace", f"{HOLDS} holds in the namespace"
        names = {free: "free", full: "holds"}
        for name in names.values():
            await space(on.admin, name)
            await on.admin.create(DEPLOYMENTS, name, workload("Deployment", "llm", 0))
        await _hold(on.operator, names[full])
        await asyncio.sleep(1)  # let the admission plugin see the parameter: the cost counts, not the wait
        times: dict[str, list[float]] = {name: [] for name in names}
        for number in range(WRITES):
            for name in names if number % 2 else reversed(names):
                times[name].append(await _write(on.admin, ObjectRef(DEPLOYMENTS, names[name], "llm"), number))
        table(
            ("", "p50", "p95"),
            [
                *((name, ms(median(each)), ms(p95(each))) for name, each in times.items()),
                ("ratio", ratio(median(times[full]), median(times[free])), ""),
            ],
        )


async def crowd(on: Stage) -> None:
    with section("The operator's resident set"):
        await on.start_operator()
        before = on.memory_mib()
        await space(on.admin, "crowd")
        for first in range(0, CROWD, _STEP):
            progress(f"{first} of {CROWD} Deployments")
            await at_once(
                on.admin.create(DEPLOYMENTS, "crowd", workload("Deployment", f"idle-{number}", 0))
                for number in range(first, first + _STEP)
            )
        on.stop_operator()
        await on.start_operator()  # it lists everything anew: the dearest moment
        table(
            ("", "MiB"),
            [
                ("before", f"{before:.0f}"),
                (f"started anew with {CROWD} Deployments present", f"{on.memory_mib('VmHWM'):.0f}"),
            ],
        )


async def _found(kube: Kube, ref: ObjectRef) -> Json:
    body = await kube.get(ref)
    if body is None:
        raise BenchError(f"{ref} does not exist")
    return body


async def _hold(kube: Kube, namespace: str) -> None:
    ref = ObjectRef(NAMESPACES, None, namespace)
    version = (await _found(kube, ref))["metadata"]["resourceVersion"]
    add = {"op": "add", "path": pointer("metadata", "labels", HOLDING_LABEL), "value": "true"}
    await kube.json_patch(ref, [add], resource_version=version)
    await kube.create(CONTAINMENTHOLDS, namespace, held([f"held-{number}" for number in range(HOLDS)]))


async def _write(admin: Kube, ref: ObjectRef, number: int) -> float:
    """Seconds of one accepted write; one that met a write of the controller says nothing and is repeated."""
    op = {"op": "add", "path": "/metadata/annotations", "value": {"number": str(number)}}
    while True:
        version = (await _found(admin, ref))["metadata"]["resourceVersion"]
        began = time.perf_counter()
        try:
            await admin.json_patch(ref, [op], resource_version=version)
        except Conflict:
            continue
        return time.perf_counter() - began
