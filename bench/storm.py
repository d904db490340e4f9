"""Many incidents at once, then a bare client with the same calls, as many at a time as the operator does."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import TYPE_CHECKING

from bench.calls import failures, replay
from bench.cases import ONE_POD
from bench.report import ms, p95, progress, ratio, section, table
from bench.stage import AT_ONCE, at_once, forget, incident, spaces
from stanch.kube.resources import AIINCIDENTS

if TYPE_CHECKING:
    from bench.calls import Took
    from bench.stage import Stage

STORM = 200
_WITHIN = 120.0  # seconds
_FLOOR = (
    "The floor is a bare client that makes the same calls for as many incidents, created at once as well, "
    f"{AT_ONCE} at a time as Stanch does. Stanch meanwhile also looks until each is seen effective."
)


async def storm(on: Stage) -> None:
    names = [f"storm-{number:03}" for number in range(STORM)]
    twins = [f"twin-of-{name}" for name in names]
    with section(f"{STORM} incidents at once (ScaleToZero, a namespace each)", _FLOOR):
        on.stop_operator()  # its memory is to be that of the storm alone
        progress(f"{2 * STORM} namespaces")
        await spaces(on, ONE_POD, [*names, *twins])
        await on.start_operator()
        before = on.memory_mib()
        progress("all incidents")
        effective = await _all_at_once(on, names)
        after, most = on.memory_mib(), on.memory_mib("VmHWM")
        on.stop_operator()
        stanch = _tooks(on, names)
        await at_once(forget(on.admin, name) for name in names)
        progress("their floor")
        floor = await _floor(on, stanch, dict(zip(names, twins, strict=True)))
        table(
            ("", "p50", "p95", "last contained", "all seen effective", "calls each", "errors"),
            [
                ("Stanch", *_times(stanch), effective, *_calls(stanch)),
                ("floor", *_times(floor), "not awaited", *_calls(floor)),
                (
                    "ratio",
                    *(ratio(a, b) for a, b in zip(_figures(stanch), _figures(floor), strict=True)),
                    "",
                    "",
                    "",
                ),
            ],
        )
        print(
            f"\nNot contained within {_WITHIN:.0f} s: {STORM - len(stanch)}. The operator's resident set: "
            f"{before:.0f} MiB before, {most:.0f} MiB at most, {after:.0f} MiB after."
        )


async def _all_at_once(on: Stage, names: list[str]) -> str:
    """How long it took until all were seen effective."""
    began = time.perf_counter()
    await at_once((on.admin.create(AIINCIDENTS, name, incident(name, ONE_POD)) for name in names), STORM)
    while (took := time.perf_counter() - began) < _WITHIN:
        listed = await on.admin.list(AIINCIDENTS)
        phases = [(body.get("status") or {}).get("phase") for body in listed]
        progress(f"{phases.count('Contained')} of {STORM} are contained")
        if phases.count("Contained") == STORM:
            return ms(took)
        await asyncio.sleep(2)
    return f"not within {_WITHIN:.0f} s"


def _tooks(on: Stage, names: list[str]) -> dict[str, Took]:
    """Of those that were contained."""
    on.audit.catch_up()
    found = {name: on.audit.took(name, alone=False) for name in names}
    return {name: took for name, took in found.items() if took is not None}


async def _floor(on: Stage, stanch: dict[str, Took], twin_of: dict[str, str]) -> dict[str, Took]:
    bodies = {}

    async def create(name: str) -> None:
        twin = twin_of[name]
        bodies[name] = await on.admin.create(AIINCIDENTS, twin, incident(twin, ONE_POD))

    await at_once(map(create, stanch), STORM)
    await at_once(
        replay(on.operator, took.calls, {name: twin_of[name]}, bodies[name]) for name, took in stanch.items()
    )
    floor = _tooks(on, [twin_of[name] for name in stanch])
    await at_once(forget(on.admin, name) for name in floor)
    return floor


def _figures(tooks: dict[str, Took]) -> tuple[float, float, float]:
    """Seconds: half of them contained, nearly all, and all, counted from the first."""
    each = [took.seconds for took in tooks.values()]
    began = min(took.began for took in tooks.values())
    last = max(took.ended for took in tooks.values()) - began
    return median(each), p95(each), last.total_seconds()


def _times(tooks: dict[str, Took]) -> tuple[str, ...]:
    return tuple(map(ms, _figures(tooks)))


def _calls(tooks: dict[str, Took]) -> tuple[str, str]:
    calls = [call for took in tooks.values() for call in took.calls]
    return f"{len(calls) / len(tooks):.1f}", failures(calls)
