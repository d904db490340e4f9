"""An API server that has incidents and nothing else, for what reads and watches them."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Json = dict[str, Any]
GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}


@dataclass
class Incidents:
    """What is stored, and what has happened to it. Each write wakes those who watch."""

    stored: dict[str, Json]
    kubeconfig: str = ""
    version: int = 100
    events: list[tuple[int, str, Json]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """`list`, `get`, `watch 100`, or `nothing` while it is away, in order."""
    away: bool = False
    """Whether it answers that it cannot."""
    _watches: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, body: Json) -> None:
        self._happened("MODIFIED" if body["metadata"]["name"] in self.stored else "ADDED", body)
        self.stored[body["metadata"]["name"]] = body

    def remove(self, name: str) -> None:
        self._happened("DELETED", self.stored.pop(name))

    def forget(self) -> None:
        """What has happened so far: who watches from before it has to list again."""
        with self._changed:
            self.version += 1
            self.events = [(self.version, "ERROR", GONE)]
            self._changed.notify_all()

    def cut(self) -> None:
        """End every watch that is open."""
        with self._changed:
            self._watches += 1
            self._changed.notify_all()

    def _happened(self, kind: str, body: Json) -> None:
        with self._changed:
            self.version += 1
            meta = body["metadata"] | {"resourceVersion": str(self.version)}
            self.events.append((self.version, kind, body | {"metadata": meta}))
            self._changed.notify_all()

    def listed(self, names: Iterable[str]) -> Json:
        items = [self.stored[name] for name in names if name in self.stored]
        return {"items": items, "metadata": {"resourceVersion": str(self.version)}}

    def watched(self, since: int) -> Iterator[Json]:
        """Until somebody cuts it."""
        mine = self._watches
        while True:
            with self._changed:
                new = [each for each in self.events if each[0] > since]
                if not new and mine == self._watches:
                    self._changed.wait(10)
                if mine != self._watches:
                    return
            for version, kind, body in new:
                since = version
                yield {"type": kind, "object": body}


@contextmanager
def incident_server(incidents: list[Json], directory: Path) -> Iterator[Incidents]:
    """An API server that has these incidents, and what comes to them."""
    here = Incidents({each["metadata"]["name"]: each for each in incidents})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            wanted = url.path.rpartition("/")[2]
            if here.away:
                here.asked.append("nothing")
                self._answer(503, {"kind": "Status", "message": "not now"})
            elif "watch" in query:
                here.asked.append(f"watch {query['resourceVersion']}")
                self._watch(int(query["resourceVersion"]))
            elif wanted == "aiincidents":
                here.asked.append("list")
                name = query.get("fieldSelector", "").removeprefix("metadata.name=")
                self._answer(200, here.listed([name] if name else list(here.stored)))
            else:
                here.asked.append("get")
                missing = {"kind": "Status", "reason": "NotFound", "details": {"name": wanted}}
                found = here.stored.get(wanted)
                self._answer(200 if found else 404, found or missing)

        def _answer(self, code: int, body: Json) -> None:
            answer = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def _watch(self, since: int) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                for event in here.watched(since):
                    self.wfile.write(json.dumps(event).encode() + b"\n")
            except ConnectionError:
                pass  # nobody watches any more

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
    here.kubeconfig = str(kubeconfig)
    try:
        yield here
    finally:
        server.shutdown()
        here.cut()
        thread.join()
        server.server_close()


@contextmanager
def api_server(incidents: list[Json], directory: Path) -> Iterator[str]:
    """The kubeconfig of an API server that has these incidents, and no others come to them."""
    with incident_server(incidents, directory) as here:
        yield here.kubeconfig
