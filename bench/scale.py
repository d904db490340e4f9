"""A large cluster: what the operator costs while many incidents are held, and how long the next one takes."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from bench.calls import INCIDENT
from bench.cases import ONE_POD
from bench.report import ms, progress, ratio, section, table
from bench.stage import ROOT, at_once, incident, space, spaces, wait_for
from stanch.incidents.facts import LOOKS_A_SECOND
from stanch.kube.resources import AIINCIDENTS, CONTAINMENTPOLICIES, DEPLOYMENTS
from tests.operator_process import workload

if TYPE_CHECKING:
    from bench.stage import Json, Stage

DEPLOYED = 10_000
SPACES = 100
"""Namespaces, each with a policy."""
ACTIVE = 1_000
NEXT = 5
STEADY = 60.0  # seconds
_ROUND = ACTIVE / LOOKS_A_SECOND  # seconds: until each has been looked at again, at the pace of all together
_AT_WORK = 900.0  # seconds until all are contained
_FLOOR = (
    "The floor is a bare client of the same library in a process of its own, which lists the same incidents, "
    "holds and held workloads once, and keeps them. Stanch looks anew at what is held every "
    "`--rejudge-seconds`, and at all that is open every `--sweep-seconds`."
)
_LISTS = """
import asyncio, sys, time
from pathlib import Path
from stanch.api.v1alpha1.hold import HELD_LABEL
from stanch.kube.client import Kube
from stanch.incidents.facts import LOOKS_A_SECOND
from stanch.kube.resources import AIINCIDENTS, CONTAINMENTHOLDS, CONTAINMENTPOLICIES, DEPLOYMENTS
from stanch.settings import Settings

async def main():
    began = time.perf_counter()
    kube = await Kube.connect(Settings(kubeconfig=Path(sys.argv[1])))
    kept = [await kube.list(one) for one in (AIINCIDENTS, CONTAINMENTHOLDS, CONTAINMENTPOLICIES)]
    kept.append(await kube.list(DEPLOYMENTS, label_selector=f"{HELD_LABEL}=true"))
    took = time.perf_counter() - began
    await kube.close()
    size = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line)
    print(took, int(size.split()[1]) / 1024)

asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Steady:
    """Of one operator at rest: share of a core, requests a minute, MiB."""

    cpu: float
    calls: float
    resident: float

    def cells(self) -> tuple[str, str, str]:
        return f"{self.cpu:.0%}", f"{self.calls:.0f}", f"{self.resident:.0f} MiB"


async def scale(on: Stage) -> None:
    title = f"{DEPLOYED} Deployments, {SPACES} policies, {ACTIVE} active incidents"
    with section(title, _FLOOR):
        await on.start_operator()
        empty, first = await _steady(on), await _next(on, "first")
        await _fill(on)
        began = time.perf_counter()
        await _contain(on)
        contained = time.perf_counter() - began
        on.stop_operator()
        began = time.perf_counter()
        await on.start_operator()
        started = time.perf_counter() - began
        await asyncio.sleep(_ROUND + STEADY / 2)  # started anew it looks at all of them first
        full, following = await _steady(on), await _next(on, "next")
        lists, bare = await _bare(on)
        table(
            ("", "CPU of a core", "API calls a minute", "resident", "started in", "contains the next in"),
            [
                ("nothing there", *empty.cells(), "", ms(first)),
                ("all of it", *full.cells(), ms(started), ms(following)),
                ("floor", "", "", f"{bare:.0f} MiB", ms(lists), ms(first)),
                (
                    "ratio",
                    "",
                    "",
                    ratio(full.resident, bare),
                    ratio(started, lists),
                    ratio(following, first),
                ),
            ],
        )
        print(f"\nThe {ACTIVE} incidents, created at once, were contained after {ms(contained)}.")


async def _fill(on: Stage) -> None:
    """Most are paused and run nothing; in each namespace some have the pod that its incident will stop."""
    each, incidents = DEPLOYED // SPACES, ACTIVE // SPACES
    for number in range(SPACES):
        progress(f"{number * each} of {DEPLOYED} Deployments")
        name = f"scale-{number:03}"
        await space(on.admin, name)
        await on.admin.create(CONTAINMENTPOLICIES, name, _policy())
        await at_once(
            on.admin.create(
                DEPLOYMENTS,
                name,
                workload("Deployment", f"llm-{one:03}", int(one < incidents), paused=one >= incidents),
            )
            for one in range(each)
        )
    await wait_for(partial(_running, on), f"{ACTIVE} Deployments run their pod", _AT_WORK)


def _policy() -> Json:
    return {
        "apiVersion": CONTAINMENTPOLICIES.api_version,
        "kind": CONTAINMENTPOLICIES.kind,
        "metadata": {"name": "guard"},
        "spec": {"selector": {"kinds": ["Deployment"]}, "steps": [{"scaleToZero": {}}]},
    }


async def _contain(on: Stage) -> None:
    await at_once(
        (on.admin.create(AIINCIDENTS, space, body) for space, body in map(_incident, range(ACTIVE))), SPACES
    )
    deadline = time.perf_counter() + _AT_WORK
    while (left := ACTIVE - await _contained(on)) > 0 and time.perf_counter() < deadline:
        progress(f"{left} are not contained yet")
        await asyncio.sleep(5)
    if left > 0:
        progress(f"{left} of {ACTIVE} were not contained within {_AT_WORK:.0f} s")


def _incident(number: int) -> tuple[str, Json]:
    name, one = f"scale-{number % SPACES:03}", number // SPACES
    body = incident(name, ONE_POD)
    body["metadata"]["name"] = f"{INCIDENT}-{one}"
    body["spec"]["targets"][0]["name"] = f"llm-{one:03}"
    return name, body


async def _contained(on: Stage) -> int:
    """Of those, without the ones before."""
    ours = [body for body in await on.admin.list(AIINCIDENTS) if body["metadata"]["name"] != INCIDENT]
    return sum((body.get("status") or {}).get("phase") == "Contained" for body in ours)


async def _running(on: Stage) -> bool:
    listed = await on.admin.list(DEPLOYMENTS)
    ready: int = sum((body.get("status") or {}).get("readyReplicas", 0) for body in listed)
    progress(f"{ready} of {ACTIVE} pods are ready")
    return ready >= ACTIVE


async def _next(on: Stage, name: str) -> float:
    names = [f"{name}-{number}" for number in range(NEXT)]
    await spaces(on, ONE_POD, names)
    for one in names:
        await on.admin.create(AIINCIDENTS, one, incident(one, ONE_POD))
        await wait_for(partial(_done, on, one), f"{one} is contained")
        await asyncio.sleep(1)
    return median([on.took(one, alone=False).seconds for one in names])


async def _done(on: Stage, name: str) -> bool:
    (body,) = await on.admin.list(AIINCIDENTS, name)
    return bool((body.get("status") or {}).get("phase") == "Contained")


async def _steady(on: Stage) -> Steady:
    cpu, calls = on.cpu_seconds(), on.total("stanch_api_requests_total")
    began = time.perf_counter()
    await asyncio.sleep(STEADY)
    took = time.perf_counter() - began
    return Steady(
        (on.cpu_seconds() - cpu) / took,
        (on.total("stanch_api_requests_total") - calls) / took * 60,
        on.memory_mib(),
    )


async def _bare(on: Stage) -> tuple[float, float]:
    """Seconds and MiB."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _LISTS,
        str(on.operator_kubeconfig),
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    took, size = map(float, said.split())
    return took, size
