"""What an SRE sees of `stanch report`, and what a script learns from how it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from stanch.cli import app
from stanch.evidence.model import digest_of_bytes
from stanch.reports.digest import digest_in
from tests.incident_server import api_server
from tests.unit.reports.incidents import EVIDENCE, fresh, raw, report

if TYPE_CHECKING:
    from pathlib import Path

    from tests.incident_server import Json


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    result = CliRunner().invoke(app, ["report", *arguments], env={"COLUMNS": "200"} | (env or {}))
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """The incident's evidence, as the operator leaves it."""
    place = tmp_path / "collection"
    place.mkdir()
    for name, body in EVIDENCE.objects.items():
        (place / name).write_bytes(body)
    return place


def incident(collection: Path) -> Json:
    body = raw()
    body["status"]["evidence"][0]["location"] = f"file://{collection}"
    return body


def ask(body: Json, directory: Path, *arguments: str) -> Result:
    with api_server([body], directory) as kubeconfig:
        return run(body["metadata"]["name"], "-n", "chat", "--kubeconfig", kubeconfig, *arguments)


def test_it_is_markdown_on_stdout_and_what_is_left_to_do_beside_it(collection: Path, tmp_path: Path) -> None:
    result = ask(incident(collection), tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("# Toxic output above policy threshold\n")
    assert "Unaltered: verified at" in result.stdout
    assert result.stderr == "stanch report: still to be written: spec.regulatory.decisions\n"


@pytest.mark.parametrize(("form", "begins"), [("html", "<!DOCTYPE html>"), ("json", "{"), ("markdown", "# ")])
def test_it_is_written_to_a_file_in_the_form_that_is_asked_for(
    collection: Path, tmp_path: Path, form: str, begins: str
) -> None:
    file = tmp_path / "report"
    result = ask(incident(collection), tmp_path, "-o", form, "--output", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    assert file.read_text().startswith(begins)


def test_altered_evidence_is_named_and_the_report_is_there_all_the_same(
    collection: Path, tmp_path: Path
) -> None:
    (collection / "001-pod.json").write_bytes(b"TWO")
    result = ask(incident(collection), tmp_path)
    assert result.exit_code == 1
    assert "ALTERED: 001-pod.json: altered" in result.stderr
    assert "ALTERED, found at" in result.stdout


def test_evidence_that_cannot_be_read_is_told_and_is_no_failure(collection: Path, tmp_path: Path) -> None:
    body = incident(collection)
    body["status"]["evidence"][0]["location"] = f"file://{tmp_path}/nowhere"
    result = ask(body, tmp_path)
    assert result.exit_code == 0
    assert "evidence is not verified" in result.stderr
    assert "Not verified: file://" in result.stdout


def test_an_incident_that_nobody_has_looked_at_has_a_report(tmp_path: Path) -> None:
    result = ask(fresh(), tmp_path)
    assert result.exit_code == 0
    assert "Not looked at yet" in result.stdout


def test_no_incident_no_report(collection: Path, tmp_path: Path) -> None:
    with api_server([incident(collection)], tmp_path) as kubeconfig:
        result = run("nobody", "-n", "chat", "--kubeconfig", kubeconfig)
    assert result.exit_code == 2
    assert "AIIncident chat/nobody does not exist" in result.output
    assert "no report was written" in result.output


def test_a_file_that_cannot_be_written_is_told(collection: Path, tmp_path: Path) -> None:
    result = ask(incident(collection), tmp_path, "--output", str(tmp_path / "no" / "such" / "place"))
    assert result.exit_code == 2
    assert "No such file or directory" in result.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "give the name of an AIIncident"),
        (("x", "--kubeconfig", "/nowhere"), "does not exist; give --kubeconfig"),
        (("--verify", "/nowhere"), "No such file"),
    ],
)
def test_what_it_needs_is_asked_for(arguments: tuple[str, ...], told: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert told in result.output


def test_a_report_in_json_verifies_itself(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_bytes(report().json_form())
    good = run("--verify", str(file))
    assert (good.exit_code, good.output.strip()) == (0, f"{file}: unaltered: {report().digest}")
    file.write_bytes(report().json_form().replace(b"Confirmed", b"Suspected"))
    bad = run("--verify", str(file))
    assert bad.exit_code == 1
    assert "it was altered" in bad.output


def test_what_is_written_is_what_verifies(collection: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    ask(incident(collection), tmp_path, "-o", "json", "--output", str(file))
    assert digest_in(file.read_bytes()) == json.loads(file.read_text())["digest"]
    assert run("--verify", str(file)).exit_code == 0


def test_a_kept_report_in_any_form_is_compared_with_what_the_incident_says(tmp_path: Path) -> None:
    file = tmp_path / "report.md"
    file.write_text("# Toxic output\n")
    body = raw()
    digest = digest_of_bytes(file.read_bytes())
    body["status"]["reports"] = [
        {"location": "s3://evidence/r.md", "digest": digest, "at": "2026-01-06T03:11:48Z"}
    ]
    good = ask(body, tmp_path, "--verify", str(file))
    assert good.exit_code == 0
    assert "unaltered: chat/toxic-output has it at s3://evidence/r.md" in good.output
    file.write_text("# Nothing happened\n")
    bad = ask(body, tmp_path, "--verify", str(file))
    assert bad.exit_code == 1
    assert "is none of the 1 reports that chat/toxic-output has" in bad.output
