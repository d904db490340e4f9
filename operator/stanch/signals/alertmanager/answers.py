"""What the sender of alerts is told. Always JSON, and a 503 is the only answer of the 5xx kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from stanch.signals.alertmanager.payload import Malformed
    from stanch.signals.model import Taken

MALFORMED = "Malformed"
MALFORMED_TOLD = 100


@dataclass(slots=True)
class Result:
    """What became of one request. `incomplete` says why what was left out of it is not known."""

    taken: list[Taken] = field(default_factory=list)
    malformed: list[Malformed] = field(default_factory=list)
    incomplete: str = ""


class EarlyAnswer(Exception):
    """Ends a request. Its connection is closed: over a fresh one the sender may reach the leader."""

    def __init__(self, status: HTTPStatus, problem: str) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem

    def response(self) -> web.Response:
        return _refused(self.status, {"problem": self.problem})


def told(result: Result) -> web.Response:
    """200, or 503 where the sender has to send everything again."""
    body: dict[str, Any] = {
        "alerts": [
            {
                "fingerprint": one.signal.fingerprint,
                "outcome": one.outcome,
                "reason": one.reason,
                "incident": None if one.incident is None else str(one.incident),
            }
            for one in result.taken
        ],
        "malformed": [
            {"index": one.index, "problem": one.problem} for one in result.malformed[:MALFORMED_TOLD]
        ],
    }
    if result.incomplete:
        return _refused(HTTPStatus.SERVICE_UNAVAILABLE, body | {"problem": result.incomplete})
    return web.json_response(body)


def _refused(status: HTTPStatus, body: dict[str, Any]) -> web.Response:
    headers = {
        HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "1"},
        HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "Bearer"},
    }
    answer = web.json_response(body, status=status, headers=headers.get(status))
    answer.force_close()
    return answer
