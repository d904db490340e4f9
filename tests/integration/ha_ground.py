"""Two operators, each behind its own proxy; incidents that keep coming; what is true whatever happened."""

from __future__ import annotations

import secrets
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.operator_process import OperatorProcess, eventually, shape, workload
from tests.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sandbox import Sandbox
    from tests.cluster import Kubectl
    from tests.integration.audit_trail import AuditTrail, Write
    from tests.operator_process import Json, Space

LEASE_SECONDS = 6.0
RENEW_SECONDS = 4.0
RETRY_SECONDS = 0.3
SLACK_SECONDS = (
    8.0  # until a process on a busy machine has started its watches, and taken up the first incident
)
FLAGS = {
    "lease-seconds": str(LEASE_SECONDS),
    "renew-deadline-seconds": str(RENEW_SECONDS),
    "retry-seconds": str(RETRY_SECONDS),
}
PATIENT = FLAGS | {"lease-seconds": "15", "renew-deadline-seconds": "10"}
"""As it is installed: on a busy machine, too, nothing but a fault makes another lead."""
UNDER_WAY = 3  # incidents, when the fault comes
_PAUSE = 0.3  # seconds between two incidents
_WITHIN = 90.0  # seconds


@dataclass
class Ground:
    """A control plane whose audit log has all that the operator's account writes."""

    sandbox: Sandbox
    kubectl: Kubectl
    trail: AuditTrail
    home: Path

    @contextmanager
    def operator(
        self, environment: Mapping[str, str] | None = None, flags: Mapping[str, str] = FLAGS
    ) -> Iterator[Replica]:
        """One that runs, ready, behind its proxy; it is killed in the end, whatever it is by then."""
        with Proxy(self.sandbox) as proxy:
            config = self.sandbox.kubeconfig_for_service_account("stanch-system", "stanch", server=proxy.url)
            # The next account's file has the same name.
            own = config.rename(self.home / f"{secrets.token_hex(4)}.kubeconfig")
            log = self.home / f"{own.stem}.log"
            process = OperatorProcess(own, log, dict(flags), environment or {})
            process.start()
            try:
                process.wait_ready()
                yield Replica(process, proxy)
            finally:
                if process.running:
                    process.kill()

    @contextmanager
    def pair(
        self, environment: Mapping[str, str] | None = None, flags: Mapping[str, str] = FLAGS
    ) -> Iterator[Pair]:
        """A leader (with `environment`) and a standby."""
        # Whoever held it is dead: the first to come need not wait.
        self.kubectl("-n", "stanch-system", "delete", "lease", "stanch", "--ignore-not-found", check=True)
        with self.operator(environment, flags) as leader, self.operator(None, flags) as standby:
            assert self.holder() == leader.identity
            yield Pair(leader, standby)

    def holder(self) -> str:
        path = "jsonpath={.spec.holderIdentity}"
        return self.kubectl("-n", "stanch-system", "get", "lease", "stanch", "-o", path, check=True).stdout

    def lease(self, *arguments: str) -> None:
        """Somebody with kubectl."""
        verb, *rest = arguments
        self.kubectl("-n", "stanch-system", verb, "lease", "stanch", *rest, check=True)


@dataclass(frozen=True)
class Replica:
    process: OperatorProcess
    proxy: Proxy

    @property
    def identity(self) -> str:
        return self.process.identity


@dataclass(frozen=True)
class Pair:
    leader: Replica
    standby: Replica


@dataclass
class Load:
    """Workloads, of which one after the other gets an incident."""

    space: Space
    count: int
    before: dict[str, str] = field(default_factory=dict)
    _thread: threading.Thread | None = None
    _failure: BaseException | None = None

    @property
    def names(self) -> list[str]:
        return [f"llm-{number:02}" for number in range(self.count)]

    def serve(self) -> None:
        items = [workload("Deployment", name, 1) for name in self.names]
        self.space.create({"apiVersion": "v1", "kind": "List", "items": items})
        self.space("wait", "deployment", "--all", "--for=condition=Available", f"--timeout={_WITHIN}s")
        self.before = self._shapes()

    def begin(self) -> None:
        """Incidents come from now on; returns when the first of them are being worked on."""
        self._thread = threading.Thread(target=self._come, name="incidents", daemon=True)
        self._thread.start()
        eventually(lambda: len(self._phases()) >= UNDER_WAY, "the leader is at work", _WITHIN)

    def contained(self) -> None:
        """All came through: each contained by one step, recorded once, and held."""
        self._all_came()
        eventually(lambda: self._phases() == ["Contained"] * self.count, "all contained", _WITHIN, self._seen)
        eventually(lambda: self._held() == self.count, "all held", _WITHIN, self._seen)
        for incident in self._incidents():
            (step,) = incident["status"]["steps"]
            (change,) = step["changes"]
            assert (step["state"], change["object"]["name"]) == ("Effective", incident["metadata"]["name"])

    def given_back(self) -> None:
        self.space("patch", "aii", *self.names, "--type=merge", "-p", '{"spec":{"desiredState":"Released"}}')
        eventually(lambda: self._phases() == ["Released"] * self.count, "all released", _WITHIN, self._seen)
        assert self._shapes() == self.before

    def _come(self) -> None:
        try:
            for name in self.names:
                self.space.incident(name, f"Deployment/{name}")
                threading.Event().wait(_PAUSE)
        except BaseException as error:  # noqa: BLE001 - for whoever waits
            self._failure = error

    def _all_came(self) -> None:
        assert self._thread is not None, "nothing has begun"
        self._thread.join(_WITHIN)
        assert self._failure is None, self._failure

    def _incidents(self) -> list[Json]:
        items: list[Json] = self.space.get("aii")["items"]
        return items

    def _phases(self) -> list[str]:
        """Of those that somebody has taken up."""
        statuses = [incident.get("status", {}) for incident in self._incidents()]
        return [status["phase"] for status in statuses if "phase" in status]

    def _held(self) -> int:
        return sum(
            any(
                (each["type"], each["status"]) == ("Held", "True")
                for each in incident["status"]["conditions"]
            )
            for incident in self._incidents()
        )

    def _seen(self) -> str:
        return self.space("get", "aii", "-o", "wide")

    def _shapes(self) -> dict[str, str]:
        return {each["metadata"]["name"]: shape(each) for each in self.space.get("deployments")["items"]}


@dataclass(frozen=True)
class Failover:
    """From a fault to the successor's first writes."""

    led: float
    worked: float
    late: tuple[Write, ...]
    """What the old leader tried when it was one no longer: none of it was taken."""

    def __str__(self) -> str:
        times = f"leads after {self.led:.1f} s, works after {self.worked:.1f} s"
        return f"{times}; late writes of the old one, none taken: {len(self.late)}"


def failover(ground: Ground, fault: datetime, old: Replica, new: Replica) -> Failover:
    """What the audit log says of a change of leaders, once the new one has worked.

    No write of the old one was taken after the new one's first, which is that of the Lease.
    """
    ground.trail.catch_up()
    (first, *_), theirs = ground.trail.accepted_of(new.identity), ground.trail.accepted_of(old.identity)
    work = next(write for write in ground.trail.accepted_of(new.identity) if not write.of_the_lease)
    assert first.of_the_lease, first
    assert theirs, "the old leader never wrote: the log does not tell processes apart"
    overlapping = [str(write) for write in theirs if write.answered >= first.received]
    assert overlapping == [], f"two wrote; the new one since {first}"
    late = [each for each in ground.trail.writes if each.process == old.identity and each.stores]
    return Failover(
        (first.answered - fault).total_seconds(),
        (work.answered - fault).total_seconds(),
        tuple(each for each in late if each.received > first.received),
    )


def had(count: int, ground: Ground, load: Load, gone: Replica | None = None) -> None:
    """Each workload has had so many writes of operators, whichever.

    Of one that was under way when its sender was `gone` the audit log cannot tell whether it was taken: it
    may be the one that is missing. What has become of the workload is told by its incident, and its shape.
    """
    taken, unknown = dict.fromkeys(load.names, 0), dict.fromkeys(load.names, 0)
    for write in ground.trail.catch_up():
        assert write.process or not write.stores, f"nobody knows which operator: {write}"
        if (write.ref.resource, write.ref.namespace) == ("deployments", load.space.name):
            taken[write.ref.name] += write.accepted
            unknown[write.ref.name] += write.unknown and gone is not None and write.process == gone.identity
    wrong = {
        name: (taken[name], unknown[name])
        for name in load.names
        if not taken[name] <= count <= taken[name] + unknown[name]
    }
    assert wrong == {}, f"{count} to each; these had (taken, perhaps)"


def now() -> datetime:
    return datetime.now(UTC)
