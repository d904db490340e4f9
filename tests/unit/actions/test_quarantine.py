"""Quarantine: whom it admits, what it changes, and what it gives back."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from stanch.actions.protocol import Edit, Refusal, Verdict
from stanch.actions.quarantine import QUARANTINED, mark_of
from stanch.actions.quarantine_seen import Ward
from stanch.api.v1alpha1.hold import Rule
from stanch.api.v1alpha1.incident import TargetKind
from stanch.api.v1alpha1.steps import Discharge
from stanch.api.v1alpha1.steps import Quarantine as Member
from stanch.network.selectors import Operator, Requirement
from tests.unit.actions.cluster_objects import obj
from tests.unit.actions.quarantining import (
    ACTION,
    AGAIN,
    LABELS,
    A,
    B,
    asked,
    both,
    own,
    patched,
    plan,
    pod,
    policy,
    recorded,
    selects,
    ward,
)

if TYPE_CHECKING:
    from stanch.actions.protocol import Ask
Json = dict[str, Any]


def test_the_policy_comes_first_and_cuts_off_every_marked_pod() -> None:
    make, _ = plan(ward(), asked())

    assert make.rule is Rule.SEALED
    assert make.manifest["spec"] == {
        "podSelector": {"matchExpressions": [{"key": QUARANTINED, "operator": "Exists"}]},
        "policyTypes": ["Ingress", "Egress"],
    }
    assert len(make.ref.name) <= 63


def test_a_pod_loses_the_labels_of_its_controller_and_services_and_is_marked() -> None:
    _, (edit,) = plan(ward(), asked())

    changes = {change.path: (change.before, change.after) for change in edit.fields}
    assert changes == {
        "/metadata/labels/app": ("llm", None),
        "/metadata/labels/pod-template-hash": ("abc", None),
        "/metadata/labels/stanch.dev~1quarantined": (None, "toxic"),
    }
    assert edit.rule is Rule.SEALED
    assert edit.diff == (
        "Pod a: without labels app, pod-template-hash, out of ReplicaSet rs, Service llm; "
        "its ReplicaSet starts another in its place"
    )


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (
            TargetKind.STATEFUL_SET,
            "its ordinal stays taken until release, and its controller rolls out nothing meanwhile",
        ),
        (TargetKind.DAEMON_SET, "another is started on its node"),
        (TargetKind.REPLICA_SET, "another is started in its place"),
    ],
)
def test_what_its_controller_will_do_is_told(kind: TargetKind, says: str) -> None:
    _, (edit,) = plan(ward(target=obj(kind)), asked(kind=kind))
    assert edit.diff.endswith(says)


def test_labels_by_which_policies_let_it_through_go_too_and_those_of_denying_ones_stay() -> None:
    lets_in = policy("in", podSelector={"matchLabels": {"note": "stays"}}, ingress=[{}])
    denies = policy("no", podSelector={"matchLabels": {"zone": "a"}})
    _, (edit,) = plan(ward(pod(labels=LABELS | {"zone": "a"}), lets_in, denies), asked())

    assert "/metadata/labels/note" in {change.path for change in edit.fields}
    assert "/metadata/labels/zone" not in {change.path for change in edit.fields}


NOT_OTHER = Requirement(key="app", operator=Operator.NOT_IN, values=("other",))


REFUSED: dict[str, tuple[Ward, Ask, str, str]] = {
    "no target": (ward(target=None), asked(), "TargetNotFound", "no such object"),
    "a target that goes": (
        ward(target=obj("Deployment", deletionTimestamp="2026-01-02T03:04:05Z")),
        asked(),
        "TargetTerminating",
        "is being deleted already",
    ),
    "no pod": (ward(), asked("b"), "PodNotFound", "there is no Pod b"),
    "one of two": (ward(), asked("a", "b"), "PodNotFound", "there is no Pod b"),
    "another's pod": (ward(pod(owner="uid-x")), asked(), "PodNotOfTarget", "ReplicaSet rs controls it"),
    "nobody's pod": (ward(pod(owner="")), asked(), "PodNotOfTarget", "nothing controls it"),
    "ended": (ward(pod(phase="Succeeded")), asked(), "PodEnded", "has ended (Succeeded)"),
    "ending": (
        ward(pod(deletionTimestamp="2026-01-02T03:04:05Z")),
        asked(),
        "PodTerminating",
        "nothing can stop any more",
    ),
    "a mark of before": (
        ward(pod(labels=LABELS | {QUARANTINED: "old"})),
        asked(),
        "QuarantineLeft",
        "stanch.dev/quarantined=old: another quarantine of it stands, or was left behind",
    ),
    "selected by what it is not": (
        ward(controllers=(selects("DaemonSet", "greedy", NOT_OTHER),)),
        asked(),
        "SelectorNotLeft",
        "DaemonSet greedy selects pods by what they are not (app not in (other))",
    ),
    "labels without end": (
        ward(
            pod(labels={f"l{number}": "x" for number in range(61)}),
            controllers=(selects("ReplicaSet", "rs", **{f"l{number}": "x" for number in range(61)}),),
        ),
        asked(),
        "TooManyLabels",
        "would lose 61 labels",
    ),
    **{
        kind: (Ward(None), asked(kind=kind), "KindNotQuarantinable", "suspend it instead")
        for kind in (TargetKind.JOB, TargetKind.CRON_JOB)
    },
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_quarantined_is_refused(case: str) -> None:
    seen, ask, reason, says = REFUSED[case]

    refusal = ACTION.plan(seen, ask)

    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert says in refusal.message


def test_a_policy_that_cannot_be_left_is_no_reason_to_refuse() -> None:
    plan(ward(pod(), policy("everybody", ingress=[{}])), asked())


def test_what_is_recorded_counts_and_not_the_new_plan() -> None:
    marked = patched(A, AGAIN)
    later = (selects("Service", "later", note="stays"),)

    _, edits = plan(ward(marked, services=later), AGAIN)

    (edit,) = edits  # of pod b there is nothing left
    assert {change.path for change in edit.fields} == {
        "/metadata/labels/app",
        "/metadata/labels/pod-template-hash",
        "/metadata/labels/stanch.dev~1quarantined",
    }


def test_labels_that_changed_before_anything_was_written_are_planned_anew() -> None:
    moved = pod("a", labels=LABELS | {"app": "llm", "pod-template-hash": "def"})
    controllers = (selects("ReplicaSet", "rs", app="llm", **{"pod-template-hash": "def"}),)

    _, (edit,) = plan(ward(moved, controllers=controllers), AGAIN)

    before = {change.path: change.before for change in edit.fields}
    assert before["/metadata/labels/pod-template-hash"] == "def"


def test_a_new_pod_by_a_recorded_name_is_left_alone() -> None:
    _, edits = plan(ward(pod("a", uid="uid-new"), patched(B, AGAIN)), AGAIN)
    assert [edit.ref.name for edit in edits] == ["b"]


def test_it_goes_on_without_its_workload() -> None:
    plan(ward(*both(), target=None), AGAIN)
    assert ACTION.judge(ward(*both(), own(AGAIN), target=None), AGAIN).verdict is Verdict.EFFECTIVE


def test_a_second_incident_takes_the_first_ones_pods_as_they_are() -> None:
    second = replace(asked("a", "c"), incident="again", uid="uid-again", changes=AGAIN.changes)
    make, edits = plan(ward(patched(A, AGAIN), pod("c")), second)

    assert make.ref.name != own(AGAIN).meta.name
    assert [edit.ref.name for edit in edits] == ["a", "c"]
    marks = [edit.fields[-1].after for edit in edits]
    assert marks == ["toxic", "again"]


@pytest.mark.parametrize("discharge", list(Discharge))
def test_release_deletes_pods_only_when_asked_and_never_policies(discharge: Discharge) -> None:
    again = recorded(A, on_release=discharge)
    assert [ACTION.discards(change, again) for change in again.changes] == [
        False,
        discharge is Discharge.DELETE,
    ]


NAMES = ["toxic", "t" * 63, "t" * 64, "t" * 65, "t" * 51 + "." + "t" * 20, "t" * 51 + ".-." + "t" * 200]


def test_the_mark_is_a_label_value_that_tells_incidents_apart() -> None:
    marks = [mark_of(name) for name in NAMES]

    assert marks[:2] == NAMES[:2]
    assert len(set(marks)) == len(NAMES)
    for name, mark in zip(NAMES, marks, strict=True):
        assert re.fullmatch(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", mark)
        assert len(mark) <= 63
        assert mark[:40] == name[:40]


def test_a_port_of_its_node_that_its_replacement_waits_for_is_told() -> None:
    taken = pod(spec={"containers": [{"ports": [{"containerPort": 80, "hostPort": 8080}]}, {}]})
    _, (edit,) = plan(ward(taken, target=obj("DaemonSet")), asked(kind=TargetKind.DAEMON_SET))
    assert edit.diff.endswith("another is started on its node; host port 8080 of its node stays taken")


def test_a_place_in_a_stateful_set_keeps_its_name() -> None:
    """The label that names the pod goes only where a Service selects by it."""
    labels = {"app": "llm", "statefulset.kubernetes.io/pod-name": "llm-0"}
    pods = ward(pod(labels=labels), services=())
    one_each = (selects("Service", "llm-0", **{"statefulset.kubernetes.io/pod-name": "llm-0"}),)

    gone = [
        {change.path for change in plan(replace(pods, services=services), asked())[1][0].fields}
        for services in ((), one_each)
    ]

    assert gone[1] - gone[0] == {"/metadata/labels/statefulset.kubernetes.io~1pod-name"}


def test_what_a_controller_wants_in_several_ways_is_all_left() -> None:
    """Of In, Exists and matchLabels each label goes; what must be absent or other stays as it is."""
    labels = {"tier": "gold", "app": "llm", "release": "b", "note": "stays"}
    mixed = selects(
        "ReplicaSet",
        "rs",
        Requirement(key="app", operator=Operator.EXISTS),
        Requirement(key="release", operator=Operator.IN, values=("a", "b")),
        Requirement(key="legacy", operator=Operator.DOES_NOT_EXIST),
        Requirement(key="note", operator=Operator.NOT_IN, values=("x",)),
        tier="gold",
    )
    others = (selects("Service", "by-note", note="other"), selects("Service", "by-tier", tier="gold"))

    _, (edit,) = plan(ward(pod(labels=labels), controllers=(mixed,), services=others), asked())

    left = {key: value for key, value in labels.items() if f"/metadata/labels/{key}" not in lost(edit)}
    assert left == {"note": "stays"}
    assert not any(claim.selector.matches(left) for claim in (mixed, *others))


def lost(edit: Edit) -> set[str]:
    return {change.path for change in edit.fields if change.after is None}


def test_only_what_comes_before_it_may_not_end_pods() -> None:
    assert ACTION.keeps_pods
    assert not ACTION.ends_pods(Member(pods=("a",)))
