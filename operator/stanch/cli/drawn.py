"""A part of the screen that is drawn anew in place, and printed once when that is over."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live

from stanch.cli.screen import Fitting, cell, console
from stanch.cli.story import BAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

    from stanch.cli.screen import Part
    from stanch.errors import Retry

_PER_SECOND = 2
"""How often the screen is drawn anew while nothing happens: ages go on, a window may have another size."""


class Drawn:
    """What `now` says, and that the API server does not answer, until it does.

    `now` is told how many lines can be seen, or None when all of it is to be printed.
    """

    def __init__(self, now: Callable[[int | None], Iterator[RenderableType]], part: Part) -> None:
        self._now = now
        self._trouble = ""
        self._screen = console()
        self._live = Live(
            console=self._screen,
            transient=True,
            refresh_per_second=_PER_SECOND,
            get_renderable=lambda: Fitting(self._all(self._screen.height), part, self._foot()),
        )

    def answered(self) -> None:
        """The API server has: what `now` says is drawn when it is time to."""
        self._trouble = ""

    def anew(self) -> None:
        """As `answered`, and drawn at once."""
        self.answered()
        self._live.refresh()

    def trouble(self, error: Retry) -> None:
        self._trouble = looking_again(error)
        self._live.refresh()

    @contextmanager
    def on_screen(self) -> Iterator[None]:
        try:
            with self._live:
                yield
        finally:
            self._screen.print(Group(self._all(None), *self._foot()))

    def _all(self, height: int | None) -> Group:
        return Group(*self._now(height))

    def _foot(self) -> tuple[RenderableType, ...]:
        trouble = self._trouble  # the thread that draws reads it, too
        return (cell(trouble, BAD),) if trouble else ()


def looking_again(error: Retry) -> str:
    return f"{error}; looking again"
