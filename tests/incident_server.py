"""An API server that has incidents and nothing else, for what reads them."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Json = dict[str, Any]


@contextmanager
def api_server(incidents: list[Json], directory: Path) -> Iterator[str]:
    """The kubeconfig of an API server that has these incidents."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.path.partition("?")[0].rpartition("/")[2]
            named = {each["metadata"]["name"]: each for each in incidents}
            missing = {"kind": "Status", "reason": "NotFound", "details": {"name": wanted}}
            code = 200
            body: Json = {"items": incidents}
            if wanted != "aiincidents":
                code, body = (200, named[wanted]) if wanted in named else (404, missing)
            answer = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "x", "user": {"token": "x"}}],
    }
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    try:
        yield str(kubeconfig)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
