"""What is never touched, and what was reported twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from stanch.api.v1alpha1.status import Phase
from stanch.incidents import containment
from stanch.incidents.duplicates import Reported, same_as
from stanch.incidents.facts import Limits
from stanch.status import conditions
from tests.unit.actions.cluster_objects import obj
from tests.unit.incidents.walk import NOW, facts_of, incident, walk

PROTECTED = Limits(protected_labels=frozenset({("stanch.dev/protected", "true")}))
SCOPED = Limits(scope_label=("stanch.dev/ai", "true"))


def rejected(facts: Any, limits: Limits) -> str:
    status = containment.decide(facts, NOW, limits).status
    if status is None or status.phase is not Phase.REJECTED:
        return ""
    accepted = conditions.find(status.conditions, conditions.ACCEPTED)
    assert accepted is not None
    return accepted.reason


def labelled(**labels: str) -> Any:
    return facts_of(incident(), obj("Deployment", labels={"stanch.dev/protected": "true"} | labels))


def test_a_workload_with_a_protected_label_is_never_touched() -> None:
    assert rejected(labelled(), PROTECTED) == "WorkloadProtected"
    assert rejected(labelled(**{"stanch.dev/protected": "false"}), PROTECTED) == ""
    assert rejected(labelled(), Limits()) == ""


def test_where_a_scope_is_set_other_namespaces_are_out_of_it() -> None:
    facts = facts_of(incident())
    assert rejected(facts, SCOPED) == "NamespaceOutOfScope"
    assert rejected(replace(facts, namespace_labels={"stanch.dev/ai": "no"}), SCOPED) == "NamespaceOutOfScope"
    assert rejected(replace(facts, namespace_labels={"stanch.dev/ai": "true"}), SCOPED) == ""


@pytest.mark.parametrize(
    "limits",
    [PROTECTED, SCOPED, Limits(protected_namespaces=frozenset({"chat"}))],
    ids=["label", "scope", "name"],
)
def test_new_settings_strand_nothing_that_is_held(limits: Limits) -> None:
    contained = walk(facts_of(incident())).facts
    decision = containment.decide(contained, NOW, limits)
    assert decision.status is None or decision.status.phase is Phase.CONTAINED


def reported(
    name: str, *, minutes: int = 0, key: str | None = "pipeline-7", phase: str | None = None
) -> Reported:
    created = (NOW + timedelta(minutes=minutes)).isoformat()
    return Reported.model_validate(
        {
            "metadata": {"name": name, "uid": f"uid-{name}", "creationTimestamp": created},
            "spec": {"dedupKey": key},
            "status": {"phase": phase},
        }
    )


MINE = incident("b", metadata={"creationTimestamp": NOW.isoformat()}, dedupKey="pipeline-7")


@pytest.mark.parametrize(
    ("others", "stands_for_both"),
    [
        ([], ""),
        ([reported("b")], ""),
        ([reported("a", minutes=-1)], "a"),
        ([reported("a", minutes=-1), reported("c", minutes=-2)], "c"),
        ([reported("a", minutes=1)], ""),
        ([reported("a")], "a"),
        ([reported("c")], ""),
        ([reported("c", minutes=1, phase="Containing")], "c"),
        ([reported("a", minutes=-1), reported("c", minutes=1, phase="Contained")], "c"),
        ([reported("a", minutes=-1, key="other")], ""),
        ([reported("a", minutes=-1, key=None)], ""),
        ([reported("a", minutes=-1, phase="Contained")], "a"),
        ([reported("a", minutes=-1, phase="AwaitingApproval")], "a"),
        ([reported("a", minutes=-1, phase="Released")], ""),
        ([reported("a", minutes=-1, phase="Rejected")], ""),
        ([reported("a", minutes=-1, phase="Duplicate")], ""),
    ],
)
def test_the_oldest_open_one_of_a_key_stands_for_all(others: list[Reported], stands_for_both: str) -> None:
    assert same_as(MINE, others) == stands_for_both


def test_of_two_reported_at_once_exactly_one_is_acted_on() -> None:
    a, b = reported("a"), reported("b")
    first = incident("a", metadata={"creationTimestamp": NOW.isoformat()}, dedupKey="pipeline-7")
    assert [same_as(one, [a, b]) for one in (first, MINE)] == ["", "a"]


def test_a_duplicate_changes_nothing_and_names_the_one_that_does() -> None:
    done = walk(replace(facts_of(MINE), same_as="a"))
    status = done.facts.incident.status
    assert done.acts == ()
    assert status.phase is Phase.DUPLICATE
    assert "AIIncident a was reported before under dedupKey pipeline-7" in (status.summary or "")
    assert conditions.is_true(status.conditions, conditions.READY)
