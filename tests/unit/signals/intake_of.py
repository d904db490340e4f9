"""An intake before a fake cluster, and what it is asked and tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from stanch.signals.board import Board
from stanch.signals.intake.intake import SignalIntake
from tests.unit.signals.fake_cluster import FakeCluster
from tests.unit.signals.made import ANYBODY, NOW, SETTINGS, policy_body, signal

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from stanch.incidents.signalled import Note
    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef
    from stanch.queue import Key
    from stanch.settings import Settings
    from stanch.signals.model import Intake, Signal, Speaker, Taken

Json = dict[str, Any]


class Town:
    """Namespace chat with Deployment llm, and policy chat that contains on ToxicOutput."""

    def __init__(self, settings: Settings = SETTINGS, **policy: Any) -> None:
        self.now: datetime = NOW
        self.cluster = FakeCluster()
        self.llm = self.cluster.workload("Deployment", "llm", labels={"app": "llm"})
        self.cluster.add(policy_body(**policy))
        self.changed: list[ObjectRef] = []
        self.board = Board(self.changed.append)
        self.notes: list[tuple[Key, Note]] = []
        self.intake = SignalIntake(
            cast("Kube", self.cluster),
            settings,
            self.board,
            lambda key, note: self.notes.append((key, note)),
            clock=lambda: self.now,
        )

    def protocol(self) -> Intake:
        """The type checker's word that it is one."""
        return self.intake

    async def take(self, *signals: Signal, speaker: Speaker = ANYBODY) -> list[Taken]:
        return await self.intake.take(signals or [signal()], speaker)

    async def one(self, **more: Any) -> Taken:
        """What becomes of one signal."""
        (taken,) = await self.intake.take([signal(**more)], ANYBODY)
        return taken

    def later(self, by: timedelta) -> None:
        self.now += by

    def ended(self, phase: str = "Released", contained: datetime | None = None) -> None:
        """The one incident, as the operator leaves it."""
        times = {"contained": contained.isoformat()} if contained else {}
        self.cluster.incident()["status"] = {"phase": phase, "timestamps": times}
