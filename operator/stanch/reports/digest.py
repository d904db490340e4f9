"""The digest of a report: SHA-256 over canonical JSON of all but itself, as in evidence/model.py. Pure."""

from __future__ import annotations

import json
from typing import Any, Final

from stanch.evidence.model import digest_of

Json = dict[str, Any]
VERSION: Final = "stanch.dev/report/v1"


def digest_in(body: bytes) -> str:
    """The digest that a report in JSON carries, once it is found to be that of the rest.

    Raises ValueError when it is not, or when it is no report of this version. How the JSON is laid out does
    not matter.
    """
    try:
        report = json.loads(body, object_pairs_hook=_no_key_twice, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {error}") from error
    if not isinstance(report, dict) or report.get("version") != VERSION:
        raise ValueError(f"it is no report in JSON of version {VERSION}")
    carried, is_now = report.get("digest"), digest_of_report(report)
    if carried != is_now:
        raise ValueError(f"it was altered: it says that its digest is {carried}, and it is {is_now}")
    return is_now


def digest_of_report(report: Json) -> str:
    return digest_of({key: value for key, value in report.items() if key != "digest"})


def _no_key_twice(pairs: list[tuple[str, Any]]) -> Json:
    """Of two values for one key some readers take the first and some the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
