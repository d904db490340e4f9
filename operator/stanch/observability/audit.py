"""Denials by the hold, as the API server's audit log reports them (audit.k8s.io/v1).

A validating admission policy with the `Audit` action leaves an annotation on the audit event of the request:
https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/#audit-annotations
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

POLICY_PREFIX = "stanch-hold"
FAILURE_ANNOTATION = "validation.policy.admission.k8s.io/validation_failure"
REMEMBERED = 10_000
MAX_MESSAGE = 1024
_CONDEMNED = "is condemned by AIIncident"
_POD_CONTROLLERS = {
    "system:kube-controller-manager",
    *(
        f"system:serviceaccount:kube-system:{name}"
        for name in (
            "daemon-set-controller",
            "job-controller",
            "replicaset-controller",
            "statefulset-controller",
        )
    ),
}
_BY = re.compile(r"(?:held|condemned) by AIIncident (\S+) \(")


@dataclass(frozen=True, slots=True)
class Denied:
    """Somebody tried to undo a containment and was denied."""

    audit_id: str
    at: datetime
    username: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    message: str

    @property
    def incident(self) -> str:
        """Whose hold the policy says it is; empty when it says none. A version may be named before it."""
        found = _BY.findall(self.message)
        return found[-1] if found else ""

    @property
    def only_replaces(self) -> bool:
        """Whether a controller was to replace a pod that has ended: that is nobody's attempt at anything.

        A pod of a condemned version is, for somebody has brought it there.
        """
        creates = (self.verb, self.resource) == ("create", "pods")
        return creates and self.username in _POD_CONTROLLERS and _CONDEMNED not in self.message


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class _User(_Model):
    username: str = ""


class _ObjectReference(_Model):
    group: str = Field(default="", alias="apiGroup")
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


class _ResponseStatus(_Model):
    code: int = 0
    message: str = ""


class _AuditEvent(_Model):
    audit_id: str = Field(alias="auditID", min_length=1, max_length=128)
    stage: str
    verb: str = ""
    user: _User = _User()
    object_ref: _ObjectReference | None = Field(default=None, alias="objectRef")
    response: _ResponseStatus | None = Field(default=None, alias="responseStatus")
    annotations: dict[str, str] = {}
    at: datetime = Field(alias="stageTimestamp")


class AuditBatch(_Model):
    """The body of one call of the audit webhook."""

    kind: Literal["EventList"]
    api_version: Literal["audit.k8s.io/v1"] = Field(alias="apiVersion")
    items: tuple[_AuditEvent, ...]


class _Failure(_Model):
    """One element of the annotation's JSON list."""

    message: str = ""
    policy: str = ""


_FAILURES = TypeAdapter(tuple[_Failure, ...])


class DenialFilter:
    """Picks our denials out of a batch; an audit event sent twice counts once."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()

    def select(self, batch: AuditBatch) -> Iterator[Denied]:
        for event in batch.items:
            message = _denial(event)
            if message is None or event.object_ref is None or event.audit_id in self._seen:
                continue
            self._remember(event.audit_id)
            yield Denied(
                audit_id=event.audit_id,
                at=event.at,
                username=event.user.username,
                verb=event.verb,
                group=event.object_ref.group,
                resource=event.object_ref.resource,
                subresource=event.object_ref.subresource,
                namespace=event.object_ref.namespace,
                name=event.object_ref.name,
                message=message[:MAX_MESSAGE],
            )

    def _remember(self, audit_id: str) -> None:
        self._seen[audit_id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)


def _denial(event: _AuditEvent) -> str | None:
    """Why one of our policies denied the request; None if none did."""
    if event.stage != "ResponseComplete":
        return None
    for failure in _failures(event.annotations.get(FAILURE_ANNOTATION, "")):
        if failure.policy.startswith(POLICY_PREFIX):
            return failure.message
    if event.response is None or event.response.code < HTTPStatus.BAD_REQUEST:
        return None
    return (
        event.response.message
        if f"ValidatingAdmissionPolicy '{POLICY_PREFIX}" in event.response.message
        else None
    )


def _failures(annotation: str) -> tuple[_Failure, ...]:
    if not annotation:
        return ()
    try:
        return _FAILURES.validate_json(annotation)
    except ValidationError:  # some other writer's annotation of the same name: the status decides
        return ()
