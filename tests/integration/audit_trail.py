"""What operators wrote, as the API server's audit log has it: which process, to what, from when to when."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from pathlib import Path

    from tests.operator_process import Json

POLICY: Json = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "omitManagedFields": True,
    "rules": [
        {
            "level": "Request",
            "userGroups": ["system:serviceaccounts:stanch-system"],
            "verbs": ["create", "update", "patch", "delete", "deletecollection"],
        },
        {"level": "None"},
    ],
}
"""Every write of the operator's account with its body, Leases and Events among them; nothing else."""

_PROCESS = re.compile(r"^stanch/\S+ \((?P<identity>.+)\)$")


class _Ref(BaseModel):
    model_config = ConfigDict(frozen=True)

    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""


class _Status(BaseModel):
    code: int


class Write(BaseModel):
    """One request that was answered."""

    model_config = ConfigDict(frozen=True)

    verb: str
    uri: str = Field(alias="requestURI")
    agent: str = Field(alias="userAgent")
    ref: _Ref = Field(alias="objectRef")
    status: _Status = Field(alias="responseStatus")
    received: datetime = Field(alias="requestReceivedTimestamp")
    answered: datetime = Field(alias="stageTimestamp")
    body: object = Field(default=None, alias="requestObject")

    @property
    def process(self) -> str:
        """The identity of the operator; empty if it does not say."""
        said = _PROCESS.match(self.agent)
        return "" if said is None else said["identity"]

    @property
    def stores(self) -> bool:
        """No dry run, no question, no token."""
        dry = "dryRun=" in self.uri or (isinstance(self.body, dict) and bool(self.body.get("dryRun")))
        return not (dry or self.ref.resource.endswith("reviews") or self.ref.subresource == "token")

    @property
    def accepted(self) -> bool:
        return self.stores and self.status.code < 300

    @property
    def unknown(self) -> bool:
        """Whoever sent it was gone before the answer: the store may have it, or not."""
        return self.stores and self.status.code == HTTPStatus.GATEWAY_TIMEOUT

    @property
    def of_the_lease(self) -> bool:
        return self.ref.resource == "leases"

    def __str__(self) -> str:
        where = "/".join(filter(None, (self.ref.namespace, self.ref.name, self.ref.subresource)))
        what = f"{self.verb} {self.ref.resource} {where}: {self.status.code}"
        return f"{self.received:%H:%M:%S.%f} {self.process} {what}"


@dataclass
class AuditTrail:
    path: Path
    writes: list[Write] = field(default_factory=list)
    _read: int = 0

    def catch_up(self) -> list[Write]:
        """Everything since the beginning. The log is written before a caller is answered."""
        with self.path.open("rb") as log:
            log.seek(self._read)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                event = json.loads(line)
                if "objectRef" in event:
                    self.writes.append(Write.model_validate(event))
        return self.writes

    def accepted_of(self, process: str) -> list[Write]:
        return [write for write in self.catch_up() if write.process == process and write.accepted]
