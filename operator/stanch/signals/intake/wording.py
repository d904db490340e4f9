"""What others wrote, fit to be shown and stored: hostile text in, bounded plain text out. Pure."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from urllib.parse import urlsplit

_QUOTED = 80
_WEB = {"http", "https"}


def one_line(text: str, most: int) -> str:
    """At most `most` characters without anything that a terminal obeys; empty when nothing is left."""
    return _cut(" ".join(_plain(text[: 4 * most]).split()), most)


def several_lines(text: str, most: int) -> str:
    """As `one_line`, but lines stay lines."""
    lines = (" ".join(_plain(line).split()) for line in text[: 4 * most].splitlines())
    return _cut("\n".join(lines).strip(), most)


def quoted(text: str) -> str:
    """A value in a sentence: `'llm-chat'`."""
    return repr(one_line(text, _QUOTED))


def web_address(text: str, most: int) -> str:
    """The URL, if it is one that people may follow; else empty. Never cut: half an address is another one."""
    if len(text) > most or " " in text or one_line(text, most) != text:
        return ""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return text if parts.scheme in _WEB and parts.netloc else ""


def in_utc(moment: datetime) -> datetime:
    """A time without a zone is taken for UTC; one that UTC has no room for keeps its figures."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return moment.replace(tzinfo=UTC)


def _plain(text: str) -> str:
    """Without control, format (bidirectional overrides), surrogate and unassigned characters."""
    return "".join(" " if unicodedata.category(one).startswith("C") else one for one in text)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
