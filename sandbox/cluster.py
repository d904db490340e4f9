"""A real Kubernetes control plane on one machine, without containers: see `Sandbox`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sandbox import binaries, components, kubeconfig, locks, pki, reaper, versions
from sandbox.api import Api
from sandbox.errors import SandboxError, StartError
from sandbox.node import programs
from sandbox.node.availability import require_real_node
from sandbox.node.network import Link
from sandbox.node.node import Control, RealNode
from sandbox.process import Identity, spawn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from sandbox.audit import AuditWebhook
    from sandbox.process import Component

_LOOPBACK = "127.0.0.1"
_START_TIMEOUT = 120.0  # seconds
_TOKEN_SECONDS = 10 * 365 * 24 * 3600


@dataclass(frozen=True)
class _State:
    """What it takes to look after the processes of a directory: written beside them as sandbox.json."""

    ports: components.Ports
    nodes: int
    detached: bool
    programs: dict[str, Path]
    audit_webhook: bool = False
    apiserver_flags: tuple[str, ...] = field(default=())
    link: int | None = None  # of the real node, when there is one

    def write(self, path: Path) -> None:
        content: dict[str, Any] = {**asdict(self), "programs": {k: str(v) for k, v in self.programs.items()}}
        path.write_text(json.dumps(content, indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> _State:
        content = json.loads(path.read_text())
        return cls(
            ports=components.Ports(**content["ports"]),
            nodes=content["nodes"],
            detached=content["detached"],
            programs={part: Path(program) for part, program in content["programs"].items()},
            audit_webhook=content["audit_webhook"],
            apiserver_flags=tuple(content["apiserver_flags"]),
            link=content["link"],
        )


class Sandbox:
    """etcd, kube-apiserver, kube-controller-manager, kube-scheduler and KWOK as processes on the loopback.

    RBAC, the default admission plugins and an audit log are on. Nodes and pods are KWOK's: pods are
    scheduled, become Ready and go away, and no container runs (config/kwok.yaml has the annotations that
    make one misbehave). Everything is below one directory.

    Each part can be stopped, killed and started again. After half a minute without an API server the
    real controllers take up to another minute to look again (client-go backs off): restart
    `controller_manager`, `scheduler` and `kwok` where a test is not about that.
    """

    def __init__(self, directory: Path, state: _State) -> None:
        self.directory = directory.absolute()
        self.layout = components.Layout(self.directory)
        self.ports = state.ports
        self._state = state
        self._user: int | None = None  # file descriptor that keeps the reaper waiting
        self._reaper: Identity | None = None
        authority = self.layout.pki
        admin = pki.KeyPair(authority / "admin.crt", authority / "admin.key")
        self.api = Api(state.ports.apiserver, self.ca_file, admin)
        self.node = _real_node(self.layout, state, self.api)
        plan = components.Blueprint(self.layout, state.programs, state.ports, self.api)
        self.etcd = plan.etcd()
        self.apiserver = plan.apiserver(
            audit_webhook=state.audit_webhook,
            extra=state.apiserver_flags,
            own=self.node.apiserver_flags if self.node else {},
        )
        self.controller_manager = plan.controller_manager()
        self.scheduler = plan.scheduler()
        self.kwok = plan.kwok(all_nodes=self.node is None)

    @classmethod
    def start(  # noqa: PLR0913 - each is a choice of its own, and has a default
        cls,
        directory: Path,
        *,
        nodes: int = 2,
        audit_webhook: AuditWebhook | None = None,
        apiserver_flags: Sequence[str] = (),
        detached: bool = False,
        real_node: bool | None = None,
    ) -> Self:
        """Start a new one in `directory`, or what has ended of the one that is there.

        It ends with `stop`, or by itself when every process that uses it has ended, however that went;
        a `detached` one stays until `stop` or `python -m sandbox down`. `apiserver_flags` (`--name=value`)
        come last and so win. `real_node` adds one to KWOK's; None leaves that to SANDBOX_NODE (`real` or
        `kwok`, the default). All of these are for a new one; what is there keeps what it was made with.

        Raises:
            SandboxError: a program is to be had nowhere.
            StartError: a part did not come up; the message ends with its log.
        """
        layout = components.Layout(directory.absolute())
        layout.root.mkdir(parents=True, exist_ok=True)
        sandbox: Self | None = None
        try:
            with locks.exclusive(layout.lock):
                if not layout.state.exists():
                    found = dict(binaries.find().paths)
                    link: Link | None = None
                    if _real_node_wanted() if real_node is None else real_node:
                        require_real_node()
                        found |= programs.find().paths
                        link = Link.free()
                    state = _State(
                        components.Ports.free(),
                        nodes,
                        detached,
                        found,
                        audit_webhook is not None,
                        tuple(apiserver_flags),
                        link.number if link else None,
                    )
                    _prepare(layout, state, audit_webhook)
                    state.write(layout.state)
                sandbox = cls(directory, _State.read(layout.state))
                sandbox._register()
                sandbox._launch()
        except BaseException:
            if sandbox is not None:
                sandbox.stop()
            raise
        return sandbox

    @classmethod
    def attach(cls, directory: Path) -> Self | None:
        """The sandbox of this directory, whether or not its processes run; None when there is none."""
        state = components.Layout(directory.absolute()).state
        return cls(directory, _State.read(state)) if state.exists() else None

    def stop(self) -> None:
        """End every process, whoever else uses them; the files stay, and `start` goes on from there."""
        self._users.unlink(missing_ok=True)
        self.leave()
        reaper.end(self.directory)

    def leave(self) -> None:
        """Use it no longer: unless it is detached it ends, data and all, when nobody else does."""
        if self._user is not None:
            os.close(self._user)
            self._user = None

    def wait_end(self, timeout: float = 30.0) -> None:
        """After `leave` by its only user: return when it has ended.

        Raises:
            SandboxError: it still runs, `timeout` seconds later.
        """
        deadline = time.monotonic() + timeout
        while self._users.exists() or (self._reaper is not None and self._reaper.alive()):
            if time.monotonic() > deadline:
                raise SandboxError(
                    f"the sandbox in {self.directory} still runs {timeout:g} s after it was left"
                )
            time.sleep(0.02)

    def remove(self) -> None:
        """Stop, and delete what the sandbox put into its directory."""
        self.stop()
        for path in self.layout.made:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def parts(self) -> tuple[Component, ...]:
        own = (self.etcd, self.apiserver, self.controller_manager, self.scheduler, self.kwok)
        return (*own, *self.node.parts) if self.node else own

    @property
    def _users(self) -> Path:
        return self.directory / "run" / "users"

    @property
    def server(self) -> str:
        return f"https://{_LOOPBACK}:{self.ports.apiserver}"

    @property
    def ca_file(self) -> Path:
        return self.layout.pki / "ca.crt"

    @property
    def audit_log(self) -> Path:
        return self.layout.audit_log

    @property
    def admin_kubeconfig(self) -> Path:
        return self.layout.admin_kubeconfig

    @property
    def kubectl(self) -> Path:
        return self._state.programs[versions.KUBECTL]

    def kubeconfig_for_service_account(self, namespace: str, name: str, *, server: str | None = None) -> Path:
        """A token of this ServiceAccount, which has to exist; `server` for a proxy before the API server.

        Raises:
            SandboxError: the server gave no token.
        """
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
        answer = self.api.create(
            f"/api/v1/namespaces/{quote(namespace, safe='')}/serviceaccounts/{quote(name, safe='')}/token",
            {**request, "spec": {"expirationSeconds": _TOKEN_SECONDS}},
        )
        path = self.layout.kubeconfigs / _file_name("sa", namespace, name, server or "")
        return kubeconfig.with_token(
            path,
            self._server(server),
            f"system:serviceaccount:{namespace}:{name}",
            answer["status"]["token"],
            namespace,
        )

    def kubeconfig_for_user(
        self, name: str, groups: Sequence[str] = (), *, server: str | None = None
    ) -> Path:
        """A client certificate that makes its bearer the user `name` in `groups`."""
        path = self.layout.kubeconfigs / _file_name("user", name, *groups, server or "")
        with locks.exclusive(self.layout.lock):
            if not path.exists():
                pair = pki.Authority.at(self.layout.pki, "sandbox").client(f"user-{path.name}", name, groups)
                kubeconfig.with_certificate(path, self._server(server), name, pair)
        return path

    def server_certificate(self, name: str, *names: str) -> pki.KeyPair:
        """For a server of a test at localhost, 127.0.0.1 and `names`; `ca_file` vouches for it."""
        with locks.exclusive(self.layout.lock):
            authority = pki.Authority.at(self.layout.pki, "sandbox")
            return authority.server(name, ["localhost", *names], [_LOOPBACK])

    def wait_ready(self, timeout: float = _START_TIMEOUT) -> None:
        """Return when every part answers and a pod could be created and scheduled."""
        for part in self.parts:
            part.wait_ready(timeout)
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        deadline = time.monotonic() + timeout
        while not self.api.answers(account):
            if time.monotonic() > deadline:
                raise StartError(f"no {account} after {timeout:g} s: see {self.controller_manager.log}")
            time.sleep(0.05)

    def _server(self, override: str | None) -> kubeconfig.Server:
        url = override or self.server
        return kubeconfig.Server(url, self.ca_file if url.startswith("https:") else None)

    def _launch(self) -> None:
        self.etcd.launch()
        self.apiserver.launch()
        self.apiserver.wait_ready(_START_TIMEOUT)
        for part in (self.controller_manager, self.scheduler, self.kwok):
            part.launch()
        for number in range(self._state.nodes):
            self.api.create("/api/v1/nodes", _node(number))
        if self.node is not None:
            self.node.launch()
        self.wait_ready()

    def _register(self) -> None:
        """Keep the sandbox alive as long as this process is; start the reaper when this is the first user."""
        if self._state.detached or self._join():
            return
        self._users.parent.mkdir(parents=True, exist_ok=True)
        self._users.unlink(missing_ok=True)
        os.mkfifo(self._users)
        log = self.directory / "logs" / "reaper.log"
        self._reaper = spawn([sys.executable, "-I", reaper.__file__, str(self.directory)], log, {})
        deadline = time.monotonic() + _START_TIMEOUT
        while not self._join():
            if self._reaper is None or not self._reaper.alive() or time.monotonic() > deadline:
                raise StartError(
                    f"the process that ends the sandbox after its users did not start: see {log}"
                )
            time.sleep(0.01)

    def _join(self) -> bool:
        """Open the writing end of the users' FIFO; False when nobody reads it."""
        with contextlib.suppress(OSError):
            self._user = os.open(self._users, os.O_WRONLY | os.O_NONBLOCK)
        return self._user is not None


def _real_node_wanted() -> bool:
    chosen = os.environ.get("SANDBOX_NODE") or "kwok"
    if chosen not in ("kwok", "real"):
        raise SandboxError(f"SANDBOX_NODE is {chosen!r}: set it to `real`, or to `kwok` (the default)")
    return chosen == "real"


def _real_node(layout: components.Layout, state: _State, admin: Api) -> RealNode | None:
    if state.link is None:
        return None
    built = programs.Programs.among(state.programs)
    return RealNode(layout.root, Link(state.link), built, Control(admin, state.ports.apiserver, layout.pki))


def _prepare(layout: components.Layout, state: _State, webhook: AuditWebhook | None) -> None:
    """Keys, certificates and kubeconfigs of a new sandbox."""
    authority = pki.Authority.at(layout.pki, "sandbox")
    names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    addresses = [_LOOPBACK, "10.96.0.1", *([] if state.link is None else [str(Link(state.link).host)])]
    authority.server("apiserver", names, addresses)
    pki.signing_key(layout.pki / "service-accounts.key")
    pki.Authority.at(layout.pki / "front-proxy", "front-proxy").client("front-proxy", "front-proxy")
    server = kubeconfig.Server(f"https://{_LOOPBACK}:{state.ports.apiserver}", layout.pki / "ca.crt")
    admin = authority.client("admin", "sandbox:admin", ["system:masters"])
    kubeconfig.with_certificate(layout.admin_kubeconfig, server, "sandbox:admin", admin)
    for name, user, groups in (
        ("controller-manager", "system:kube-controller-manager", []),
        ("scheduler", "system:kube-scheduler", []),
        ("kwok", "sandbox:kwok", ["system:masters"]),
    ):
        pair = authority.client(name, user, groups)
        kubeconfig.with_certificate(layout.pki / f"{name}.kubeconfig", server, user, pair)
    node = _real_node(layout, state, Api(state.ports.apiserver, authority.pair.certificate, admin))
    if node is not None:
        node.prepare()
    if webhook is not None:
        receiver = kubeconfig.Server(webhook.url, webhook.ca_file)
        kubeconfig.with_token(layout.audit_webhook, receiver, "kube-apiserver", webhook.token)


def _node(number: int) -> dict[str, Any]:
    name = f"node-{number}"
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "type": "kwok"}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def _file_name(kind: str, *parts: str) -> str:
    return f"{kind}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]}"
