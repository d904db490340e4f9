"""One line of what `stanch doctor` says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stanch.cli.doctor.facts import Unread


class State(StrEnum):
    OK = "OK"
    WARNING = "Warning"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and what to do next where it is not in order."""

    check: str
    state: State
    message: str
    todo: str = ""


def unread(check: str, fact: Unread) -> Finding:
    """What could not be looked at is never in order."""
    return Finding(check, State.UNKNOWN, fact.why, "ask somebody who may look")
