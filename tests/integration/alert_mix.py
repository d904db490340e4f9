"""A storm of alerts, the same every time: repeats, flaps, resolutions, and what nobody should ever send."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tests.alert_sender import alert, notification

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

Json = dict[str, Any]

FLUSHES = 10
"""How often every group of alerts is delivered."""
LATEST_BEGIN = 6
SHARDS = 4
"""Groups of a namespace."""
_MALFORMED_EVERY, _LOST_EVERY = 30, 40  # of so many alerts there is one
_ALERTS = ("ToxicOutput", "Leak", "Jailbreak")
_BEGAN = datetime(2026, 11, 26, 3, 12, tzinfo=UTC)

MALFORMED: tuple[object, ...] = (
    None,
    "ToxicOutput",
    [],
    {"status": "firing", "startsAt": "2026-11-26T03:12:00Z"},
    {"status": "firing", "labels": {}, "startsAt": "2026-11-26T03:12:00Z"},
    {"status": "firing", "labels": {"alertname": "ToxicOutput"}},
    {"status": "firing", "labels": {"alertname": "ToxicOutput"}, "startsAt": "yesterday"},
    {"status": "firing", "labels": {"alertname": "ToxicOutput"}, "startsAt": 1764126720},
    {"status": "on fire", "labels": {"alertname": "ToxicOutput"}, "startsAt": "2026-11-26T03:12:00Z"},
    {"status": "firing", "labels": {"alertname": ["x"]}, "startsAt": "2026-11-26T03:12:00Z"},
    {"status": "firing", "labels": {"alertname": "x" * 4000}, "startsAt": "2026-11-26T03:12:00Z"},
)
"""Each is no alert; what comes beside it in a batch is taken all the same."""

UNREADABLE = (
    b"",
    b"{",
    b"\xff\xfe",
    b'{"version": "4", "alerts": "none"}',
    b'{"version": "3", "alerts": []}',
    b"[" * 5000,
    notification([None, {"labels": {}}]),
)
"""Bodies that are answered 400."""


class Fate(StrEnum):
    """What is to become of a workload."""

    CONTAINED = "contained"
    NO_TRIGGER = "no trigger fires on its alerts"
    NOT_SELECTED = "no policy selects it"
    ONLY_RESOLVED = "its alerts have all resolved"


@dataclass(frozen=True, slots=True)
class Victim:
    """A Deployment with one pod."""

    namespace: str
    name: str
    fate: Fate
    pod: str = ""
    """Set: its first alert names this, and not the Deployment."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One readable alert; `victim` is None where it is about a namespace that does not exist."""

    victim: Victim | None
    firing: bool
    by_pod: bool
    body: Json


@dataclass(slots=True)
class Delivery:
    """One notification of one group, due at flush number `flush`."""

    group: str
    flush: int
    alerts: list[Sent] = field(default_factory=list)
    malformed: list[object] = field(default_factory=list)

    def body(self, rng: Random) -> bytes:
        """The malformed stand anywhere between the others."""
        mixed: list[object] = [one.body for one in self.alerts]
        for bad in self.malformed:
            mixed.insert(rng.randint(0, len(mixed)), bad)
        return notification(mixed, self.group)

    @property
    def count(self) -> int:
        return len(self.alerts) + len(self.malformed)


@dataclass(frozen=True, slots=True)
class _Report:
    group: str
    flush: int
    sent: Sent


def storm(rng: Random, victims: Sequence[Victim], total: int) -> list[Delivery]:
    """Exactly `total` alerts, in the order in which each group delivers them."""
    lives = [life for victim in victims for life in _lives(rng, victim)]
    odd = total // _MALFORMED_EVERY + total // _LOST_EVERY
    repeats = total - odd - sum(map(len, lives))
    assert repeats > 0, "there are more alerts than that without any repeat"
    for _ in range(repeats):
        life = rng.choice(lives)
        place = rng.randrange(len(life))
        latest = life[place + 1].flush if place + 1 < len(life) else FLUSHES - 1
        again = _Report(life[place].group, rng.randint(life[place].flush, latest), life[place].sent)
        life.insert(place + 1, again)
    deliveries = {
        (group, flush): Delivery(group, flush)
        for group in sorted({report.group for life in lives for report in life})
        for flush in range(FLUSHES)
    }
    for life in lives:
        for report in life:
            deliveries[report.group, report.flush].alerts.append(report.sent)
    each = list(deliveries.values())
    for number in range(total // _LOST_EVERY):
        rng.choice(each).alerts.append(_lost(number))
    for number in range(total // _MALFORMED_EVERY):
        rng.choice(each).malformed.append(MALFORMED[number % len(MALFORMED)])
    return [one for one in each if one.count]


def by_group(deliveries: Sequence[Delivery]) -> list[list[Delivery]]:
    groups: defaultdict[str, list[Delivery]] = defaultdict(list)
    for delivery in deliveries:
        groups[delivery.group].append(delivery)
    return list(groups.values())


def _lives(rng: Random, victim: Victim) -> list[list[_Report]]:
    """What is told of each of its series in turn. They are in any group: their reports come side by side."""
    first = rng.randint(0, LATEST_BEGIN)
    return [
        _life(rng, victim, rng.randint(first, LATEST_BEGIN) if number else first, number)
        for number in range(len(_ALERTS))
    ]


def _life(rng: Random, victim: Victim, begin: int, number: int) -> list[_Report]:
    """It fires; some resolve; some of those fire again, which is another firing of the same series."""
    group = f"{victim.namespace}/{rng.randrange(SHARDS)}"
    started = _BEGAN + timedelta(seconds=begin, milliseconds=number)
    if victim.fate is Fate.ONLY_RESOLVED:
        return [_Report(group, begin, _sent(victim, number, started, firing=False))]
    life = [_Report(group, begin, _sent(victim, number, started, firing=True))]
    if rng.random() < 0.4:
        life.append(_Report(group, begin + 1, _sent(victim, number, started, firing=False)))
        if rng.random() < 0.7:
            anew = started + timedelta(seconds=30)
            life.append(_Report(group, begin + 2, _sent(victim, number, anew, firing=True)))
    return life


def _sent(victim: Victim, number: int, started: datetime, *, firing: bool) -> Sent:
    by_pod = bool(victim.pod) and number == 0
    name = "Boring" if victim.fate is Fate.NO_TRIGGER else _ALERTS[number]
    labels = {"alertname": name, "namespace": victim.namespace, "severity": "critical"}
    labels |= {"pod": victim.pod} if by_pod else {"deployment": victim.name}
    return Sent(victim, firing, by_pod, alert(labels, started.isoformat(), firing=firing))


def _lost(number: int) -> Sent:
    labels = {"alertname": "ToxicOutput", "namespace": f"nowhere-{number % 7}", "deployment": "llm"}
    return Sent(None, True, False, alert(labels, _BEGAN.isoformat()))
