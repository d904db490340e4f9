"""Progress for a person: one live line a step on a terminal, plain lines elsewhere (CI logs, pipes)."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_TICK = 0.2  # seconds between redraws on a terminal
_PLAIN_INTERVAL = 15.0  # seconds between "still at it" lines where nothing can be redrawn
_BAR_WIDTH = 24
_ERASE = "\r\033[K"  # back to the start of the line, and clear it


def clock(seconds: float) -> str:
    """12.3 → '12.3s', 75 → '1m15s'."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f}s"
    return f"{int(seconds) // 60}m{int(seconds) % 60:02d}s"


def size(octets: float) -> str:
    return f"{octets / 2**20:.1f} MiB"


@dataclass
class Step:
    """One line of progress. `update` may be called as often as one likes, from the thread that works."""

    name: str
    started: float = field(default_factory=time.monotonic)
    detail: str = ""
    fraction: float | None = None

    def update(self, detail: str, fraction: float | None = None) -> None:
        self.detail, self.fraction = detail, fraction

    def line(self, columns: int | None = None) -> str:
        """Name, bar, detail, time so far; where that is wider than `columns` the name and the detail give."""
        took = clock(time.monotonic() - self.started)
        bar = ""
        if self.fraction is not None:
            filled = round(_BAR_WIDTH * min(1.0, self.fraction))
            bar = f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {self.fraction:4.0%}"
        whole = "  ".join(part for part in (self.name, bar, self.detail, took) if part)
        if columns is None or len(whole) <= columns:
            return whole
        return "  ".join(part for part in (bar, took, self.detail, self.name) if part)[:columns]


class Progress:
    """Writes to `stream` (standard error by default, so that a command's output stays clean)."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._live = self._stream.isatty()
        self._lock = threading.Lock()

    def say(self, message: str) -> None:
        with self._lock:
            self._stream.write(f"{_ERASE if self._live else ''}{message}\n")
            self._stream.flush()

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Show `name` while the block runs, then how long it took, or that it failed."""
        step = Step(name)
        done = threading.Event()
        if not self._live:
            self.say(f"{name} …")
        ticker = threading.Thread(target=self._tick, args=(step, done), daemon=True)
        ticker.start()
        outcome = "failed"
        try:
            yield step
            outcome = "done"
        finally:
            done.set()
            ticker.join()
            step.fraction = None
            self.say(f"{name}: {outcome} in {clock(time.monotonic() - step.started)}")

    def _tick(self, step: Step, done: threading.Event) -> None:
        while not done.wait(_TICK if self._live else _PLAIN_INTERVAL):
            if self._live:
                columns = shutil.get_terminal_size().columns
                with self._lock:
                    self._stream.write(f"{_ERASE}{step.line(columns - 1)}")
                    self._stream.flush()
            else:
                self.say(step.line())
