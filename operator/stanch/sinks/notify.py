"""Whom to wake up about what, and in which words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from stanch.api.v1alpha1.incident import Severity
from stanch.api.v1alpha1.status import Phase
from stanch.status import conditions

if TYPE_CHECKING:
    from collections.abc import Collection

    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.api.v1alpha1.plan import CarriedNotification
    from stanch.api.v1alpha1.status import TimelineEntry

SAMPLE = "manifests/samples/notifications.yaml"
_SEVERITIES = tuple(Severity)
_LONGEST = 600
_LONGEST_SCHEMA = 20
_READS_FILES = {"template", "keyfile", "pgp", "pgpkey", "subfile", "attach", "config"}
"""Parameters by which services of Apprise read files of the machine they run on."""


class Tone(StrEnum):
    """Apprise's types of a notification."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


TONES = {
    str(Phase.AWAITING_APPROVAL): Tone.WARNING,
    str(Phase.CONTAINED): Tone.SUCCESS,
    str(Phase.PARTIALLY_CONTAINED): Tone.WARNING,
    str(Phase.CONTAINMENT_FAILED): Tone.FAILURE,
    conditions.CONTESTED: Tone.WARNING,
    "ReleaseProbation": Tone.INFO,
    "ReleaseFull": Tone.INFO,
    "ReleaseFailed": Tone.FAILURE,
    str(Phase.RELEASED): Tone.SUCCESS,
    str(Phase.RECOVERED): Tone.SUCCESS,
    str(Phase.CLOSED): Tone.INFO,
}
"""What people are told of, by the type of the entry."""


@dataclass(frozen=True, slots=True)
class Message:
    tone: Tone
    title: str
    text: str


def concerns(notification: CarriedNotification, incident: AIIncident) -> bool:
    """Whether the incident is as severe as it has to be. A severity that is not known is one to tell of."""
    if notification.at_or_above not in _SEVERITIES:
        return True
    least = Severity(notification.at_or_above)
    return _SEVERITIES.index(incident.spec.severity) <= _SEVERITIES.index(least)


def is_told(incident: AIIncident, entry: TimelineEntry) -> bool:
    """Of contests only the first: what fights back does so all night."""
    if entry.type != conditions.CONTESTED:
        return entry.type in TONES
    seen = [one.seq for one in incident.status.timeline if one.type == conditions.CONTESTED]
    counted = incident.status.contested.count if incident.status.contested is not None else 0
    return bool(seen) and seen[0] == entry.seq and counted <= len(seen)


def message(incident: AIIncident, entry: TimelineEntry) -> Message:
    """As a good page: how bad, what, where, what now."""
    meta, spec = incident.metadata, incident.spec
    drill = "EXERCISE " if spec.exercise else ""
    targets = ", ".join(f"{target.kind} {target.name}" for target in spec.targets[:3])
    lines = (
        _short(f"{spec.title} ({spec.category})"),
        f"{targets} in namespace {meta.namespace}",
        _short(entry.message or incident.status.summary or ""),
        f"kubectl describe aii -n {meta.namespace} {meta.name}",
    )
    return Message(
        TONES.get(entry.type, Tone.INFO),
        f"{drill}[{spec.severity}] {meta.namespace}/{meta.name}: {entry.type}",
        "\n".join(line for line in lines if line),
    )


def refusal(url: str, schemas: Collection[str]) -> str:
    """Why this address is not used; empty when it may be. Names at most its schema."""
    schema, found, _ = url.partition("://")
    if not found:
        return "it is no URL of a service"
    if schema.lower() not in schemas:
        known = (
            schema.lower() if schema.isalnum() and len(schema) <= _LONGEST_SCHEMA else "what it begins with"
        )
        return f"{known} is none of the services in --notification-schemas"
    try:
        parameters = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    except ValueError:
        return "it is no URL of a service"
    for name, value in parameters:
        reads = name.strip().lower().lstrip("+-:") in _READS_FILES
        if reads or value.strip().lower().startswith(("/", "~", ".", "file:")):
            return "it has a parameter that reads a file where the operator runs"
    return ""


def _short(text: str) -> str:
    """On one line: what others wrote makes up no lines of ours."""
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
