"""What a release would do, before it is asked for: as it then does it."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from stanch.actions.objects import Obj
from stanch.api.v1alpha1.incident import DesiredState
from stanch.incidents.preview import Preview, preview
from tests.unit.actions.cluster_objects import obj
from tests.unit.incidents.walk import NOW, facts_of, incident, walk, with_object, with_spec

if TYPE_CHECKING:
    from stanch.api.v1alpha1.status import ObjectReference
    from stanch.incidents.facts import Facts

LATER = NOW + timedelta(minutes=5)


def contained(kind: str = "Deployment") -> Facts:
    what = incident(targets=[{"kind": kind, "name": "llm"}])
    return walk(facts_of(what, obj(kind))).facts


def of(facts: Facts) -> tuple[Preview, ...]:
    def find(reference: ObjectReference) -> Obj | None:
        (seen,) = facts.observations.values()
        return next((one for one in seen.objects if one.meta.name == reference.name), None)

    return preview(facts.incident, find)


def edited(facts: Facts, **spec: Any) -> Facts:
    (seen,) = facts.observations.values()
    assert seen.target is not None
    body = copy.deepcopy(seen.target.json)
    body["spec"] |= spec
    body["metadata"]["managedFields"] = [
        {
            "manager": "kubectl-edit",
            "operation": "Update",
            "time": LATER.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "fieldsV1": {"f:spec": {f"f:{key}": {} for key in spec}},
        }
    ]
    return with_object(facts, Obj(seen.target.resource, body))


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("Deployment", "Deployment llm: replicas 0 → 3"),
        ("ReplicaSet", "ReplicaSet llm: replicas 0 → 3"),
        ("DaemonSet", "DaemonSet llm: stanch.dev/contained true → unset"),
    ],
)
def test_each_object_is_told_with_what_comes_back(kind: str, line: str) -> None:
    (step,) = of(contained(kind))

    assert (step.action, step.target) == ("ScaleToZero", f"{kind} llm")
    assert step.gives_back == (line,)
    assert step.keeps == ()


def test_what_others_changed_in_a_recorded_field_is_told_as_kept_and_is_kept() -> None:
    facts = edited(contained(), replicas=7)

    (step,) = of(facts)

    assert step.gives_back == ()
    assert step.keeps[0] == "Deployment llm /spec/replicas stays 7, set by field manager kubectl-edit"
    released = walk(with_spec(facts, desired_state=DesiredState.RELEASED), LATER).facts
    (seen,) = released.observations.values()
    assert seen.target is not None
    assert seen.target.json["spec"]["replicas"] == 7


def test_who_changed_something_else_since_is_told() -> None:
    (step,) = of(edited(contained(), paused=True))

    assert step.gives_back == ("Deployment llm: replicas 0 → 3",)
    stamp = datetime.strftime(LATER, "%Y-%m-%d %H:%M:%SZ")
    assert step.keeps == (f"Deployment llm was changed by field manager kubectl-edit at {stamp}",)


def test_what_is_gone_cannot_be_given_back() -> None:
    facts = contained()
    observations = {key: replace(seen, target=None) for key, seen in facts.observations.items()}

    (step,) = of(replace(facts, observations=observations))

    assert step.gives_back == ("Deployment llm no longer exists: nothing is given back",)


def test_what_is_given_back_has_nothing_to_show() -> None:
    released = walk(with_spec(contained(), desired_state=DesiredState.RELEASED), LATER).facts

    assert of(released) == ()
