"""Entries of the timeline as CloudEvents 1.0 in structured mode. Pure.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md, and its extension `sequence`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from stanch.sinks.summary import summary_of

if TYPE_CHECKING:
    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.api.v1alpha1.status import TimelineEntry

CONTENT_TYPE = "application/cloudevents+json"
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def cloud_event(incident: AIIncident, entry: TimelineEntry) -> CloudEvent:
    """Sent again, it has the same source and id, which is how receivers know a duplicate."""
    meta, target = incident.metadata, incident.spec.targets[0]
    return CloudEvent(
        {
            "specversion": "1.0",
            "id": f"{meta.uid}-{entry.seq}",
            "source": f"/namespaces/{meta.namespace}/aiincidents/{meta.name}",
            "type": type_of(entry),
            "subject": f"{target.kind}/{target.name}",
            "time": entry.at,
            "datacontenttype": "application/json",
            "sequence": f"{entry.seq:010d}",
        },
        {"entry": entry.wire(), "incident": summary_of(incident).wire()},
    )


def type_of(entry: TimelineEntry) -> str:
    """`dev.stanch.incident.step-effective.v1`."""
    return f"dev.stanch.incident.{_WORD.sub('-', entry.type).lower()}.v1"


def body_of(event: CloudEvent) -> bytes:
    return JSONFormat().write(event)
