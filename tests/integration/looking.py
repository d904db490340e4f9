"""One incident on probation, whose checks a test looks at, on whatever cluster."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stanch.api.v1alpha1.incident import Target
from stanch.api.v1alpha1.recovery import Check, ReleaseStage
from stanch.evidence.reading import Limits
from stanch.evidence.store import open_store
from stanch.evidence.take import Collector
from stanch.queue import Key
from stanch.verification.measure import Measurer
from stanch.verification.reading import Answer, Reading, Subject
from tests.integration.test_crds import incident

if TYPE_CHECKING:
    from collections.abc import Callable

    from stanch.kube.client import Kube
    from stanch.prometheus.client import PromClient

Json = dict[str, Any]

CHAT = Target.model_validate({"kind": "Deployment", "name": "llm-chat"})
HEALTHY: Json = {"name": "healthy", "healthy": {}}
INTEGRITY: Json = {"name": "integrity", "integrity": {}}
SUITE: Json = {"name": "suite", "job": {"cronJob": "evals", "timeout": "2m"}}


class Stage:
    """A release of one incident that is looked at, check by check."""

    def __init__(self, kubectl: Callable[..., str], space: str, kube: Kube, directory: Path) -> None:
        """`kubectl`: the administrator's, in the namespace `space`."""
        self.kubectl = kubectl
        self.space = space
        self.kube = kube
        self.store = open_store(f"file://{directory}", create=True)
        self.enqueued: asyncio.Queue[Key] = asyncio.Queue()
        self.measurer = self.anew()
        body = json.loads(self("create", "-o", "json", "-f", "-", stdin=incident("toxic")))
        self.subject = Subject(
            namespace=space,
            name="toxic",
            uid=body["metadata"]["uid"],
            targets=(CHAT,),
            stage=ReleaseStage.PROBATION,
            attempt=1,
            since=datetime.now(UTC),
        )

    def __call__(self, *arguments: str, stdin: object = None) -> str:
        return self.kubectl(*arguments, stdin=stdin)

    def anew(self, prometheus: PromClient | None = None) -> Measurer:
        """As a process that has just started has it."""
        collector = Collector(self.kube, self.store, Limits(), "test", _now)
        return Measurer(self.kube, prometheus, collector, _now, self.enqueued.put_nowait)

    async def look(self, body: Json) -> Reading:
        key = Key(self.space, "toxic")
        self.measurer.begin(key, self.subject, [Check.model_validate(body)])
        async with asyncio.timeout(60):
            await self.enqueued.get()
        readings = self.measurer.readings(key)
        self.measurer.taken(key, readings)
        return readings[body["name"]]

    async def until(self, answer: Answer, body: Json, within: float = 60.0) -> Reading:
        """Looks until the answer is that one."""
        deadline = asyncio.get_running_loop().time() + within
        while (reading := await self.look(body)).answer is not answer:
            assert asyncio.get_running_loop().time() < deadline, f"never {answer}: {reading}"
            await asyncio.sleep(0.2)
        return reading

    def tell(self, pod: str, status: Json) -> None:
        """As a kubelet would."""
        self(
            "patch", "pod", pod, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status})
        )

    def get(self, *arguments: str) -> Any:
        return json.loads(self("get", *arguments, "-o", "json"))


def _now() -> datetime:
    return datetime.now(UTC)


def kept(location: str) -> dict[str, Path]:
    """What is kept there, by its kind: items are named `0001-pod.json`."""
    return {path.stem.partition("-")[2]: path for path in Path(location.removeprefix("file://")).iterdir()}
