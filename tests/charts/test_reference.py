"""Whoever installs reads what each value is for, in values.yaml and in the reference that follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from charts.values import SCHEMA, VALUES, Unknown, lacking, page, values
from tests.charts.chart import CHART, ROOT, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout in which a value may be forgotten."""
    for name in (VALUES, SCHEMA):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path


def test_every_value_says_what_it_is_for() -> None:
    assert [value.at for value in values(ROOT) if value.leaf and not value.comment] == []


def test_a_value_that_the_schema_lacks_is_named_as_it_would_be_refused_once_it_is_written_down(
    copy: Path,
) -> None:
    with (copy / VALUES).open("a") as text:
        text.write("forgotten: {}\n")
    with pytest.raises(Unknown, match=r"forgotten of charts/stanch/values\.yaml is not in"):
        page(copy)


def test_the_schema_allows_nothing_that_has_no_default(copy: Path) -> None:
    assert lacking(ROOT) == []
    (copy / VALUES).write_text("image: {tag: x}\n")
    assert {"image.repository", "operator"} <= set(lacking(copy))


def test_the_reference_tells_type_default_and_meaning() -> None:
    told = page(ROOT)
    row = "| `operator.replicas` | integer, 0 to 5 | `2` | One leads, the others wait for its lease."
    assert row in told
    assert "| `image.pullSecrets` | list of strings | `[]` |" in told
    assert "one of `Always`, `IfNotPresent`, `Never`" in told


def test_helm_shows_all_of_them() -> None:
    code, told = run("show", "readme", str(CHART))
    assert code == 0, told
    assert [value.at for value in values(ROOT) if value.leaf and f"| `{value.at}` |" not in told] == []
