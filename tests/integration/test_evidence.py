"""Evidence goes first: what a workload was and did is kept before it is contained, for anybody to check."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster import kubectl_of
from tests.operator_process import ROOT, condition, fresh_space, install, running, workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox import Sandbox
    from tests.cluster import Kubectl, OwnSandbox
    from tests.operator_process import Json, OperatorProcess, Space

LLM = "Deployment/llm-chat"


@dataclass(frozen=True)
class Operated:
    """A cluster of its own: no other operator, which would keep nothing, may lead there."""

    sandbox: Sandbox
    kubectl: Kubectl
    operator: OperatorProcess
    evidence: Path


@pytest.fixture(scope="module")
def operated(own_sandbox: OwnSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    directory = tmp_path_factory.mktemp("operated")
    sandbox = own_sandbox()
    kubectl = kubectl_of(sandbox, directory)
    install(kubectl)
    evidence = directory / "evidence"
    evidence.mkdir()
    environment = {"STANCH_EVIDENCE_URL": f"file://{evidence}"}
    with running(sandbox, directory / "operator.log", environment) as process:
        yield Operated(sandbox, kubectl, process, evidence)


@pytest.fixture
def space(operated: Operated) -> Iterator[Space]:
    """A namespace with a model server of two pods."""
    with fresh_space(operated.sandbox, operated.kubectl, operated.operator) as space:
        space.create(workload("Deployment", "llm-chat", 2))
        space.running("Deployment", "llm-chat", 2)
        yield space


def collection(status: Json) -> Path:
    """The directory that the incident says its evidence is in."""
    (record,) = status["evidence"]
    return Path(record["location"].removeprefix("file://"))


def kept(status: Json, kind: str) -> list[Json]:
    """The stored objects of one kind, as they were."""
    manifest = json.loads((collection(status) / "manifest.json").read_text())
    names = [item["name"] for item in manifest["items"] if item["kind"] == kind]
    return [json.loads((collection(status) / name).read_text()) for name in names]


def verify(operated: Operated, space: Space, name: str) -> subprocess.CompletedProcess[str]:
    """`stanch evidence verify`, by somebody who may only look at incidents."""
    viewer = f"viewer-{space.name}"
    grant = ("create", "rolebinding", viewer, "--clusterrole=stanch-viewer", f"--user={viewer}")
    space.kubectl("-n", space.name, *grant)
    kubeconfig = operated.sandbox.kubeconfig_for_user(viewer)
    space.until_allowed("get", "aii", name, f"--as={viewer}")
    command = [sys.executable, "-m", "stanch", "evidence", "verify", "-n", space.name, name]
    return subprocess.run(
        [*command, f"--kubeconfig={kubeconfig}"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.compatibility("evidence")
def test_what_was_is_kept_before_anything_is_changed(operated: Operated, space: Space) -> None:
    before = space.get("deployment", "llm-chat")
    pods = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in space.pods()}

    status = space.contain("toxic", LLM, severity="High")

    evidence, stop = status["steps"]
    assert [evidence["action"], stop["action"]] == ["CollectEvidence", "ScaleToZero"]
    assert evidence["effectiveAt"] <= stop["appliedAt"]
    (record,) = status["evidence"]
    assert collection(status).is_relative_to(operated.evidence / space.name)
    assert moment(record["collectedAt"]) <= moment(stop["appliedAt"])
    assert record["items"] == len(list(collection(status).iterdir())) - 1, "and a manifest"
    (deployment,) = kept(status, "deployment")
    assert deployment["metadata"]["uid"] == before["metadata"]["uid"]
    assert deployment["spec"] == before["spec"], "as it was, with its replicas"
    assert "stanch.dev/held" not in deployment["metadata"]["labels"]
    assert {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in kept(status, "pod")} == pods
    assert space.pods() == [], "which by now are gone"


def test_what_could_not_be_kept_is_told_and_stops_nothing(space: Space) -> None:
    """The pods of this cluster run on no machine, so that nobody has their logs."""
    status = space.contain("toxic", LLM)

    told = condition(status, "EvidenceCollected")
    assert (told["status"], told["reason"]) == ("False", "EvidenceIncomplete")
    (record,) = status["evidence"]
    assert record["complete"] is False
    assert len(record["missing"]) == 2
    assert all(line.startswith("log of Pod") for line in record["missing"]), record["missing"]
    assert "log of Pod" in space.describe("toxic")


def test_anybody_who_sees_the_incident_can_check_its_evidence(operated: Operated, space: Space) -> None:
    status = space.contain("toxic", LLM)
    said = verify(operated, space, "toxic")
    assert said.returncode == 0, said.stderr
    assert f"unaltered: {status['evidence'][0]['items']} items" in said.stdout
    assert "never collected: log of Pod" in said.stdout

    space.release("toxic")
    said = verify(operated, space, "toxic")
    assert said.returncode == 0, "the evidence outlasts the containment"

    first, second = sorted(path for path in collection(status).iterdir() if path.name != "manifest.json")[1:3]
    for path in (second, first):
        path.write_bytes(path.read_bytes().replace(b"llm-chat", b"llm-chit"))
    said = verify(operated, space, "toxic")
    assert said.returncode == 1
    assert f"ALTERED: the first altered item is {first.name}" in said.stdout
    assert "Traceback" not in said.stderr


def test_who_alters_the_manifest_too_is_found_out_by_the_incident(operated: Operated, space: Space) -> None:
    """Whoever can write to the store makes it all fit again, but cannot write the digest in the status."""
    first = space.contain("toxic", LLM)
    space.release("toxic")
    second = space.contain("again", LLM)
    ours, theirs = collection(first), collection(second)
    for path in ours.iterdir():
        path.unlink()
    for path in theirs.iterdir():
        (ours / path.name).write_bytes(path.read_bytes())

    said = verify(operated, space, "toxic")

    assert said.returncode == 1
    assert "ALTERED" in said.stdout
    assert verify(operated, space, "again").returncode == 0


def test_evidence_may_be_taken_later_than_first(space: Space) -> None:
    status = space.contain("toxic", LLM, steps=[{"scaleToZero": {}}, {"collectEvidence": {}}])

    assert [step["action"] for step in status["steps"]] == ["ScaleToZero", "CollectEvidence"]
    (deployment,) = kept(status, "deployment")
    assert deployment["spec"]["replicas"] == 0
    assert kept(status, "pod") == []


def test_evidence_alone_changes_nothing_and_is_not_called_containment(space: Space) -> None:
    before = space.get("deployment", "llm-chat")["metadata"]["resourceVersion"]
    space.incident("toxic", LLM, steps=[{"collectEvidence": {}}])

    status = space.wait_phase("toxic", "Detected")
    space.wait("aii/toxic", '{.status.conditions[?(@.type=="Ready")].status}', "True")

    assert condition(space.status("toxic"), "Contained")["status"] == "False"
    assert len(kept(space.status("toxic"), "pod")) == 2
    assert space.get("deployment", "llm-chat")["metadata"]["resourceVersion"] == before
    assert status["phase"] == "Detected"
    space.release("toxic")


@pytest.mark.parametrize(
    ("severity", "phase", "replicas"),
    [("Critical", "PartiallyContained", 0), ("High", "ContainmentFailed", 2)],
)
def test_a_store_that_takes_nothing_stops_only_what_is_not_critical(
    operated: Operated, space: Space, severity: str, phase: str, replicas: int
) -> None:
    (operated.evidence / space.name).write_text("a file, where a directory would have to be made")
    space.incident("toxic", LLM, severity=severity)

    status = space.wait_phase("toxic", phase)

    told = condition(status, "EvidenceCollected")
    assert (told["status"], told["reason"]) == ("False", "EvidenceNotStored")
    assert "no evidence was stored at file://" in told["message"]
    assert not status.get("evidence")
    assert space.get("deployment", "llm-chat")["spec"]["replicas"] == replicas
    assert [step["state"] for step in status["steps"]] == [
        "Ineffective",
        "Effective" if severity == "Critical" else "Skipped",
    ]
    space.release("toxic")
    assert space.get("deployment", "llm-chat")["spec"]["replicas"] == 2


@pytest.mark.long
def test_what_no_store_took_is_taken_once_it_does(operated: Operated, space: Space) -> None:
    """Of what is contained anyway, the evidence is late; what waited for it is contained after it."""
    in_the_way = operated.evidence / space.name
    in_the_way.write_text("a file, where a directory would have to be made")
    space.create(workload("Deployment", "embedder", 2))
    space.incident("toxic", LLM, severity="Critical")
    space.incident("leak", "Deployment/embedder", severity="High")
    space.wait_phase("toxic", "PartiallyContained")
    space.wait_phase("leak", "ContainmentFailed")
    in_the_way.unlink()

    for name in ("toxic", "leak"):
        status = space.wait_phase(name, "Contained", within=150)
        assert condition(status, "EvidenceCollected")["message"].startswith("late, taken at the try no. 2: ")
        (incident,) = kept(status, "aiincident")
        assert incident["metadata"]["name"] == name
        assert verify(operated, space, name).returncode == 0
        space.release(name)
    assert space.get("deployment", "embedder")["spec"]["replicas"] == 2
