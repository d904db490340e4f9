"""What an SRE sees of `stanch evidence`, and what a script learns from how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from stanch.api.v1alpha1.evidence import EvidenceRecord
from stanch.cli import app
from tests.incident_server import api_server
from tests.unit.evidence.collections_of_evidence import AT, Stored, stored

Json = dict[str, Any]
HEAD = "sha256:" + "0" * 64


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["evidence", *arguments], env={"COLUMNS": "200"})
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def evidence(tmp_path: Path) -> Stored:
    """Stored in a directory, as the operator leaves it."""
    evidence = stored([b"one", b"two", b"three"])
    directory = tmp_path / "collection"
    directory.mkdir()
    for name, body in evidence.objects.items():
        (directory / name).write_bytes(body)
    return evidence


@pytest.fixture
def location(evidence: Stored, tmp_path: Path) -> str:
    return f"file://{tmp_path}/collection"


def path(location: str, name: str) -> Path:
    return Path(location.removeprefix("file://"), name)


@pytest.mark.parametrize("suffix", ["", "/", "/manifest.json"])
def test_without_a_cluster_a_collection_is_verified_by_its_digest(
    evidence: Stored, location: str, suffix: str
) -> None:
    result = run("verify", "--manifest", location + suffix, "--head", evidence.head)
    assert result.exit_code == 0
    assert f"unaltered: 3 items, chained to {evidence.head}" in result.output
    assert "never collected: events: Forbidden: no" in result.output
    for number in range(3):
        assert f"00{number}-pod.json" in result.output
        assert f"Pod chat/llm-{number}" in result.output


def test_the_first_altered_item_is_named(evidence: Stored, location: str) -> None:
    path(location, "001-pod.json").write_bytes(b"TWO")
    path(location, "002-pod.json").unlink()
    result = run("verify", "--manifest", location, "--head", evidence.head)
    assert result.exit_code == 1
    assert "ALTERED: the first altered item is 001-pod.json: altered" in result.output
    lines = {line.split()[0]: line for line in result.output.splitlines() if "-pod.json" in line}
    assert lines["000-pod.json"].rstrip().endswith("unaltered")
    assert lines["002-pod.json"].rstrip().endswith("missing")


def test_a_file_that_was_put_there_is_named(evidence: Stored, location: str) -> None:
    path(location, "000-zzz[bold].json").touch()
    result = run("verify", "--manifest", location, "--head", evidence.head)
    assert result.exit_code == 1
    assert "the first altered item is 000-zzz[bold].json: extra" in result.output


def test_another_head_means_altered(location: str) -> None:
    result = run("verify", "--manifest", location, "--head", HEAD)
    assert result.exit_code == 1
    assert "the first altered item is manifest.json" in result.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give the name of an AIIncident, or --manifest with --head"),
        (["leak", "--manifest", "file:///x", "--head", HEAD], "or --manifest with --head"),
        (["--manifest", "file:///x"], "or --manifest with --head"),
        (["leak", "--head", HEAD], "or --manifest with --head"),
        (["--manifest", "file:///x", "--head", "sha256:abc"], "64 lower-case hexadecimal digits"),
        (["--manifest", "file:///nowhere/at/all", "--head", HEAD], "Create the directory, or mount it"),
        (["--manifest", "ftp://x/y", "--head", HEAD], "it is not file:///directory"),
        (["leak", "--kubeconfig", "/nowhere"], "does not exist; give --kubeconfig"),
    ],
)
def test_what_could_not_be_checked_is_neither_altered_nor_unaltered(arguments: list[str], told: str) -> None:
    result = run("verify", *arguments)
    assert result.exit_code == 2
    assert "stanch evidence verify: " in result.output
    assert told in result.output


# With a cluster


def record(evidence: Stored, location: str, **changed: Any) -> Json:
    return (
        EvidenceRecord(
            location=location,
            head=evidence.head,
            items=evidence.items,
            size=evidence.manifest.size,
            collected_at=AT,
            complete=False,
            missing=("events: Forbidden: no",),
        ).wire()
        | changed
    )


def leak(*records: Json) -> Json:
    return {
        "metadata": {"name": "leak", "namespace": "chat", "uid": "81d2e"},
        "status": {"evidence": list(records)},
    }


def test_an_incident_is_verified_by_what_its_status_says(
    evidence: Stored, location: str, tmp_path: Path
) -> None:
    with api_server([leak(record(evidence, location))], tmp_path) as kubeconfig:
        result = run("verify", "leak", "-n", "chat", "--kubeconfig", kubeconfig)
    assert result.exit_code == 0, result.output
    assert "unaltered: 3 items" in result.output


def test_a_collection_with_fewer_items_than_the_status_says_is_altered(
    evidence: Stored, location: str, tmp_path: Path
) -> None:
    with api_server([leak(record(evidence, location, items=5))], tmp_path) as kubeconfig:
        result = run("verify", "leak", "-n", "chat", "--kubeconfig", kubeconfig)
    assert result.exit_code == 1
    assert "the first altered item is 003: missing" in result.output


def test_of_several_collections_one_altered_one_is_enough(
    evidence: Stored, location: str, tmp_path: Path
) -> None:
    good, bad = record(evidence, location), record(evidence, location, head=HEAD)
    with api_server([leak(bad, good)], tmp_path) as kubeconfig:
        result = run("verify", "leak", "-n", "chat", "--kubeconfig", kubeconfig)
    assert result.exit_code == 1
    assert "ALTERED" in result.output
    assert "unaltered: 3 items" in result.output


def test_an_incident_without_evidence_or_none_at_all_is_told(tmp_path: Path) -> None:
    with api_server([leak()], tmp_path) as kubeconfig:
        without = run("verify", "leak", "-n", "chat", "--kubeconfig", kubeconfig)
        none = run("verify", "nobody", "-n", "chat", "--kubeconfig", kubeconfig)
    assert (without.exit_code, none.exit_code) == (2, 2)
    assert "AIIncident chat/leak has no stored evidence; its conditions say why" in without.output
    assert "AIIncident chat/nobody does not exist" in none.output


def test_the_list_says_where_evidence_is_and_what_it_lacks(
    evidence: Stored, location: str, tmp_path: Path
) -> None:
    with api_server([leak(record(evidence, location))], tmp_path) as kubeconfig:
        result = run("list", "--kubeconfig", kubeconfig)
    assert result.exit_code == 0, result.output
    row = next(line for line in result.output.splitlines() if "leak" in line)
    assert row.split()[:7] == ["chat", "leak", "2026-01-02", "03:04:05Z", "3", "11", "no,"]
    with api_server([leak()], tmp_path) as kubeconfig:
        assert (
            "no incident in chat has evidence" in run("list", "-n", "chat", "--kubeconfig", kubeconfig).output
        )
