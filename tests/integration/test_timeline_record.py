"""The whole timeline is in the evidence store, and what is altered there is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster import kubectl_of
from tests.operator_process import ROOT, eventually, fresh_space, install, running, workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster import OwnSandbox
    from tests.operator_process import Json, Space

pytestmark = pytest.mark.long


@pytest.fixture
def kept(own_sandbox: OwnSandbox, tmp_path: Path) -> Iterator[tuple[Space, str]]:
    """A namespace with a model server, an operator that has a store, and a kubeconfig to look with."""
    sandbox = own_sandbox()
    kubectl = kubectl_of(sandbox, tmp_path)
    install(kubectl)
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    environment = {"STANCH_EVIDENCE_URL": f"file://{evidence}"}
    with (
        running(sandbox, tmp_path / "operator.log", environment) as process,
        fresh_space(sandbox, kubectl, process) as space,
    ):
        space.create(workload("Deployment", "llm-chat", 2))
        space.running("Deployment", "llm-chat", 2)
        viewer = f"viewer-{space.name}"
        space("create", "rolebinding", viewer, "--clusterrole=stanch-viewer", f"--user={viewer}")
        space.until_allowed("get", "aii", f"--as={viewer}")
        yield space, str(sandbox.kubeconfig_for_user(viewer))


def verify(space: Space, kubeconfig: str) -> subprocess.CompletedProcess[str]:
    verb = [sys.executable, "-m", "stanch", "evidence", "verify", "toxic", "-n", space.name]
    return subprocess.run(
        [*verb, f"--kubeconfig={kubeconfig}"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def record(status: Json) -> Json:
    found: list[Json] = [one for one in status.get("deliveries", []) if one["sink"] == "record"]
    return found[0] if found else {}


def test_every_entry_is_kept_and_one_that_is_altered_is_named(kept: tuple[Space, str]) -> None:
    space, kubeconfig = kept
    space.contain("toxic", "Deployment/llm-chat")
    space.release("toxic")

    def all_kept() -> bool:
        status = space.status("toxic")
        return bool(record(status).get("through") == status["timeline"][-1]["seq"])

    eventually(all_kept, "the last entry is in the store")
    status = space.status("toxic")
    folder = Path(record(status)["location"].removeprefix("file://"))
    seqs = [int(path.stem) for path in sorted(folder.glob("*.json"))]
    assert seqs == list(range(1, status["timeline"][-1]["seq"] + 1))
    said = verify(space, kubeconfig)
    assert said.returncode == 0, said.stdout + said.stderr

    (folder / "000002.json").write_bytes((folder / "000002.json").read_bytes().replace(b"stanch", b"nobody"))

    said = verify(space, kubeconfig)
    assert said.returncode == 1
    assert "000002.json" in said.stdout
