"""Where a storm of alerts breaks loose: workloads, their policies, and operators behind a slow API server.

Each operator is another process with another name: it has to wait for the lease of the one before.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import yaml

from sandbox.audit import AuditEndpoint
from stanch.api.v1alpha1.hold import HOLD_NAME, ContainmentHoldSpec, Rule, hold_key
from stanch.errors import Conflict
from stanch.kube.client import Kube
from stanch.kube.resources import (
    CLUSTERCONTAINMENTPOLICIES,
    CONTAINMENTHOLDS,
    CONTAINMENTPOLICIES,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    SERVICEACCOUNTS,
    ObjectRef,
)
from stanch.settings import Settings
from tests.cluster import kubectl_of
from tests.integration.alert_mix import Fate, Victim
from tests.operator_process import OperatorProcess, install, workload
from tests.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from pathlib import Path

    from sandbox import Sandbox
    from tests.operator_process import Json

SPACES = tuple(f"storm-{number}" for number in range(10))
OF_THEIR_OWN = SPACES[:5]
"""These have a policy of their own, the others are of a cluster policy."""
EACH = 30
FATES = (*[Fate.NO_TRIGGER] * 2, *[Fate.NOT_SELECTED] * 2, Fate.ONLY_RESOLVED)
"""Of those in each namespace that are to be left alone."""
BY_POD_EVERY = 5
TOKEN = "s3cret-of-alertmanager"
PATIENCE = 300.0  # seconds for what takes one on an idle machine
AT_ONCE = 32
FLAGS = {
    "lease-seconds": "10",
    "renew-deadline-seconds": "8",
    "retry-seconds": "1",
    "sweep-seconds": "60",
    "rejudge-seconds": "60",
    "policy-seconds": "60",
    "canary-seconds": "60",
}


@dataclass
class Ground:
    """A sandbox with Stanch installed, and where its operators are to be reached."""

    sandbox: Sandbox
    admin: Kube
    proxy: Proxy
    endpoint: AuditEndpoint
    home: Path
    flags: dict[str, str]
    operator: OperatorProcess = field(init=False)
    memory: list[float] = field(default_factory=list)

    def start_operator(self) -> None:
        """Another pod: it is not the one that the lease names."""
        kubeconfig = self.sandbox.kubeconfig_for_service_account(
            "stanch-system", "stanch", server=self.proxy.url
        )
        self.operator = OperatorProcess(kubeconfig, self.home / "operator.log", FLAGS | self.flags)
        self.operator.start()

    def kill_operator(self) -> None:
        self.memory.append(self.operator.most_memory_mib)
        self.operator.kill()


@asynccontextmanager
async def prepared(sandbox: Sandbox, home: Path) -> AsyncIterator[Ground]:
    await asyncio.to_thread(install, kubectl_of(sandbox, home))
    endpoint = AuditEndpoint.reserve(home / "endpoint")
    (home / "token").write_text(TOKEN)
    speaker = {"name": "alertmanager", "namespaces": ["*"], "tokenFile": str(home / "token")}
    (home / "credentials.yaml").write_text(yaml.safe_dump({"credentials": [speaker]}))
    flags = {
        "receiver-port": str(endpoint.port),
        "tls-cert-file": str(endpoint.certificate.certificate),
        "tls-key-file": str(endpoint.certificate.key),
        "signal-credentials-file": str(home / "credentials.yaml"),
    }
    admin = await Kube.connect(Settings(kubeconfig=sandbox.admin_kubeconfig))
    try:
        with Proxy(sandbox) as proxy:
            ground = Ground(sandbox, admin, proxy, endpoint, home, flags)
            ground.start_operator()
            try:
                await asyncio.to_thread(ground.operator.wait_ready)
                yield ground
            finally:
                if ground.operator.running:
                    ground.operator.kill()
    finally:
        await admin.close()


async def at_once(work: Iterable[Awaitable[Any]]) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def run(one: Awaitable[Any]) -> None:
        async with gate:
            await one

    await asyncio.gather(*map(run, work))


async def until(look: Callable[[], Awaitable[str]], what: str, operator: OperatorProcess) -> None:
    """`look` tells what is missing yet; empty: nothing."""
    deadline = time.monotonic() + PATIENCE
    while missing := await look():
        assert time.monotonic() < deadline, (
            f"not within {PATIENCE:.0f} s: {what}: {missing}\n{operator.tail()}"
        )
        await asyncio.sleep(1)


def _policy(*, of_the_cluster: bool) -> Json:
    trigger = {
        "name": "harm",
        "category": "OutputPolicyViolation",
        "severity": "Critical",
        "alert": {"matchers": ['alertname=~"ToxicOutput|Leak|Jailbreak"']},
    }
    selector: Json = {"matchLabels": {"team": "chat"}}
    if of_the_cluster:
        selector["namespaceSelector"] = {"matchLabels": {"half": "cluster"}}
    kind = "ClusterContainmentPolicy" if of_the_cluster else "ContainmentPolicy"
    return {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "storm"},
        "spec": {"selector": selector, "triggers": [trigger], "steps": [{"scaleToZero": {}}]},
    }


async def victims(ground: Ground) -> list[Victim]:
    """All of them running."""
    fates = [*FATES, *[Fate.CONTAINED] * (EACH - len(FATES))]
    each = [Victim(space, f"llm-{place:02}", fate) for space in SPACES for place, fate in enumerate(fates)]
    await ground.admin.create(CLUSTERCONTAINMENTPOLICIES, None, _policy(of_the_cluster=True))
    await at_once(_make_space(ground.admin, space) for space in SPACES)
    await at_once(_make(ground.admin, one) for one in each)

    async def not_running() -> str:
        found = await deployments(ground)
        ready = sum(body["status"].get("readyReplicas") == 1 for body in found.values())
        return "" if ready == len(each) else f"{len(each) - ready} Deployments are not ready"

    await until(not_running, "all Deployments run", ground.operator)
    pods = {
        (body["metadata"]["namespace"], body["metadata"]["labels"]["app"]): body["metadata"]["name"]
        for space in SPACES
        for body in await ground.admin.list(PODS, space)
    }
    return [
        replace(one, pod=pods[one.namespace, one.name])
        if one.fate is Fate.CONTAINED and place % BY_POD_EVERY == 0
        else one
        for place, one in enumerate(each)
    ]


async def _make_space(admin: Kube, name: str) -> None:
    own = name in OF_THEIR_OWN
    head = {"name": name, "labels": {"half": "own" if own else "cluster"}}
    await admin.create(NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": head})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    try:
        await admin.create(SERVICEACCOUNTS, name, account)
    except Conflict as error:
        if not error.already_exists:
            raise
    if own:
        await admin.create(CONTAINMENTPOLICIES, name, _policy(of_the_cluster=False))


async def _make(admin: Kube, one: Victim) -> None:
    team = "search" if one.fate is Fate.NOT_SELECTED else "chat"
    await admin.create(DEPLOYMENTS, one.namespace, workload("Deployment", one.name, 1, labels={"team": team}))


async def deployments(ground: Ground) -> dict[tuple[str, str], Json]:
    return {
        (space, body["metadata"]["name"]): body
        for space in SPACES
        for body in await ground.admin.list(DEPLOYMENTS, space)
    }


async def held(ground: Ground) -> dict[tuple[str, str], int]:
    """By how many incidents each Deployment is."""
    found: dict[tuple[str, str], int] = {}
    for space in SPACES:
        body = await ground.admin.get(ObjectRef(CONTAINMENTHOLDS, space, HOLD_NAME))
        assert body is not None
        prefix = hold_key(Rule.STOPPED, f"{DEPLOYMENTS.key}/")
        for what, entry in ContainmentHoldSpec.model_validate(body["spec"]).entries().items():
            if what.startswith(prefix):
                found[space, what.removeprefix(prefix)] = len(entry.incidents)
    return found
