from __future__ import annotations

from typing import TYPE_CHECKING

import kopf

from stanch.kube.resources import AIINCIDENTS
from stanch.queue import Key

if TYPE_CHECKING:
    from stanch.handlers.enqueue import Enqueue


def register(registry: kopf.OperatorRegistry, enqueue: Enqueue) -> None:
    async def incident_seen(*, namespace: str | None, name: str, **_: object) -> None:
        if namespace is not None:
            enqueue.incident(Key(namespace, name))

    resource = AIINCIDENTS
    kopf.on.event(resource.group, resource.version, resource.plural, id="aiincident-seen", registry=registry)(
        incident_seen
    )
