"""A stand-in for metrics-server: the resource metrics API with loads that a test or a demo sets.

KWOK's pods use no CPU, so a HorizontalPodAutoscaler has nothing to go by. `ResourceMetrics` serves
metrics.k8s.io/v1beta1 through the aggregation layer, with one CPU load for all pods of a namespace.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from types import TracebackType

    from sandbox.api import Api
    from sandbox.cluster import Sandbox

_GROUP_VERSION = "metrics.k8s.io/v1beta1"
_SERVICE = {"name": "resource-metrics", "namespace": "kube-system"}
_API_SERVICE = "v1beta1.metrics.k8s.io"
_LIST = re.compile(rf"/apis/{re.escape(_GROUP_VERSION)}/namespaces/([^/]+)/pods")
_WINDOW = "30s"


class ResourceMetrics:
    """Serves as long as its `with` block runs; one at a time in a sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._loads: dict[str, int] = {}
        self._server = _Server(sandbox.api, self._loads)
        name = f"{_SERVICE['name']}.{_SERVICE['namespace']}.svc"
        pair = sandbox.server_certificate("resource-metrics", name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def set_cpu(self, namespace: str, millicores: int) -> None:
        """From now on every running pod of the namespace uses this much, split evenly over its containers."""
        self._loads[namespace] = millicores

    def __enter__(self) -> Self:
        self._thread.start()
        port = self._server.server_address[1]
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _SERVICE,
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        }
        registration = {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": _API_SERVICE},
            "spec": {
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "caBundle": base64.b64encode(self._sandbox.ca_file.read_bytes()).decode("ascii"),
                "service": {**_SERVICE, "port": port},
            },
        }
        api = self._sandbox.api
        api.create(f"/api/v1/namespaces/{_SERVICE['namespace']}/services", service)
        if api.create("/apis/apiregistration.k8s.io/v1/apiservices", registration) is None:
            raise SandboxError(f"APIService {_API_SERVICE} is there already: only one stand-in at a time")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sandbox.api.delete(f"/apis/apiregistration.k8s.io/v1/apiservices/{_API_SERVICE}")
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # the API server keeps its connections

    def __init__(self, api: Api, loads: dict[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = api
        self.loads = loads


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        listed = _LIST.fullmatch(parts.path)
        if listed is not None:
            self._answer(self._metrics(listed.group(1), parts.query))
        elif parts.path == f"/apis/{_GROUP_VERSION}":
            resource = {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics"}
            resources = [{**resource, "verbs": ["list"]}]
            self._answer(
                {
                    "kind": "APIResourceList",
                    "apiVersion": "v1",
                    "groupVersion": _GROUP_VERSION,
                    "resources": resources,
                }
            )
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _metrics(self, namespace: str, query: str) -> dict[str, Any]:
        """The same selection of pods that the API server makes, with the namespace's load."""
        pods = json.loads(self.server.api.call("GET", f"/api/v1/namespaces/{namespace}/pods?{query}").body)
        load = self.server.loads.get(namespace)
        items = [
            _pod_metrics(pod, load)
            for pod in pods["items"]
            if load is not None and pod["status"].get("phase") == "Running"
        ]
        return {"kind": "PodMetricsList", "apiVersion": _GROUP_VERSION, "metadata": {}, "items": items}

    def _answer(self, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing: the requests are in the API server's audit log."""


def _pod_metrics(pod: dict[str, Any], millicores: int) -> dict[str, Any]:
    containers = pod["spec"]["containers"]
    share = {"cpu": f"{millicores // len(containers)}m", "memory": "64Mi"}
    return {
        "metadata": {name: pod["metadata"].get(name) for name in ("name", "namespace", "labels")},
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "window": _WINDOW,
        "containers": [{"name": container["name"], "usage": share} for container in containers],
    }
