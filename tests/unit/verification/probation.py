"""One incident on probation, as far as looks go: a fake cluster, a fake Prometheus, and the real measurer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stanch.api.v1alpha1.evidence import EvidenceRecord
from stanch.evidence.take import Taken
from stanch.prometheus.samples import QueryFailed, Sample, Samples
from stanch.queue import Key
from stanch.verification.answers import TIME
from stanch.verification.measure import Measurer
from tests.unit.signals.fake_cluster import FakeCluster
from tests.unit.verification.looks import check
from tests.unit.verification.workloads import Json, deployment, meta, pod, subject

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stanch.kube.resources import ObjectRef
    from stanch.verification.reading import Reading, Subject

KEY = Key("chat", "toxic")
ALERTS: Json = {"name": "alerts", "alertCleared": {"matchers": ['alertname="Toxic"']}}
INTEGRITY: Json = {"name": "integrity", "integrity": {}}
HTTP: Json = {"name": "http", "http": {"port": 1, "timeout": "1s"}}


class FakePrometheus:
    """As far as a look goes: answers by the words of the query. It evaluates nothing."""

    def __init__(self) -> None:
        self.answers: dict[str, str | QueryFailed] = {}
        self.asked: list[str] = []
        self.hang = False
        self.gates: dict[str, asyncio.Event] = {}

    async def query(self, expression: str, *, most: int = 1000) -> Samples:
        assert most >= 1000
        self.asked.append(expression)
        if self.hang:
            await asyncio.Event().wait()
        if expression in self.gates:
            await self.gates[expression].wait()
        answer = self.answers.get(expression)
        if isinstance(answer, QueryFailed):
            raise answer
        if answer is None and expression == TIME:
            answer = str(datetime.now(UTC).timestamp())
        return (Sample((), float(answer), answer),) if answer is not None else ()


RECORD = EvidenceRecord(
    location="file:///evidence",
    head="sha256:" + "0" * 64,
    items=3,
    size=9,
    collected_at=datetime(2026, 1, 2, tzinfo=UTC),
    complete=True,
)


class FakeCollector:
    """Keeps nothing, and says what it was asked to keep."""

    def __init__(self) -> None:
        self.taken: list[Sequence[ObjectRef]] = []
        self.result = Taken(RECORD, "EvidenceCollected", "")

    async def take(
        self, incident: ObjectRef, uid: str, targets: Sequence[ObjectRef], *, seconds: float
    ) -> Taken:
        assert (incident.namespace, incident.name, uid, seconds > 0) == ("chat", "toxic", "uid-toxic", True)
        self.taken.append(targets)
        return self.result


class Stage:
    """One incident on probation: a Deployment with a ready pod, which a test may change."""

    def __init__(self, prometheus: Any = None) -> None:
        self.cluster = FakeCluster()
        self.prometheus = FakePrometheus() if prometheus is None else prometheus
        self.enqueued: asyncio.Queue[Key] = asyncio.Queue()
        self.subject = replace(subject(), since=datetime.now(UTC))
        self.collector = FakeCollector()
        self.measurer = self.anew(self.prometheus)
        self.workload = self.cluster.add(deployment())
        between = {"kind": "ReplicaSet", "metadata": meta("llm-rs", self.workload, labels={"app": "llm"})}
        self.replica_set = self.cluster.add(between)
        self.pod = self.cluster.add(self._pod())

    def anew(self, prometheus: Any) -> Measurer:
        """As a process that has just started has it."""
        kube: Any = self.cluster
        collector: Any = self.collector
        return Measurer(kube, prometheus, collector, now, self.enqueued.put_nowait)

    def _pod(self) -> Json:
        body = pod(since=-60)
        return body | {"metadata": meta("llm-1", self.replica_set, labels={"app": "llm"})}

    def begin(self, *checks: Json, about: Subject | None = None) -> None:
        self.measurer.begin(KEY, about or self.subject, [check(one) for one in checks])

    async def look(self, *checks: Json) -> dict[str, Reading]:
        """One look at each, until all have ended."""
        self.begin(*checks)
        async with asyncio.timeout(30):
            for _ in checks:
                assert await self.enqueued.get() == KEY
        found = dict(self.measurer.readings(KEY))
        self.measurer.taken(KEY, found)
        return found

    async def one(self, body: Json) -> Reading:
        return (await self.look(body))[body["name"]]


def now() -> datetime:
    return datetime.now(UTC)


def raising(error: Exception) -> Callable[[], None]:
    def do() -> None:
        raise error

    return do
