"""A real S3 server on the loopback: Versity's gateway over a directory, built from its public Go module."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox import api, binaries, gobuild, locks, versions
from sandbox.components import free_ports
from sandbox.process import Component
from sandbox.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODULE = Path(__file__).parent / "s3server"
_PACKAGE = "github.com/versity/versitygw/cmd/versitygw"


@dataclass(frozen=True)
class S3:
    """In `buckets` each bucket is a directory, and an object a file, which a test may change."""

    endpoint: str
    access_key_id: str
    secret_access_key: str
    buckets: Path
    server: Component

    def bucket(self, name: str) -> Path:
        made = self.buckets / name
        made.mkdir(exist_ok=True)
        return made


@contextmanager
def running(directory: Path, progress: Progress | None = None) -> Iterator[S3]:
    """An empty server with credentials of its own, stopped at the end.

    Raises:
        SandboxError: it could not be built or did not start.
    """
    program = find(progress)
    (port,) = free_ports(1)
    buckets = directory / "buckets"
    buckets.mkdir(parents=True)
    # As S3 makes them, so that what looks for credentials finds these too.
    access, secret = f"AKIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30)
    server = Component(
        "versitygw",
        [str(program), f"--port=127.0.0.1:{port}", "--health=/health", "--quiet", "posix", str(buckets)],
        directory,
        ready=lambda: api.plain_answers(port, "/health"),
        environment={"ROOT_ACCESS_KEY": access, "ROOT_SECRET_KEY": secret},
    )
    try:
        server.start()
        yield S3(f"http://127.0.0.1:{port}", access, secret, buckets, server)
    finally:
        server.stop()


def find(progress: Progress | None = None) -> Path:
    """The server's program; built once, by one process at a time, and kept with the control plane's.

    Raises:
        BuildError: no Go toolchain, or it refused.
    """
    progress = progress or Progress()
    cache = binaries.Sources().cache
    target = cache / "s3" / f"{_digest()}-{versions.Platform.here()}" / "versitygw"
    with locks.exclusive(
        target.with_suffix(".lock"),
        on_wait=lambda: progress.say("waiting: another process builds the S3 server"),
    ):
        if not target.exists():
            go = gobuild.toolchain(versions.read().go, cache, progress)
            package = gobuild.Package(_MODULE, "the S3 server (Versity's gateway)", _PACKAGE)
            gobuild.compile_program(go, package, target, progress)
    return target


def _digest() -> str:
    digest = hashlib.sha256()
    for source in (_MODULE / "go.mod", _MODULE / "go.sum"):
        digest.update(source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
