"""What Alertmanager's webhook sends (version 4, https://prometheus.io/docs/alerting/latest/configuration/#webhook_config),
Grafana's superset of it (version 1), and what Alertmanager's API v2 tells of a group.

Bodies are hostile. What decides (labels, times, status) is refused where it is beyond measure; what only
people read (annotations, links, values) is cut or dropped instead, so that a long text never costs an alert.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from stanch.signals.model import Signal

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_ALERTS = 10_000
MAX_LABELS = 64
MAX_LABEL_NAME = 128
MAX_LABEL_VALUE = 2048
MAX_ANNOTATIONS = 64
MAX_ANNOTATION_NAME = 128
MAX_TEXT = 4096
MAX_URL = 2048
MAX_RECEIVER = 1024

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d")
_FINGERPRINT = re.compile(r"[0-9A-Za-z_.:-]{1,64}")
_LINK = re.compile(r"https?://[!-~]+")


class NotANotification(ValueError):
    """The body is none of these; the message says where and why."""


def _nothing_for_null(value: object) -> object:
    """A map that Go never made is null in JSON."""
    return {} if value is None else value


def _moment(value: object) -> object:
    """Pydantic would also take a number, or a number in quotes, for a time."""
    if not isinstance(value, str) or not _RFC3339.match(value):
        raise ValueError("a time looks like 2026-01-02T03:04:05Z")
    return value


def _in_utc(moment: datetime) -> datetime:
    """One instant is one text, for identities are made of it."""
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("this time is before the year 1 or after 9999 in UTC") from error


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    texts = ((name, text) for name, text in value.items() if isinstance(text, str))
    fitting = [(name, text[:MAX_TEXT]) for name, text in texts if 0 < len(name) <= MAX_ANNOTATION_NAME]
    return dict(fitting[:MAX_ANNOTATIONS])


def _text(value: object) -> str:
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def _link(value: object) -> str:
    """Only what a person may click on; half an address leads nowhere."""
    fits = isinstance(value, str) and len(value) <= MAX_URL and _LINK.fullmatch(value)
    return str(value) if fits else ""


def _fingerprint(value: object) -> str:
    return value if isinstance(value, str) and _FINGERPRINT.fullmatch(value) else ""


LabelName = Annotated[str, Field(min_length=1, max_length=MAX_LABEL_NAME)]
LabelValue = Annotated[str, Field(max_length=MAX_LABEL_VALUE)]
Labels = Annotated[
    dict[LabelName, LabelValue], BeforeValidator(_nothing_for_null), Field(max_length=MAX_LABELS)
]
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc), BeforeValidator(_moment)]


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class _Labelled(_Model):
    """What an alert is, wherever it is told of. Without a usable fingerprint it has that of its labels."""

    labels: Labels = Field(min_length=1)
    starts_at: Moment
    annotations: Annotated[dict[str, str], BeforeValidator(_texts)] = {}
    generator_url: Annotated[str, BeforeValidator(_link)] = Field(default="", alias="generatorURL")
    value: Annotated[str, BeforeValidator(_text)] = Field(default="", alias="valueString")
    given_fingerprint: Annotated[str, BeforeValidator(_fingerprint)] = Field(default="", alias="fingerprint")

    @property
    def fingerprint(self) -> str:
        return self.given_fingerprint or fingerprint_of(self.labels)

    def signal(self, *, firing: bool) -> Signal:
        return Signal(
            name=self.labels.get("alertname", "unnamed"),
            fingerprint=self.fingerprint,
            starts_at=self.starts_at,
            firing=firing,
            labels=self.labels,
            annotations=self.annotations,
            url=self.generator_url,
            value=self.value,
        )


class Status(StrEnum):
    FIRING = "firing"
    RESOLVED = "resolved"


class Alert(_Labelled):
    """One alert of a notification. Its own status counts: a group that fires carries resolved alerts too."""

    status: Status | None = None
    ends_at: Moment | None = None

    @property
    def firing(self) -> bool:
        """An alert without a status fires unless it has an end; the year 1 is Go's word for none."""
        if self.status is not None:
            return self.status is Status.FIRING
        return self.ends_at is None or self.ends_at.year == 1


class GroupedAlert(_Labelled):
    """One alert as `GET /api/v2/alerts` lists it: only those that fire are."""


class _Envelope(_Model):
    version: Literal["4", "1"]
    receiver: str = Field(default="", max_length=MAX_RECEIVER)
    group_labels: Labels = {}
    truncated_alerts: int = Field(default=0, ge=0, lt=2**64)
    alerts: list[Any] = Field(max_length=MAX_ALERTS)


@dataclass(frozen=True, slots=True)
class Malformed:
    """An alert that cannot be read, by its place in the list; the others are not lost for it."""

    index: int
    problem: str


@dataclass(frozen=True, slots=True)
class Notification:
    """One call of the webhook. `truncated` is how many alerts of the group the sender has left out."""

    receiver: str
    group_labels: dict[str, str]
    truncated: int
    alerts: tuple[Alert, ...]
    malformed: tuple[Malformed, ...]


Parsed = TypeVar("Parsed", bound=_Labelled)

_ALERT = TypeAdapter(Alert)
_GROUPED = TypeAdapter(GroupedAlert)
_LIST = TypeAdapter(Annotated[list[Any], Field(max_length=MAX_ALERTS)])


def parse(body: bytes) -> Notification:
    """Raises NotANotification. JSON nested deeper than the parser's limit of 200 is refused, not followed;
    of a key given twice the last counts.
    """
    try:
        envelope = _Envelope.model_validate_json(body)
    except ValidationError as error:
        raise NotANotification(_problem(error)) from error
    alerts, malformed = _each(_ALERT, envelope.alerts)
    return Notification(
        receiver=envelope.receiver,
        group_labels=envelope.group_labels,
        truncated=envelope.truncated_alerts,
        alerts=tuple(alerts),
        malformed=tuple(malformed),
    )


def signals_of(notification: Notification) -> list[Signal]:
    """In the order of the alerts that could be read."""
    return [alert.signal(firing=alert.firing) for alert in notification.alerts]


def question_about(notification: Notification) -> list[tuple[str, str]]:
    """Parameters of `GET /api/v2/alerts` for what fires in this group and is neither silenced nor inhibited:
    that is what Alertmanager notifies of. `receiver` is a regular expression there, anchored by the server.
    """
    return [
        ("active", "true"),
        ("silenced", "false"),
        ("inhibited", "false"),
        ("receiver", re.escape(notification.receiver)),
        *(("filter", _matcher(name, value)) for name, value in notification.group_labels.items()),
    ]


def left_out(notification: Notification, body: bytes) -> tuple[list[Signal], list[Malformed]]:
    """The alerts of the group, as the API lists them, that the notification did not carry.

    Raises NotANotification where the answer cannot be about this group: it is no list of alerts, or none of
    the alerts that were said to fire is in it.
    """
    try:
        listed, malformed = _each(_GROUPED, _LIST.validate_json(body))
    except ValidationError as error:
        raise NotANotification(_problem(error)) from error
    members = [alert for alert in listed if notification.group_labels.items() <= alert.labels.items()]
    firing = {alert.fingerprint for alert in notification.alerts if alert.firing}
    if firing and firing.isdisjoint(alert.fingerprint for alert in members):
        raise NotANotification("none of the alerts that were said to fire is listed")
    known = {alert.fingerprint for alert in notification.alerts}
    return [alert.signal(firing=True) for alert in members if alert.fingerprint not in known], malformed


def fingerprint_of(labels: dict[str, str]) -> str:
    """The same for the same labels, whatever their order. Not Alertmanager's own hash."""
    canonical = json.dumps(sorted(labels.items()), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _each(adapter: TypeAdapter[Parsed], items: Iterable[Any]) -> tuple[list[Parsed], list[Malformed]]:
    parsed: list[Parsed] = []
    malformed: list[Malformed] = []
    for index, item in enumerate(items):
        try:
            parsed.append(adapter.validate_python(item))
        except ValidationError as error:
            malformed.append(Malformed(index, _problem(error)))
    return parsed, malformed


def _matcher(name: str, value: str) -> str:
    """https://prometheus.io/docs/alerting/latest/configuration/#matcher: a name that is not a classic one is
    quoted as values are.
    """
    classic = re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", name)
    return f"{name if classic else _quoted(name)}={_quoted(value)}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(_shown(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


def _shown(part: str | int) -> str:
    """A key may be anything and of any length."""
    return str(part)[:MAX_LABEL_NAME]
