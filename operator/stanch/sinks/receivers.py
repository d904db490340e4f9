"""Who is told of an incident: whom the operator's settings name, and whom the policy carried by its plan."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from stanch.errors import Forbidden, StanchError
from stanch.evidence.timeline import RECORD
from stanch.kube.resources import SECRETS, ObjectRef
from stanch.sinks import cloud_events, notify, ocsf
from stanch.sinks.http import Address
from stanch.sinks.messenger import Messenger
from stanch.sinks.model import Undelivered
from stanch.sinks.record import RecordSink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.api.v1alpha1.plan import CarriedNotification
    from stanch.api.v1alpha1.status import TimelineEntry
    from stanch.evidence.store import Store
    from stanch.kube.client import Kube
    from stanch.settings import Settings
    from stanch.sinks.model import Sink

CLOUDEVENTS, OCSF, NOTIFICATION = "cloudevents", "ocsf", "notification/"
_JSON = "application/json"


class _Secret(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    data: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class CloudEventsSink:
    address: Address
    line: str = CLOUDEVENTS

    def wants(self, incident: AIIncident, entry: TimelineEntry) -> bool:  # noqa: ARG002 - every one
        return True

    async def deliver(self, incident: AIIncident, entry: TimelineEntry) -> None:
        event = cloud_events.cloud_event(incident, entry)
        await self.address.post(cloud_events.body_of(event), cloud_events.CONTENT_TYPE)


@dataclass(frozen=True, slots=True)
class OcsfSink:
    address: Address
    line: str = OCSF

    def wants(self, incident: AIIncident, entry: TimelineEntry) -> bool:  # noqa: ARG002 - of whichever
        return ocsf.is_told(entry)

    async def deliver(self, incident: AIIncident, entry: TimelineEntry) -> None:
        await self.address.post(ocsf.body_of(ocsf.finding(incident, entry)), _JSON)


@dataclass(frozen=True, slots=True)
class NotificationSink:
    """One of the policy's. Its address is read from the Secret each time, and kept nowhere."""

    kube: Kube
    messenger: Messenger
    notification: CarriedNotification
    namespace: str
    """Where the Secret is."""
    line: str

    def wants(self, incident: AIIncident, entry: TimelineEntry) -> bool:
        return notify.is_told(incident, entry)

    async def deliver(self, incident: AIIncident, entry: TimelineEntry) -> None:
        await self.messenger.send(await self._url(), notify.message(incident, entry))

    async def _url(self) -> str:
        """Raises Undelivered, naming the Secret and nothing that is in it."""
        ref = ObjectRef(SECRETS, self.namespace, self.notification.secret)
        try:
            body = await self.kube.get(ref)
        except Forbidden:
            raise Undelivered(
                f"nothing was sent: the operator may not read {ref}; grant it as in {notify.SAMPLE}"
            ) from None
        except StanchError as error:
            raise Undelivered(f"nothing was sent: {ref} cannot be read, {error.reason}") from None
        if body is None:
            raise Undelivered(f"nothing was sent: there is no {ref}")
        try:
            encoded = _Secret.model_validate({"data": body.get("data") or {}}).data[self.notification.key]
            url = base64.b64decode(encoded, validate=True).decode().strip()
        except KeyError:
            raise Undelivered(f"nothing was sent: {ref} has no key {self.notification.key}") from None
        except (ValidationError, binascii.Error, UnicodeDecodeError):
            url = ""
        if not url:
            raise Undelivered(f"nothing was sent: there is no URL in key {self.notification.key} of {ref}")
        return url


@dataclass(slots=True)
class ConfiguredReceivers:
    kube: Kube
    messenger: Messenger
    namespace: str
    """The operator's own: Secrets of cluster policies are in it."""
    configured: dict[str, Sink] = field(default_factory=dict)
    addresses: tuple[Address, ...] = ()

    @classmethod
    def from_settings(cls, settings: Settings, kube: Kube, store: Store | None = None) -> Self:
        """`store`: where evidence is kept. Raises Rejected when a URL is none."""
        timeout = settings.sink_timeout_seconds
        receivers = cls(
            kube, Messenger(frozenset(settings.notification_schemas), timeout), settings.namespace
        )
        if settings.cloudevents_url is not None:
            address = Address(
                CLOUDEVENTS,
                settings.cloudevents_url,
                settings.cloudevents_token_file,
                settings.cloudevents_ca_file,
                timeout,
            )
            receivers.configured[CLOUDEVENTS] = CloudEventsSink(address)
            receivers.addresses += (address,)
        if settings.ocsf_url is not None:
            address = Address(
                OCSF, settings.ocsf_url, settings.ocsf_token_file, settings.ocsf_ca_file, timeout
            )
            receivers.configured[OCSF] = OcsfSink(address)
            receivers.addresses += (address,)
        if store is not None:
            receivers.configured[RECORD] = RecordSink(store)
        return receivers

    def of(self, incident: AIIncident) -> Mapping[str, Sink]:
        plan = incident.status.plan
        policy = plan.policy if plan is not None else None
        if policy is None:
            return self.configured
        own = policy.kind == "ContainmentPolicy"
        namespace = incident.metadata.namespace if own else self.namespace
        return self.configured | {
            f"{NOTIFICATION}{one.name}": NotificationSink(
                self.kube, self.messenger, one, namespace, f"{policy.uid}/{one.name}"
            )
            for one in policy.notifications
            if notify.concerns(one, incident)
        }

    async def close(self) -> None:
        for address in self.addresses:
            await address.close()
