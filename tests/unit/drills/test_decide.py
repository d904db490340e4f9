"""Which drills are due, what they are called, what they are about, and how long they are kept."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.incident import AIIncident
from stanch.drills.decide import (
    LATEST,
    Due,
    drills_due,
    incident_name,
    incident_of,
    kept_enough,
    last_made,
    target_of,
)
from stanch.policies.drilled import Drilled
from stanch.policies.schedule import latest
from stanch.policies.state import Matched
from tests.unit.policies.made import cluster, own

if TYPE_CHECKING:
    from stanch.policies.match import Policy

NOW = datetime(2026, 3, 2, 9, 20, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-02T{clock}:00+00:00")


def drilling(schedule: str = "0 9 * * *", created: datetime | None = None, **spec: Any) -> Policy:
    drill = {"name": "monthly", "schedule": schedule, **spec.pop("drill", {})}
    metadata = {"creationTimestamp": (created or NOW - timedelta(days=9)).isoformat()}
    return own(drills=[drill], metadata=metadata | spec.pop("metadata", {}), **spec)


def due_at(policy: Policy, last: datetime | None = None, now: datetime = NOW) -> list[datetime]:
    return [one.at for one in drills_due(policy, {} if last is None else {"monthly": last}, now)]


@pytest.mark.parametrize(
    ("schedule", "last", "due"),
    [
        ("0 9 * * *", None, ["09:00"]),
        ("0 9 * * *", "09:00", []),
        ("20 9 * * *", None, ["09:20"]),
        ("21 9 * * *", None, []),
        ("* * * * *", None, ["09:20"]),
        ("* * * * *", "08:00", ["09:20"]),
        ("* * * * *", "09:20", []),
        ("20 8 * * *", None, []),
        ("21 8 * * *", None, ["08:21"]),
        ("0 9 2 3 *", None, ["09:00"]),
        ("0 9 * * 1", None, ["09:00"]),
        ("0 9 * * 2", None, []),
        ("61 9 * * *", None, []),
        ("* * * * * *", None, []),
        ("0 0 30 2 *", None, []),
    ],
)
def test_what_is_due_at_twenty_past_nine(schedule: str, last: str | None, due: list[str]) -> None:
    found = due_at(drilling(schedule), None if last is None else at(last))
    assert found == [at(one) for one in due]


def test_a_policy_that_takes_on_nothing_drills_nothing() -> None:
    assert due_at(drilling(suspend=True)) == []
    assert due_at(drilling(metadata={"deletionTimestamp": NOW.isoformat()})) == []


def test_what_was_due_before_there_was_a_policy_is_not_made_up_for() -> None:
    assert due_at(drilling(created=at("09:01"))) == []
    assert due_at(drilling(created=at("09:00") + timedelta(seconds=59))) == [at("09:00")]


@given(
    st.integers(0, 59),
    st.integers(1, 300),
    st.lists(st.integers(1, 400), min_size=1, max_size=12),
)
def test_an_operator_that_is_away_now_and_then_makes_each_at_most_once_and_never_two_late_ones(
    minute: int, every: int, pauses: list[int]
) -> None:
    """Looks come at any distance; what a look makes is remembered."""
    policy = drilling(f"{minute}/{min(every, 59)} * * * *")
    now, last = NOW, None
    made: list[datetime] = []
    for pause in pauses:
        now += timedelta(minutes=pause)
        found = due_at(policy, last, now)
        assert len(found) <= 1
        assert all(now - LATEST < one <= now for one in found)
        made += found
        last = max(made, default=None)
    assert made == sorted(set(made))


@given(st.timedeltas(timedelta(), timedelta(days=9999)))
def test_the_latest_is_never_in_the_future_and_nothing_is_between(after: timedelta) -> None:
    now = NOW + after
    found = latest("*/7 * * * *", now)
    assert found is not None
    assert found <= now < found + 7 * MINUTE
    assert (found.minute % 7, found.second, found.microsecond) == (0, 0, 0)


def test_a_schedule_that_is_none_has_no_latest() -> None:
    with pytest.raises(ValueError, match="bad minute"):
        latest("61 * * * *", NOW)


LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?", fullmatch=True)


@given(names, names)
def test_a_name_is_a_dns_label_and_the_same_for_the_same_minute(policy: str, drill: str) -> None:
    name = incident_name(own(policy), drill, NOW)
    assert len(name) <= 63
    assert LABEL.fullmatch(name)
    assert name == incident_name(own(policy), drill, NOW.replace(second=1))
    assert name != incident_name(own(policy), drill, NOW + MINUTE)
    assert name != incident_name(cluster(policy), drill, NOW)


def test_names_that_would_read_the_same_differ() -> None:
    assert incident_name(own("a-b"), "c", NOW) != incident_name(own("a"), "b-c", NOW)
    assert re.fullmatch(r"drill-a-b-c-[0-9a-f]{6}-202603020920", incident_name(own("a-b"), "c", NOW))


def test_when_a_drill_was_last_made_is_told_by_incidents_and_by_the_status() -> None:
    policy = drilling()
    ours = made(policy, at("08:00")), made(policy, at("09:00"))
    forged = made(policy, at("23:00"))
    assert last_made(policy, [*ours, forged, drilled("monthly-soon")], NOW)["monthly"] == at("09:00")
    told = {"drills": [{"name": "monthly", "at": at("09:10").isoformat(), "incident": "chat/gone"}]}
    status = type(policy.status).model_validate(told)
    assert last_made(policy.model_copy(update={"status": status}), ours, NOW)["monthly"] == at("09:10")


SELECTED = [
    Matched("chat", "Deployment", "rag"),
    Matched("chat", "Deployment", "llm"),
    Matched("code", "StatefulSet", "llm"),
    Matched("code", "Deployment", "llm"),
]


@pytest.mark.parametrize(
    ("policy", "target", "found"),
    [
        (own(), None, "Deployment chat/llm"),
        (own(), ("Deployment", "rag", None), "Deployment chat/rag"),
        (own(), ("Deployment", "gone", None), "None"),
        (own(), ("Deployment", "llm", "code"), "Deployment chat/llm"),
        (cluster(), None, "Deployment chat/llm"),
        (cluster(), ("StatefulSet", "llm", None), "StatefulSet code/llm"),
        (cluster(), ("Deployment", "llm", "code"), "Deployment code/llm"),
    ],
)
def test_a_drill_is_about_a_workload_that_its_policy_selects(
    policy: Policy, target: tuple[str, str, str | None] | None, found: str
) -> None:
    kind, name, namespace = target or ("", "", None)
    meant = {"target": {"kind": kind, "name": name, "namespace": namespace}} if target else {}
    (drill,) = drilling(drill=meant).spec.drills
    assert str(target_of(policy, drill, SELECTED)) == found


@pytest.mark.parametrize("policy", [own("guard"), cluster("guard")])
def test_its_incident_changes_nothing_and_follows_the_policy(policy: Policy) -> None:
    (drill,) = drilling().spec.drills
    manifest = incident_of(policy, Due(drill, at("09:00")), Matched("code", "CronJob", "nightly"))
    incident = AIIncident.parse(manifest)
    assert incident.metadata.labels == {"stanch.dev/drill": "monthly"}
    assert (incident.spec.exercise, incident.spec.exercise_enforce) == (True, False)
    assert (incident.spec.category, incident.spec.severity) == ("Other", "Informational")
    assert incident.spec.policy_ref is not None
    assert (incident.spec.policy_ref.kind, incident.spec.policy_ref.name) == (policy.kind, "guard")
    (target,) = incident.spec.targets
    assert (target.api_version, target.kind, target.name) == ("batch/v1", "CronJob", "nightly")
    assert incident.metadata.namespace == "code"


def drilled(name: str, born: datetime = NOW, *, metadata: Any = None, **spec: Any) -> Drilled:
    base = {
        "name": name,
        "namespace": "chat",
        "uid": f"uid-{name}",
        "labels": {"stanch.dev/drill": "monthly"},
        "creationTimestamp": born.isoformat(),
    }
    by = {"exercise": True, "policyRef": {"kind": "ContainmentPolicy", "name": "chat"}}
    return Drilled.model_validate({"metadata": base | (metadata or {}), "spec": by | spec})


def made(policy: Policy, when: datetime) -> Drilled:
    return drilled(incident_name(policy, "monthly", when), when)


def test_the_newest_are_kept() -> None:
    policy = drilling(drill={"keep": 2})
    exercises = [drilled(f"at-{hour}", NOW - timedelta(hours=hour)) for hour in (3, 1, 4, 2)]
    assert [one.metadata.name for one in kept_enough(policy, exercises)] == ["at-3", "at-4"]
    assert kept_enough(policy, exercises[:2]) == ()


@pytest.mark.parametrize(
    "other",
    [
        drilled("old", NOW - timedelta(days=9), exercise=False),
        drilled("old", NOW - timedelta(days=9), exerciseEnforce=True),
        drilled("old", NOW - timedelta(days=9), policyRef=None),
        drilled("old", NOW - timedelta(days=9), policyRef={"kind": "ContainmentPolicy", "name": "other"}),
        drilled(
            "old", NOW - timedelta(days=9), policyRef={"kind": "ClusterContainmentPolicy", "name": "chat"}
        ),
        drilled("old", NOW - timedelta(days=9), metadata={"labels": {}}),
        drilled("old", NOW - timedelta(days=9), metadata={"labels": {"stanch.dev/drill": "weekly"}}),
        drilled("old", NOW - timedelta(days=9), metadata={"finalizers": ["stanch.dev/release"]}),
        drilled("old", NOW - timedelta(days=9), metadata={"namespace": "code"}),
        drilled("old", NOW - timedelta(days=9), metadata={"deletionTimestamp": NOW.isoformat()}),
    ],
)
def test_what_is_no_exercise_of_this_drill_is_never_deleted(other: Drilled) -> None:
    policy = drilling(drill={"keep": 1})
    assert kept_enough(policy, [drilled("new"), other]) == ()
