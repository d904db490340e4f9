"""`python -m tests.compatibility.generate [--check]`: the page, from the results that are kept."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from stanch.api.generate import main, stale
from tests.compatibility.page import page
from tests.compatibility.results import read

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "docs/reference/compatibility.md"


def _files() -> dict[str, str]:
    return {PAGE: page(read())}


def drifted(root: Path) -> list[str]:
    """The page, when it says something else than the results."""
    return stale(_files(), root)


run = partial(main, program="tests.compatibility.generate", files=_files, drift=drifted)

if __name__ == "__main__":
    sys.exit(run())
