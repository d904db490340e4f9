"""The operator's receiver of alerts in tests: where it listens, who may speak, and a sender."""

from __future__ import annotations

import json
import ssl
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from sandbox.audit import AuditEndpoint
from sandbox.monitoring import Route

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]


@dataclass(frozen=True)
class Receiver:
    endpoint: AuditEndpoint
    credentials: Path
    token: Path

    @classmethod
    def reserve(cls, directory: Path) -> Receiver:
        """One credential, which speaks for every namespace."""
        directory.mkdir(parents=True, exist_ok=True)
        token, credentials = directory / "token", directory / "credentials.yaml"
        token.write_text("s3cret-of-alertmanager\n")
        speaker = {"name": "alertmanager", "namespaces": ["*"], "tokenFile": str(token)}
        credentials.write_text(yaml.safe_dump({"credentials": [speaker]}))
        return cls(AuditEndpoint.reserve(directory / "endpoint"), credentials, token)

    @property
    def flags(self) -> dict[str, str]:
        """Of `stanch run`."""
        pair = self.endpoint.certificate
        return {
            "receiver_port": str(self.endpoint.port),
            "tls_cert_file": str(pair.certificate),
            "tls_key_file": str(pair.key),
            "signal_credentials_file": str(self.credentials),
        }

    @property
    def route(self) -> Route:
        return Route(f"https://127.0.0.1:{self.endpoint.port}/alerts", self.token, self.endpoint.ca_file)

    def send(self, *alerts: Json) -> list[Json]:
        """One notification; what became of each alert. Raises urllib.error.HTTPError."""
        notification = {
            "version": "4",
            "status": "firing",
            "receiver": "stanch",
            "groupLabels": {},
            "alerts": list(alerts),
        }
        request = urllib.request.Request(
            self.route.url,
            json.dumps(notification).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.token.read_text().strip()}"},
        )
        trust = ssl.create_default_context(cafile=self.endpoint.ca_file)
        with urllib.request.urlopen(request, timeout=30, context=trust) as answer:
            told: list[Json] = json.load(answer)["alerts"]
        return told
