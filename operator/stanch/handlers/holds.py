from __future__ import annotations

from typing import TYPE_CHECKING

import kopf
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from stanch.kube.resources import CONTAINMENTHOLDS
from stanch.queue import Key

if TYPE_CHECKING:
    from stanch.handlers.enqueue import Enqueue

log = structlog.get_logger(__name__)


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True)

    incidents: dict[str, object] = {}


class _Hold(BaseModel):
    """Of a ContainmentHold only whom it concerns: an event is a hint, the reconciler reads the object."""

    model_config = ConfigDict(frozen=True)

    spec: _Spec = _Spec()

    def incidents(self) -> frozenset[str]:
        return frozenset(self.spec.incidents)


def register(registry: kopf.OperatorRegistry, enqueue: Enqueue) -> None:
    async def hold_seen(*, namespace: str | None, name: str, body: kopf.Body, **_: object) -> None:
        try:
            hold = _Hold.model_validate({"spec": dict(body.spec)})
        except ValidationError as error:
            log.warning(
                "a ContainmentHold cannot be read; the sweep looks at its incidents instead",
                namespace=namespace,
                name=name,
                error=str(error),
            )
            return
        for incident in hold.incidents():
            if namespace is not None:
                enqueue.incident(Key(namespace, incident))

    resource = CONTAINMENTHOLDS
    kopf.on.event(resource.group, resource.version, resource.plural, id="hold-seen", registry=registry)(
        hold_seen
    )
