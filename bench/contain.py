"""What one incident costs, action by action: Stanch and a bare client in turns, with the same calls."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from bench.by_hand import script
from bench.calls import INCIDENT, replay
from bench.cases import ACTIONS, EVIDENCE, SCALE
from bench.report import ms, p95, progress, ratio, section, table
from bench.stage import BenchError, at_rest, forget, incident, spaces, wait_for
from stanch.kube.resources import AIINCIDENTS, PODS, ObjectRef

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from bench.calls import Took
    from bench.stage import Stage
    from stanch.kube.client import Kube
    from tests.standing import Case

ROUNDS = 15
ROUNDS_EACH = 6
_UNDISTURBED = 0.3  # seconds
_APART = 0.3  # seconds
"""Longer than the API server makes a list wait when it has answered another of that resource just before: it
asks etcd how far it is once in 100 ms (`progressRequestPeriod` in k8s.io/apiserver). The bench lists, too.
"""
_FAILED = {"Rejected", "ContainmentFailed", "PartiallyContained"}
_FLOOR = (
    "From the request that creates the incident to the answer to the last write that contains, by the audit "
    "log of the API server. The floor is a bare client that makes the very calls that Stanch made just "
    "before, one after the other, while Stanch is stopped; the ratio is the median of these pairs. It can be "
    "below 1: Stanch reads some things at the same time."
)


@dataclass(frozen=True, slots=True)
class Pair:
    stanch: Took
    floor: Took


async def one_by_one(on: Stage) -> None:
    """ScaleToZero of a Deployment of three replicas, beside a script as well."""
    pairs: list[Pair] = []
    scripts: list[float] = []
    await on.start_operator()
    names = [f"script-{number}" for number in range(ROUNDS)]
    with section(f"ScaleToZero, floor and shell script ({ROUNDS} times, 3 replicas)"):
        await spaces(on, SCALE, names)
        async for pair in _pairs(on, SCALE, ROUNDS):
            with on.paused():
                scripts.append(script(on, names[len(pairs)]))
            pairs.append(pair)
        stanch, floor = [pair.stanch.seconds for pair in pairs], [pair.floor.seconds for pair in pairs]
        table(
            ("", "p50", "p95", "to the floor", "to the script"),
            [
                ("floor", ms(median(floor)), ms(p95(floor)), "1.00x", _to(floor, scripts)),
                ("Stanch", ms(median(stanch)), ms(p95(stanch)), _to(stanch, floor), _to(stanch, scripts)),
                (
                    "shell script of kubectl",
                    ms(median(scripts)),
                    ms(p95(scripts)),
                    _to(scripts, floor),
                    "1.00x",
                ),
            ],
        )
        print(
            "\nThe script saves the objects, tries the change, holds and scales; it keeps no journal, tries "
            "no way back and watches nothing."
        )


async def every_action(on: Stage) -> None:
    title = f"Each action ({ROUNDS_EACH} times)"
    with section(title, _FLOOR):
        await on.start_operator()
        rows = [await _row(on, case) for case in ACTIONS]
        store = on.home / "evidence"
        store.mkdir()
        await on.start_operator(evidence_url=store.as_uri())
        rows.append(await _row(on, EVIDENCE))
        table(
            (
                "action",
                "Stanch p50",
                "p95",
                "floor p50",
                "p95",
                "ratio",
                "calls (reads + dry runs + writes)",
                "calls until effective",
            ),
            rows,
        )


async def _row(on: Stage, case: Case) -> tuple[str, ...]:
    pairs = [pair async for pair in _pairs(on, case, ROUNDS_EACH)]
    stanch, floor = [pair.stanch.seconds for pair in pairs], [pair.floor.seconds for pair in pairs]
    typical = sorted((pair.stanch for pair in pairs), key=lambda took: len(took.calls))[len(pairs) // 2]
    return (
        case.id,
        ms(median(stanch)),
        ms(p95(stanch)),
        ms(median(floor)),
        ms(p95(floor)),
        _to(stanch, floor),
        typical.by_kind,
        f"{median(pair.stanch.all_calls for pair in pairs):.0f}",
    )


async def _pairs(on: Stage, case: Case, rounds: int) -> AsyncIterator[Pair]:
    """One after the other; a first one only warms up connections and caches."""
    progress(case.id)
    names = [f"{case.id.lower()}-{number:02}" for number in range(rounds + 1)]
    twin_of = {name: f"floor-{name}" for name in names}
    await spaces(on, case, [*names, *twin_of.values()])
    for name, twin in twin_of.items():
        pair = await _pair(on, case, name, twin)
        for each in (name, twin):
            await at_rest(on, case, each)  # or the next one shares the machine with what follows
        if name != names[0]:
            yield pair


async def _pair(on: Stage, case: Case, name: str, twin: str) -> Pair:
    pods, twins = await _pods(on.admin, name), await _pods(on.admin, twin)
    await asyncio.sleep(_APART)
    await on.admin.create(AIINCIDENTS, name, incident(name, case))
    await asyncio.sleep(_UNDISTURBED)
    await wait_for(partial(_done, on.admin, name), f"{case.id} is contained in {name}")
    await asyncio.sleep(_UNDISTURBED)  # its Events come last
    with on.paused():
        stanch = on.took(name)
        await forget(on.admin, name)
        await asyncio.sleep(_APART)
        body = await on.admin.create(AIINCIDENTS, twin, incident(twin, case))
        names = {name: twin, **dict(zip(pods, twins, strict=True))}
        await replay(on.operator, stanch.calls, names, body)
        floor = on.took(twin)
        await forget(on.admin, twin)
    return Pair(stanch, floor)


async def _pods(admin: Kube, namespace: str) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in await admin.list(PODS, namespace))


async def _done(admin: Kube, namespace: str) -> bool:
    """Whether it is seen effective, or there is nothing left but to wait until tokens are forgotten."""
    body = await admin.get(ObjectRef(AIINCIDENTS, namespace, INCIDENT)) or {}
    status = body.get("status") or {}
    if status.get("phase") in _FAILED:
        raise BenchError(f"{namespace}/{INCIDENT} is {status['phase']}: {status.get('summary')}")
    steps = status.get("steps") or [{}]
    return all(step.get("state") == "Effective" or step.get("reason") == "TokensRemembered" for step in steps)


def _to(values: Sequence[float], bases: Sequence[float]) -> str:
    """The median of the ratios of what was measured side by side."""
    return ratio(median(value / base for value, base in zip(values, bases, strict=True)), 1)
