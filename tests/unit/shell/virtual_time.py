"""An event loop whose clock jumps to the next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self._virtual = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined] # of the base class, not in its stub
        really_select = selector.select

        def select(timeout: float | None) -> object:
            events = really_select(0)
            if not events:
                if timeout is None:
                    raise RuntimeError("deadlock: nothing is ever going to happen")
                self._virtual += timeout
            return events

        selector.select = select

    def time(self) -> float:
        return self._virtual


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
