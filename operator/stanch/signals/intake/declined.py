"""Why a signal became no incident."""

from __future__ import annotations

from stanch.signals.model import Outcome


class Declined(Exception):
    """What is said instead of an incident. Raised on the way from a signal to one, caught where it ends.

    No StanchError: nothing failed, and sending the signal again changes nothing.
    """

    def __init__(self, outcome: Outcome, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.outcome = outcome
        self.reason = reason
        self.message = message


def refused(reason: str, message: str) -> Declined:
    return Declined(Outcome.REFUSED, reason, message)


def ignored(reason: str, message: str) -> Declined:
    return Declined(Outcome.IGNORED, reason, message)
