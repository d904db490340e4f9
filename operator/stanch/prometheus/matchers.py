r"""Matchers of a policy's trigger, as Alertmanager reads them. Pure.

https://prometheus.io/docs/alerting/latest/configuration/#matcher: a label that is missing is an empty one,
and an expression has to match the whole value.

A label's value is hostile, and an expression may be written carelessly. Both run in the engine that pydantic
has for patterns, Rust's `regex`: it does not backtrack, so that the time is at most proportional to states of
the expression times characters of the value, and both are bounded here. Its syntax is RE2's, which
Alertmanager's is, but for `\Q…\E`; look-around and back-references are in neither.
https://docs.rs/regex/latest/regex/#untrusted-input
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stanch.api.v1alpha1.policy import Trigger

LONGEST_VALUE = 1024
"""Characters of a label's value that an expression is tried on; a longer one matches none."""
MOST_STATES = 10_000
"""Characters of an expression times all its counts, `{2,5}` counting five: what bounds its states."""

_MATCHER = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"', re.DOTALL)
_COUNT = re.compile(r"\{\s*(\d+)\s*(?:,\s*(\d*)\s*)?\}")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", '"': '"', "\\": "\\"}


class Unreadable(Exception):
    """Not a matcher. The message says which, and what is wrong with it."""


class _Expression:
    """A regular expression, tried in linear time on whole strings."""

    def __init__(self, text: str) -> None:
        """Raises Unreadable."""
        states = len(text) * math.prod(max(int(most or least), 1) for least, most in _COUNT.findall(text))
        if states > MOST_STATES:
            raise Unreadable(
                f"its length times its counts is {states}, more than {MOST_STATES}; count less, or use * or +"
            )
        _compiled(text)  # what is no expression by itself must not become one between the anchors
        self._whole = _compiled(rf"\A(?:{text})\z")

    def matches(self, value: str) -> bool:
        if len(value) > LONGEST_VALUE:
            return False
        try:
            self._whole.validate_python(value)
        except ValidationError:
            return False
        return True


def _compiled(pattern: str) -> TypeAdapter[str]:
    kind = Annotated[str, StringConstraints(pattern=pattern)]
    try:
        return TypeAdapter(kind, config=ConfigDict(regex_engine="rust-regex"))
    except SchemaError as error:
        raise Unreadable(_shortest(str(error))) from error


def _shortest(error: str) -> str:
    """The engine's own words, without the drawing of where."""
    return error.rpartition("error: ")[2].rpartition("SchemaError: ")[2].strip()


@dataclass(frozen=True, slots=True)
class Matcher:
    label: str
    value: str
    negative: bool = False
    expression: _Expression | None = None

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.label, "")
        found = value == self.value if self.expression is None else self.expression.matches(_text(value))
        return found is not self.negative


def _text(value: str) -> str:
    """Half a surrogate pair, which JSON can carry, is no text that the engine takes."""
    return value.encode(errors="replace").decode()


@lru_cache(maxsize=4096)
def parse(text: str) -> Matcher:
    """`alertname="ToxicOutput"`, with =, !=, =~ or !~. Raises Unreadable."""
    found = _MATCHER.fullmatch(text)
    if found is None:
        raise Unreadable('a matcher looks like alertname="ToxicOutput"; operators are =, !=, =~ and !~')
    label, operator, quoted = found.groups()
    negative, value = operator.startswith("!"), _ESCAPE.sub(_unescaped, quoted)
    return Matcher(label, value, negative, _Expression(value) if operator.endswith("~") else None)


def _unescaped(escape: re.Match[str]) -> str:
    r"""As Alertmanager: `\n`, `\"` and `\\`; any other backslash is one, and need not be doubled."""
    return _ESCAPED.get(escape[1], escape[0])


def matches_all(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Comparing comes before trying expressions: it decides most."""
    return all(one.matches(labels) for one in sorted(matchers, key=lambda one: one.expression is not None))


def matchers_of(trigger: Trigger) -> tuple[Matcher, ...]:
    """Of an alert trigger; none of another. Raises Unreadable, with the matcher's place in the policy."""
    found = []
    for place, text in enumerate(trigger.alert.matchers if trigger.alert else ()):
        try:
            found.append(parse(text))
        except Unreadable as error:
            raise Unreadable(f"alert.matchers[{place}] {text[:200]}: {error}") from error
    return tuple(found)


def problem(trigger: Trigger) -> str:
    """Why the trigger matches no alert at all, for the status of its policy; empty when it can."""
    try:
        matchers_of(trigger)
    except Unreadable as error:
        return str(error)[:1000]
    return ""
