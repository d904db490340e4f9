"""A real Prometheus and Alertmanager, and gauges for them to scrape. Programs are those on the PATH.

Everything is scraped and evaluated once a second, and alerts are delivered without waiting for more of them.
"""

from __future__ import annotations

import json
import shutil
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import yaml

from sandbox import api
from sandbox.process import Component

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Series = tuple[str, tuple[tuple[str, str], ...]]
PROGRAMS = {"prometheus": ("prometheus",), "alertmanager": ("prometheus-alertmanager", "alertmanager")}
"""Debian's name of the second one is the first."""


def program(name: str) -> str | None:
    """Its path; None when it is not installed."""
    return next((found for each in PROGRAMS[name] if (found := shutil.which(each)) is not None), None)


@dataclass
class Exporter:
    """Gauges that are set by hand, as a model server has them. Labels `job` and `instance` are added."""

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


@contextmanager
def exporting() -> Iterator[Exporter]:
    """Served on the loopback by a thread of this process."""
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
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield exporter
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Route:
    """Where Alertmanager delivers to, in the form of its webhooks."""

    url: str
    token_file: Path
    ca_file: Path


def prometheus(  # noqa: PLR0913 - what its configuration is made of
    path: str,
    directory: Path,
    port: int,
    *,
    scraped: int,
    groups: Sequence[dict[str, Any]],
    alertmanager_port: int | None = None,
) -> Component:
    """`groups`: as in a rules file. `scraped`: the exporter's port."""
    rules_file = _write(directory / "rules.yml", {"groups": list(groups)})
    targets = [{"targets": [f"127.0.0.1:{scraped}"]}]
    config: dict[str, Any] = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules_file.absolute())],
        "scrape_configs": [{"job_name": "model-servers", "honor_labels": True, "static_configs": targets}],
    }
    if alertmanager_port is not None:
        managers = [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]
        config["alerting"] = {"alertmanagers": [{"static_configs": managers}]}
    config_file = _write(directory / "prometheus.yml", config)
    command = [
        path,
        f"--config.file={config_file}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--rules.alert.resend-delay=1s",
    ]
    return Component("prometheus", command, directory, ready=lambda: api.plain_answers(port, "/-/ready"))


def alertmanager(path: str, directory: Path, port: int, route: Route) -> Component:
    webhook = {
        "url": route.url,
        "send_resolved": True,
        "http_config": {
            "authorization": {"type": "Bearer", "credentials_file": str(route.token_file.absolute())},
            "tls_config": {"ca_file": str(route.ca_file.absolute())},
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
        path,
        f"--config.file={config_file}",
        f"--storage.path={directory / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    return Component("alertmanager", command, directory, ready=lambda: api.plain_answers(port, "/-/ready"))


def _write(path: Path, content: object) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path
