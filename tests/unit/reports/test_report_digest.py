"""A report that was altered is found out, whatever was altered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from stanch.reports.digest import digest_in
from tests.unit.reports.incidents import altered, fresh, raw, report

if TYPE_CHECKING:
    from collections.abc import Iterator

Path = tuple[str | int, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from leaves(below, (*path, key))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from leaves(below, (*path, number))
    else:
        yield path


def changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else f"{value}!"


def test_the_report_carries_the_digest_of_everything_else() -> None:
    for made in (report(), report(fresh()), report(raw(), altered())):
        assert digest_in(made.json_form()) == made.digest


def test_how_the_json_is_laid_out_does_not_matter() -> None:
    made = report()
    compact = json.dumps(dict(reversed(made.wire().items())), separators=(",", ":")).encode()
    assert digest_in(compact) == made.digest


def test_whatever_is_changed_changes_the_digest() -> None:
    whole = report().wire()
    paths = list(leaves(whole))
    assert len(paths) > 200
    for path in paths:
        body = json.loads(json.dumps(whole))
        parent = body
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = changed(parent[path[-1]])
        with pytest.raises(ValueError, match=r"it was altered|no report in JSON"):
            digest_in(json.dumps(body).encode())


def test_whatever_is_left_out_or_put_in_is_found() -> None:
    whole = report().wire()
    for key in whole:
        body = {name: value for name, value in whole.items() if name != key}
        with pytest.raises(ValueError, match=r"it was altered|no report in JSON"):
            digest_in(json.dumps(body).encode())
    with pytest.raises(ValueError, match="it was altered"):
        digest_in(json.dumps(whole | {"addendum": "all was well"}).encode())


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "it is no JSON"),
        (b"\xff\xfe", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "it is no report in JSON"),
        (b'{"version": "stanch.dev/report/v9"}', "it is no report in JSON of version stanch.dev/report/v1"),
        (b'{"version": "stanch.dev/report/v1"}', "it says that its digest is None"),
        (b'{"version": "stanch.dev/report/v1", "title": "a", "title": "b"}', "a key stands twice"),
        (b'{"version": "stanch.dev/report/v1", "size": NaN}', "no number of JSON"),
    ],
)
def test_what_is_no_report_is_told(body: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=r"^it ") as raised:
        digest_in(body)
    assert told in str(raised.value)
