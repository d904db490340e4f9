"""A fake of Prometheus' HTTP server, to misbehave as no real one does on demand. It answers no PromQL."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping


@dataclass
class FakePrometheus:
    """`behave` gets each request's handler. `ended` is set when the test is over: who hangs waits for it."""

    behave: Callable[[Handler], None]
    url: str = ""
    ended: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    cut: threading.Event = field(default_factory=threading.Event)
    """Set when somebody who was being answered has gone away."""
    authorizations: list[str | None] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    fake: FakePrometheus

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        self.fake.authorizations.append(self.headers.get("Authorization"))
        self.fake.queries += asked.get("query", [])
        self.fake.asked.set()
        try:
            self.fake.behave(self)
        except OSError:
            self.fake.cut.set()

    def log_message(self, *_args: object) -> None:
        """Tests say what they want to say."""

    def answer(self, body: bytes, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def vector(*samples: tuple[dict[str, str], str]) -> bytes:
    result = [{"metric": labels, "value": [1.5, value]} for labels, value in samples]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


def answers(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Callable[[Handler], None]:
    return lambda handler: handler.answer(body, status, headers or {})


def hangs(handler: Handler) -> None:
    handler.fake.ended.wait(30)


def drips(beginning: bytes) -> Callable[[Handler], None]:
    """A byte now and then, so that no wait for the next one is ever long."""

    def drip(handler: Handler) -> None:
        handler.wfile.write(beginning)
        while not handler.fake.ended.wait(0.02):
            handler.wfile.write(b"a")

    return drip


def floods(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while not handler.fake.ended.is_set():
        handler.wfile.write(b" " * 1_000_000)


def says(raw: bytes) -> Callable[[Handler], None]:
    """And ends, whatever that is in HTTP."""
    return lambda handler: (handler.wfile.write(raw), None)[1]


@contextmanager
def serving(behave: Callable[[Handler], None], tls: ssl.SSLContext | None = None) -> Iterator[FakePrometheus]:
    fake = FakePrometheus(behave)

    class Bound(Handler):
        pass

    Bound.fake = fake
    with ThreadingHTTPServer(("127.0.0.1", 0), Bound) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        fake.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
        serve: Any = {"poll_interval": 0.02}
        thread = threading.Thread(target=server.serve_forever, kwargs=serve)
        thread.start()
        try:
            yield fake
        finally:
            fake.ended.set()
            server.shutdown()
            thread.join()
