"""Quarantine: when it says that a pod is by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stanch.actions.isolation_seen import Tiers
from stanch.actions.protocol import Verdict
from stanch.actions.quarantine_seen import EndpointSlice
from tests.unit.actions.quarantining import (
    ACTION,
    AGAIN,
    OWNER,
    A,
    B,
    both,
    judged,
    own,
    patched,
    pod,
    policy,
    recorded,
    selects,
    ward,
)

if TYPE_CHECKING:
    from stanch.actions.protocol import Judgement
Json = dict[str, Any]


def test_alive_unselected_and_cut_off_is_effective() -> None:
    judgement = judged(*both())

    assert (judgement.verdict, judgement.reason) == (Verdict.EFFECTIVE, "Quarantined")
    assert judgement.message == (
        "alive and by themselves: a, b; out of Deployment llm and every Service, no traffic is allowed; "
        "enforcement: Unknown (no network plugin is seen that is known to enforce NetworkPolicies); "
        "connections that were open may live on; "
        "kubectl get pods -n chat -l stanch.dev/quarantined"
    )


SLICE = EndpointSlice.model_validate(
    {"metadata": {"name": "llm-x"}, "endpoints": [{"targetRef": {"kind": "Pod", "name": "a"}}]}
)


BY_ADDRESS = EndpointSlice.model_validate(
    {"metadata": {"name": "by-hand"}, "endpoints": [{"addresses": ["fd00::1"]}]}
)


EMPTY = EndpointSlice.model_validate({"metadata": {"name": "empty"}, "endpoints": None})


INEFFECTIVE, PENDING = Verdict.INEFFECTIVE, Verdict.PENDING


OWNED = [{"kind": "ReplicaSet", "name": "rs", "uid": OWNER, "controller": True}]


JUDGED: dict[str, tuple[Judgement, Verdict, str, str]] = {
    "owned": (
        judged(*both(ownerReferences=OWNED)),
        PENDING,
        "NotLetGo",
        "ReplicaSet rs has not yet let go of a",
    ),
    "an endpoint": (
        judged(*both(), slices=(EMPTY, SLICE)),
        PENDING,
        "StillServed",
        "a is an endpoint still in EndpointSlice llm-x",
    ),
    "an endpoint by address": (
        judged(*both(status={"podIP": "fd00:0::1"}), slices=(BY_ADDRESS,)),
        PENDING,
        "StillServed",
        "EndpointSlice by-hand",
    ),
    "gone": (
        judged(patched(B, AGAIN)),
        INEFFECTIVE,
        "PodGone",
        "a no longer exists: what it could have told is lost; under quarantine: b",
    ),
    "another by its name": (
        judged(pod("a", uid="uid-new"), patched(B, AGAIN)),
        INEFFECTIVE,
        "PodGone",
        "a no longer exists",
    ),
    "ended": (
        judged(*both(status={"phase": "Failed"})),
        INEFFECTIVE,
        "PodEnded",
        "a ended by itself: evidence may be lost; under quarantine: b",
    ),
    "ending": (
        judged(*both(deletionTimestamp="2026-01-02T03:04:05Z")),
        INEFFECTIVE,
        "PodTerminating",
        "a is being deleted: evidence is about to be lost",
    ),
    "all ended": (
        judged(patched(A, AGAIN, status={"phase": "Failed"}), patched(B, AGAIN, status={"phase": "Failed"})),
        INEFFECTIVE,
        "PodEnded",
        "a, b ended by itself: evidence may be lost",
    ),
    "a Service of later": (
        judged(*both(), services=(selects("Service", "later", note="stays"),)),
        INEFFECTIVE,
        "StillSelected",
        "a is selected by Service later",
    ),
    "a controller of later": (
        judged(*both(), controllers=(selects("DaemonSet", "later", note="stays"),)),
        INEFFECTIVE,
        "StillSelected",
        "a is selected by DaemonSet later",
    ),
    "a policy for everybody": (
        judged(*both(), policies=(policy("everybody", ingress=[{}]),)),
        INEFFECTIVE,
        "StillAllowed",
        "NetworkPolicy everybody allows ingress from everyone on every port",
    ),
    "a policy that is not understood": (
        judged(*both(), policies=(policy("odd", ingress=[{"from": [{"colour": "red"}]}]),)),
        Verdict.INCONCLUSIVE,
        "PolicyNotUnderstood",
        "NetworkPolicy odd is not understood",
    ),
}


@pytest.mark.parametrize("case", JUDGED)
def test_what_is_not_so_is_told(case: str) -> None:
    judgement, verdict, reason, says = JUDGED[case]

    assert (judgement.verdict, judgement.reason) == (verdict, reason)
    assert says in judgement.message
    assert judgement.by_itself == (reason == "PodEnded")


def test_without_our_policy_nothing_is_cut_off() -> None:
    judgement = ACTION.judge(ward(*both()), AGAIN)
    assert judgement.reason == "StillAllowed"
    assert "no NetworkPolicy restricts ingress" in judgement.message


def test_a_pod_on_its_nodes_network_is_not_cut_off() -> None:
    on_node = pod("a", spec={"hostNetwork": True})
    again = recorded(on_node)
    judgement = ACTION.judge(ward(patched(on_node, again), own(again)), again)
    assert judgement.reason == "HostNetwork"
    assert judgement.message.startswith("a share their node's network")


def test_a_pod_that_ended_beside_another_failure_is_somebodys_doing() -> None:
    judgement = judged(patched(A, AGAIN, status={"phase": "Failed"}))
    assert judgement.reason == "PodGone"
    assert not judgement.by_itself


def cluster_policy(action: str, **subject: Any) -> Json:
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha1",
        "kind": "AdminNetworkPolicy",
        "metadata": {"name": "let-in"},
        "spec": {
            "priority": 5,
            "subject": subject,
            "ingress": [{"action": action, "from": [{"namespaces": {}}]}],
        },
    }


def of_pods(**labels: str) -> Json:
    return {"namespaceSelector": {}, "podSelector": {"matchLabels": labels}}


ASKED_FIRST: dict[str, tuple[Json, str]] = {
    "all of the namespace": (cluster_policy("Allow", namespaces={}), "AcceptedBeforehand"),
    "by a label that it kept": (cluster_policy("Allow", pods=of_pods(note="stays")), "AcceptedBeforehand"),
    "by one that it lost": (cluster_policy("Allow", pods=of_pods(app="llm")), "Quarantined"),
    "a denial": (cluster_policy("Deny", namespaces={}), "Quarantined"),
}


@pytest.mark.parametrize("case", ASKED_FIRST)
def test_what_is_accepted_before_policies_are_asked_is_not_called_cut_off(case: str) -> None:
    body_, reason = ASKED_FIRST[case]
    judgement = judged(*both(), tiers=Tiers(("AdminNetworkPolicy",), (body_,)))
    assert judgement.reason == reason
