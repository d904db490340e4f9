"""What judges the demo's answers: a real Prometheus and Alertmanager, and the gauge that they watch.

On a real node the gauge is the share of toxic pieces in the answer that is being streamed. KWOK runs no
container, so there the figure is set by hand.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from sandbox import stanch
from sandbox.components import free_ports
from sandbox.monitoring import Exporter, alertmanager, exporting, program, prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.cluster import Sandbox
    from sandbox.traffic import Traffic

RULE = stanch.SAMPLES / "toxic-output-rule.yaml"
_METRIC = "guard_toxic_share"
_WORKLOAD = {"namespace": "demo", "deployment": "llm-chat"}
_READY = 60.0  # seconds


@dataclass
class Guard:
    exporter: Exporter

    def judge(self, traffic: Traffic | None) -> float:
        """The share of toxic answers, from now on to be seen by Prometheus."""
        share = traffic.toxic_share if traffic else 0.93
        self.exporter.set(_METRIC, share, **_WORKLOAD)
        return share

    def rest(self) -> None:
        """Nothing is answered, so nothing is judged."""
        self.exporter.gauges.clear()


@contextmanager
def watching(sandbox: Sandbox) -> Iterator[Guard | None]:
    """Prometheus and Alertmanager stay up with the sandbox. None where they are not installed."""
    server, manager = program("prometheus"), program("alertmanager")
    if server is None or manager is None:
        yield None
        return
    route = stanch.alert_route(sandbox)
    port, manager_port = free_ports(2)
    groups = yaml.safe_load(RULE.read_text())["spec"]["groups"]
    with exporting() as exporter:
        parts = [
            alertmanager(manager, sandbox.directory, manager_port, route),
            prometheus(
                server,
                sandbox.directory,
                port,
                scraped=exporter.port,
                groups=groups,
                alertmanager_port=manager_port,
            ),
        ]
        starting = [threading.Thread(target=part.start, args=(_READY,)) for part in parts]
        for thread in starting:
            thread.start()
        for thread in starting:
            thread.join()
        yield Guard(exporter)
