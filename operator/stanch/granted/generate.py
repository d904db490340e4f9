"""`python -m stanch.granted.generate [--check]`: manifests of the operator's account, their reference."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from stanch.api.generate import main, stale
from stanch.granted.manifests import manifests
from stanch.granted.reference import PAGE, reference

if TYPE_CHECKING:
    from pathlib import Path


def generated() -> dict[str, str]:
    """Path below the repository's root → content."""
    return manifests() | {PAGE: reference()}


def drifted(root: Path) -> list[str]:
    """Paths whose content is not what the rights say."""
    return stale(generated(), root)


run = partial(main, program="stanch.granted.generate", files=generated, drift=drifted)

if __name__ == "__main__":
    sys.exit(run())
