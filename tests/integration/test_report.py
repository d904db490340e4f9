"""After the incident: one command, and there is a report that can be sent, filed and checked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stanch.reports.digest import digest_in
from tests.cluster import kubectl_of
from tests.operator_process import ROOT, eventually, fresh_space, install, running, workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox import Sandbox
    from tests.cluster import Kubectl, OwnSandbox
    from tests.operator_process import Json, OperatorProcess, Space

LLM = "Deployment/llm-chat"
RESOLUTION = {
    "determination": "Confirmed",
    "rootCause": "The filter of the retriever was off.",
    "lessons": {"wentWell": ["Nobody had to type anything."]},
    "actions": [{"what": "Test the filter", "owner": "retrieval team", "due": "2026-01-16"}],
}


@dataclass(frozen=True)
class Operated:
    """A cluster of its own: no other operator, which would keep no evidence, may lead there."""

    sandbox: Sandbox
    kubectl: Kubectl
    operator: OperatorProcess


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
        yield Operated(sandbox, kubectl, process)


@pytest.fixture
def space(operated: Operated) -> Iterator[Space]:
    """A namespace with a model server of two pods."""
    with fresh_space(operated.sandbox, operated.kubectl, operated.operator) as space:
        space.create(workload("Deployment", "llm-chat", 2))
        space.running("Deployment", "llm-chat", 2)
        yield space


@pytest.fixture
def viewer(operated: Operated, space: Space) -> Path:
    """The kubeconfig of somebody who may only look at incidents."""
    name = f"viewer-{space.name}"
    space("create", "rolebinding", name, "--clusterrole=stanch-viewer", f"--user={name}")
    space.until_allowed("get", "aii", f"--as={name}")
    return operated.sandbox.kubeconfig_for_user(name)


def report(space: Space, viewer: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "stanch",
        "report",
        "-n",
        space.name,
        f"--kubeconfig={viewer}",
        *arguments,
    ]
    said = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in said.stderr
    return said


def resolve(space: Space, name: str) -> None:
    space("patch", "aii", name, "--type=merge", "-p", json.dumps({"spec": {"resolution": RESOLUTION}}))


def collection(status: Json) -> Path:
    (record,) = status["evidence"]
    return Path(record["location"].removeprefix("file://"))


def test_what_is_closed_has_its_report_beside_the_evidence_anew_for_each_edit(
    space: Space, viewer: Path
) -> None:
    space.contain("toxic", LLM)
    resolve(space, "toxic")
    assert space.status("toxic")["phase"] == "Contained", "what was learnt gives nothing back"
    space.let_go("toxic")
    space.wait_phase("toxic", "Closed")
    space.wait_event("ReportStored")

    status = space.status("toxic")
    assert status["timestamps"]["closed"] >= status["timestamps"]["released"]
    forms = {Path(record["location"]).suffix: record for record in status["reports"]}
    assert set(forms) == {".json", ".md", ".html"}
    kept = Path(forms[".json"]["location"].removeprefix("file://"))
    assert kept.parent == collection(status).parent, "beside the evidence"
    assert report(space, viewer, "toxic", "--verify", str(kept)).returncode == 0
    assert json.loads(kept.read_text())["evidence"][0]["items"]

    better = {"spec": {"resolution": RESOLUTION | {"impact": "Nobody."}}}
    space("patch", "aii", "toxic", "--type=merge", "-p", json.dumps(better))

    def stored_anew() -> bool:
        return len(space.status("toxic")["reports"]) == 6

    eventually(stored_anew, "a second report is stored")
    assert kept.exists(), "the first one stays as it was"


def test_what_stays_condemned_for_good_is_reported_all_the_same(space: Space) -> None:
    space("set", "image", "deployment/llm-chat", "server=registry.example.test/llm:bad")
    space("rollout", "status", "deployment/llm-chat", "--timeout=60s")
    rollback = {"to": {"revision": 1}, "condemn": "Permanent"}
    space.contain("toxic", LLM, steps=[{"rollback": rollback}], resolution=RESOLUTION)
    space.let_go("toxic")
    space.wait_phase("toxic", "Closed")

    space.wait_event("ReportStored")

    assert "is condemned" in space.refused("run", "probe", "--image=registry.example.test/llm:bad")


def test_the_whole_story_is_reported_by_one_who_may_only_look(
    space: Space, viewer: Path, tmp_path: Path
) -> None:
    contained = space.contain("toxic", LLM, attacks=["AML.T0051.001"], tlp="TLP:AMBER")
    space.until_denied("held by", "scale", "deployment/llm-chat", "--replicas=2")
    space.release("toxic")
    resolve(space, "toxic")
    space.wait_phase("toxic", "Closed")

    said = report(space, viewer, "toxic")
    assert said.returncode == 0, said.stderr
    told = said.stdout
    assert told.startswith("# Toxic output above policy threshold\n")
    assert "**TLP:AMBER**" in told
    assert f"**{contained['containedIn']}** from detection" in told
    assert "replicas 2 → 0" in told
    assert "The filter of the retriever was off." in told
    assert "LLM Prompt Injection: Indirect" in told
    assert "| Test the filter | retrieval team | 2026-01-16 |" in told
    assert f"{contained['evidence'][0]['items']} items chained to {contained['evidence'][0]['head']}" in told
    assert "Given back on a person's word: recovery was not proven." in told
    assert "spec.resolution.impact" in said.stderr, "which nobody has written yet"
    assert "spec.resolution.rootCause" not in said.stderr

    page = tmp_path / "report.html"
    assert report(space, viewer, "toxic", "-o", "html", "--output", str(page)).returncode == 0
    assert '<h1 dir="auto">Toxic output above policy threshold</h1>' in page.read_text()
    data = tmp_path / "report.json"
    assert report(space, viewer, "toxic", "-o", "json", "--output", str(data)).returncode == 0
    made = json.loads(data.read_text())
    assert made["incident"]["uid"] == space.get("aii", "toxic")["metadata"]["uid"]
    assert [phase["phase"] for phase in made["phases"]][-3:] == ["Releasing", "Released", "Closed"]
    assert {item["result"] for item in made["evidence"][0]["items"]} == {"Unaltered"}
    assert digest_in(data.read_bytes()) == made["digest"]

    assert report(space, viewer, "--verify", str(data)).returncode == 0
    data.write_text(data.read_text().replace("The filter of the retriever", "Nothing"))
    forged = report(space, viewer, "--verify", str(data))
    assert forged.returncode == 1
    assert "it was altered" in forged.stdout


def first_entry(space: Space, name: str) -> Path:
    """Of the timeline, as a file; it is stored soon after it has happened."""

    def location() -> str:
        (record,) = (one for one in space.status(name)["deliveries"] if one["sink"] == "record")
        found: str = record.get("location", "")
        return found

    eventually(lambda: location() != "", "the timeline is in the store")
    return Path(location().removeprefix("file://")) / "000001.json"


def test_a_report_says_which_evidence_is_no_longer_what_it_was(space: Space, viewer: Path) -> None:
    status = space.contain("toxic", LLM)
    space.release("toxic")
    item = sorted(path for path in collection(status).iterdir() if path.name != "manifest.json")[1]
    item.write_bytes(item.read_bytes().replace(b"llm-chat", b"llm-chit"))
    entry = first_entry(space, "toxic")
    entry.unlink()

    said = report(space, viewer, "toxic", "-o", "json")

    assert said.returncode == 1
    assert f"was ALTERED: {item.name}: altered" in said.stderr
    assert f"was ALTERED: {entry.name}: missing" in said.stderr
    (found,) = json.loads(said.stdout)["evidence"]
    assert found["result"] == "Altered"
    assert [each["name"] for each in found["items"] if each["result"] != "Unaltered"] == [item.name]


def test_a_report_can_be_made_while_it_is_going_on_and_where_the_store_is_gone(
    space: Space, viewer: Path
) -> None:
    status = space.contain("toxic", LLM)
    collection(status).rename(collection(status).with_name("elsewhere"))

    said = report(space, viewer, "toxic")

    assert said.returncode == 0, said.stderr
    assert "evidence is not verified" in said.stderr
    assert "Not verified: file://" in said.stdout
    assert "| **Critical** OutputPolicyViolation | **Contained**" in said.stdout
    assert "**Yes** no contest seen" in said.stdout
    assert "Not given back yet." in said.stdout
    space.release("toxic")


def test_there_is_no_report_of_what_one_may_not_see_or_what_is_not_there(
    operated: Operated, space: Space, viewer: Path
) -> None:
    nobody = operated.sandbox.kubeconfig_for_user("nobody@example.test")
    for who, told in ((nobody, "forbidden"), (viewer, "AIIncident")):
        said = report(space, who, "absent")
        assert (said.returncode, said.stdout) == (2, "")
        assert told in said.stderr
        assert "no report was written" in said.stderr


def test_it_is_also_a_verb_of_kubectl(operated: Operated, space: Space, viewer: Path, tmp_path: Path) -> None:
    """As the package installs it: a program on the PATH whose name begins with `kubectl-`."""
    plugin = tmp_path / "kubectl-stanch"
    plugin.write_text(f'#!/bin/sh\nexec {sys.executable} -m stanch "$@"\n')
    plugin.chmod(0o755)
    space.incident("drill", LLM, mode="DryRun", exercise=True)
    space.wait_phase("drill", "Detected")

    said = subprocess.run(
        [operated.sandbox.kubectl, "stanch", "report", "drill", "-n", space.name],
        env={
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "operator"),
            "KUBECONFIG": str(viewer),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.returncode == 0, said.stderr
    assert "**Exercise**" in said.stdout
