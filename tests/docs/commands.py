"""The commands that the documentation shows: what follows `$ ` in blocks marked `console`."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^(?P<indent> *)```console\n(?P<body>.*?)^ *```$", re.DOTALL | re.MULTILINE)
_PROMPT = "$ "
_DENIED = "Error from server (Forbidden)"


@dataclass(frozen=True)
class Command:
    page: str
    line: int
    text: str
    denied: bool = False
    """Whether the page shows that the API server denies it."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> list[Command]:
    text = page.read_text()
    name = str(page.relative_to(ROOT))
    found = []
    for block in _BLOCK.finditer(text):
        first = text.count("\n", 0, block.start("body")) + 1
        lines = [line.removeprefix(block["indent"]) for line in block["body"].splitlines()]
        found += [Command(name, first + at, said, denied=denied) for at, said, denied in _said(lines)]
    return found


def _said(lines: Sequence[str]) -> Iterator[tuple[int, str, bool]]:
    """Each command with the lines that it goes on in: an open quote, a here-document."""
    for at, line in enumerate(lines):
        if not line.startswith(_PROMPT):
            continue
        end = at + 1
        while not _whole("\n".join(lines[at:end]).removeprefix(_PROMPT)) and end < len(lines):
            end += 1
        denied = end < len(lines) and lines[end].startswith(_DENIED)
        yield at, "\n".join(lines[at:end]).removeprefix(_PROMPT), denied


def _whole(text: str) -> bool:
    """Bash warns of a here-document that does not end, and refuses an open quote."""
    said = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    return said.returncode == 0 and not said.stderr
