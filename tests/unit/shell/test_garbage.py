from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

from stanch.cli import run
from stanch.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_the_garbage_collector_leaves_alone_what_is_imported_before_the_operator_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[int, int]] = []

    def works(operator: Coroutine[None, None, None]) -> int:
        operator.close()
        seen.append((gc.get_freeze_count(), gc.get_threshold()[0]))
        return 0

    monkeypatch.setattr(asyncio, "run", works)
    monkeypatch.setattr("stanch.observability.logging.configure_logging", lambda _settings: None)
    run._operate(Settings())
    ((frozen, threshold),) = seen
    assert frozen > len(gc.get_objects())
    assert threshold == run.YOUNG_OBJECTS
