"""What Isolate does beside other isolations, to connections that are open, and while it is held."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stanch.actions.isolate import OUR_MANAGER
from stanch.actions.isolation_plan import LEFT_OUT
from stanch.actions.isolation_seen import ISOLATION, isolation_id
from stanch.actions.objects import Obj
from stanch.actions.protocol import Make, Refusal
from stanch.api.v1alpha1.status import Change, ChangeType, StepState, StepStatus
from stanch.incidents.record import reference_of
from stanch.kube.client import FIELD_MANAGER
from stanch.kube.resources import NETWORKPOLICIES
from stanch.network.models import NetworkPolicy
from tests.unit.actions.isolated import NOW, Namespace, pod_body, policy, reach, workload
from tests.unit.actions.isolating import (
    HELD,
    IN,
    ISOLATE,
    LABELS,
    LLM,
    RUNNING,
    ask,
    ours,
    planned,
)

Json = dict[str, Any]


# Another isolation.


def isolated_by(other: str, **step: Any) -> Obj:
    return ours(reach(LLM), ask(uid=other, **step))


@pytest.mark.parametrize(
    ("theirs", "mine", "clashes"),
    [
        ({}, {}, False),
        ({"allow": {"dns": True}}, {"allow": {"dns": True}}, False),
        ({"direction": ["Ingress"]}, {}, False),
        ({"direction": ["Ingress"]}, {"direction": ["Egress"], "allow": {"dns": True}}, False),
        ({"allow": {"dns": True}}, {}, True),
        ({}, {"allow": {"dns": True}}, True),
    ],
)
def test_two_incidents_isolate_one_workload_alike_or_not_at_all(
    theirs: Json,
    mine: Json,
    clashes: bool,  # noqa: FBT001 - a table
) -> None:
    decided = ISOLATE.plan(reach(LLM, isolated_by("first", **theirs)), ask(uid="second", **mine))
    assert isinstance(decided, Refusal) == clashes
    if isinstance(decided, Refusal):
        assert decided.reason == "IsolatedOtherwise"
        assert "Deployment/llm" in decided.message


def test_what_a_deleted_incident_retained_binds_nobody() -> None:
    left = isolated_by("first", allow={"dns": True})
    body = {**left.json, "metadata": {**left.json["metadata"], "labels": {}}}
    assert planned(reach(LLM, Obj(NETWORKPOLICIES, body)), ask(uid="second"))


def test_a_forged_annotation_does_not_widen_what_is_split_off() -> None:
    """Only what an isolation that stands would add is taken for added."""
    cut = {"key": "team", "operator": "In", "values": ["a"]}
    forged = policy(
        "web",
        {"podSelector": {"matchExpressions": [cut]}, **IN},
        labels=HELD,
        annotations={f"{LEFT_OUT}0123456789abcdef": '[{"key":"team","operator":"In","values":["a"]}]'},
    )
    two = workload("llm", {"matchLabels": {"app": "llm", "tier": "gpu"}}, LABELS)
    seen = reach(two, forged, isolated_by("first"))
    additions = [one for one in planned(seen, ask(others="Override")) if isinstance(one, Make)][1:]
    assert additions
    assert all(cut in one.manifest["spec"]["podSelector"]["matchExpressions"] for one in additions)


# Connections.


def recorded(own: Obj, **more: Any) -> dict[str, Any]:
    manifest = {**own.json, "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    change = Change(object=reference_of(own.ref, "chat"), type=ChangeType.CREATE, manifest=manifest)
    target = reference_of(LLM.ref, "chat")
    entry = StepStatus(
        id="0", action="Isolate", target=target, state=StepState.APPLIED, changes=(change,), **more
    )
    return {"record": entry, "changes": entry.changes}


def test_pods_from_before_the_cut_are_ended_and_waited_for_and_no_others() -> None:
    what = ask(terminate_connections=True)
    own = ours(reach(LLM), what)
    what = ask(terminate_connections=True, **recorded(own))
    times = {"old": -60, "same-second": 0, "new": 1}
    bodies = [
        pod_body(name, LABELS, "uid-rs", creationTimestamp=(NOW + timedelta(seconds=after)).isoformat())
        for name, after in times.items()
    ]
    stranger = pod_body("stranger", LABELS, creationTimestamp=(NOW - timedelta(days=1)).isoformat())
    ending = pod_body(
        "ending", LABELS, "uid-rs", creationTimestamp=NOW.isoformat(), deletionTimestamp=NOW.isoformat(),
        deletionGracePeriodSeconds=1,
    )  # fmt: skip
    seen = reach(LLM, own, bodies=(*bodies, stranger, ending))
    assert [doomed.name for doomed in ISOLATE.hurry(seen, what)] == ["old", "same-second"]
    assert all(doomed.grace_period_seconds == 1 for doomed in ISOLATE.hurry(seen, what))
    told = ISOLATE.judge(seen, what)
    assert (told.verdict.value, told.reason) == ("Pending", "ConnectionsOpen")

    seen = reach(LLM, own, bodies=(bodies[-1], stranger))
    told = ISOLATE.judge(seen, what)
    assert told.reason == "Isolated"
    assert "may live on" not in told.message
    assert ISOLATE.hurry(seen, what) == ()


def test_nobody_is_ended_who_did_not_ask_for_it() -> None:
    own = ours(reach(LLM), ask())
    assert ISOLATE.hurry(reach(LLM, own, bodies=(RUNNING,)), ask(**recorded(own))) == ()


def test_a_pod_born_before_the_last_policy_was_changed_is_from_before_until_it_was_effective() -> None:
    step: Json = {"terminate_connections": True, "others": "Override"}
    own = ours(reach(LLM), ask(**step))
    later = NOW + timedelta(seconds=5)
    wrote = {"manager": OUR_MANAGER, "operation": "Update", "time": later.isoformat()}
    edited = policy("web", {"podSelector": {"matchLabels": {"app": "x"}}}, managedFields=[wrote])
    known = recorded(own)
    change = Change(object=edited.reference, fields=())
    between = pod_body(
        "between", LABELS, "uid-rs", creationTimestamp=(NOW + timedelta(seconds=3)).isoformat()
    )
    seen = reach(LLM, own, edited, bodies=(between,))
    what = ask(**step, record=known["record"], changes=(*known["changes"], change))
    assert [doomed.name for doomed in ISOLATE.hurry(seen, what)] == ["between"]
    effective = known["record"].model_copy(update={"effective_at": datetime.now(UTC)})
    assert ISOLATE.hurry(seen, ask(**step, record=effective, changes=what.changes)) == ()


def test_our_writes_are_known_by_their_manager() -> None:
    assert OUR_MANAGER == FIELD_MANAGER


# What stays.


def test_the_workload_may_not_be_made_again_with_other_labels_meanwhile() -> None:
    assert ISOLATE.hold(reach(LLM), ask()) == {"Kept apps/deployments/llm"}


def test_what_is_held_goes_on_by_the_recorded_selector_when_the_workload_is_gone() -> None:
    own = ours(reach(LLM), ask())
    what = ask(**recorded(own))
    seen = reach(None, own, policy("web", IN), bodies=(pod_body("orphan", LABELS),))
    assert planned(seen, what)[0].manifest["spec"] == own.json["spec"]
    assert ISOLATE.judge(seen, what).reason == "StillAllowed"


def test_a_split_off_policy_may_leave_out_another_isolation_but_ours_stays_as_it_is() -> None:
    two = {"app": "llm", "tier": "gpu"}
    other = {"app": "other", "tier": "gpu"}
    everyone = policy("everyone", IN)
    namespace = Namespace(
        {
            "llm": workload("llm", {"matchLabels": two}, two),
            "other": workload("other", {"matchLabels": other}, other),
        },
        {"everyone": everyone.json},
    )
    namespace.isolate("a", "llm", "other", others="Override")
    namespace.settle()
    assert namespace.state("a") == ["Effective", "Effective"]
    for body in namespace.policies.values():
        for labels in (two, other):
            read = NetworkPolicy.parse(body)
            isolates = ISOLATION in read.metadata.annotations
            assert isolates or not read.spec.pod_selector.matches(labels), read.name
    assert isolation_id(ask()) == "uid-toxic.Deployment.llm"
