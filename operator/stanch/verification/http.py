"""Asking each pod of a workload over HTTP, as a kubelet's probe does.

A pod's address and what it answers are hostile: no proxy, no redirection, no cookie; of the answer only the
status is read.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from aiohttp import (
    ClientError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
)
from yarl import URL

from stanch import __version__
from stanch.api.schema import seconds
from stanch.verification.reading import Answer, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from stanch.api.v1alpha1.recovery import HttpCheck
    from stanch.verification.serving import PodSeen, Seen

_AT_ONCE = 16
_LONGEST = 45.0
_WORST_FIRST = (Answer.FAILS, Answer.BROKEN, Answer.UNKNOWN)
_CONNECT_SHARE = 0.8
"""Of the time, so that whoever cannot be reached is told from whoever does not answer."""
_SHOWN = 3
_NO_WAY = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH})


@dataclass(frozen=True, slots=True)
class Said:
    """What came of one pod."""

    answer: Answer
    reason: str
    message: str
    value: str | None = None


async def http_reading(check: HttpCheck, seen: Sequence[Seen], at: datetime) -> Reading:
    """Of all pods that are ready the worst. Somebody has seen to it that there is one."""
    pods = [pod for one in seen for pod in one.ready]
    connector = TCPConnector(ssl=_unverified(), limit=_AT_ONCE, force_close=True)
    # The time of each pod is counted from when it is its turn.
    turns = asyncio.Semaphore(_AT_ONCE)
    async with ClientSession(
        connector=connector,
        trust_env=False,
        cookie_jar=DummyCookieJar(),
        headers={"User-Agent": f"stanch/{__version__}"},
        auto_decompress=False,
    ) as session:

        async def ask(pod: PodSeen) -> Said:
            async with turns:
                return await _ask(session, check, pod)

        said = await asyncio.gather(*(ask(pod) for pod in pods))
    for answer in _WORST_FIRST:
        worst = [one for one in said if one.answer is answer]
        if worst:
            more = f"; and {len(worst) - _SHOWN} more" if len(worst) > _SHOWN else ""
            message = "; ".join(one.message for one in worst[:_SHOWN]) + more
            return Reading(answer, worst[0].reason, message, at, worst[0].value)
    message = f"{len(pods)} of {len(pods)} pods answer {check.status}"
    return Reading(Answer.HOLDS, "Answered", message, at, str(check.status))


async def _ask(session: ClientSession, check: HttpCheck, pod: PodSeen) -> Said:
    url = url_of(check, pod)
    if isinstance(url, Said):
        return url
    within = min(seconds(check.timeout), _LONGEST)
    timeout = ClientTimeout(total=within, sock_connect=_CONNECT_SHARE * within)
    asked = f"pod {pod.name}, GET {url.path} at port {url.port}"
    try:
        async with session.get(url, allow_redirects=False, timeout=timeout) as response:
            status = response.status
    except (ClientError, OSError) as error:  # TimeoutError is one of the latter
        return _no_answer(error, asked, within)
    if status == check.status:
        return Said(Answer.HOLDS, "Answered", "", str(status))
    return Said(Answer.FAILS, "OtherStatus", f"{asked}: {status}, not {check.status}", str(status))


def _no_answer(error: ClientError | OSError, asked: str, within: float) -> Said:
    """Of a pod that cannot be reached nothing is known; one that is, and does not answer, has failed."""
    if isinstance(error, ConnectionTimeoutError):
        return _unreachable(asked, f"no connection within {_CONNECT_SHARE * within:g}s")
    if isinstance(error, TimeoutError):
        return Said(Answer.FAILS, "Timeout", f"{asked}: no answer within {within:g}s")
    if isinstance(error, OSError) and error.errno in _NO_WAY:
        return _unreachable(asked, _words(error))
    return Said(Answer.FAILS, "NoAnswer", f"{asked}: {_words(error)}")


def _unreachable(asked: str, why: str) -> Said:
    return Said(Answer.UNKNOWN, "Unreachable", f"{asked}: {why}; what stands between it and the operator?")


def url_of(check: HttpCheck, pod: PodSeen) -> URL | Said:
    spec = pod.body.spec
    if spec.host_network:
        message = f"pod {pod.name} is in the network of its node: it would be the node that is asked"
        return Said(Answer.BROKEN, "HostNetwork", message)
    port = _port(check, pod)
    if port is None:
        return Said(Answer.BROKEN, "NoSuchPort", f"no container of pod {pod.name} has a port {check.port}")
    try:
        address = ip_address(pod.body.status.pod_ip)
    except ValueError:
        return Said(Answer.UNKNOWN, "NoAddress", f"pod {pod.name} has no address yet")
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return Said(Answer.BROKEN, "NoPodAddress", f"pod {pod.name} says it is at {address}: no pod is")
    return URL.build(scheme=check.scheme.lower(), host=str(address), port=port, path=check.path)


def _port(check: HttpCheck, pod: PodSeen) -> int | None:
    if isinstance(check.port, int):
        return check.port
    spec = pod.body.spec
    ports = (port for container in (*spec.containers, *spec.init_containers) for port in container.ports)
    return next((port.container_port for port in ports if port.name == check.port), None)


def _unverified() -> ssl.SSLContext:
    """A pod's certificate is rarely for its address: whom it is issued to is not what is asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _words(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return "".join(each if each.isprintable() else " " for each in text)[:200]
