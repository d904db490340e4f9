"""The parts of the control plane as processes: the arguments of each, and how it says that it is ready."""

from __future__ import annotations

import os
import socket
import tempfile
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox import api, versions
from sandbox.errors import SandboxError
from sandbox.locks import exclusive
from sandbox.process import Component

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_CONFIG = Path(__file__).parent / "config"
_LOOPBACK = "127.0.0.1"

# Below the range the kernel takes outgoing ports from, so that nothing takes the API server's port while
# a test has it stopped.
_PORTS = range(20000, 32000)


@dataclass(frozen=True)
class Ports:
    etcd: int
    etcd_peer: int
    apiserver: int
    controller_manager: int
    scheduler: int
    kwok: int

    @classmethod
    def free(cls) -> Ports:
        return cls(*free_ports(6))


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on, all different.

    Each call goes on where the last one of this user ended, in whatever process: nobody listens yet on a port
    that was just given out, and were it given to two sandboxes, both API servers would use the etcd of one.
    """
    record = Path(tempfile.gettempdir()) / f"stanch-ports-{os.getuid()}"
    with exclusive(record), record.open("r+") as last:
        begin = int(last.read() or _PORTS.start)
        found = list(islice(filter(_is_free, chain(range(begin + 1, _PORTS.stop), _PORTS)), count))
        if len(set(found)) < count:
            raise SandboxError(
                f"fewer than {count} free ports between {_PORTS.start} and {_PORTS.stop}: close some servers"
            )
        last.seek(0)
        last.write(str(found[-1]))
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        try:
            candidate.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True


@dataclass(frozen=True)
class Layout:
    """Where things are below the sandbox's directory."""

    root: Path

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def kubeconfigs(self) -> Path:
        return self.root / "kubeconfigs"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        return self.root / "audit.log"

    @property
    def audit_webhook(self) -> Path:
        return self.pki / "audit-webhook.kubeconfig"

    @property
    def state(self) -> Path:
        return self.root / "sandbox.json"

    @property
    def lock(self) -> Path:
        """Held while the sandbox is started, joined, or ended for want of users."""
        return self.root / "lock"

    @property
    def made(self) -> tuple[Path, ...]:
        """Everything the sandbox puts into its directory."""
        directories = (
            self.pki,
            self.kubeconfigs,
            *(self.root / name for name in ("etcd", "logs", "run", "node")),
        )
        return (*directories, self.admin_kubeconfig, self.audit_log, self.state)


@dataclass(frozen=True)
class Blueprint:
    """What every part of one sandbox is made from; `admin` may ask the API server whether it is ready."""

    layout: Layout
    programs: Mapping[str, Path]
    ports: Ports
    admin: api.Api

    def etcd(self) -> Component:
        client = f"http://{_LOOPBACK}:{self.ports.etcd}"
        peer = f"http://{_LOOPBACK}:{self.ports.etcd_peer}"
        flags = {
            "name": "sandbox",
            "data-dir": self.layout.root / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"sandbox={peer}",
            "unsafe-no-fsync": "true",  # survives every crash but the machine's, and tests wait for no disk
            "quota-backend-bytes": 8 * 2**30,
            "log-level": "warn",
        }
        return self._component(
            versions.ETCD, flags, ready=lambda: api.plain_answers(self.ports.etcd, "/health")
        )

    def apiserver(self, *, audit_webhook: bool, extra: Sequence[str], own: Mapping[str, object]) -> Component:
        """`own` replaces flags of ours; `extra` comes last, as the user wrote it."""
        pki = self.layout.pki
        flags: dict[str, object] = {
            "etcd-servers": f"http://{_LOOPBACK}:{self.ports.etcd}",
            "bind-address": _LOOPBACK,
            "advertise-address": _LOOPBACK,
            "secure-port": self.ports.apiserver,
            "endpoint-reconciler-type": "none",  # Endpoints refuse loopback addresses
            "tls-cert-file": pki / "apiserver.crt",
            "tls-private-key-file": pki / "apiserver.key",
            "client-ca-file": pki / "ca.crt",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": pki / "service-accounts.key",
            "service-account-signing-key-file": pki / "service-accounts.key",
            "service-cluster-ip-range": "10.96.0.0/16",
            "authorization-mode": "RBAC",
            "allow-privileged": "true",
            # The aggregation layer, so that a test can stand in for metrics.k8s.io.
            "requestheader-client-ca-file": pki / "front-proxy" / "ca.crt",
            "requestheader-allowed-names": "front-proxy",
            "requestheader-username-headers": "X-Remote-User",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
            "proxy-client-cert-file": pki / "front-proxy" / "front-proxy.crt",
            "proxy-client-key-file": pki / "front-proxy" / "front-proxy.key",
            "audit-policy-file": _CONFIG / "audit-policy.yaml",
            "audit-log-path": self.layout.audit_log,
            "audit-log-mode": "blocking",  # written before the caller is answered
            "profiling": "false",
        }
        if audit_webhook:
            flags |= {
                "audit-webhook-config-file": self.layout.audit_webhook,
                "audit-webhook-mode": "batch",
                "audit-webhook-batch-max-wait": "200ms",
                "audit-webhook-initial-backoff": "200ms",
            }
        flags |= own
        return self._component(
            versions.APISERVER, flags, extra=extra, ready=lambda: self.admin.answers("/readyz")
        )

    def controller_manager(self) -> Component:
        kubeconfig = self.layout.pki / "controller-manager.kubeconfig"
        flags = {
            **_client_flags(kubeconfig, self.ports.controller_manager),
            "use-service-account-credentials": "true",
            # Each controller asks for a token of its own: at the default rate that alone takes five seconds.
            "kube-api-qps": 500,
            "kube-api-burst": 1000,
            "service-account-private-key-file": self.layout.pki / "service-accounts.key",
            "root-ca-file": self.layout.pki / "ca.crt",
            "horizontal-pod-autoscaler-sync-period": "2s",
            "horizontal-pod-autoscaler-initial-readiness-delay": "0s",
            "horizontal-pod-autoscaler-cpu-initialization-period": "0s",
            # An API server that is away for a while is something to test, not a reason to evict pods.
            "node-monitor-grace-period": "24h",
        }
        return self._component(
            versions.CONTROLLER_MANAGER,
            flags,
            ready=lambda: api.tls_answers(self.ports.controller_manager, "/healthz"),
        )

    def scheduler(self) -> Component:
        flags = _client_flags(self.layout.pki / "scheduler.kubeconfig", self.ports.scheduler)
        return self._component(
            versions.SCHEDULER, flags, ready=lambda: api.tls_answers(self.ports.scheduler, "/healthz")
        )

    def kwok(self, *, all_nodes: bool) -> Component:
        chosen = (
            {"manage-all-nodes": "true"} if all_nodes else {"manage-nodes-with-label-selector": "type=kwok"}
        )
        flags = {
            "kubeconfig": self.layout.pki / "kwok.kubeconfig",
            "config": _CONFIG / "kwok.yaml",
            **chosen,
            "cidr": "10.0.0.1/16",
            "node-ip": "10.0.0.1",
            "node-lease-duration-seconds": 40,
            "server-address": f"{_LOOPBACK}:{self.ports.kwok}",
        }
        # An empty home: kwok also reads a configuration from there.
        return self._component(
            versions.KWOK,
            flags,
            ready=lambda: api.plain_answers(self.ports.kwok, "/healthz"),
            environment={"HOME": str(self.layout.pki)},
        )

    def _component(
        self,
        part: str,
        flags: Mapping[str, object],
        *,
        ready: Callable[[], bool],
        extra: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Component:
        command = [str(self.programs[part]), *(f"--{flag}={value}" for flag, value in flags.items()), *extra]
        return Component(part, command, self.layout.root, ready, environment or {})


def _client_flags(kubeconfig: Path, port: int) -> dict[str, object]:
    return {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "bind-address": _LOOPBACK,
        "secure-port": port,
        "leader-elect": "false",
        "profiling": "false",
    }
