"""`python -m bench [table …]`, such as `holds` or `scale`: docs/bench.md, as measured."""

from __future__ import annotations

import asyncio
import sys
import time

from bench.alerts import alerts
from bench.contain import every_action, one_by_one
from bench.metric import metric
from bench.report import head, progress
from bench.scale import scale
from bench.stage import stage
from bench.storm import storm
from bench.surroundings import crowd, holds

TABLES = {
    "holds": holds,
    "one": one_by_one,
    "actions": every_action,
    "storm": storm,
    "alerts": alerts,
    "metric": metric,
    "crowd": crowd,
    "scale": scale,
}


async def main(names: list[str]) -> None:
    unknown = [name for name in names if name not in TABLES]
    if unknown:
        sys.exit(f"no such table: {', '.join(unknown)}; there are: {', '.join(TABLES)}")
    began = time.perf_counter()
    progress("starting a control plane")
    async with stage() as on:
        head((await on.admin.raw("/version"))["gitVersion"])
        for name in names or TABLES:
            await TABLES[name](on)
        print(f"\nAll of this took {time.perf_counter() - began:.0f} s.")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
