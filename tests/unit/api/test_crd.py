"""The generated CRDs: structural, bounded, and nothing else than what the types say."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ConfigDict

from stanch.api import generate
from stanch.api.crd import KINDS, UNSEEN, definition, structural
from stanch.api.reference import reference
from stanch.api.schema import RULES, exactly_one
from stanch.api.v1alpha1.base import ApiModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stanch.api.crd import Kind, Schema

ROOT = Path(__file__).resolve().parents[3]
NAMES = [kind.resource.kind for kind in KINDS]


def parts(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every sub-schema with its path."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from parts(part, f"{path}.{name}")
    for keyword, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(schema.get(keyword), dict):
            yield from parts(schema[keyword], f"{path}{mark}")


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_a_schema_has_only_what_a_structural_schema_knows(kind: Kind) -> None:
    unknown = {"$ref", "$defs", "anyOf", "allOf", "oneOf", "title", "const", "exclusiveMinimum"}
    for path, part in parts(structural(kind)):
        assert not unknown & part.keys(), path
        typeless = ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string")
        assert "type" in part or any(part.get(mark) is True for mark in typeless), path
        assert part.get("default", "") is not None, path


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_whatever_a_person_writes_is_bounded(kind: Kind) -> None:
    spec = structural(kind)["properties"]["spec"]
    for path, part in parts(spec):
        if part.get("type") == "array":
            assert "maxItems" in part, path
        if part.get("type") == "string":
            assert "maxLength" in part or "enum" in part or part.get("format") in {"date", "date-time"}, path
        if "additionalProperties" in part:
            assert "maxProperties" in part, path


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_every_rule_says_what_is_wrong_in_a_sentence_of_its_own(kind: Kind) -> None:
    for path, part in parts(structural(kind)):
        for entry in part.get(RULES, []):
            assert len(entry["message"]) > len("is invalid"), path
            assert entry["rule"] not in entry["message"], path


def test_status_is_written_whole_and_gets_no_defaults_but_that_nobody_has_looked() -> None:
    for kind in KINDS:
        status = structural(kind)["properties"].get("status", {"default": UNSEEN})
        assert status.pop("default") == {"observedGeneration": -1}
        assert [path for path, part in parts(status) if "default" in part] == []


def test_a_definition_names_the_resource_as_its_users_do() -> None:
    names = {kind.resource.kind: definition(kind)["spec"]["names"] for kind in KINDS}
    assert {kind: name["shortNames"] for kind, name in names.items()} == {
        "AIIncident": ["aii"],
        "ContainmentPolicy": ["cpol"],
        "ClusterContainmentPolicy": ["ccpol"],
        "ContainmentHold": ["hold", "holds"],
    }
    assert all(name["categories"] == ["stanch"] for name in names.values())


class Cat(ApiModel):
    lives: int = 9


class Pet(ApiModel):
    """A union with two members."""

    model_config = ConfigDict(json_schema_extra=exactly_one("a pet", beside=("name",)))

    name: str
    cat: Cat | None = None
    house_cat: Cat | None = None


def test_a_union_wants_exactly_one_of_its_members() -> None:
    schema: dict[str, Any] = Pet.model_json_schema()
    assert schema[RULES] == [
        {
            "rule": "[has(self.cat), has(self.houseCat)].filter(set, set).size() == 1",
            "message": "a pet is exactly one of cat, houseCat",
        }
    ]


def test_what_is_in_the_repository_is_what_the_types_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0
    assert capsys.readouterr().err == ""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "crds", tmp_path / "crds")
    shutil.copytree(ROOT / "docs" / "reference", tmp_path / "docs" / "reference")
    return tmp_path


def test_drift_is_named_and_mended(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edited = repository / "crds" / "stanch.dev_aiincidents.yaml"
    edited.write_text(edited.read_text().replace("maxItems: 20", "maxItems: 2000"))
    (repository / "docs" / "reference" / "api.md").unlink()
    check = ["--check", "--root", str(repository)]
    assert generate.main(check) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in told] == ["crds/stanch.dev_aiincidents.yaml", "docs/reference/api.md"]
    assert all("run `make generate` and commit it" in line for line in told)
    assert generate.main(["--root", str(repository)]) == 0
    assert generate.main(check) == 0


def test_a_crd_that_no_type_has_is_drift(repository: Path) -> None:
    (repository / "crds" / "stanch.dev_olds.yaml").write_text("{}")
    assert generate.drifted(repository) == ["crds/stanch.dev_olds.yaml"]


def test_the_reference_has_every_field_with_its_default_and_rule() -> None:
    page = reference()
    for kind in KINDS:
        assert f"\n## {kind.resource.kind}\n" in page
    row = next(
        line for line in page.splitlines() if line.startswith("| `spec.steps[].scaleToZero.terminate`")
    )
    assert row.split(" | ")[1:3] == ["`Graceful` \\| `Immediate`", "`Graceful`"]
    assert "an ATLAS technique looks like AML.T0051 or AML.T0051.001" in page
