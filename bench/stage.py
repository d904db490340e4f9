"""What is measured on: a sandbox with Stanch installed, the operator as a process, two clients."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.calls import INCIDENT, AuditLog, Took
from sandbox import Sandbox
from stanch.errors import Conflict
from stanch.kube.client import Kube
from stanch.kube.resources import AIINCIDENTS, CHANGEABLE, NAMESPACES, SERVICEACCOUNTS, ObjectRef
from stanch.settings import Settings
from tests.cluster import kubectl_of
from tests.operator_process import Space

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence

    from tests.standing import Case

ROOT = Path(__file__).resolve().parents[1]
AT_ONCE = 32
"""As many as the operator works on at the same time (`parallelism`)."""
_WITHIN = 120.0  # seconds
_REST = 1.0  # seconds without a write

Json = dict[str, Any]


class BenchError(Exception):
    """What is measured did not happen."""


@dataclass
class Stage:
    sandbox: Sandbox
    admin: Kube
    operator: Kube
    """The bare client: the operator's account, without the operator."""
    operator_kubeconfig: Path
    home: Path
    audit: AuditLog
    _process: subprocess.Popen[bytes] | None = None
    _settings: dict[str, str] = field(default_factory=dict)
    _port: int = 0
    _log: Path = field(default_factory=Path)

    async def start_operator(self, **settings: str) -> None:
        """Run it as its own account, unless it runs so; return when it leads and has proven its hold."""
        if self._process is not None and settings == self._settings:
            return
        self.stop_operator()
        self._settings = settings
        self._port = _free_port()
        self._log = self.home / "operator.log"
        flags = {
            "kubeconfig": str(self.operator_kubeconfig),
            "http-host": "127.0.0.1",
            "http-port": str(self._port),
        }
        environment = {f"STANCH_{name.upper()}": value for name, value in settings.items()}
        command = [sys.executable, "-m", "stanch", "run", *(f"--{k}={v}" for k, v in flags.items())]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it outlives the call
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment, "PYTHONPATH": str(ROOT / "operator")},
            )
        await wait_for(self._proven, "the operator proves its hold")

    async def _proven(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise BenchError(f"the operator ended:\n{self._log.read_text()[-3000:]}")
        try:
            return self.metric("stanch_hold_proven") == 1.0
        except OSError:
            return False

    def stop_operator(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
            self._process = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The operator does nothing meanwhile. Shorter than it may go without its lease (10 s)."""
        if self._process is None:
            raise BenchError("the operator does not run")
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name} "))

    def total(self, name: str) -> float:
        """The sum of a metric over all its labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name}{{"))

    def cpu_seconds(self) -> float:
        """Processor time that the operator has had."""
        if self._process is None:
            raise BenchError("the operator does not run")
        after_name = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, after_name[11:13])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self, what: str = "VmRSS") -> float:
        """Resident set of the operator; `VmHWM`: the most it had since it started."""
        if self._process is None:
            raise BenchError("the operator does not run")
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(f"{what}:"))
        return int(line.split()[1]) / 1024

    def took(self, namespace: str, *, alone: bool = True) -> Took:
        """Raises BenchError when nothing contained the incident of that namespace."""
        self.audit.catch_up()
        took = self.audit.took(namespace, alone=alone)
        if took is None:
            raise BenchError(f"nothing was written to contain {namespace}/{INCIDENT}")
        return took


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    flags = [f"--audit-policy-file={Path(__file__).with_name('audit-policy.yaml')}"]
    with tempfile.TemporaryDirectory(prefix="stanch-bench-") as directory:
        home = Path(directory)
        with Sandbox.start(home / "cluster", apiserver_flags=flags) as sandbox:
            kubectl_of(sandbox, home)("apply", "-k", str(ROOT / "manifests" / "out-of-cluster"), check=True)
            kubeconfig = sandbox.kubeconfig_for_service_account("stanch-system", "stanch")
            admin, operator = [
                await Kube.connect(Settings(kubeconfig=path))
                for path in (sandbox.admin_kubeconfig, kubeconfig)
            ]
            made = Stage(sandbox, admin, operator, kubeconfig, home, AuditLog(sandbox.audit_log))
            try:
                yield made
            finally:
                made.stop_operator()
                await admin.close()
                await operator.close()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def wait_for(look: Callable[[], Awaitable[bool]], what: str, within: float = _WITHIN) -> None:
    deadline = asyncio.get_running_loop().time() + within
    while not await look():
        if asyncio.get_running_loop().time() > deadline:
            raise BenchError(f"not within {within:.0f} s: {what}")
        await asyncio.sleep(0.1)


async def at_once(work: Iterable[Awaitable[Any]], most: int = AT_ONCE) -> None:
    gate = asyncio.Semaphore(most)

    async def run(one: Awaitable[Any]) -> None:
        async with gate:
            await one

    await asyncio.gather(*(run(one) for one in work))


async def space(kube: Kube, name: str) -> None:
    """A namespace in which pods can be started."""
    await kube.create(NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    try:
        await kube.create(SERVICEACCOUNTS, name, account)
    except Conflict as error:
        if not error.already_exists:
            raise


async def spaces(on: Stage, case: Case, names: Sequence[str]) -> None:
    """Namespaces in which the case stands as it does before its incident."""
    run = kubectl_of(on.sandbox, on.home)

    async def make(name: str) -> None:
        await space(on.admin, name)
        await asyncio.to_thread(case.create, Space(name, run, on.sandbox))

    await at_once(make(name) for name in names)
    await settled(on, case, names)
    await at_once(asyncio.to_thread(case.happened, Space(name, run, on.sandbox)) for name in names)
    await settled(on, case, names)


async def settled(on: Stage, case: Case, names: Sequence[str]) -> None:
    """Wait until the controller of the target has nothing left to do: none of its writes comes between."""
    for name in names:
        await wait_for(partial(_settled, on.admin, case, name), f"{case.target} of {name} is as it should be")


async def at_rest(on: Stage, case: Case, name: str) -> None:
    """Wait until nobody writes the target any more: what is contained is seldom as it should be."""
    before = None
    while (now := await _target(on.admin, case, name)) != before:
        before = now
        await asyncio.sleep(_REST)


async def _target(kube: Kube, case: Case, namespace: str) -> Json | None:
    kind, _, name = case.target.partition("/")
    resource = next(one for (_, of), one in CHANGEABLE.items() if of == kind)
    return await kube.get(ObjectRef(resource, namespace, name))


async def _settled(kube: Kube, case: Case, namespace: str) -> bool:
    body = await _target(kube, case, namespace)
    if body is None or "replicas" not in body["spec"]:
        return body is not None
    status, wanted = body.get("status") or {}, body["spec"]["replicas"]
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas")]
    return (
        status.get("observedGeneration", 0) == body["metadata"]["generation"]
        and counts == [wanted] * len(counts)
        and not status.get("terminatingReplicas")
    )


def incident(namespace: str, case: Case) -> Json:
    kind, _, name = case.target.partition("/")
    version = next(version for version, of in CHANGEABLE if of == kind)
    return {
        "apiVersion": AIINCIDENTS.api_version,
        "kind": AIINCIDENTS.kind,
        "metadata": {"name": INCIDENT, "namespace": namespace},
        "spec": {
            "title": "Toxic output",
            "category": "OutputPolicyViolation",
            "severity": "Critical",
            "targets": [{"apiVersion": version, "kind": kind, "name": name}],
            **case.spec,
        },
    }


async def forget(admin: Kube, namespace: str, name: str = INCIDENT) -> None:
    """Without giving back: only so that the operator is not busy with it any more."""
    ref = ObjectRef(AIINCIDENTS, namespace, name)
    while (body := await admin.get(ref)) is not None:
        try:
            if body["metadata"].get("finalizers"):
                remove = {"op": "remove", "path": "/metadata/finalizers"}
                version = body["metadata"]["resourceVersion"]
                await admin.json_patch(ref, [remove], resource_version=version)
            await admin.delete(ref, uid=body["metadata"]["uid"])
        except Conflict:
            continue  # the operator wrote to it
