"""Markdown on stdout, to be pasted as docs/bench.md; progress on stderr."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from statistics import quantiles
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def head(version: str) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    print(
        "# What containment costs\n\n"
        "`make bench` prints this page (`python -m bench` with `holds`, `one`, `actions`, `storm`, `alerts`, "
        "`metric`, `crowd`, `scale`: these tables).\n"
        f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC with {os.cpu_count()} cores and {memory:.0f} GiB "
        f"for everything, with Kubernetes {version}."
    )


@contextmanager
def section(title: str, told: str = "") -> Iterator[None]:
    """What is measured inside, and how busy the machine was; a load above the cores inflates all times."""
    progress(title)
    print(f"\n## {title}\n")
    if told:
        print(f"{told}\n")
    before, began = _load(), time.perf_counter()
    yield
    took = time.perf_counter() - began
    print(f"\nTook {took:.0f} s; load average {before} at its beginning, {_load()} at its end.", flush=True)


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    for row in (header, ("---",) * len(header), *rows):
        print(f"| {' | '.join(row)} |")


def progress(what: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {what}", file=sys.stderr, flush=True)


def ms(seconds: float) -> str:
    if seconds < 0.1:  # noqa: PLR2004 - readable
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"  # noqa: PLR2004 - readable


def ratio(value: float, base: float) -> str:
    return f"{value / base:.2f}x"


def p95(values: Sequence[float]) -> float:
    """Never beyond what was measured, however few there are."""
    return quantiles(values, n=20, method="inclusive")[-1]


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"
