"""Where the API server sends its audit events, and what a receiver on this machine needs to take them."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox import pki
from sandbox.components import Layout, free_ports

if TYPE_CHECKING:
    from pathlib import Path

_PATH = "/audit"


@dataclass(frozen=True)
class AuditWebhook:
    """An https URL, who signed its certificate, and the bearer token to show there."""

    url: str
    ca_file: Path
    token: str


@dataclass(frozen=True)
class AuditEndpoint:
    """A loopback address set aside for a receiver: serve POST `/audit` at `port` with this certificate."""

    port: int
    token: str
    certificate: pki.KeyPair
    ca_file: Path

    @property
    def webhook(self) -> AuditWebhook:
        return AuditWebhook(f"https://127.0.0.1:{self.port}{_PATH}", self.ca_file, self.token)

    @classmethod
    def reserve(cls, directory: Path) -> AuditEndpoint:
        """The endpoint of the sandbox that is, or will be, in `directory`: the same one every time."""
        layout = Layout(directory.absolute())
        authority = pki.Authority.at(layout.pki, "sandbox")
        record = layout.pki / "audit-endpoint.json"
        if not record.exists():
            authority.server("audit-endpoint", ["localhost"], ["127.0.0.1"])
            record.touch(mode=0o600)
            record.write_text(json.dumps({"port": free_ports(1)[0], "token": secrets.token_urlsafe(32)}))
        said = json.loads(record.read_text())
        pair = pki.KeyPair(layout.pki / "audit-endpoint.crt", layout.pki / "audit-endpoint.key")
        return cls(said["port"], said["token"], pair, layout.pki / "ca.crt")
