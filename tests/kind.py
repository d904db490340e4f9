"""kind as the cluster of the tests, by pytest-kind, with the installed kind and kubectl where there are."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pytest_kind.cluster import KindCluster

from sandbox.locks import exclusive

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pytest

_NAME = "stanch-tests"
_ENGINES = ("docker", "podman", "nerdctl")
_TOKEN_DURATION = "48h"


def missing_engine() -> str | None:
    """Why kind cannot run here, or None when a container engine answers."""
    for engine in _ENGINES:
        command = shutil.which(engine)
        if command is None:
            continue
        try:
            answer = subprocess.run([command, "info"], capture_output=True, timeout=20, check=False)
        except subprocess.TimeoutExpired:
            continue
        if answer.returncode == 0:
            return None
    return (
        f"--cluster=kind needs a running container engine, and none of {', '.join(_ENGINES)} answers `info` "
        "here: no test was run. Start one, or leave the option out: the sandbox needs no containers."
    )


def running(config: pytest.Config, directory: Path) -> Iterator[Kind]:
    """The kind cluster of the run; deleted at its end unless --keep-cluster, or other workers may use it."""
    directory.mkdir(parents=True, exist_ok=True)
    with exclusive(directory / "lock"):
        cluster = KindCluster(
            _NAME,
            directory / "kubeconfig",
            image=config.getoption("kind_image"),
            kind_path=_installed(config, "kind_bin", "kind"),
            kubectl_path=_installed(config, "kind_kubectl_bin", "kubectl"),
        )
        cluster.ensure_kubectl()
        cluster.create()
    yield Kind.of(cluster, directory)
    if not config.getoption("keep_cluster") and "PYTEST_XDIST_WORKER" not in os.environ:
        cluster.delete()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Workers leave the cluster to the process that started them."""
    config = session.config
    controller = config.getoption("dist", "no") != "no" and "PYTEST_XDIST_WORKER" not in os.environ
    if config.getoption("cluster") == "kind" and controller and not config.getoption("keep_cluster"):
        KindCluster(_NAME, kind_path=_installed(config, "kind_bin", "kind")).delete()


def _installed(config: pytest.Config, option: str, command: str) -> Path | None:
    """The option's value, else what is installed; None makes pytest-kind fetch its own."""
    found = config.getoption(option) or shutil.which(command)
    return Path(found) if found else None


@dataclass(frozen=True)
class Kind:
    """A kind cluster as `tests.cluster.Cluster`."""

    admin_kubeconfig: Path
    kubectl: Path
    server: str
    ca_file: Path
    directory: Path

    @classmethod
    def of(cls, cluster: KindCluster, directory: Path) -> Kind:
        admin = Path(cluster.kubeconfig_path)
        entry = yaml.safe_load(admin.read_text())["clusters"][0]["cluster"]
        ca_file = directory / "ca.crt"
        ca_file.write_bytes(base64.b64decode(entry["certificate-authority-data"]))
        return cls(admin, Path(cluster.kubectl_path).absolute(), entry["server"], ca_file, directory)

    def kubeconfig_for_service_account(self, namespace: str, name: str, *, server: str | None = None) -> Path:
        command = [str(self.kubectl), f"--kubeconfig={self.admin_kubeconfig}", "-n", namespace]
        token = subprocess.run(
            [*command, "create", "token", name, f"--duration={_TOKEN_DURATION}"],
            capture_output=True,
            text=True,
            check=True,
        )
        return self._write(["sa", namespace, name], {"token": token.stdout.strip()}, server)

    def kubeconfig_for_user(
        self, name: str, groups: Sequence[str] = (), *, server: str | None = None
    ) -> Path:
        """The administrator impersonating the user: kind keeps its authority's key inside its node."""
        admin = yaml.safe_load(self.admin_kubeconfig.read_text())["users"][0]["user"]
        return self._write(["user", name, *groups], {**admin, "as": name, "as-groups": list(groups)}, server)

    def _write(self, key: Sequence[str], user: dict[str, Any], server: str | None) -> Path:
        content = yaml.safe_load(self.admin_kubeconfig.read_text())
        content["users"][0]["user"] = user
        cluster = content["clusters"][0]["cluster"]
        cluster["server"] = server or cluster["server"]
        if cluster["server"].startswith("http:"):
            del cluster["certificate-authority-data"]
        digest = hashlib.sha256(json.dumps([*key, server]).encode()).hexdigest()[:20]
        path = self.directory / f"kubeconfig-{digest}"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(content))
        return path
