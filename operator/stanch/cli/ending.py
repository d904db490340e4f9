"""How a command ends: what a script learns without reading what was printed."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of every command but `run`, which has its own."""

    YES = 0
    NO = 1
    UNKNOWN = 2
    WAITS = 3
    INTERRUPTED = 130


MEANING = {
    Exit.YES: "what was asked for is so: contained, given back, unaltered, nothing failed, shown",
    Exit.NO: "it is not, and waiting does not change that: refused, not contained, altered, a check failed",
    Exit.UNKNOWN: "it is not known: wrong use, no cluster, no right to look",
    Exit.WAITS: "not yet: a person has to approve, or the time of --timeout is over",
    Exit.INTERRUPTED: "ended with Ctrl-C; what was asked of the cluster goes on there",
}
"""For the reference: one line a code."""
