"""How a report writes times, lengths, links and what others wrote. Pure."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

_SECOND, _MINUTE, _HOUR, _DAY = 1, 60, 3600, 86_400
_FEW = 10  # below this many seconds, a tenth matters
_LAYOUT = frozenset("\n\t")
_HIDES = frozenset("\u061c\u200e\u200f\u2028\u2029\ufeff") | {
    chr(point) for point in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
"""Marks that turn the direction of text around, or break its lines, without being seen."""
_IN_A_URL = ":/?#[]@!$&*+,;=%~-._"
_MARKUP = re.compile(r"[\\`*_\[\]<>|&#~$]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "\\": "&#92;", "`": "&#96;"}
_LINE_START = re.compile(r"^([-+=]|\d{1,9}(?=[.)](\s|$)))")
_PLAIN = re.compile(r"[A-Za-z0-9:._/@+-]+")


def utc(at: datetime) -> datetime:
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def moment(at: datetime) -> str:
    """`2026-01-02 03:04:05Z`, with milliseconds where there are some."""
    at = utc(at)
    thousandths = at.microsecond // 1000
    return f"{at:%Y-%m-%d %H:%M:%S}{f'.{thousandths:03d}' if thousandths else ''}Z"


def length(duration: timedelta) -> str:
    """A length of time at the precision a reader needs: `412 ms`, `1.9 s`, `12 min`, `2 d 4 h`."""
    seconds = max(duration.total_seconds(), 0.0)
    if round(seconds * 1000) < 1000 * _SECOND:
        return f"{round(seconds * 1000)} ms"
    if seconds < _FEW:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 2 * _MINUTE:
        return f"{whole} s"
    if whole < 2 * _HOUR:
        return f"{round(whole / _MINUTE)} min"
    if whole < 2 * _DAY:
        return _two(round(whole / _MINUTE), _MINUTE, "h", "min")
    return _two(round(whole / _HOUR), 24, "d", "h")


def _two(units: int, per: int, large: str, small: str) -> str:
    many, few = divmod(units, per)
    return f"{many} {large} {few} {small}" if few else f"{many} {large}"


def times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def size(count: int) -> str:
    """`512 bytes`, `14.2 KiB`, `2.1 MiB`."""
    if count < 1 << 10:
        return f"{count} bytes"
    return f"{count / (1 << 10):.1f} KiB" if count < 1 << 20 else f"{count / (1 << 20):.1f} MiB"


def visible(text: str) -> str:
    """The text with every character that acts on a terminal or on the text's direction named instead."""
    return "".join(f"[U+{ord(char):04X}]" if _acts(char) else char for char in text.replace("\r\n", "\n"))


def _acts(char: str) -> bool:
    return char in _HIDES or (unicodedata.category(char) in {"Cc", "Cs"} and char not in _LAYOUT)


def web_link(url: str | None) -> str | None:
    """The URL, fit for a link, if it is one of the web that names nobody to log in as; else None."""
    if not url or any(char.isspace() or _acts(char) for char in url):
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not host or "@" in parts.netloc:
        return None
    return quote(url, safe=_IN_A_URL)


def markdown_line(text: str) -> str:
    """The text as one line of Markdown that means nothing but itself, at any place, also in a table."""
    line = " ".join(visible(text).split())
    escaped = _MARKUP.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), line)
    return _LINE_START.sub(lambda found: _inert(found[1]), escaped)


def _inert(start: str) -> str:
    """What begins a list, a rule or a heading at the start of a line, and nothing when written so."""
    return f"&#{ord(start[0])};{start[1:]}"


def markdown_prose(text: str) -> str:
    """Paragraphs and line breaks as they are, and nothing else of what the text looks like."""
    lines = [markdown_line(line) for line in visible(text).strip().splitlines()]
    paragraphs = re.split(r"\n{2,}", "\n".join(lines))
    return "\n\n".join("\\\n".join(paragraph.split("\n")) for paragraph in paragraphs if paragraph.strip())


def markdown_code(text: str) -> str:
    """A code span where nothing in the text could end it, else the text."""
    return f"`{text}`" if _PLAIN.fullmatch(text) else markdown_line(text)


def markdown_link(text: str, url: str) -> str:
    """A link; `url` is what `web_link` made."""
    return f"[{markdown_line(text)}]({url.replace('&', '&amp;')})"
