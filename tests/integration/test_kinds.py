"""Every kind of workload with every action: contains it, or refuses with the reason. The table in the docs.

What the engine itself answers to dry runs is compared with docs/reference/kinds.md, or written there when the
environment has STANCH_WRITE_KINDS.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stanch.actions.registry import ACTIONS
from stanch.api.v1alpha1.incident import TargetKind
from stanch.api.v1alpha1.steps import Step, StepMember
from tests.integration.poisoned import HUB
from tests.operator_process import Json, eventually, operator, workload, workspace

if TYPE_CHECKING:
    from tests.operator_process import Space

pytestmark = pytest.mark.long

__all__ = ["operator", "workspace"]  # fixtures

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/kinds.md"
NEEDED: dict[str, Json] = {"rollback": {"to": {"lastKnownGood": True}}}
"""What a step has to say beside the names of pods; the others stand for themselves."""
APPS, BATCH = "apps/v1", "batch/v1"


@dataclass(frozen=True)
class Row:
    """A target, and how the page calls it."""

    kind: str
    name: str
    called: str

    @property
    def target(self) -> Json:
        group = BATCH if self.kind in {"Job", "CronJob"} else APPS
        return {"apiVersion": group, "kind": self.kind, "name": self.name}


@dataclass(frozen=True)
class Cell:
    """What the engine answered."""

    refused: str
    says: str

    @property
    def brief(self) -> str:
        return f"`{self.refused}`" if self.refused else "contains" if self.says else "observes"


def members() -> dict[str, str]:
    """The member of the step union that asks for each action."""
    found = {}
    for name, field in Step.model_fields.items():
        for type_ in getattr(field.annotation, "__args__", ()):
            if isinstance(type_, type) and issubclass(type_, StepMember):
                found[type_.action] = field.alias or name
    return found


def job_spec(name: str) -> Json:
    container = {"name": "train", "image": f"{HUB}:1"}
    pod = {"restartPolicy": "Never", "containers": [container], "serviceAccountName": name}
    return {"template": {"spec": pod}}


def batch(kind: str, name: str, spec: Json) -> Json:
    return {"apiVersion": BATCH, "kind": kind, "metadata": {"name": name}, "spec": spec}


def stage(space: Space) -> list[Row]:
    """One of each kind, each under an account of its own; those with a history have gone from 1 to 2."""
    rows = [Row(kind, f"a-{kind.lower()}", kind) for kind in TargetKind]
    for row in rows:
        space("create", "serviceaccount", row.name)
        identity = {"serviceAccountName": row.name}
        match row.kind:
            case "Job":
                space.create(batch("Job", row.name, job_spec(row.name)))
            case "CronJob":
                spec = {"schedule": "0 3 * * *", "jobTemplate": {"spec": job_spec(row.name)}}
                space.create(batch("CronJob", row.name, spec))
            case _:
                space.create(workload(row.kind, row.name, 2, pod=workload_pod(identity)))
                space.running(row.kind, row.name, 2)
    for kind in ("Deployment", "StatefulSet", "DaemonSet"):
        space("set", "image", f"{kind.lower()}/a-{kind.lower()}", f"server={HUB}:2")
        space("rollout", "status", f"{kind.lower()}/a-{kind.lower()}", "--timeout=60s")
    newest = max(
        space.get("replicasets", "-l", "app=a-deployment")["items"], key=lambda one: one["spec"]["replicas"]
    )
    space("create", "job", "a-cronjob-1", "--from=cronjob/a-cronjob")
    return [
        *rows,
        Row("ReplicaSet", newest["metadata"]["name"], "ReplicaSet of a Deployment"),
        Row("Job", "a-cronjob-1", "Job of a CronJob"),
    ]


def workload_pod(more: Json) -> Json:
    return {"containers": [{"name": "server", "image": f"{HUB}:1"}], **more}


def ask(space: Space, rows: list[Row]) -> dict[tuple[str, str], Cell]:
    """Every question at once, each a dry run of a plan of one step."""
    asked = members()
    names = {
        (row.called, action): f"q{number}-{index}"
        for number, row in enumerate(rows)
        for index, action in enumerate(sorted(ACTIONS))
    }
    pods = space.pods()
    incidents = [
        {
            "apiVersion": "stanch.dev/v1alpha1",
            "kind": "AIIncident",
            "metadata": {"name": names[row.called, action]},
            "spec": {
                "title": "What would be done?",
                "category": "Other",
                "severity": "High",
                "mode": "DryRun",
                "targets": [row.target],
                "steps": [{asked[action]: needed(asked[action], row, pods)}],
            },
        }
        for row in rows
        for action in sorted(ACTIONS)
    ]
    space.create({"apiVersion": "v1", "kind": "List", "items": incidents})

    def answered() -> dict[str, Json]:
        found = {one["metadata"]["name"]: one.get("status", {}) for one in space.get("aii")["items"]}
        return {name: status for name, status in found.items() if status.get("phase")}

    eventually(lambda: len(answered()) == len(incidents), "every dry run is answered")
    answers = answered()
    return {question: cell(answers[name]) for question, name in names.items()}


def needed(member: str, row: Row, pods: list[Json]) -> Json:
    return {"pods": [pod_of(row, pods)]} if member == "quarantine" else NEEDED.get(member, {})


def pod_of(row: Row, pods: list[Json]) -> str:
    """One that it started, or what it started did, which is named after it."""
    started = (
        pod["metadata"]["name"]
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        and f"{pod['metadata']['ownerReferences'][0]['name']}-".startswith(f"{row.name}-")
    )
    return next(started, f"{row.name}-none")


def cell(status: Json) -> Cell:
    (step,) = status["steps"]
    if status["phase"] == "Rejected":
        return Cell(step["reason"], step["message"])
    assert (status["phase"], step["reason"]) == ("Detected", "DryRun"), status
    return Cell("", "; ".join(status["plan"]["steps"][0].get("diff", [])))


def page(rows: list[Row], cells: dict[tuple[str, str], Cell]) -> str:
    actions = sorted(ACTIONS)
    lines = [
        "# Kinds and actions",
        "",
        "Which action contains which kind of workload, and why it refuses another. Generated: this is what",
        "the engine answers to dry runs (docs/development.md). The state of a workload may give other",
        "reasons to refuse; the page of each action lists its own.",
        "",
        f"| | {' | '.join(actions)} |",
        f"|---|{'---|' * len(actions)}",
    ]
    lines += [
        f"| {row.called} | {' | '.join(cells[row.called, each].brief for each in actions)} |" for row in rows
    ]
    for action in actions:
        lines += ["", f"## {action}", "", "| Kind | |", "|---|---|"]
        alike: dict[str, list[str]] = {}
        for row in rows:
            alike.setdefault(answer(row, cells[row.called, action]), []).append(row.called)
        lines += [f"| {', '.join(kinds)} | {said} |" for said, kinds in alike.items()]
    return "\n".join([*lines, ""])


def answer(row: Row, cell: Cell) -> str:
    """In words that are the same for every kind, and in every run."""
    said = re.sub(rf"\b{row.kind}\b", "KIND", cell.says or "no object is changed")
    name = r"a-[a-z]+(?:-1)?(?:-[0-9a-z]{8,10}){0,2}(?:-[0-9a-z]{5}|-[01])?"
    said = re.sub(rf"\b(stanch-(?:quarantine-)?)?{name}\b", r"\1NAME", said)
    return f"refuses, `{cell.refused}`: {said}" if cell.refused else said


def test_the_page_says_of_every_kind_and_action_what_the_engine_does(workspace: Space) -> None:
    assert members().keys() == ACTIONS.keys(), "an action that no step asks for, or a step without an action"
    rows = stage(workspace)

    written = page(rows, ask(workspace, rows))

    if os.environ.get("STANCH_WRITE_KINDS"):
        PAGE.write_text(written, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == written, "it says something else: see docs/development.md"
