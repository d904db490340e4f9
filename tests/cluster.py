"""The cluster the tests run against, and kubectl to speak to it: a pytest plugin named in conftest.py.

`--cluster=sandbox` (the default) starts our own control plane, one for each pytest-xdist worker;
`--cluster=kind` a kind cluster, which all of them share. Each test has a namespace of its own. A cluster that
does not start is an error, never a skip.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest
import yaml

from sandbox import Sandbox
from sandbox.locks import exclusive
from tests import kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sandbox import AuditWebhook

_KUBECTL_TIMEOUT = 120.0  # seconds


class Cluster(Protocol):
    """What both kinds of cluster offer. Faults are injected only into sandboxes: see `own_sandbox`."""

    @property
    def server(self) -> str: ...
    @property
    def ca_file(self) -> Path: ...
    @property
    def admin_kubeconfig(self) -> Path: ...
    @property
    def kubectl(self) -> Path: ...
    def kubeconfig_for_service_account(
        self, namespace: str, name: str, *, server: str | None = None
    ) -> Path: ...
    def kubeconfig_for_user(
        self, name: str, groups: Sequence[str] = (), *, server: str | None = None
    ) -> Path: ...


@dataclass(frozen=True)
class Said:
    """What a command printed and how it ended."""

    returncode: int
    stdout: str
    stderr: str


class Kubectl(Protocol):
    def __call__(
        self, *arguments: str, as_: Path | None = None, stdin: str | None = None, check: bool = False
    ) -> Said:
        """Run the real kubectl as `as_` (a kubeconfig; the administrator's when None).

        Raises:
            AssertionError: with `check`, when it did not end with 0; the message has what it printed.
        """


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cluster",
        choices=["sandbox", "kind"],
        default="sandbox",
        help="what the tests run against: our own control plane (no containers), or kind (needs an engine)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("cluster") == "kind":
        problem = kind.missing_engine()
        if problem is not None:
            raise pytest.UsageError(problem)


@pytest.fixture(scope="session")
def run_directory(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of this run. Workers of pytest-xdist share one kind cluster; sandboxes are cheap, and with
    one of its own a worker runs its modules as if they were alone.
    """
    base = tmp_path_factory.getbasetemp()
    shared = "PYTEST_XDIST_WORKER" in os.environ and pytestconfig.getoption("cluster") == "kind"
    return base.parent if shared else base


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config, run_directory: Path) -> Iterator[Cluster]:
    """The one cluster of the run. Do not stop its parts: other tests use it at the same time."""
    directory = run_directory / "cluster"
    if pytestconfig.getoption("cluster") == "kind":
        yield from kind.running(pytestconfig, directory)
        return
    sandbox = Sandbox.start(directory)
    yield sandbox
    sandbox.leave()
    sandbox.wait_end()


@pytest.fixture(scope="session")
def once(kubectl: Kubectl, run_directory: Path) -> Callable[[str, Callable[[], None]], None]:
    """`once(name, do)`: `do` runs one time for this cluster, by whatever worker comes first; others wait."""

    def run(name: str, do: Callable[[], None]) -> None:
        identity = kubectl(
            "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}", check=True
        ).stdout
        done = run_directory / f"once-{name}-{identity}"
        with exclusive(run_directory / f"once-{name}.lock"):
            if not done.exists():
                do()
                done.touch()

    return run


class OwnSandbox(Protocol):
    def __call__(
        self,
        *,
        nodes: int = 2,
        audit_webhook: AuditWebhook | None = None,
        apiserver_flags: Sequence[str] = (),
        directory: Path | None = None,
    ) -> Sandbox: ...


@pytest.fixture(scope="module")
def own_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnSandbox]:
    """Starts sandboxes for this module alone, whose parts it may stop and kill; a few seconds each."""
    started: list[Sandbox] = []

    def start(
        *,
        nodes: int = 2,
        audit_webhook: AuditWebhook | None = None,
        apiserver_flags: Sequence[str] = (),
        directory: Path | None = None,
    ) -> Sandbox:
        sandbox = Sandbox.start(
            directory or tmp_path_factory.mktemp("sandbox"),
            nodes=nodes,
            audit_webhook=audit_webhook,
            apiserver_flags=apiserver_flags,
        )
        started.append(sandbox)
        return sandbox

    yield start
    for sandbox in started:
        sandbox.leave()
    for sandbox in started:
        sandbox.wait_end()


@pytest.fixture(scope="session")
def admin_kubeconfig(cluster: Cluster) -> Path:
    return cluster.admin_kubeconfig


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    return kubectl_of(cluster, tmp_path_factory.mktemp("kubectl"))


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A fresh one, with its default ServiceAccount, deleted afterwards without waiting."""
    name = f"test-{secrets.token_hex(5)}"
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": name},
    }
    own = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    # Server-side: the ServiceAccount controller makes the account too, and whoever is second has to succeed.
    kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all([own, account]), check=True)
    yield name
    kubectl("delete", "namespace", name, "--wait=false", check=True)


def kubectl_of(cluster: Cluster, home: Path) -> Kubectl:
    """kubectl for a cluster; its caches and the user's own settings are kept apart in `home`."""
    environment = {**os.environ, "HOME": str(home), "KUBECACHEDIR": str(home / "cache")}

    def run(*arguments: str, as_: Path | None = None, stdin: str | None = None, check: bool = False) -> Said:
        done = subprocess.run(
            [cluster.kubectl, *arguments],
            env={**environment, "KUBECONFIG": str(as_ or cluster.admin_kubeconfig)},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_KUBECTL_TIMEOUT,
            check=False,
        )
        said = Said(done.returncode, done.stdout, done.stderr)
        assert not check or said.returncode == 0, (
            f"kubectl {' '.join(arguments)} ended with {said.returncode}:\n{said.stderr}{said.stdout}"
        )
        return said

    return run
