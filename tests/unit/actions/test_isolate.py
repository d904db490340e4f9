"""What Isolate decides, refuses, claims and says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stanch.actions.isolation_plan import LEFT_OUT
from stanch.actions.isolation_seen import Enforcer
from stanch.actions.objects import Obj
from stanch.actions.protocol import Ask, Edit, Make, Refusal
from stanch.kube.resources import CRONJOBS, JOBS
from tests.unit.actions.isolated import NOW, pod_body, policy, reach, workload
from tests.unit.actions.isolating import (
    IN,
    ISOLATE,
    LABELS,
    LLM,
    RUNNING,
    ask,
    judged,
    planned,
)

if TYPE_CHECKING:
    from stanch.actions.isolation_seen import Reach

Json = dict[str, Any]


# What is planned, and refused.


def test_our_policy_selects_as_the_workload_does_and_allows_nothing() -> None:
    (make,) = planned(reach(LLM), ask())
    assert make.manifest["spec"] == {
        "podSelector": {"matchLabels": LABELS},
        "policyTypes": ["Ingress", "Egress"],
    }
    assert make.diff == f"NetworkPolicy {make.ref.name} allows no ingress and egress"
    assert make.manifest["metadata"]["annotations"]["stanch.dev/isolates"] == "Deployment/llm"


def test_its_name_is_another_for_each_incident_and_kind_and_fits_a_label() -> None:
    names = {
        planned(reach(workload(name, {"matchLabels": LABELS}, LABELS)), ask(kind, name, uid=uid))[0].ref.name
        for name in ("llm", "a" * 253)
        for kind in ("Deployment", "StatefulSet")
        for uid in ("first", "second")
    }
    assert len(names) == 8
    assert all(len(name) <= 63 for name in names)


REFUSED: dict[str, tuple[Reach, Ask, str, str]] = {
    "a CronJob": (reach(None), ask("CronJob"), "KindNotSelectable", "name the Job that runs"),
    "nothing": (reach(None), ask(), "TargetNotFound", "no such object"),
    "what goes": (
        reach(
            Obj(LLM.resource, {**LLM.json, "metadata": {**LLM.json["metadata"], "deletionTimestamp": NOW}})
        ),
        ask(),
        "TargetTerminating",
        "being deleted",
    ),
    "an owned ReplicaSet": (
        reach(
            Obj(
                LLM.resource,
                {
                    **LLM.json,
                    "metadata": {
                        **LLM.json["metadata"],
                        "ownerReferences": [
                            {"kind": "Deployment", "name": "llm", "uid": "u", "controller": True}
                        ],
                    },
                },
            )
        ),
        ask("ReplicaSet"),
        "TargetOwned",
        "name that as the target",
    ),
    "no selector": (reach(workload("llm", {}, LABELS)), ask(), "NoSelector", "whole namespace"),
    "a CIDR that is none": (
        reach(LLM),
        ask(allow={"peers": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}),
        "AllowNotUnderstood",
        "except 11.0.0.0/16 is no part of 10.0.0.0/8",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_does_not_do_it_refuses_with_a_reason(case: str) -> None:
    seen, what, reason, told = REFUSED[case]
    refusal = ISOLATE.plan(seen, what)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert told in refusal.message


def test_a_job_that_a_cronjob_started_is_isolated_and_the_next_one_is_said_not_to_be() -> None:
    owner = {"kind": CRONJOBS.kind, "name": "nightly", "uid": "u", "controller": True}
    body = {**LLM.json, "metadata": {**LLM.json["metadata"], "ownerReferences": [owner]}}
    told = judged(target=Obj(JOBS, body), kind="Job", bodies=())
    assert told.reason == "Isolated"
    assert "other Jobs of CronJob nightly are not isolated" in told.message


def test_report_touches_nobody_elses_policy() -> None:
    assert len(planned(reach(LLM, policy("web", IN)), ask())) == 1


def test_override_takes_the_pods_out_after_our_policy_stands() -> None:
    seen = reach(
        LLM, policy("everyone", IN), policy("other", {**IN, "podSelector": {"matchLabels": {"app": "x"}}})
    )
    make, edit = planned(seen, ask(others="Override"))
    assert isinstance(make, Make)
    assert isinstance(edit, Edit)
    assert edit.obj.meta.name == "everyone"
    selector, annotation = edit.fields
    assert selector.members
    assert selector.after == [{"key": "app", "operator": "NotIn", "values": ["llm"]}]
    assert annotation.path.startswith(f"/metadata/annotations/{LEFT_OUT.replace('/', '~1')}")


def test_what_is_split_off_comes_before_the_policy_is_changed_and_follows_it() -> None:
    two = workload("llm", {"matchLabels": {"app": "llm", "tier": "gpu"}}, LABELS)
    _, addition, edit = planned(reach(two, policy("everyone", IN)), ask(others="Override"))
    assert isinstance(addition, Make)
    assert addition.follows
    assert addition.manifest["spec"]["ingress"] == IN["ingress"]
    assert isinstance(edit, Edit)


def test_more_policies_than_can_be_recorded_are_left_and_told() -> None:
    many = [policy(f"web-{number:03}", IN) for number in range(100)]
    seen = reach(LLM, *many, bodies=(RUNNING,))
    intents = planned(seen, ask(others="Override"))
    assert len(intents) <= 64, "as many changes as a step can record"
    told = judged(*many, others="Override")
    assert told.reason == "StillAllowed"
    assert "has no room for more changes" in told.message
    assert len(told.message) < 2000


def test_copies_too_large_for_the_record_are_not_made() -> None:
    rules = [{"ports": [{"port": number + 1}]} for number in range(5000)]
    two = workload("llm", {"matchLabels": {"app": "llm", "tier": "gpu"}}, {"app": "llm", "tier": "gpu"})
    large = [policy(f"large-{n}", {"policyTypes": ["Ingress"], "ingress": rules}) for n in range(3)]
    recorded = sum(
        len(str(intent.manifest)) for intent in planned(reach(two, *large), ask(others="Override"))
        if isinstance(intent, Make)
    )  # fmt: skip
    assert recorded < 400 * 1024


# What is judged.


def test_nothing_allowed_is_isolated_and_says_what_is_not_known() -> None:
    told = judged()
    assert (told.verdict.value, told.reason) == ("Effective", "Isolated")
    assert told.message.startswith("no ingress or egress is allowed; enforcement: Unknown")
    assert "connections that were open may live on" in told.message


@pytest.mark.parametrize(
    ("enforcers", "told"),
    [
        ((), "Unknown (no network plugin is seen"),
        ((Enforcer("Calico", 3, 3),), "Known (Calico)"),
        ((Enforcer("Calico", 2, 3),), "Unknown (Calico is ready on 2 of 3 nodes)"),
        ((Enforcer("Calico", 0, 0),), "Unknown (Calico is ready on 0 of 0 nodes)"),
        ((Enforcer("Cilium", 0, 3), Enforcer("Antrea", 2, 2)), "Known (Antrea)"),
    ],
)
def test_who_enforces_is_said_as_far_as_it_is_known(enforcers: tuple[Enforcer, ...], told: str) -> None:
    assert f"enforcement: {told}" in judged(enforcers=enforcers).message


LEAKS: dict[str, tuple[Obj, str]] = {
    "a policy for it": (
        policy("web", {"podSelector": {"matchLabels": LABELS}, **IN}),
        "web allows ingress from everyone",
    ),
    "one for everybody": (policy("all", IN), "all allows ingress from everyone on every port"),
    "one by expression": (
        policy("not-b", {"podSelector": {"matchExpressions": [
            {"key": "app", "operator": "NotIn", "values": ["b"]}]}, **IN}),
        "not-b allows",
    ),
    "a way out": (
        policy("out", {"policyTypes": ["Egress"], "egress": [{"ports": [{"port": 443}]}]}),
        "out allows egress to everyone on TCP 443",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LEAKS)
def test_what_others_allow_is_not_called_isolated(case: str) -> None:
    leak, told = LEAKS[case]
    judgement = judged(leak)
    assert (judgement.verdict.value, judgement.reason) == ("Ineffective", "StillAllowed")
    assert f"NetworkPolicy {told}" in judgement.message


def test_without_our_policy_nothing_is_isolated() -> None:
    told = ISOLATE.judge(reach(LLM, bodies=(RUNNING,)), ask())
    assert told.reason == "StillAllowed"
    assert "no NetworkPolicy restricts" in told.message


def test_the_pod_that_comes_next_counts_although_none_is_there() -> None:
    assert judged(policy("web", IN), bodies=()).reason == "StillAllowed"


def test_a_pod_that_has_ended_takes_no_part() -> None:
    bodies = (RUNNING, pod_body("old", {**LABELS, "tier": "x"}, "uid-rs", phase="Succeeded"))
    leak = policy("web", {"podSelector": {"matchLabels": {"tier": "x"}}, **IN})
    told = judged(leak, bodies=bodies)
    assert told.reason == "Isolated"
    assert "a pod with more labels would be let through by NetworkPolicies web" in told.message


def test_pods_on_their_nodes_network_are_out_of_reach() -> None:
    bodies = (RUNNING, pod_body("odd", LABELS, "uid-rs", spec={"hostNetwork": True}))
    told = judged(bodies=bodies)
    assert (told.verdict.value, told.reason) == ("Ineffective", "HostNetwork")
    assert "odd" in told.message


def test_a_policy_that_is_not_understood_proves_nothing() -> None:
    told = judged(policy("odd", {"podSelector": {}, "somethingNew": True}))
    assert (told.verdict.value, told.reason) == ("Inconclusive", "PolicyNotUnderstood")
    assert "odd" in told.message


def test_pods_of_others_with_the_same_labels_are_named() -> None:
    told = judged(bodies=(RUNNING, pod_body("stranger", LABELS)))
    assert "other pods with its labels are cut off too: stranger" in told.message


def test_a_workload_that_is_gone_with_its_pods_is_isolated() -> None:
    assert ISOLATE.judge(reach(None), ask()).reason == "TargetGone"


def test_holes_are_no_leaks_and_are_told() -> None:
    told = judged(allow={"dns": True, "metrics": {"podSelector": {}, "port": "metrics"}})
    assert told.message.startswith("no ingress or egress is allowed but DNS, metrics;")


def test_a_message_is_short_whatever_the_policies_are_called() -> None:
    leaks = [
        policy(f"{number}" + "x" * 250, {"podSelector": {}, "ingress": [{"from": [
            {"podSelector": {"matchLabels": {"k" * 60: "v" * 60}}} for _ in range(100)]}]})
        for number in range(9)
    ]  # fmt: skip
    assert len(judged(*leaks).message) < 4000
