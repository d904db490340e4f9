"""What every rendering of a report is made of: a few kinds of blocks, all of plain text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from stanch.reports.words import moment, utc, web_link

if TYPE_CHECKING:
    from datetime import datetime

    from stanch.reports.picture import Picture

Tone = Literal["", "good", "bad", "warn", "calm"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A word or a sentence. `href` is set by `linked` alone, `iso` for times."""

    text: str
    style: Literal["text", "code", "chip", "time"] = "text"
    tone: Tone = ""
    href: str | None = None
    iso: str = ""


def text(value: object) -> Cell:
    return Cell(str(value))


def code(value: str) -> Cell:
    return Cell(value, "code")


def chip(value: str, tone: Tone = "") -> Cell:
    return Cell(value, "chip", tone)


def time(at: datetime) -> Cell:
    return Cell(moment(at), "time", iso=utc(at).isoformat())


def linked(value: str, url: str | None) -> Cell:
    """Only addresses of the web become links; of any other, the address is told."""
    href = web_link(url)
    return Cell(value if href or not url or url == value else f"{value} ({url})", href=href)


@dataclass(frozen=True, slots=True)
class Prose:
    block: ClassVar = "prose"
    text: str


@dataclass(frozen=True, slots=True)
class ToWrite:
    """What a person still has to write, and in which field."""

    block: ClassVar = "to_write"
    field: str


@dataclass(frozen=True, slots=True)
class Note:
    block: ClassVar = "note"
    text: str
    tone: Tone = "calm"


@dataclass(frozen=True, slots=True)
class Heading:
    block: ClassVar = "heading"
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Labels and what is to be said of each; a label with nothing to say is left out."""

    block: ClassVar = "facts"
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """`caption` says what the rows are. A cell holds one or more Cells, each on a line of its own."""

    block: ClassVar = "table"
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[Cell, ...], ...], ...]


@dataclass(frozen=True, slots=True)
class Items:
    block: ClassVar = "items"
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """The picture of the timeline; where there are no pictures, the table beside it says the same."""

    block: ClassVar = "drawing"
    picture: Picture


Block = Prose | ToWrite | Note | Heading | Facts | Table | Items | Drawing


@dataclass(frozen=True, slots=True)
class Section:
    """`csf`: the outcomes of NIST CSF 2.0 that it is about."""

    id: str
    title: str
    blocks: tuple[Block, ...]
    csf: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Glance:
    label: str
    value: str
    detail: str = ""
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Document:
    title: str
    tlp: str
    banner: str
    """Whether it is an exercise or a dry run; empty for the real thing."""
    place: str
    made: Cell
    glance: tuple[Glance, ...]
    to_write: tuple[str, ...]
    sections: tuple[Section, ...]
    digest: str
    tool: str


def facts(*rows: tuple[str, Cell | tuple[Cell, ...] | None]) -> Facts:
    told = ((label, _said(value)) for label, value in rows)
    return Facts(tuple((label, cells) for label, cells in told if cells))


def table(caption: str, columns: tuple[str, ...], *rows: tuple[Cell | tuple[Cell, ...] | None, ...]) -> Table:
    """A row has one entry a column; None is an empty cell."""
    return Table(caption, columns, tuple(tuple(map(_said, row)) for row in rows))


def _said(value: Cell | tuple[Cell, ...] | None) -> tuple[Cell, ...]:
    """All of it that says anything."""
    cells = value if isinstance(value, tuple) else () if value is None else (value,)
    return tuple(cell for cell in cells if cell.text)
