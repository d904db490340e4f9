"""A release site on the loopback, with the layout of the real ones, that can be slow, cut off or lie."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from sandbox import versions
from sandbox.download import Sites

if TYPE_CHECKING:
    from collections.abc import Iterator

_SLICES = 5


@dataclass
class ReleaseSite:
    """`programs` are what the archives and files hold; the sets name parts (or checksum files) to spoil."""

    url: str
    programs: dict[str, bytes]
    files: dict[str, bytes] = field(default_factory=dict)
    cut_once: set[str] = field(default_factory=set)
    slow: float = 0.0  # seconds a file takes
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range header

    @property
    def sites(self) -> Sites:
        return Sites(kubernetes=f"{self.url}/k8s", etcd=f"{self.url}/etcd", kwok=f"{self.url}/kwok")

    def publish(self) -> None:
        """Everything at its place, each with a checksum that fits."""
        pins, platform = versions.read(versions.chosen()), versions.Platform.here()
        for part in (*versions.KUBERNETES_SERVERS, versions.KUBECTL):
            path = f"/k8s/v{pins.kubernetes}/bin/{platform.os}/{platform.architecture}/{part}"
            self._put(path, self.programs[part])
        self._put(f"/kwok/v{pins.kwok}/kwok-{platform}", self.programs[versions.KWOK])
        stem = f"etcd-v{pins.etcd}-{platform}"
        archive = archived(f"{stem}/etcd", self.programs[versions.ETCD])
        self.files[f"/etcd/v{pins.etcd}/{stem}.tar.gz"] = archive
        sums = f"{'0' * 64}  another-file.zip\n{sha256(archive)}  {stem}.tar.gz\n"
        self.files[f"/etcd/v{pins.etcd}/SHA256SUMS"] = sums.encode()

    def path_of(self, part: str) -> str:
        return next(
            path for path in self.files if path.rsplit("/", 1)[-1].startswith(part) and "SUMS" not in path
        )

    def fetched(self, part: str) -> list[str | None]:
        """The Range header of each request for the part's own file."""
        return [span for path, span in self.requests if path == self.path_of(part)]

    def _put(self, path: str, content: bytes) -> None:
        self.files[path] = content
        self.files[f"{path}.sha256"] = sha256(content).encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def archived(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def serve(programs: dict[str, bytes]) -> Iterator[ReleaseSite]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            span = self.headers["Range"]
            site.requests.append((self.path, span))
            content = site.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(span.removeprefix("bytes=").removesuffix("-")) if span else 0
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if span else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self._send(content[start:])

        def _send(self, content: bytes) -> None:
            if self.path in site.cut_once:
                site.cut_once.remove(self.path)
                self.wfile.write(content[: len(content) // 2])
                return  # and the connection is closed: HTTP/1.0
            if self.path.endswith((".sha256", "SUMS")) or not site.slow:
                self.wfile.write(content)
                return
            step = len(content) // _SLICES + 1
            for at in range(0, len(content), step):
                self.wfile.write(content[at : at + step])
                self.wfile.flush()
                time.sleep(site.slow / _SLICES)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site = ReleaseSite(f"http://127.0.0.1:{server.server_address[1]}", programs)
        site.publish()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield site
        server.shutdown()
        thread.join()
