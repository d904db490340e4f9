"""What is printed. Everything that comes from objects passes `plain`: it may have been written to do harm."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer
import yaml
from rich.console import Console
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import ConsoleOptions, RenderableType, RenderResult
    from rich.status import Status

Json = dict[str, Any]

_WIDE = 10_000  # columns; nobody looks, so nothing is wrapped or cut


class Form(StrEnum):
    """How objects are printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"

    @property
    def is_data(self) -> bool:
        """For programs rather than for people."""
        return self in {Form.JSON, Form.YAML}


class DataForm(StrEnum):
    """As `Form`, of what has no wide table."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"

    @property
    def form(self) -> Form:
        return Form(self.value)


def plain(text: object) -> str:
    """One line without control characters, line breaks or marks that turn text around.

    `str.isprintable` is false for all of Unicode's categories Cc, Cf, Zl and Zp.
    """
    return "".join(each if each.isprintable() else " " for each in str(text))


def lines(text: object) -> str:
    """As `plain`, but line breaks stay: for what a server says in several lines."""
    return "\n".join(plain(line) for line in str(text).splitlines())


def cell(text: object, style: str = "") -> Text:
    """Text as it is: square brackets are no markup."""
    return Text(plain(text), style=style)


def console() -> Console:
    """Of stdout: with colours on a terminal that wants them (NO_COLOR); elsewhere as wide as need be."""
    seen = Console(highlight=False, markup=False, emoji=False)
    return seen if seen.is_terminal else Console(highlight=False, markup=False, emoji=False, width=_WIDE)


def can_be_drawn_on() -> bool:
    """Whether stdout is a terminal on which what was printed can be drawn anew."""
    seen = console()
    return seen.is_terminal and not seen.is_dumb_terminal


def show(what: RenderableType) -> None:
    """Print it; elsewhere than on a terminal without the blanks that fill columns up."""
    seen = console()
    if seen.is_terminal:
        seen.print(what)
        return
    with seen.capture() as captured:
        seen.print(what)
    typer.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


class Part(StrEnum):
    """Which part is seen of what does not fit."""

    BEGIN = "below"
    END = "above"


@dataclass(frozen=True, slots=True)
class Fitting:
    """As much as fits a terminal, and `foot`: a screen that is drawn anew in place cannot be taller."""

    whole: RenderableType
    part: Part
    foot: tuple[RenderableType, ...] = ()

    def __rich_console__(self, seen: Console, options: ConsoleOptions) -> RenderResult:
        rendered = options.update(height=None)
        found = seen.render_lines(self.whole, rendered, pad=False)
        foot = [line for each in self.foot for line in seen.render_lines(each, rendered, pad=False)]
        room = max(options.size.height - 1 - len(foot), 2)  # the cursor rests on a line of its own
        over = len(found) - room + 1 if len(found) > room else 0
        told = cell(f"… more {self.part}; all of it is printed when this ends", "dim")
        if self.part is Part.END:
            if over:
                yield told
            yield from _printed(found[over:])
        else:
            yield from _printed(found[: len(found) - over])
            if over:
                yield told
        yield from _printed(foot)


def _printed(found: Iterable[Iterable[Segment]]) -> RenderResult:
    for line in found:
        yield from line
        yield Segment.line()


def progress(what: str) -> Status:
    """A context manager: on a terminal, that it takes a while. On stderr, and gone when it is done."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False).status(cell(what))


def table(heads: Sequence[str], rows: Iterable[Sequence[Text | str]]) -> Table:
    """Columns as kubectl prints them. Only the last one is wrapped where there is no room."""
    made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for number, head in enumerate(heads, 1):
        made.add_column(head, no_wrap=number < len(heads), overflow="fold")
    for row in rows:
        made.add_row(*(each if isinstance(each, Text) else cell(each) for each in row))
    return made


def emit(body: Json, form: Form) -> None:
    """An object as JSON or YAML, without metadata.managedFields. All but ASCII is escaped."""
    bare = _bare(body)
    if form is Form.YAML:
        typer.echo(yaml.safe_dump(bare, sort_keys=False), nl=False)
    else:
        typer.echo(json.dumps(bare, indent=2))


def listed(bodies: Iterable[Json]) -> Json:
    """As `kubectl get -o json` prints several."""
    return {"apiVersion": "v1", "kind": "List", "items": [_bare(body) for body in bodies]}


def _bare(body: Json) -> Json:
    meta = body.get("metadata")
    if not isinstance(meta, dict):
        return body
    return body | {"metadata": {name: value for name, value in meta.items() if name != "managedFields"}}
