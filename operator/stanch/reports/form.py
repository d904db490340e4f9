"""The forms of a report."""

from __future__ import annotations

from enum import StrEnum


class Form(StrEnum):
    MARKDOWN = "markdown"
    HTML = "html"
    JSON = "json"

    @property
    def suffix(self) -> str:
        return "md" if self is Form.MARKDOWN else self.value
