"""Fakes of both ends of the poller: the policies that Kubernetes lists, and the intake."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stanch.signals.model import Outcome, Signal, Speaker, Taken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stanch.errors import StanchError
    from stanch.policies.match import Policy

Json = dict[str, Any]


@dataclass
class FakeKube:
    policies: list[Policy]
    fails: StanchError | None = None
    more: list[Json] = field(default_factory=list)

    async def list(self, resource: Any) -> list[Json]:
        if self.fails is not None:
            raise self.fails
        listed = [policy.model_dump(by_alias=True, mode="json") for policy in self.policies] + self.more
        return [body for body in listed if body["kind"] == resource.kind]


@dataclass
class FakeIntake:
    fails: Exception | None = None
    batches: list[tuple[Speaker, list[Signal]]] = field(default_factory=list)

    async def take(self, signals: Sequence[Signal], speaker: Speaker) -> list[Taken]:
        if self.fails is not None:
            raise self.fails
        self.batches.append((speaker, list(signals)))
        return [Taken(signal, Outcome.CREATED, "Created") for signal in signals]

    def told(self) -> list[tuple[str, bool]]:
        """What came since the last call."""
        batches, self.batches = self.batches, []
        return [(signal.name, signal.firing) for _, signals in batches for signal in signals]
