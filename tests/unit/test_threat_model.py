"""docs/security.md names tests: a promise that nothing shows is none."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_is_named_is_there(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in functions


def test_every_attacker_has_a_test() -> None:
    table = PAGE.split("## Who attacks from where")[1].split("## STRIDE")[0]
    _, *rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) > 10
    assert [row for row in rows if "`tests/" not in row.rsplit("| ", 1)[1]] == []
