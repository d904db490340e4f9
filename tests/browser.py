"""A real browser to look at pages with: Chromium, through the DevTools protocol.

`make browser` installs it where it can; without it tests are skipped and say so.
https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

Json = dict[str, Any]
_WITHIN = 60.0  # seconds; it starts in one on an idle machine
_POLL = 0.05
_FLAGS = (
    "--headless=new",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # containers often have little of it
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


def program() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    return found or pytest.skip("chromium is not on the PATH: as root on Debian `make browser` installs it")


@dataclass
class Page:
    """One page. Everything it asks for or says is kept, so that a test can see that it does neither."""

    socket: aiohttp.ClientWebSocketResponse
    events: list[Json] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    async def send(self, method: str, **parameters: Any) -> Json:
        number = next(self._numbers)
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self._next()
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: Json = message["result"]
                return result
            self.events.append(message)

    async def open(self, path: Path) -> None:
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self.send(f"{domain}.enable")
        self.events.clear()
        await self.send("Page.navigate", url=path.as_uri())
        while not self.said("Page.loadEventFired"):
            self.events.append(await self._next())

    async def show(self, *, width: int, scheme: str = "light", media: str = "screen") -> None:
        """As on a screen of that width in CSS pixels, for somebody who likes it `light` or `dark`."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.send("Emulation.setEmulatedMedia", media=media, features=features)

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, as the page itself could not compute it under its policy."""
        said = await self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    async def screenshot(self) -> bytes:
        said = await self.send("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(said["data"])

    async def pdf(self) -> bytes:
        said = await self.send("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        return base64.b64decode(said["data"])

    def said(self, method: str) -> list[Json]:
        return [event["params"] for event in self.events if event.get("method") == method]

    async def _next(self) -> Json:
        message: Json = await self.socket.receive_json(timeout=_WITHIN)
        return message


@asynccontextmanager
async def browser(directory: Path) -> AsyncIterator[Page]:
    """A browser with one page, ended with all its processes. `directory` is its home."""
    command = [program(), *_FLAGS, f"--user-data-dir={directory}"]
    if os.geteuid() == 0:
        command.append("--no-sandbox")  # it refuses to run as root with one
    command.append("about:blank")  # a new tab's own page would go on loading when ours is opened
    process = _start(command, directory)
    try:
        port = await _port(directory / "DevToolsActivePort", process)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [each for each in await answer.json() if each["type"] == "page"]
            async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _start(command: list[str], home: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(home)},
        start_new_session=True,
    )


async def _port(told: Path, process: subprocess.Popen[bytes]) -> int:
    """The port that it listens at, from the file that it writes when it does."""
    async with asyncio.timeout(_WITHIN):
        while not (lines := _lines(told)):
            assert process.poll() is None, f"the browser ended by itself with {process.returncode}"
            await asyncio.sleep(_POLL)
    return int(lines[0])


def _lines(told: Path) -> list[str]:
    return told.read_text().splitlines() if told.exists() else []
