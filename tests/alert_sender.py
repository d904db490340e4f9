"""Delivers alerts as Alertmanager's webhook does: again after a 5xx or no answer, never after a 4xx.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

Json = dict[str, Any]

_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.1, 2.0, 1.5  # seconds; Alertmanager's own are longer
_NO_ANSWER = 45.0  # seconds; the receiver itself gives up before


@dataclass(frozen=True, slots=True)
class Answer:
    """The one that ended the delivery. `seconds`: from the request that got it."""

    status: int
    body: Json
    seconds: float


@dataclass
class Sender:
    """`statuses` counts every answer, `unreachable` every request without one."""

    url: str
    _session: aiohttp.ClientSession
    statuses: Counter[int] = field(default_factory=Counter)
    unreachable: int = 0

    async def deliver(self, body: bytes) -> Answer:
        """Until somebody takes it, or says that nobody ever will."""
        pause = _FIRST_PAUSE
        while True:
            answer = await self._post(body)
            if answer is not None and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                return answer
            await asyncio.sleep(pause)
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)

    async def _post(self, body: bytes) -> Answer | None:
        began = time.perf_counter()
        try:
            async with self._session.post(self.url, data=body) as response:
                told = await response.read()
        except (aiohttp.ClientError, OSError):  # also TimeoutError
            self.unreachable += 1
            return None
        self.statuses[response.status] += 1
        return Answer(response.status, json.loads(told), time.perf_counter() - began)


@asynccontextmanager
async def sending(url: str, token: str, ca_file: Path) -> AsyncIterator[Sender]:
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(ca_file)), limit=0)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    timeout = aiohttp.ClientTimeout(total=_NO_ANSWER)
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session:
        yield Sender(url, session)
    await asyncio.sleep(0.1)  # aiohttp's TLS transports need turns of the loop to end


def notification(alerts: Iterable[object], group: str = "") -> bytes:
    """Version 4. The status of a group says little: Alertmanager's is `firing` while any of it is."""
    return json.dumps(
        {
            "version": "4",
            "groupKey": group,
            "truncatedAlerts": 0,
            "status": "firing",
            "receiver": "stanch",
            "groupLabels": {},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager.example.test",
            "alerts": list(alerts),
        }
    ).encode()


def alert(labels: dict[str, str], starts_at: str, *, firing: bool = True) -> Json:
    """As Alertmanager writes one, without a fingerprint: that of its labels is as good."""
    return {
        "status": "firing" if firing else "resolved",
        "labels": labels,
        "annotations": {
            "summary": f"{labels.get('alertname', 'something')} of {labels.get('namespace', '')}"
        },
        "startsAt": starts_at,
        "endsAt": "0001-01-01T00:00:00Z" if firing else starts_at,
        "generatorURL": "http://prometheus.example.test/graph",
    }
