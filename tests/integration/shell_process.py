"""Starts, signals and listens to one operator process of recording_operator.py."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

if TYPE_CHECKING:
    from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("recording_operator.py")
PATIENCE = 60.0  # seconds; everything waited for takes a fraction of it


@dataclass
class OperatorProcess:
    """Settings are given as to a pod: in the environment."""

    kubeconfig: Path
    namespace: str
    log: Path
    identity: str = "one"
    write: bool = False
    slow: float = 0.0
    settings: dict[str, str] = field(default_factory=dict)
    said: queue.Queue[dict[str, str]] = field(default_factory=queue.Queue)

    def __enter__(self) -> Self:
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT}",
            "PYTHONDEVMODE": "1",
            "STANCH_KUBECONFIG": str(self.kubeconfig),
            "STANCH_NAMESPACE": self.namespace,
            "STANCH_IDENTITY": self.identity,
            "STANCH_HTTP_HOST": "127.0.0.1",
            "STANCH_HTTP_PORT": "0",
            "STANCH_LOG_LEVEL": "debug",
            **{f"STANCH_{name.upper()}": value for name, value in self.settings.items()},
        }
        command = [sys.executable, str(PROGRAM), "--watched", self.namespace, "--slow", str(self.slow)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *(["--write"] if self.write else [])],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self, stdout: IO[str]) -> None:
        for line in stdout:
            self.said.put(json.loads(line))

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit code."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the operator did not end within {timeout} s:\n{self.logged}") from None

    @property
    def logged(self) -> str:
        return self.log.read_text()

    def hears(self, within: float = PATIENCE, **what: str) -> dict[str, str]:
        """The next thing the engine was told that has these values; earlier ones are dropped."""
        deadline = time.monotonic() + within
        while True:
            try:
                said = self.said.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not heard within {within} s: {what}\n{self.logged}") from None
            if what.items() <= said.items():
                return said

    def hears_any(self, what: str, within: float = PATIENCE) -> str:
        """The next value the engine was told as `what`; earlier things are dropped."""
        deadline = time.monotonic() + within
        while True:
            said = self.hears(within=max(0.0, deadline - time.monotonic()))
            if what in said:
                return said[what]

    def said_since(self) -> list[dict[str, str]]:
        """Whatever else has been heard so far."""
        rest = []
        while not self.said.empty():
            rest.append(self.said.get())
        return rest

    def waits_for_log(self, text: str, within: float = PATIENCE) -> None:
        deadline = time.monotonic() + within
        while text not in self.logged:
            assert self._process.poll() is None, self.logged
            assert time.monotonic() < deadline, f"not logged within {within} s: {text}\n{self.logged}"
            time.sleep(0.05)

    @property
    def _port(self) -> int | None:
        """The port it says it listens on."""
        for line in self.logged.splitlines(keepends=True):
            if "probes and metrics are served" in line and line.endswith("\n"):
                return int(json.loads(line)["port"])
        return None

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; status 0 while nobody listens."""
        port = self._port
        if port is None:
            return 0, ""
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (URLError, OSError):
            return 0, ""

    def is_ready_as(self, standing: str, within: float = PATIENCE) -> None:
        deadline = time.monotonic() + within
        while (answer := self.get("/readyz")) != (200, f"{standing}\n"):
            assert self._process.poll() is None, self.logged
            assert time.monotonic() < deadline, f"{answer} instead of {standing}\n{self.logged}"
            time.sleep(0.05)
