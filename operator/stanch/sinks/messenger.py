"""Sending a message through Apprise: in a thread, with a deadline, and silent about the address.

Apprise logs addresses, and answers whether it worked and no more, so that this is all that can be told. Its
threads are daemons: one that hangs keeps its turn, so that there are never many, and no process alive.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType

from stanch.sinks.model import Undelivered
from stanch.sinks.notify import refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from stanch.sinks.notify import Message

AT_ONCE = 8
_SILENT = logging.CRITICAL + 1
_NOT_TAKEN = "it was not taken: the service refused it or could not be reached"
_LATE = "it has not been taken within {0:g} s"


@dataclass(slots=True)
class Messenger:
    """`schemas`: of the services that may be used. `timeout`: seconds for a turn and for the answer each."""

    schemas: frozenset[str]
    timeout: float
    _free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def __post_init__(self) -> None:
        logging.getLogger("apprise").setLevel(_SILENT)
        for library in ("urllib3", "requests_oauthlib"):  # at level debug they tell the path of what is asked
            logging.getLogger(library).setLevel(logging.WARNING)

    async def send(self, url: str, message: Message) -> None:
        """Returns when the service has taken it. Raises Undelivered."""
        why = refusal(url, self.schemas)
        if why:
            raise Undelivered(f"nothing was sent: {why}")
        try:
            async with asyncio.timeout(self.timeout):
                await self._free.acquire()
        except TimeoutError:
            raise Undelivered(_LATE.format(self.timeout)) from None
        answered = asyncio.wrap_future(_in_a_thread(lambda: self._notify(url, message)))
        answered.add_done_callback(lambda _: self._free.release())
        await asyncio.wait({answered}, timeout=self.timeout)
        said = answered.result() if answered.done() else _LATE.format(self.timeout)
        if said:
            raise Undelivered(said)

    def _notify(self, url: str, message: Message) -> str:
        """Why it was not taken; empty when it was."""
        asset = AppriseAsset(
            app_id="Stanch",
            app_desc="Stanch",
            app_url="",
            async_mode=False,
            http_redirects=False,
            allow_templates=False,
            image_path_mask=False,
        )
        service = Apprise.instantiate(url, asset=asset)
        if service is None:
            return "nothing was sent: the URL in the Secret is none that the service can use"
        schemas: set[str] = service.schemas()  # type: ignore[no-untyped-call] # not annotated
        if not self.schemas & schemas:
            return "nothing was sent: it is none of the services in --notification-schemas"
        service.redirects = False  # whatever the URL says
        service.socket_connect_timeout = service.socket_read_timeout = self.timeout / 2
        taken = service.notify(
            body=message.text,
            title=message.title,
            notify_type=NotifyType(message.tone),
            body_format=NotifyFormat.TEXT,
        )
        return "" if taken else _NOT_TAKEN


def _in_a_thread(ask: Callable[[], str]) -> Future[str]:
    future: Future[str] = Future()

    def run() -> None:
        try:
            future.set_result(ask())
        except Exception as error:  # noqa: BLE001 - the plugins of others; what they say may have the address
            future.set_result(f"{_NOT_TAKEN} ({type(error).__name__})")

    threading.Thread(target=run, daemon=True, name="notification").start()
    return future
