"""Rules made wrong on purpose: whatever a rule says has a unit test that fails without it. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.triggers.library import Alert

_STRING = r'"[^"]*"'
_COMPARISON = re.compile(rf"{_STRING}|(?P<op>>=|<=|==|!=|>|<)\s*(?P<value>-?[\d.]+(?:e\d+)?|Inf)\b")
_MATCHER = re.compile(rf"(?P<label>\w+)(?:=~|!~|!=|=){_STRING},?\s*")
_NEVER, _ALWAYS = "> 1e300", ">= -1e300"


def mutants(alert: Alert) -> Iterator[tuple[str, Alert]]:
    """What was done to the rule, and the rule after that."""
    for found in _COMPARISON.finditer(alert.expr):
        if found["op"] is not None:
            what = " ".join(found[0].split())
            yield f"{what} never true", _put(alert, found, _NEVER)
            yield f"{what} always true", _put(alert, found, _ALWAYS)
    for braces in re.finditer(r"\{[^}]*\}", alert.expr):
        for found in _MATCHER.finditer(alert.expr, *braces.span()):
            yield f"any {found['label']}", _put(alert, found, "")
    if alert.for_ is not None:
        yield "at once", alert.model_copy(update={"for_": None})


def _put(alert: Alert, found: re.Match[str], text: str) -> Alert:
    expression = alert.expr[: found.start()] + text + alert.expr[found.end() :]
    return alert.model_copy(update={"expr": expression})
