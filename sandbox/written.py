"""What is written in the demo's namespace, as the audit log tells it: by whom, to what, when."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sandbox import stanch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMESPACE = "demo"

# What a write of the operator means to a reader, by what it was made to.
_MEANING = {
    ("aiincidents", "status"): "journal stored",
    ("aiincidents", ""): "incident taken: it cannot vanish before it is given back",
    ("namespaces", ""): "namespace marked as holding",
    ("containmentholds", ""): "held: from here on admission denies",
    ("horizontalpodautoscalers", ""): "autoscaler frozen",
    ("deployments", ""): "replicas 3 → 0",
}


@dataclass(frozen=True)
class Request:
    """One request in the demo's namespace (or to it) that took place, as the audit log has it."""

    at: datetime
    user: str
    resource: tuple[str, str]
    verb: str

    @property
    def by_stanch(self) -> bool:
        return self.user == stanch.ACCOUNT

    @property
    def writes(self) -> bool:
        return self.verb not in ("get", "list", "watch")


@dataclass
class AuditLog:
    """Reads on from where it was read last."""

    path: Path
    offset: int = 0

    @classmethod
    def from_now(cls, path: Path) -> AuditLog:
        return cls(path, path.stat().st_size)

    def requests(self) -> Iterator[Request]:
        with self.path.open("rb") as log:
            log.seek(self.offset)
            for line in log:
                if not line.endswith(b"\n"):
                    return
                self.offset += len(line)
                event = json.loads(line)
                if _took_place(event):
                    yield _request(event)


def _took_place(event: Any) -> bool:
    ref = event.get("objectRef", {})
    there = ref.get("namespace") == NAMESPACE or ref.get("name") == NAMESPACE
    accepted = event.get("responseStatus", {}).get("code", 0) < 300  # noqa: PLR2004 - HTTP success
    return there and accepted and "dryRun=" not in event["requestURI"]


def _request(event: Any) -> Request:
    ref = event["objectRef"]
    user = event.get("impersonatedUser", event["user"])["username"]
    at = datetime.fromisoformat(event["stageTimestamp"])
    return Request(at, user, (ref["resource"], ref.get("subresource", "")), event["verb"])


def show(log: AuditLog, began: datetime | None) -> datetime | None:
    """Print what was written since; times count from when the incident was created, which is returned."""
    for request in log.requests():
        if request.resource == ("aiincidents", "") and request.verb in ("create", "patch") and began is None:
            began = request.at
            print(f"    {0:+8.3f}s  incident created by {request.user}", flush=True)
        elif began is not None and request.by_stanch and request.writes and request.resource in _MEANING:
            after = (request.at - began).total_seconds()
            print(f"    {after:+8.3f}s  {_MEANING[request.resource]}", flush=True)
    return began
