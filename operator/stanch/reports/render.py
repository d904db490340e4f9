"""A report as Markdown, HTML or JSON. Everything in it is hostile: titles, alerts, messages, addresses.

In HTML jinja2 escapes what it is given; in Markdown every value is made to mean nothing but itself, unless a
filter below has made it. Neither depends on a template remembering to ask for it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from stanch.reports import learning, overview, response, words
from stanch.reports.document import Document, time
from stanch.reports.form import Form

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stanch.reports.document import Cell
    from stanch.reports.model import Report

_NO_TLP = "not marked for sharing"


def render(report: Report, form: Form) -> bytes:
    """The same bytes for the same report."""
    if form is Form.JSON:
        return report.json_form()
    template = _html() if form is Form.HTML else _markdown()
    return template.get_template(f"report.{form.suffix}.j2").render(doc=document(report)).encode()


def document(report: Report) -> Document:
    return Document(
        title=report.title,
        tlp=report.tlp or _NO_TLP,
        banner=_banner(report),
        place=f"{report.incident.namespace}/{report.incident.name}",
        made=time(report.made_at),
        glance=overview.glance(report),
        to_write=report.to_be_written,
        sections=(
            overview.summary(report),
            overview.record(report),
            overview.affected(report),
            overview.impact(report),
            response.timeline(report),
            response.detection(report),
            response.actions(report),
            response.evidence(report),
            overview.attacks(report),
            learning.root_cause(report),
            learning.near_misses(report),
            response.recovery(report),
            learning.regulatory(report),
            learning.communications(report),
            learning.lessons(report),
            learning.follow_ups(report),
            learning.about(report),
        ),
        digest=report.digest or "",
        tool=report.tool,
    )


def _banner(report: Report) -> str:
    if report.exercise:
        return "Exercise"
    return "Dry run: nothing was changed" if report.dry_run else ""


@cache
def _html() -> Environment:
    return Environment(
        loader=PackageLoader("stanch.reports"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


@cache
def _markdown() -> Environment:
    environment = Environment(
        loader=PackageLoader("stanch.reports"),
        autoescape=False,  # noqa: S701 - `finalize` escapes: what is not Markup is made inert
        finalize=_inert,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["prose"] = lambda value: Markup(words.markdown_prose(value))  # noqa: S704 - made inert
    environment.filters["cells"] = _cells
    return environment


def _shown(value: Any) -> Any:
    return words.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _inert(value: Any) -> Any:
    return words.markdown_line(str(value)) if not isinstance(value, Markup) else value


def _cells(cells: Iterable[Cell]) -> Markup:
    """All that is said in one place, on one line."""
    return Markup("; ".join(map(_cell, cells)))  # noqa: S704 - made inert


def _cell(cell: Cell) -> str:
    if cell.href:
        return words.markdown_link(cell.text, cell.href)
    if cell.style == "code":
        return words.markdown_code(cell.text)
    line = words.markdown_line(cell.text)
    return f"**{line}**" if cell.style == "chip" and line else line
