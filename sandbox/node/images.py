"""Container images without a registry: OCI archives with one program in them, for `ctr images import`.

The same program and settings make the same bytes, so the same digest.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sandbox import versions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_EPOCH = "1970-01-01T00:00:00Z"
_MEDIA = "application/vnd.oci.image"
_NOBODY = "65532:65532"


@dataclass(frozen=True)
class Image:
    """`name` with its tag; the program is the image's only file, at /NAME, and its entry point."""

    name: str
    program: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def write(self, archive: Path) -> str:
        """Write an OCI image layout (image-spec 1.0) as a tar file; the manifest's digest."""
        layer = _tar({self.program.name: (self.program.read_bytes(), 0o755)})
        packed = gzip.compress(layer, compresslevel=1, mtime=0)
        config = {
            "architecture": versions.Platform.here().architecture,
            "os": "linux",
            "created": _EPOCH,
            "config": {
                "Entrypoint": [f"/{self.program.name}"],
                "Env": [f"{name}={value}" for name, value in sorted(self.environment.items())],
                "User": _NOBODY,
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
            "history": [{"created": _EPOCH, "created_by": "sandbox"}],
        }
        blobs = _Blobs()
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{_MEDIA}.manifest.v1+json",
            "config": blobs.add(_encoded(config), "config.v1+json"),
            "layers": [blobs.add(packed, "layer.v1.tar+gzip")],
        }
        described = blobs.add(_encoded(manifest), "manifest.v1+json")
        named = {"io.containerd.image.name": self.name, "org.opencontainers.image.ref.name": self.name}
        index = {"schemaVersion": 2, "manifests": [{**described, "annotations": named}]}
        files = {
            "oci-layout": _encoded({"imageLayoutVersion": "1.0.0"}),
            "index.json": _encoded(index),
            **blobs.files,
        }
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.write_bytes(_tar({name: (content, 0o644) for name, content in files.items()}))
        return str(described["digest"])


@dataclass
class _Blobs:
    files: dict[str, bytes] = field(default_factory=dict)

    def add(self, content: bytes, kind: str) -> dict[str, Any]:
        """Keep it under its digest; its descriptor."""
        digest = _digest(content)
        self.files[f"blobs/{digest.replace(':', '/')}"] = content
        return {"mediaType": f"{_MEDIA}.{kind}", "digest": digest, "size": len(content)}


def _tar(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, (content, mode) in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _encoded(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
