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
import shutil
import sys
import threading
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sandbox import api, reaper
from sandbox.components import free_ports
from sandbox.errors import StartError
from sandbox.process import Component, spawn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PATIENCE = 60.0  # seconds; a busy machine of two cores

Series = tuple[str, tuple[tuple[str, str], ...]]


@dataclass
class Exporter:
    """Gauges that a test sets, as a model server would show them. Labels `job` and `instance` are added."""

    gauges: dict[Series, float] = field(default_factory=dict)
    failing: bool = False
    port: int = 0

    def set(self, name: str, value: float, **labels: str) -> None:
        self.gauges[_series(name, labels)] = value

    def remove(self, name: str, **labels: str) -> None:
        del self.gauges[_series(name, labels)]

    def text(self) -> str:
        """https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format."""
        return "".join(
            f"{name}{{{','.join(f'{key}={json.dumps(value)}' for key, value in labels)}}} {value}\n"
            for (name, labels), value in sorted(self.gauges.items())
        )


def _series(name: str, labels: dict[str, str]) -> Series:
    return name, tuple(sorted(labels.items()))


@dataclass(frozen=True)
class Route:
    """Where Alertmanager delivers to, in the form of its webhooks."""

    url: str
    token_file: Path
    ca_file: Path


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
            found = self._ask(query)
            if found:
                return float(found[0]["value"][1])
            assert time.monotonic() < deadline, f"{query} gives no sample after {timeout:g} s"
            time.sleep(0.1)

    def _ask(self, query: str) -> list[Any]:
        asked = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(asked, timeout=10) as answer:
            result: list[Any] = json.load(answer)["data"]["result"]
        return result


@contextmanager
def monitoring(
    directory: Path, *, rules: Sequence[dict[str, Any]] = (), route: Route | None = None
) -> Iterator[Monitoring]:
    """`rules`: as in a group of Prometheus' rules file, such as `{"alert": …, "expr": …, "labels": …}`.

    Skips the test where the programs are not installed. Raises StartError when one does not start.
    """
    directory.mkdir(parents=True, exist_ok=True)
    prometheus_port, alertmanager_port = free_ports(2)
    with _exporting() as exporter, _ended_with_us(directory):
        alertmanager = _alertmanager(directory, alertmanager_port, route) if route is not None else None
        prometheus = _prometheus(
            directory, prometheus_port, exporter, rules, alertmanager_port if alertmanager else None
        )
        parts = [part for part in (alertmanager, prometheus) if part is not None]
        try:
            for part in parts:
                part.launch()
            for part in parts:
                part.wait_ready(PATIENCE)
            found = Monitoring(
                exporter,
                prometheus,
                f"http://127.0.0.1:{prometheus_port}",
                f"http://127.0.0.1:{alertmanager_port}" if alertmanager else None,
            )
            found.until("up == 1")  # targets are only looked for some seconds after it is ready
            yield found
        finally:
            for part in parts:
                part.stop()


def _prometheus(
    directory: Path,
    port: int,
    exporter: Exporter,
    rules: Sequence[dict[str, Any]],
    alertmanager_port: int | None,
) -> Component:
    rules_file = _write(directory / "rules.yml", {"groups": [{"name": "test", "rules": list(rules)}]})
    targets = [{"targets": [f"127.0.0.1:{exporter.port}"]}]
    config: dict[str, Any] = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules_file)],
        "scrape_configs": [{"job_name": "model-servers", "honor_labels": True, "static_configs": targets}],
    }
    if alertmanager_port is not None:
        managers = [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]
        config["alerting"] = {"alertmanagers": [{"static_configs": managers}]}
    config_file = _write(directory / "prometheus.yml", config)
    command = [
        _program("prometheus"),
        f"--config.file={config_file}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--rules.alert.resend-delay=1s",
    ]
    return Component("prometheus", command, directory, ready=lambda: api.plain_answers(port, "/-/ready"))


def _alertmanager(directory: Path, port: int, route: Route) -> Component:
    webhook = {
        "url": route.url,
        "send_resolved": True,
        "http_config": {
            "authorization": {"type": "Bearer", "credentials_file": str(route.token_file)},
            "tls_config": {"ca_file": str(route.ca_file)},
        },
    }
    config = {
        "route": {
            "receiver": "stanch",
            "group_by": ["..."],
            "group_wait": "0s",
            "group_interval": "1s",
            "repeat_interval": "1h",
        },
        "receivers": [{"name": "stanch", "webhook_configs": [webhook]}],
    }
    config_file = _write(directory / "alertmanager.yml", config)
    command = [
        _program("prometheus-alertmanager", "alertmanager"),
        f"--config.file={config_file}",
        f"--storage.path={directory / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    return Component("alertmanager", command, directory, ready=lambda: api.plain_answers(port, "/-/ready"))


def _program(*names: str) -> str:
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return found
    return pytest.skip(f"{names[0]} is not on the PATH: as root on Debian `make signals` installs it")


def _write(path: Path, content: object) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


@contextmanager
def _exporting() -> Iterator[Exporter]:
    exporter = Exporter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exporter.text().encode()
            self.send_response(503 if exporter.failing else 200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Once a second is too often to be told."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        exporter.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield exporter
        finally:
            server.shutdown()
            thread.join()


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
