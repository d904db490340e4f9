"""Isolate beside cluster-wide policies: what it writes itself, what it leaves, and what it then claims."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from stanch.actions.isolation_plan import isolation_of
from stanch.actions.isolation_seen import TIERS, Tiers
from stanch.actions.isolation_tiers import GRANT, tried
from stanch.actions.objects import Obj
from stanch.actions.protocol import Make
from stanch.api.v1alpha1.status import Change, ChangeType
from stanch.errors import Conflict, Forbidden, Invalid, Unavailable
from stanch.incidents.preflight import marked
from stanch.incidents.record import reference_of
from tests.unit.actions.isolated import NOW, pod_body, reach
from tests.unit.actions.isolated import policy as network_policy
from tests.unit.actions.isolating import HELD, ISOLATE, LABELS, LLM, RUNNING, ask, judged, ours, planned

if TYPE_CHECKING:
    from datetime import datetime

    from stanch.actions.isolation_seen import Reach
    from stanch.actions.protocol import Ask, Judgement
    from stanch.errors import StanchError
    from stanch.kube.client import Kube
    from stanch.kube.resources import Resource

Json = dict[str, Any]
CLUSTER, ADMIN = TIERS
BOTH = (CLUSTER, ADMIN)
NAMESPACE = {"env": "prod", "kubernetes.io/metadata.name": "chat"}
METRICS = {"metrics": {"namespaceSelector": {"matchLabels": {"team": "sre"}}, "port": 9090}}
OFFICE = {"peers": [{"direction": ["Ingress"], "ipBlock": {"cidr": "10.0.0.0/8"}}]}
DENY_IN = {"action": "Deny", "from": [{"namespaces": {}}]}


def tier(kind: str, *, action: str = "Accept", way: str = "ingress", **spec: Any) -> Json:
    subject = {"namespaces": {"matchLabels": {"env": "prod"}}}
    body = {"priority": 10, "subject": subject, way: [{"action": action}], **spec}
    return {"kind": kind, "metadata": {"name": "platform"}, "spec": body}


PODS = {"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"team": "x"}}}}
NOT_THESE = {"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "other"}}}}


@pytest.mark.parametrize(
    ("policies", "reason"),
    [
        (tier("AdminNetworkPolicy", action="Allow"), "AcceptedBeforehand"),
        (tier("ClusterNetworkPolicy", tier="Admin"), "AcceptedBeforehand"),
        (tier("ClusterNetworkPolicy", way="egress"), "AcceptedBeforehand"),
        (tier("ClusterNetworkPolicy", subject=PODS), "AcceptedBeforehand"),
        (tier("ClusterNetworkPolicy", subject={"everybody": {}}), "AcceptedBeforehand"),
        (tier("ClusterNetworkPolicy", action="Deny"), "Isolated"),
        (tier("ClusterNetworkPolicy", action="Pass"), "Isolated"),
        (tier("ClusterNetworkPolicy", tier="Baseline"), "Isolated"),
        (tier("ClusterNetworkPolicy", subject=NOT_THESE), "Isolated"),
        (tier("ClusterNetworkPolicy", subject={"namespaces": {"matchLabels": {"env": "test"}}}), "Isolated"),
    ],
)
def test_what_a_cluster_wide_policy_accepts_first_is_not_isolated(policies: Json, reason: str) -> None:
    told = judged(tiers=Tiers(policies=(policies,)), labels={"env": "prod"})
    assert told.reason == reason
    assert ("platform" in told.message) == (reason != "Isolated")


def test_what_may_not_be_read_is_not_taken_for_harmless() -> None:
    tiers = Tiers(
        served=(ADMIN,), unread=("list policy.networking.k8s.io/clusternetworkpolicies: forbidden",)
    )
    told = judged(tiers=tiers)
    assert (told.verdict.value, told.reason) == ("Inconclusive", "PoliciesNotReadable")
    assert "clusternetworkpolicies" in told.message
    assert len(planned(reach(LLM, tiers=tiers), ask())) == 1


# What is made.


def seeing(*policies: Json, served: tuple[str, ...] = (CLUSTER,), refused: str = "", **more: Any) -> Reach:
    tiers = Tiers(served=served, policies=policies, refused=refused)
    return reach(LLM, bodies=(RUNNING,), tiers=tiers, labels=NAMESPACE, **more)


def denial(seen: Reach, what: Ask) -> Make | None:
    made = [one for one in planned(seen, what)[1:] if isinstance(one, Make)]
    assert all(one.ref.resource.kind in TIERS for one in made)
    return made[0] if made else None


def denied(seen: Reach, what: Ask) -> Make:
    made = denial(seen, what)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("served", "kind"), [((), None), ((ADMIN,), ADMIN), ((CLUSTER,), CLUSTER), (BOTH, CLUSTER)]
)
def test_a_denial_is_made_in_the_newest_api_that_is_served(served: tuple[str, ...], kind: str | None) -> None:
    made = denial(seeing(served=served), ask())
    assert (made.ref.resource.kind if made else None) == kind


def test_it_says_whose_it_is_and_is_another_for_each_incident_target_and_namespace() -> None:
    made = denied(seeing(), ask())
    metadata = made.manifest["metadata"]
    assert metadata["labels"] == {"stanch.dev/namespace": "chat"}
    assert metadata["annotations"]["stanch.dev/isolates"] == "Deployment/llm"
    assert metadata["annotations"]["stanch.dev/incident"] == "toxic"
    assert made.ref.namespace is None
    assert made.manifest["spec"]["subject"]["pods"]["podSelector"] == {"matchLabels": LABELS}

    names_of = itertools.product(("llm", "a" * 253), ("u1", "u2"), ("chat", "b" * 63))
    asked = [replace(ask(name=name, uid=uid), namespace=space) for name, uid, space in names_of]
    names = {denied(seeing(), one).ref.name for one in asked}
    assert len(names) == 8
    assert all(len(name) <= 63 for name in names)
    assert made.ref.name.startswith("stanch-chat-llm-")


def test_only_what_is_isolated_is_denied() -> None:
    spec = denied(seeing(), ask(direction=["Egress"])).manifest["spec"]
    assert "egress" in spec
    assert "ingress" not in spec


def standing(seen: Reach, what: Ask, since: datetime = NOW) -> tuple[Obj, ...]:
    """Our NetworkPolicy and our denial as they are once they are made."""
    made = denied(seen, what)
    metadata = {
        **made.manifest["metadata"],
        "uid": "uid-denial",
        "labels": {**made.manifest["metadata"]["labels"], **HELD},
        "creationTimestamp": since.isoformat(),
        "resourceVersion": "9",
    }
    return ours(seen, what), Obj(made.ref.resource, {**made.manifest, "metadata": metadata})


def recorded(seen: Reach, what: Ask) -> Ask:
    changes = tuple(
        Change(object=reference_of(one.ref, "chat"), type=ChangeType.CREATE, manifest=marked(one.manifest))
        for one in planned(seen, what)
    )
    return replace(what, changes=changes)


def with_denial(seen: Reach, what: Ask, since: datetime = NOW) -> Judgement:
    stands = standing(seen, what, since)
    return ISOLATE.judge(replace(seen, related=(*seen.related, *stands)), recorded(seen, what))


LATER = {"priority": 1, "subject": {"namespaces": {}}, "tier": "Admin"}
IN: Json = {"ingress": [{"action": "Accept", "from": [{"namespaces": {}}]}]}
OUT: Json = {"egress": [{"action": "Accept", "to": [{"networks": ["0.0.0.0/0"]}]}]}


def accept(kind: str = CLUSTER, **spec: Any) -> Json:
    return {"kind": kind, "metadata": {"name": "platform"}, "spec": {**LATER, **spec}}


def test_what_others_accept_after_it_is_cut_off() -> None:
    told = with_denial(seeing(accept(**IN, **OUT)), ask())
    assert (told.verdict.value, told.reason) == ("Effective", "Isolated")
    assert "ClusterNetworkPolicy stanch-chat-llm-" in told.message
    assert (
        "denies ingress and egress before other policies are asked, where they are enforced" in told.message
    )
    assert "enforcement: Unknown" in told.message
    assert "not used" not in told.message


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (accept(**IN, priority=0), "of priority 0, which none surely comes before, accepts ingress"),
        (accept(ADMIN, **IN), "AdminNetworkPolicy platform accepts ingress"),
    ],
)
def test_what_may_come_before_it_is_not_called_isolated(policy: Json, why: str) -> None:
    told = with_denial(seeing(policy, served=BOTH), ask())
    assert (told.verdict.value, told.reason) == ("Ineffective", "AcceptedBeforehand")
    assert why in told.message


def test_what_a_network_policy_allows_counts_whether_it_is_enforced_or_not() -> None:
    seen = replace(seeing(), related=(network_policy("web", {"ingress": [{}]}),))
    assert with_denial(seen, ask()).reason == "StillAllowed"


def test_two_incidents_that_isolate_one_workload_do_not_undo_each_other() -> None:
    first = standing(seeing(), ask(uid="uid-first", allow=METRICS))
    seen = seeing(first[1].json)
    assert with_denial(seen, ask(allow=METRICS)).reason == "Isolated"


# What is left to NetworkPolicies, and said.


def test_without_the_right_it_is_said_which_file_grants_it() -> None:
    refused = f"the operator may not create, delete, get, patch them: grant {GRANT}"
    told = judged(tiers=Tiers(served=BOTH, refused=refused))
    assert told.reason == "Isolated"
    assert f"served and not used: ClusterNetworkPolicy, AdminNetworkPolicy; {refused}" in told.message
    told = judged(tiers=Tiers(served=BOTH, refused=refused, policies=(accept(**IN),)), labels=NAMESPACE)
    assert told.reason == "AcceptedBeforehand"
    assert refused in told.message


@pytest.mark.parametrize(
    ("allow", "policies", "why"),
    [
        (OFFICE, (), "peer 0 is 10.0.0.0/8, and that cannot be left open there"),
        (METRICS, (accept(ingress=[DENY_IN]),), "ClusterNetworkPolicy platform may deny what metrics opens"),
    ],
)
def test_a_hole_that_cannot_be_passed_by_leaves_its_direction(
    allow: Json, policies: tuple[Json, ...], why: str
) -> None:
    seen, what = seeing(*policies), ask(allow=allow)
    spec = denied(seen, what).manifest["spec"]
    assert ("ingress" in spec, "egress" in spec) == (False, True)
    told = with_denial(seen, what)
    assert told.reason == "Isolated"
    assert f"ClusterNetworkPolicy does not deny ingress: {why}" in told.message
    assert denial(seen, ask(allow=allow, direction=["Ingress"])) is None


def test_a_denial_by_others_that_comes_later_is_made_room_for_and_taken_back() -> None:
    before = seeing()
    what = recorded(before, ask(allow=METRICS))
    assert denied(before, what).follows is False

    tenants = accept(ingress=[DENY_IN])
    mine = standing(before, ask(allow=METRICS))
    after = denied(replace(seeing(tenants), related=mine), what)
    assert after.follows is True
    assert set(after.manifest["spec"]) == {"tier", "priority", "subject", "egress"}

    one_way = recorded(before, ask(allow=METRICS, direction=["Ingress"]))
    nothing = denied(seeing(tenants), one_way)
    assert set(nothing.manifest["spec"]) == {"tier", "priority", "subject"}


def test_it_stays_planned_once_recorded_though_the_right_was_taken_away() -> None:
    what = recorded(seeing(), ask())
    assert denial(seeing(refused="the operator may not create them"), what) is not None
    assert denial(seeing(refused="the operator may not create them"), ask()) is None


def test_pods_from_before_the_denial_are_ended_when_asked() -> None:
    """It may be later than our NetworkPolicy: the right was granted meanwhile."""
    soon, later = (NOW + timedelta(seconds=after) for after in (30, 60))
    body = pod_body("llm-1", LABELS, "uid-rs", creationTimestamp=soon.isoformat())
    seen = replace(seeing(), bodies=(body,), pods=reach(LLM, bodies=(body,)).pods)
    what = ask(terminate_connections=True)
    assert with_denial(seen, what).reason == "Isolated"
    assert with_denial(seen, what, since=later).reason == "ConnectionsOpen"


# Whether it would be taken.


class Server:
    """Answers questions about rights, and dry runs."""

    def __init__(self, *lacking: str, error: Exception | None = None) -> None:
        self.lacking = lacking
        self.error = error
        self.dry_runs: list[bool] = []

    async def create(self, resource: Resource, namespace: None, body: Json, *, dry_run: bool = False) -> Json:
        assert namespace is None
        if resource.kind != "SelfSubjectAccessReview":
            self.dry_runs.append(dry_run)
            if self.error:
                raise self.error
            return body
        verb = body["spec"]["resourceAttributes"]["verb"]
        return {"status": {"allowed": verb not in self.lacking}}


async def refused(server: Server, seen: Reach, what: Ask) -> str:
    isolation = isolation_of({"matchLabels": LABELS}, what)
    return (await tried(cast("Kube", server), seen, isolation, what)).tiers.refused


async def test_it_is_tried_before_it_is_planned() -> None:
    server = Server()
    assert await refused(server, seeing(), ask()) == ""
    assert server.dry_runs == [True]


async def test_a_right_that_lacks_is_named_and_nothing_is_sent() -> None:
    server = Server("create", "delete")
    assert await refused(server, seeing(), ask()) == (
        f"the operator may not create, delete them: grant {GRANT}"
    )
    assert server.dry_runs == []


@pytest.mark.parametrize(
    "error",
    [
        Invalid("Invalid", "spec.egress[0].to[1]: nothing is set"),
        Forbidden("Forbidden", "a webhook says no"),
        Conflict("AlreadyExists", "create ClusterNetworkPolicy x: already exists"),
        Unavailable("InternalError", "a webhook does not answer", 1.0),
    ],
)
async def test_what_the_api_server_would_not_take_is_no_reason_not_to_isolate(error: StanchError) -> None:
    assert await refused(Server(error=error), seeing(), ask()) == error.message


async def test_what_is_recorded_or_not_served_is_not_tried_again() -> None:
    server = Server("create", error=Forbidden("Forbidden", "no"))
    assert await refused(server, seeing(), recorded(seeing(), ask())) == ""
    assert await refused(server, seeing(served=()), ask()) == ""
    assert server.dry_runs == []
