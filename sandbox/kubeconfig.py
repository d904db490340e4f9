"""kubeconfig files with everything inside, so that they can be copied and passed on."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.pki import KeyPair

_NAME = "stanch-sandbox"


@dataclass(frozen=True)
class Server:
    url: str
    ca_file: Path | None  # None for a plain http:// server


def with_certificate(path: Path, server: Server, user: str, pair: KeyPair) -> Path:
    credentials = {"client-certificate-data": _data(pair.certificate), "client-key-data": _data(pair.key)}
    return _write(path, server, user, credentials)


def with_token(path: Path, server: Server, user: str, token: str, namespace: str = "default") -> Path:
    return _write(path, server, user, {"token": token}, namespace)


def _write(
    path: Path, server: Server, user: str, credentials: dict[str, str], namespace: str = "default"
) -> Path:
    cluster = {"server": server.url}
    if server.ca_file is not None:
        cluster["certificate-authority-data"] = _data(server.ca_file)
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": _NAME,
        "clusters": [{"name": _NAME, "cluster": cluster}],
        "contexts": [{"name": _NAME, "context": {"cluster": _NAME, "user": user, "namespace": namespace}}],
        "users": [{"name": user, "user": credentials}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.touch(mode=0o600)
    partial.write_text(yaml.safe_dump(content, sort_keys=False))
    partial.replace(path)
    return path


def _data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
