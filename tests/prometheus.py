"""A real Prometheus, and an Alertmanager where one is wanted, that watch what a test sets.

`monitoring(directory, …)` is a context with a `Monitoring`:
  `exporter`      what is scraped: `exporter.set("drift", 0.3, deployment="llm")`, `remove`, and `failing`
  `url`           Prometheus' address; `prometheus` its process, to kill and to start again
  `alertmanager`  its address, where `route` says where alerts go to: a URL, a file with the bearer token, and
                  the CA of the receiver
  `until(query)`  waits until a query gives a sample, and gives its value

Everything is scraped and evaluated once a second, and alerts are delivered without waiting for more of them.
The processes end with the context, and with this process should it be killed. Programs are those on the PATH,
which `make signals` installs where it can; without them tests are skipped and say so.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import reaper
from sandbox.components import free_ports
from sandbox.errors import StartError
from sandbox.monitoring import Exporter, Route, alertmanager, exporting, program, prometheus
from sandbox.process import Component, spawn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["Exporter", "Monitoring", "Route", "monitoring"]

PATIENCE = 60.0  # seconds; a busy machine of two cores


@dataclass(frozen=True)
class Monitoring:
    exporter: Exporter
    prometheus: Component
    url: str
    alertmanager: str | None

    def until(self, query: str, timeout: float = PATIENCE) -> float:
        """Raises AssertionError when it gives none in time."""
        deadline = time.monotonic() + timeout
        while True:
            found = self.ask(query)
            if found:
                return float(found[0]["value"][1])
            assert time.monotonic() < deadline, f"{query} gives no sample after {timeout:g} s"
            time.sleep(0.1)

    def ask(self, query: str) -> list[Any]:
        """The samples that it gives now. Raises urllib.error.HTTPError when it is none."""
        asked = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(asked, timeout=10) as answer:
            result: list[Any] = json.load(answer)["data"]["result"]
        return result


@contextmanager
def monitoring(
    directory: Path,
    *,
    rules: Sequence[dict[str, Any]] = (),
    route: Route | None = None,
    scraped: int | None = None,
) -> Iterator[Monitoring]:
    """`rules`: as in a group of Prometheus' rules file, such as `{"alert": …, "expr": …, "labels": …}`.
    `scraped`: a port that is scraped instead of the exporter's.

    Skips the test where the programs are not installed. Raises StartError when one does not start.
    """
    directory.mkdir(parents=True, exist_ok=True)
    prometheus_port, alertmanager_port = free_ports(2)
    with exporting() as exporter, _ended_with_us(directory):
        manager = (
            alertmanager(_program("alertmanager"), directory, alertmanager_port, route) if route else None
        )
        server = prometheus(
            _program("prometheus"),
            directory,
            prometheus_port,
            scraped=scraped or exporter.port,
            groups=[{"name": "test", "rules": list(rules)}],
            alertmanager_port=alertmanager_port if manager else None,
        )
        parts = [part for part in (manager, server) if part is not None]
        try:
            for part in parts:
                part.launch()
            for part in parts:
                part.wait_ready(PATIENCE)
            found = Monitoring(
                exporter,
                server,
                f"http://127.0.0.1:{prometheus_port}",
                f"http://127.0.0.1:{alertmanager_port}" if manager else None,
            )
            found.until("up == 1")  # targets are only looked for some seconds after it is ready
            yield found
        finally:
            for part in parts:
                part.stop()


def _program(name: str) -> str:
    return program(name) or pytest.skip(
        f"{name} is not on the PATH: as root on Debian `make signals` installs it"
    )


@contextmanager
def _ended_with_us(directory: Path) -> Iterator[None]:
    """Whatever runs by a pid file below `directory` ends when this process does, even by SIGKILL."""
    users = directory / "run" / "users"
    users.parent.mkdir(exist_ok=True)
    os.mkfifo(users)
    log = directory / "logs" / "reaper.log"
    watching = spawn([sys.executable, "-I", reaper.__file__, str(directory)], log, {})
    if watching is None:
        raise StartError(f"the process that ends Prometheus after this test did not start: see {log}")
    ours = os.open(users, os.O_WRONLY)
    try:
        yield
    finally:
        os.close(ours)
        while watching.alive():
            time.sleep(0.02)
