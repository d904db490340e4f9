"""Alerts as fast as one operator takes them, then a bare client that asks the API server the same."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from statistics import median
from typing import TYPE_CHECKING, Any

import yaml

from bench.report import ms, p95, progress, ratio, section, table
from bench.stage import BenchError, at_once, forget, space, wait_for
from sandbox.audit import AuditEndpoint
from stanch.kube.resources import (
    AIINCIDENTS,
    CLUSTERCONTAINMENTPOLICIES,
    CONTAINMENTPOLICIES,
    DEPLOYMENTS,
    NAMESPACES,
    ObjectRef,
)
from stanch.signals.intake.intake import AT_ONCE
from stanch.signals.intake.naming import POLICY_LABEL, TARGET_LABEL
from tests.alert_sender import alert, notification, sending
from tests.operator_process import workload
from tests.prometheus import Route

if TYPE_CHECKING:
    from pathlib import Path

    from bench.stage import Stage

Json = dict[str, Any]

SPACES = tuple(f"alerts-{number}" for number in range(10))
EACH = 10
PER_WORKLOAD = 10
BATCH = 10
SENDERS = 8
"""Notifications under way at one time, as of so many groups."""
_TOKEN = "of-the-bench"  # noqa: S105 - for a receiver on the loopback that ends with the bench
_TWIN = "twin-of-"
_FLOOR = (
    f"{len(SPACES) * EACH * PER_WORKLOAD} alerts about {len(SPACES) * EACH} workloads of {len(SPACES)} "
    f"namespaces, {BATCH} in a notification, {SENDERS} notifications at a time, over HTTPS; each workload's "
    "first opens an incident, the others are merged; then all of it again, when everything is contained. The "
    f"floor is a bare client that asks what has to be known of each alert, as many at a time ({AT_ONCE}), "
    "and creates as many incidents, while Stanch is stopped; it parses and decides nothing. Stanch also "
    "contains all of them meanwhile, the first time."
)


@dataclass(frozen=True, slots=True)
class _Taken:
    """Seconds."""

    answers: list[float]
    took: float

    @property
    def each_second(self) -> float:
        return len(self.answers) * BATCH / self.took


async def alerts(on: Stage) -> None:
    route, settings = receiver(on.home)
    await on.admin.create(CLUSTERCONTAINMENTPOLICIES, None, policy())
    with section("Alerts as fast as they are taken", _FLOOR):
        on.stop_operator()
        progress("workloads and their twins")
        await workloads(on, [*SPACES, *(f"{_TWIN}{name}" for name in SPACES)], EACH)
        await on.start_operator(**settings)
        before = on.memory_mib()
        began = time.perf_counter()
        progress("alerts")
        stanch = await _post(route)
        incidents = await _all_contained(on)
        contained = time.perf_counter() - began
        progress("the same once more")
        again = await _post(route)
        most = on.memory_mib("VmHWM")
        on.stop_operator()
        await forget_all(on, incidents)
        progress("their floor")
        floor = await _floor(on, incidents)
        table(
            ("", "alerts/s", "answer p50", "p95", "all taken", "all contained"),
            [
                ("Stanch", *_row(stanch), ms(contained)),
                ("the same again", *_row(again), ""),
                ("floor", *_row(floor), "not done"),
                ("ratio", *_ratios(stanch, floor), ""),
                ("ratio of the repeats", *_ratios(again, floor), ""),
            ],
        )
        print(f"\nThe operator's resident set: {before:.0f} MiB before, {most:.0f} MiB at most.")
    await on.admin.delete(ObjectRef(CLUSTERCONTAINMENTPOLICIES, None, "bench"))


def receiver(home: Path) -> tuple[Route, dict[str, str]]:
    """Where alerts go to, and the operator's settings for it."""
    endpoint = AuditEndpoint.reserve(home / "endpoint")
    token, credentials = home / "token", home / "credentials.yaml"
    token.write_text(_TOKEN)
    speaker = {"name": "alertmanager", "namespaces": ["*"], "tokenFile": str(token)}
    credentials.write_text(yaml.safe_dump({"credentials": [speaker]}))
    settings = {
        "receiver_port": str(endpoint.port),
        "tls_cert_file": str(endpoint.certificate.certificate),
        "tls_key_file": str(endpoint.certificate.key),
        "signal_credentials_file": str(credentials),
    }
    return Route(f"https://127.0.0.1:{endpoint.port}/alerts", token, endpoint.ca_file), settings


def policy() -> Json:
    trigger = {
        "name": "toxic",
        "category": "OutputPolicyViolation",
        "severity": "Critical",
        "alert": {"matchers": ['alertname="Toxic"']},
    }
    return {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "ClusterContainmentPolicy",
        "metadata": {"name": "bench"},
        "spec": {"selector": {}, "triggers": [trigger], "steps": [{"scaleToZero": {}}]},
    }


async def workloads(on: Stage, spaces: list[str], each: int) -> None:
    """All running."""
    await at_once(space(on.admin, name) for name in spaces)
    await at_once(
        on.admin.create(DEPLOYMENTS, name, workload("Deployment", f"llm-{number}", 1))
        for name, number in product(spaces, range(each))
    )

    async def ready() -> bool:
        listed = await asyncio.gather(*(on.admin.list(DEPLOYMENTS, name) for name in spaces))
        return all(body["status"].get("readyReplicas") == 1 for found in listed for body in found)

    await wait_for(ready, f"{len(spaces) * each} Deployments run")


def _batches() -> list[list[tuple[str, str, int]]]:
    """Namespace, workload and series of each alert; all workloads fire before any fires again."""
    each = [
        (name, f"llm-{number}", series)
        for series, number, name in product(range(PER_WORKLOAD), range(EACH), SPACES)
    ]
    return [each[first : first + BATCH] for first in range(0, len(each), BATCH)]


async def _post(route: Route) -> _Taken:
    now = datetime.now(UTC).isoformat()
    bodies = [
        notification(
            alert({"alertname": "Toxic", "namespace": name, "deployment": of, "series": str(series)}, now)
            for name, of, series in batch
        )
        for batch in _batches()
    ]
    answers: list[float] = []
    async with sending(route.url, route.token_file.read_text(), route.ca_file) as sender:

        async def post(body: bytes) -> None:
            answer = await sender.deliver(body)
            outcomes = {one["outcome"] for one in answer.body.get("alerts", [])}
            if not outcomes <= {"Created", "Merged"} or len(answer.body["alerts"]) != BATCH:
                raise BenchError(f"alerts were not taken: {answer}")
            answers.append(answer.seconds)

        began = time.perf_counter()
        await at_once(map(post, bodies), SENDERS)
        took = time.perf_counter() - began
        if sender.unreachable or set(sender.statuses) != {200}:
            raise BenchError(f"{sender.statuses}, {sender.unreachable} without an answer")
    return _Taken(answers, took)


async def _all_contained(on: Stage) -> list[Json]:
    found: list[Json] = []

    async def contained() -> bool:
        listed = await on.admin.list(AIINCIDENTS)
        found[:] = [body for body in listed if body["metadata"]["namespace"] in SPACES]
        phases = [(body.get("status") or {}).get("phase") for body in found]
        return phases.count("Contained") == len(SPACES) * EACH

    await wait_for(contained, "all are contained")
    return found


async def forget_all(on: Stage, incidents: list[Json]) -> None:
    await at_once(
        forget(on.admin, body["metadata"]["namespace"], body["metadata"]["name"]) for body in incidents
    )


async def _floor(on: Stage, incidents: list[Json]) -> _Taken:
    """The same of the twins."""
    by_target = {
        (body["metadata"]["namespace"], body["spec"]["targets"][0]["name"]): body for body in incidents
    }
    slots = asyncio.Semaphore(AT_ONCE)
    answers: list[float] = []

    async def look_up(name: str, of: str, series: int) -> None:
        async with slots:
            body = by_target[name, of]
            labels = {key: body["metadata"]["labels"][key] for key in (TARGET_LABEL, POLICY_LABEL)}
            selector = ",".join(f"{key}={value}" for key, value in labels.items())
            twin = f"{_TWIN}{name}"
            await on.operator.get(ObjectRef(DEPLOYMENTS, twin, of))
            await on.operator.list(AIINCIDENTS, twin, label_selector=selector)
            if not series:
                head = {"name": body["metadata"]["name"], "labels": body["metadata"]["labels"]}
                fresh = {key: body[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": head}
                await on.operator.create(AIINCIDENTS, twin, fresh)

    async def batch(of: list[tuple[str, str, int]]) -> None:
        began = time.perf_counter()
        await asyncio.gather(
            on.operator.list(CONTAINMENTPOLICIES), on.operator.list(CLUSTERCONTAINMENTPOLICIES)
        )
        spaces = {name for name, _, _ in of}
        await asyncio.gather(
            *(on.operator.get(ObjectRef(NAMESPACES, None, f"{_TWIN}{name}")) for name in spaces)
        )
        await asyncio.gather(*(look_up(*one) for one in of))
        answers.append(time.perf_counter() - began)

    began = time.perf_counter()
    await at_once(map(batch, _batches()), SENDERS)
    took = time.perf_counter() - began
    await forget_all(
        on,
        [
            {"metadata": {"namespace": f"{_TWIN}{name}", "name": body["metadata"]["name"]}}
            for (name, _), body in by_target.items()
        ],
    )
    return _Taken(answers, took)


def _ratios(taken: _Taken, floor: _Taken) -> tuple[str, ...]:
    return (
        ratio(taken.each_second, floor.each_second),
        ratio(median(taken.answers), median(floor.answers)),
        ratio(p95(taken.answers), p95(floor.answers)),
        ratio(taken.took, floor.took),
    )


def _row(taken: _Taken) -> tuple[str, ...]:
    return (
        f"{taken.each_second:.0f}",
        ms(median(taken.answers)),
        ms(p95(taken.answers)),
        ms(taken.took),
    )
