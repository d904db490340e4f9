"""One part of the control plane as a process: started, awaited, killed, started again the same way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_POLL = 0.05  # seconds
_TAIL = 30  # lines of its log worth showing when a process ends unasked


@dataclass(frozen=True)
class Identity:
    """A process, not only its id: ids are given out again, start times (clock ticks since boot) are not."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """None when there is no such process or it has ended and only waits for its parent."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # proc(5): the command's name may hold spaces and parentheses, the fields after the last ")" do not.
        state, *fields = stat.rpartition(")")[2].split()
        ended = state == "X" or (state == "Z" and not _other_threads(pid))
        return None if ended else cls(pid, fields[18])

    def alive(self) -> bool:
        if Identity.of(self.pid) == self:
            return True
        with contextlib.suppress(ChildProcessError):  # not ours to bury
            os.waitpid(self.pid, os.WNOHANG)
        return False

    def send(self, number: int) -> None:
        """To its whole process group; each part leads its own."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)


def _other_threads(pid: int) -> bool:
    """Whether threads outlive the first one of a killed process: they keep its ports and files open."""
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


def read_identity(path: Path) -> Identity | None:
    try:
        return Identity(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None


def spawn(command: list[str], log: Path, environment: Mapping[str, str]) -> Identity | None:
    """Start a program in a session of its own, appending what it says to `log`; None when it ended at once.

    Not subprocess.Popen: that object wants to be waited for by whoever made it, and these processes
    may outlive him.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    try:
        pid = os.posix_spawn(
            command[0], command, {**os.environ, **environment}, file_actions=files, setsid=True
        )
    except OSError as error:
        raise StartError(f"{command[0]} cannot be run: {error.strerror}") from error
    return Identity.of(pid)


@dataclass
class Component:
    """Known by its pid file, so that any process may look after it, not only the one that started it."""

    name: str
    command: list[str]
    directory: Path
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def pid_file(self) -> Path:
        return self.directory / "run" / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        return self.directory / "logs" / f"{self.name}.log"

    @property
    def identity(self) -> Identity | None:
        """None when it is not running."""
        identity = read_identity(self.pid_file)
        return identity if identity is not None and identity.alive() else None

    def launch(self) -> None:
        """Start it unless it runs, without waiting for it to be ready."""
        if self.identity is not None:
            return
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        identity = spawn(self.command, self.log, self.environment)
        if identity is None:
            raise self._ended()
        partial = self.pid_file.with_suffix(".partial")
        partial.write_text(json.dumps({"pid": identity.pid, "started": identity.started}))
        partial.replace(self.pid_file)

    def start(self, timeout: float = 60.0) -> None:
        """Start it and wait until it answers."""
        self.launch()
        self.wait_ready(timeout)

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Return when it answers.

        Raises:
            StartError: it ended, or did not answer within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not self.ready():
            if self.identity is None:
                raise self._ended()
            if time.monotonic() > deadline:
                raise StartError(
                    f"{self.name} did not become ready within {timeout:g} s. {self._last_words()}"
                )
            time.sleep(_POLL)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal and, when it is one that ends the process, wait for the end."""
        identity = self.identity
        if identity is None:
            return
        identity.send(number)
        if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            self._wait_gone(identity, timeout=60.0)

    def stop(self, timeout: float = 10.0) -> None:
        """Ask it to end; after `timeout` seconds make it."""
        identity = self.identity
        if identity is None:
            return
        identity.send(signal.SIGTERM)
        if not self._gone(identity, timeout):
            identity.send(signal.SIGKILL)
            self._wait_gone(identity, timeout=10.0)

    def restart(self, timeout: float = 60.0) -> None:
        self.stop()
        self.start(timeout)

    def _gone(self, identity: Identity, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while identity.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
        return True

    def _wait_gone(self, identity: Identity, timeout: float) -> None:
        if not self._gone(identity, timeout):
            raise StartError(
                f"{self.name} (process {identity.pid}) is still there after {timeout:g} s: end it by hand"
            )

    def _ended(self) -> StartError:
        return StartError(f"{self.name} ended by itself. {self._last_words()}")

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL:] if self.log.exists() else []
        return f"The end of {self.log}:\n  " + "\n  ".join(lines)
