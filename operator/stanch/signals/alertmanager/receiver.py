"""`POST /alerts`: who sends is proven, what is sent is bounded, and 200 is said once everything is stored.

Alertmanager repeats at once after a 5xx, but after a 4xx, 429 included, only at the next group_interval. So
whatever can succeed later is answered 503, and only what never can is a 4xx.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from stanch.errors import FenceLost, StanchError
from stanch.observability.listener import LISTENER
from stanch.signals.alertmanager.answers import MALFORMED, EarlyAnswer, Result, told
from stanch.signals.alertmanager.api import AlertmanagerApi, NotCompleted
from stanch.signals.alertmanager.credentials import Credentials, Presented
from stanch.signals.alertmanager.payload import MAX_BODY_BYTES, NotANotification, parse, signals_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Self

    from stanch.observability.metrics import Metrics
    from stanch.settings import Settings
    from stanch.signals.alertmanager.credentials import Accepted, Introduced
    from stanch.signals.alertmanager.payload import Malformed, Notification
    from stanch.signals.model import Intake, Signal, Speaker

log = structlog.get_logger(__name__)

NOT_LEADING = "this replica does not lead"
ALTERNATIVE_NAMES = {"DNS", "URI"}


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds; requests and bytes of bodies at one time: alerts take five times the memory of their JSON.

    The only proof of `strangers` is a signature of the body: it has to be read before anything is known of
    them, so the one that has been at it the longest gives way.
    """

    body_seconds: float = 10.0
    take_seconds: float = 30.0
    requests: int = 32
    bytes: int = 2 * MAX_BODY_BYTES
    strangers: int = 8


@dataclass(slots=True, eq=False)
class _Visit:
    """One request."""

    request: web.Request
    presented: Presented
    accepted: Accepted | None = None


@dataclass(slots=True)
class AlertReceiver:
    """`handle` is the handler of the path. `intake` is None while this process does not lead."""

    credentials: Credentials
    intake: Callable[[], Intake | None]
    metrics: Metrics
    alertmanager: AlertmanagerApi | None = None
    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], float] = time.time
    _requests: int = 0
    _bytes: int = 0
    _strangers: dict[_Visit, None] = field(default_factory=dict)

    @classmethod
    def from_settings(
        cls, settings: Settings, intake: Callable[[], Intake | None], metrics: Metrics
    ) -> Self | None:
        """None: nobody may send alerts."""
        if settings.signal_credentials_file is None:
            return None
        credentials = Credentials(
            settings.signal_credentials_file, certificates=settings.signal_client_ca_file is not None
        )
        return cls(credentials, intake, metrics, AlertmanagerApi.from_settings(settings))

    async def handle(self, request: web.Request) -> web.Response:
        visit = _Visit(request, Presented(request.headers, _client_names(request)))
        stored = False
        try:
            answer = told(await self._receive(visit))
            stored = answer.status == HTTPStatus.OK
        except EarlyAnswer as early:
            answer = early.response()
        finally:
            if visit.accepted is not None and not stored:
                self.credentials.forget(visit.accepted)
        self.metrics.signal_requests.labels(str(answer.status)).inc()
        return answer

    async def _receive(self, visit: _Visit) -> Result:
        introduced = self.credentials.introduce(visit.presented)
        if not introduced.candidates:
            raise _refusal(visit, introduced.missing)
        if self.intake() is None:
            raise EarlyAnswer(HTTPStatus.SERVICE_UNAVAILABLE, NOT_LEADING)
        if introduced.known:
            with self._place(visit) as charge:
                body = await self._read(visit, charge)
                return await self._take_all(body, self._accept(visit, introduced, body))
        body = await self._hear_out(visit)
        speaker = self._accept(visit, introduced, body)
        with self._place(visit) as charge:
            charge(len(body))
            return await self._take_all(body, speaker)

    def _accept(self, visit: _Visit, introduced: Introduced, body: bytes) -> Speaker:
        visit.accepted = self.credentials.accept(introduced, visit.presented, body, self.clock())
        if visit.accepted is None:
            unsigned = "no fresh signature of the body that was not used before"
            raise _refusal(visit, {one.name: unsigned for one in introduced.candidates})
        return visit.accepted.speaker

    @contextmanager
    def _place(self, visit: _Visit) -> Iterator[Callable[[int], None]]:
        """One of those who are known to have a credential. What they make us keep is charged to them."""
        held = 0

        def charge(count: int) -> None:
            nonlocal held
            if self._bytes + count > self.limits.bytes:
                raise EarlyAnswer(HTTPStatus.SERVICE_UNAVAILABLE, "too much at the same time")
            self._bytes += count
            held += count

        if self._requests >= self.limits.requests:
            raise EarlyAnswer(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at the same time")
        visit.request.app[LISTENER].vouch(visit.request)
        self._requests += 1
        try:
            yield charge
        finally:
            self._requests -= 1
            self._bytes -= held

    async def _hear_out(self, visit: _Visit) -> bytes:
        """The body of somebody who may turn out to have the key it is signed with."""
        if len(self._strangers) >= self.limits.strangers:
            longest = next(iter(self._strangers))
            del self._strangers[longest]
            longest.request.app[LISTENER].hang_up(longest.request)
        self._strangers[visit] = None
        try:
            return await self._read(visit, lambda _: None)
        finally:
            self._strangers.pop(visit, None)

    async def _read(self, visit: _Visit, charge: Callable[[int], None]) -> bytes:
        if "Content-Encoding" in visit.request.headers:
            raise EarlyAnswer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body uncompressed")
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                async for chunk in visit.request.content.iter_any():
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        raise EarlyAnswer(
                            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                            f"more than {MAX_BODY_BYTES} bytes: set max_alerts of the receiver lower",
                        )
                    charge(len(chunk))
        except TimeoutError as error:
            # A slow network is no fault of the alerts: after a 4xx they would wait a whole group_interval.
            raise EarlyAnswer(
                HTTPStatus.SERVICE_UNAVAILABLE, f"no whole body within {self.limits.body_seconds:g} s"
            ) from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise EarlyAnswer(HTTPStatus.BAD_REQUEST, "the body is broken off or malformed") from error
        return bytes(body)

    async def _take_all(self, body: bytes, speaker: Speaker) -> Result:
        """What was delivered first: it does not wait for what was left out."""
        try:
            notification = parse(body)
        except NotANotification as error:
            raise EarlyAnswer(HTTPStatus.BAD_REQUEST, f"no webhook notification: {error}") from error
        if notification.malformed and not notification.alerts and not notification.truncated:
            raise EarlyAnswer(
                HTTPStatus.BAD_REQUEST, f"no alert can be read: {notification.malformed[0].problem}"
            )
        result = Result()
        self._note(result, notification.malformed, speaker)
        await self._take(result, signals_of(notification), speaker)
        if notification.truncated:
            await self._complete(result, notification, speaker)
        return result

    async def _complete(self, result: Result, notification: Notification, speaker: Speaker) -> None:
        left_out = f"{notification.truncated} alerts were left out (max_alerts), and are not known:"
        if self.alertmanager is None:
            result.incomplete = f"{left_out} --alertmanager-url is not set"
        else:
            try:
                signals, malformed = await self.alertmanager.left_out(notification)
            except NotCompleted as error:
                result.incomplete = f"{left_out} {error}"
            else:
                self._note(result, malformed, speaker)
                await self._take(result, signals, speaker)
        if result.incomplete:
            log.error(
                "a truncated notification was not completed", speaker=speaker.name, why=result.incomplete
            )

    async def _take(self, result: Result, signals: Sequence[Signal], speaker: Speaker) -> None:
        intake = self.intake()
        if intake is None:
            raise EarlyAnswer(HTTPStatus.SERVICE_UNAVAILABLE, NOT_LEADING)
        if not signals:
            return
        try:
            async with asyncio.timeout(self.limits.take_seconds):
                taken = await intake.take(signals, speaker)
        except StanchError as error:
            log.warning(
                "alerts were not taken: their sender is told to send them again",
                speaker=speaker.name,
                alerts=len(signals),
                reason=error.reason,
                message=error.message,
            )
            raise EarlyAnswer(HTTPStatus.SERVICE_UNAVAILABLE, f"not taken: {error.reason}") from error
        except TimeoutError as error:
            log.warning(
                "alerts were not taken in time: their sender is told to send them again",
                speaker=speaker.name,
                alerts=len(signals),
            )
            raise EarlyAnswer(HTTPStatus.SERVICE_UNAVAILABLE, "not taken in time") from error
        except FenceLost as error:
            # Whoever renews the lease ends the process; the sender finds the next leader.
            raise EarlyAnswer(HTTPStatus.SERVICE_UNAVAILABLE, NOT_LEADING) from error
        result.taken += taken
        counts = Counter(str(one.outcome) for one in taken)
        for outcome, count in counts.items():
            self.metrics.signals.labels(outcome).inc(count)
        log.info("alerts taken", speaker=speaker.name, **counts)

    def _note(self, result: Result, malformed: Sequence[Malformed], speaker: Speaker) -> None:
        """An alert that cannot be read never can be: the sender is not asked to send it again."""
        if malformed:
            result.malformed += malformed
            self.metrics.signals.labels(MALFORMED).inc(len(malformed))
            log.error(
                "alerts cannot be read and are left out; the others of the batch are taken",
                speaker=speaker.name,
                alerts=len(malformed),
                first=malformed[0].problem,
            )


def _refusal(visit: _Visit, missing: Mapping[str, str]) -> EarlyAnswer:
    """What is missing is for the log: whoever asks is not told which credentials there are."""
    log.warning("a sender of alerts was refused", address=visit.request.remote, missing=dict(missing))
    return EarlyAnswer(HTTPStatus.UNAUTHORIZED, "no valid credential")


def _client_names(request: web.Request) -> frozenset[str] | None:
    """Common name and alternative names of the certificate, which the handshake has verified."""
    certificate = request.get_extra_info("peercert")
    if not certificate:
        return None
    common = [value for rdn in certificate["subject"] for key, value in rdn if key == "commonName"]
    alternative = [
        value for kind, value in certificate.get("subjectAltName", ()) if kind in ALTERNATIVE_NAMES
    ]
    return frozenset([*common, *alternative])
