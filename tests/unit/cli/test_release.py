"""The last words of `stanch release --watch`: what came of it, what was not touched, what is left to do."""

from __future__ import annotations

from typing import Any

import pytest

from stanch.cli.release import ending
from tests.unit.cli.made import AT, HELD, incident

Json = dict[str, Any]
ASKED = {"spec": {"desiredState": "Released"}}
FAILED = {"stage": "Failed", "askedBy": "Person", "generation": 1, "attempt": 1, "since": AT}
KEPT = {
    "id": "1",
    "action": "ScaleToZero",
    "target": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llm-chat"},
    "state": "Undone",
    "undo": {"at": AT, "kept": ["/spec/template/spec/containers/0/resources"], "message": "replicas 0→3"},
}


@pytest.mark.parametrize(
    ("phase", "status", "told"),
    [
        (
            "Recovered",
            {"summary": "every check passed", "steps": [KEPT]},
            (
                "Recovered. every check passed\n"
                "Not touched, changed by others meanwhile: "
                "Deployment llm-chat /spec/template/spec/containers/0/resources\n"
                "Close it with what was learnt: kubectl stanch close -n chat toxic-output"
            ),
        ),
        ("Closed", {"summary": "closed"}, "Closed. closed"),
        (
            "Contained",
            {"summary": "toxicity failed", "conditions": [HELD], "release": FAILED},
            (
                "Not given back, contained again: toxicity failed\n"
                "Next: the release failed; find out why, then try again: "
                "kubectl stanch release -n chat toxic-output"
            ),
        ),
        (
            "Releasing",
            {"summary": "giving back"},
            (
                "Not given back, still under way: giving back\n"
                "Next: it is being worked on: kubectl stanch status -n chat toxic-output --watch"
            ),
        ),
    ],
)
def test_what_came_of_it(phase: str, status: Json, told: str) -> None:
    assert ending(incident(phase, **status, **ASKED), "chat/toxic-output") == told


def test_what_was_deleted_meanwhile_is_told() -> None:
    assert ending(None, "chat/toxic-output").startswith("AIIncident chat/toxic-output is gone")
