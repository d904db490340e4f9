"""A terminal: a program runs on it, and it is known what a person sees there, and what has scrolled away."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_PIECES = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)|(\x1b.?)")

_HEEDS_CTRL_C = ("env", "--default-signal=INT")
"""What runs in the background of a script, as tests may, ignores it, and so would whoever it starts."""
_CUT = re.compile(r"(\x1b(\[[?\d;]*)?)?$")


@dataclass
class Screen:
    """What the sequences that rich writes do. No line is longer than the terminal is wide."""

    height: int
    lines: list[str] = field(default_factory=lambda: [""])
    row: int = 0
    column: int = 0

    def feed(self, text: str) -> None:
        for piece in _PIECES.finditer(text):
            parameter, command, returned, broken, printed, unknown = piece.groups()
            assert unknown is None, f"no sequence that is known here: {piece[0]!r}"
            if returned:
                self.column = 0
            elif broken:
                self._down()
            elif printed:
                self._print(printed)
            elif command == "A":  # never above what is seen: what has scrolled away stays as it is
                self.row = max(self.row - int(parameter or 1), len(self.lines) - self.height, 0)
            elif command == "K":
                assert parameter == "2"
                self.lines[self.row] = ""
            else:
                assert command in "mhl", f"no sequence that is known here: {piece[0]!r}"

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")

    def _print(self, text: str) -> None:
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[: self.column] + text + line[self.column + len(text) :]
        self.column += len(text)

    @property
    def seen(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines[-self.height :])

    @property
    def all(self) -> str:
        """With what one scrolls back to."""
        return "\n".join(line.rstrip() for line in self.lines)


@dataclass
class Terminal:
    process: subprocess.Popen[bytes]
    screen: Screen
    keyboard: int
    """File descriptor."""
    sent: str = ""

    def until(self, holds: Callable[[Screen], bool], within: float = 30.0) -> None:
        deadline = time.monotonic() + within
        while not holds(self.screen):
            assert time.monotonic() < deadline, f"after {within} s:\n{self.screen.all}"
            time.sleep(0.02)

    def type(self, keys: str) -> None:
        os.write(self.keyboard, keys.encode())

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def ends_with(self, code: int) -> None:
        found = self.process.wait(timeout=60)
        assert found == code, self.screen.all


@contextmanager
def terminal(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    width: int = 120,
    height: int = 50,
    typing: bool = False,
) -> Iterator[Terminal]:
    """`command` on a terminal of this size, as its stdout and stderr. With `typing` it is all its own: what
    a person types comes to it. What a shell does with its screen is more than is followed here.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    process = subprocess.Popen(
        [*(("setsid", "--ctty") if typing else ()), *_HEEDS_CTRL_C, *command],
        stdin=theirs if typing else subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={"PATH": os.environ["PATH"], "TERM": "xterm-256color", **environment},
    )
    os.close(theirs)
    made = Terminal(process, Screen(height), ours)

    def read() -> None:
        decoder = codecs.getincrementaldecoder("utf-8")()
        left = ""
        try:
            while piece := os.read(ours, 65536):
                text = left + decoder.decode(piece)
                left = _CUT.search(text)[0]  # type: ignore[index]  # it matches everything
                made.sent += text.removesuffix(left)
                if not typing:
                    made.screen.feed(text.removesuffix(left))
        except OSError:  # Linux says so when the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield made
        process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()
        reader.join()
        os.close(ours)
