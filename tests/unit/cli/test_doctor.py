"""What the doctor makes of what was found. What could not be looked at is never in order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from stanch.actions.isolation_seen import Enforcer
from stanch.api.v1alpha1.hold import ContainmentHold, ContainmentHoldSpec, HeldEntry
from stanch.api.v1alpha1.policy import ContainmentPolicy
from stanch.cli.doctor import gather
from stanch.cli.doctor.facts import AdmissionPolicy, Attempt, Crd, Leader, Operator, Replicas, Unread
from stanch.cli.doctor.finding import Finding, State
from stanch.cli.doctor.installed import ADMISSION, NEWEST, OLDEST
from stanch.cli.doctor.judge import judge, judge_uninstall
from stanch.cli.doctor.use import ROLES, VERBS
from tests.installation import ROOT
from tests.unit.cli.made import facts, incident, said

Json = dict[str, Any]
OK, WARNING, FAILED, UNKNOWN = State.OK, State.WARNING, State.FAILED, State.UNKNOWN
STANDS = AdmissionPolicy(present=True, fails_closed=True, denies=True)
NO = Unread("list is forbidden")
NONE = Operator(Replicas(2, 2), None)


def found(check: str, **changed: Any) -> Finding:
    (finding,) = [each for each in judge(facts(**changed)) if each.check == check]
    return finding


def admission(**changed: AdmissionPolicy) -> Json:
    return dict.fromkeys(ADMISSION, STANDS) | {name.replace("_", "-"): each for name, each in changed.items()}


def policy(*triggers: Json, **status: Any) -> ContainmentPolicy:
    """With a trigger by query each, and what the operator says of it."""
    graded = {"category": "Drift", "severity": "High"}
    asked = {"query": "drift", "operator": "gt", "value": "1"}
    return ContainmentPolicy.model_validate(
        {
            "metadata": {"name": "chat", "namespace": "chat"},
            "spec": {
                "selector": {},
                "steps": [{"scaleToZero": {}}],
                "triggers": [{"name": each["name"], "prometheus": asked} | graded for each in triggers],
            },
            "status": {"triggers": list(triggers)} | status,
        }
    )


def proven() -> ContainmentPolicy:
    """With a check by query, and no trigger."""
    check = {"name": "quiet", "prometheus": {"query": "toxicity", "operator": "lt", "value": "1"}}
    return ContainmentPolicy.model_validate(
        {
            "metadata": {"name": "proven", "namespace": "chat"},
            "spec": {"selector": {}, "steps": [{"scaleToZero": {}}], "verification": {"checks": [check]}},
        }
    )


def hold(*incidents: str) -> ContainmentHold:
    entries = {
        f"Stopped apps/deployments/{name}": HeldEntry.of(
            name, "High, Drift", datetime(2026, 1, 2, tzinfo=UTC)
        )
        for name in incidents
    }
    return ContainmentHold.model_validate(
        {"metadata": {"name": "stanch", "namespace": "chat"}, "spec": ContainmentHoldSpec.of(entries).wire()}
    )


def test_where_all_is_well_nothing_fails() -> None:
    findings = judge(facts(policies=(policy(),), enforcers=(Enforcer("Calico", 3, 3),)))
    assert {each.check: each.state for each in findings if each.state is not OK} == {"Prometheus": UNKNOWN}


CASES = [
    ("API server", {"version": (1, 29)}, FAILED, "nothing is held on it"),
    ("API server", {"version": (1, 30)}, WARNING, "older than what this Stanch was tested with"),
    ("API server", {"version": OLDEST}, OK, "Kubernetes 1."),
    ("API server", {"version": NEWEST}, OK, "Kubernetes 1."),
    ("API server", {"version": (1, 99)}, WARNING, "newer than what this Stanch was tested with"),
    ("API server", {"version": NO}, FAILED, "forbidden"),
    ("clock", {"skew": -4.9}, OK, "within 5s"),
    ("clock", {"skew": -90.0}, WARNING, "90s behind the API server"),
    ("clock", {"skew": 400.0}, FAILED, "400s ahead of the API server"),
    ("CRDs", {"crds": {"a": Crd.SAME, "b": Crd.ABSENT, "c": Crd.OTHER}}, FAILED, "missing: b"),
    ("CRDs", {"crds": {"a": Crd.OTHER}}, WARNING, "another version than this stanch: a"),
    ("CRDs", {"crds": NO}, UNKNOWN, "forbidden"),
    ("admission policies", {"admission": {}}, FAILED, "stanch-hold is missing; stanch-hold-guard is missing"),
    (
        "admission policies",
        {"admission": admission(stanch_hold=AdmissionPolicy(present=True, fails_closed=True))},
        FAILED,
        "stanch-hold has no binding that denies",
    ),
    (
        "admission policies",
        {"admission": admission(stanch_hold=AdmissionPolicy(present=True, denies=True))},
        FAILED,
        "stanch-hold does not fail closed",
    ),
    ("admission policies", {"admission": NO}, UNKNOWN, "forbidden"),
    ("hold denies", {"attempt": Attempt.WENT_THROUGH}, FAILED, "what is contained can be undone"),
    ("hold denies", {"attempt": NO}, UNKNOWN, "told nothing: list is forbidden"),
    ("operator", {"leader": None}, FAILED, "no Lease in stanch-system"),
    ("operator", {"leader": Leader("", 2.0, 1)}, FAILED, "nobody leads"),
    ("operator", {"leader": Leader("a", None, 15)}, FAILED, "nobody leads"),
    ("operator", {"leader": Leader("a", 15.9, 15)}, OK, "a leads"),
    ("operator", {"leader": Leader("a", 62.0, 15)}, FAILED, "silent for 62s; what is held stays held"),
    ("operator", {"leader": NO}, UNKNOWN, "forbidden"),
    ("replicas", {"deployment": Operator(Replicas(1, 2), None)}, WARNING, "nobody takes over at once"),
    ("replicas", {"deployment": Operator(Replicas(1, 1), None)}, WARNING, "1 of 1 ready"),
    ("replicas", {"deployment": Operator(Replicas(0, 2), None)}, FAILED, "0 of 2 ready"),
    ("replicas", {"deployment": Operator(Replicas(0, 0), None)}, UNKNOWN, "outside of the cluster"),
    ("replicas", {"deployment": None}, UNKNOWN, "it runs elsewhere"),
    ("your rights", {"rights": {"get": True, "list": True, "watch": True}}, OK, "get, list, watch"),
    ("your rights", {"rights": {"create": True}}, FAILED, "you may: create"),
    ("your rights", {"rights": {}}, FAILED, "you may: nothing"),
    ("policies", {}, WARNING, "none in the cluster: alerts contain nothing"),
    ("policies", {"everywhere": False}, WARNING, "none in chat"),
    (
        "policies",
        {"policies": (policy(conditions=[said("Ready", "False", "Tie", "as good as other")]),)},
        WARNING,
        "chat/chat: as good as other",
    ),
    ("policies", {"policies": NO}, UNKNOWN, "forbidden"),
    ("Prometheus", {"policies": NO}, UNKNOWN, "forbidden"),
    ("Prometheus", {"policies": (policy(),)}, UNKNOWN, "nothing shows whether it answers"),
    (
        "Prometheus",
        {"policies": (policy({"name": "a", "state": "Active"}, {"name": "b", "state": "Inactive"}),)},
        OK,
        "http://prometheus.test answers the operator: 1 of 2 triggers",
    ),
    (
        "Prometheus",
        {"policies": (policy({"name": "a", "state": "Inactive", "message": "not evaluated yet"}),)},
        UNKNOWN,
        "chat/a: not evaluated yet",
    ),
    (
        "Prometheus",
        {"policies": (policy({"name": "a", "state": "Error", "message": "Unreachable: no"}),)},
        FAILED,
        "chat/a: Unreachable: no",
    ),
    (
        "Prometheus",
        {"policies": (policy({"name": "a", "state": "Active"}, {"name": "b", "state": "Error"}),)},
        WARNING,
        "chat/b: Error",
    ),
    ("Prometheus", {"deployment": NONE}, OK, "the operator has none, and no policy in the cluster needs one"),
    (
        "Prometheus",
        {"deployment": NONE, "policies": (policy({"name": "a", "state": "Inactive"}),)},
        FAILED,
        "the operator has none, and these need one: triggers of chat",
    ),
    (
        "Prometheus",
        {"deployment": NONE, "policies": (proven(),)},
        FAILED,
        "these need one: checks of proven",
    ),
    ("Prometheus", {"deployment": NO}, UNKNOWN, "whose address could not be read here"),
    (
        "Prometheus",
        {"asked_prometheus": True},
        UNKNOWN,
        "answers from here; nothing shows",
    ),
    (
        "Prometheus",
        {"asked_prometheus": True, "prometheus": Unread("Unreachable: no route")},
        WARNING,
        "http://prometheus.test does not answer from here: Unreachable: no route",
    ),
    ("network plugin", {"enforcers": (Enforcer("Cilium", 3, 3),)}, OK, "enforcement: Known (Cilium)"),
    ("network plugin", {"enforcers": (Enforcer("Cilium", 2, 3),)}, WARNING, "ready on 2 of 3 nodes"),
    ("network plugin", {"enforcers": ()}, UNKNOWN, "no network plugin is seen"),
    ("network plugin", {"enforcers": NO}, UNKNOWN, "forbidden"),
    ("containments", {"incidents": (incident(),)}, OK, "1 stand in the cluster"),
    (
        "containments",
        {"incidents": (incident(conditions=[said("Held", "False", "AdmissionPolicyMissing")]),)},
        FAILED,
        "NOT held: chat/toxic-output",
    ),
    ("containments", {"incidents": NO}, UNKNOWN, "forbidden"),
    ("orphaned holds", {"holds": (hold("toxic-output"),), "incidents": (incident(),)}, OK, "none"),
    ("orphaned holds", {"holds": (hold("gone"),), "incidents": (incident(),)}, FAILED, "chat/gone"),
    ("orphaned holds", {"holds": (hold("stanch-canary"),)}, OK, "none"),
    ("orphaned holds", {"holds": (hold("gone"),), "incidents": NO}, UNKNOWN, "forbidden"),
    ("orphaned holds", {"holds": NO}, UNKNOWN, "forbidden"),
]


@pytest.mark.parametrize(("check", "changed", "state", "told"), CASES)
def test_each_finding_says_how_it_is_and_what_to_do(
    check: str, changed: Json, state: State, told: str
) -> None:
    finding = found(check, **changed)
    assert (finding.state, told in finding.message) == (state, True), finding
    assert finding.todo or state in {OK, UNKNOWN}


def test_a_right_that_is_lacking_comes_with_the_role_that_has_it() -> None:
    rights = dict.fromkeys(VERBS, True) | {"approve": False, "close": False}
    assert (
        found("your rights", rights=rights).todo
        == "for close: ClusterRole stanch-responder; approve: ClusterRole stanch-approver"
    )


def test_what_it_expects_is_what_the_manifests_have() -> None:
    documents = [
        document
        for folder in ("admission", "rbac")
        for file in sorted((ROOT / "manifests" / folder).glob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text())
        if document
    ]
    policies = [each for each in documents if each["kind"] == "ValidatingAdmissionPolicy"]
    assert {each["metadata"]["name"] for each in policies} == set(ADMISSION)
    roles = {
        each["metadata"]["name"]: {verb for rule in each["rules"] for verb in rule["verbs"]}
        for each in documents
        if each["kind"] == "ClusterRole" and each["metadata"]["name"] in ROLES
    }
    assert all(set(verbs) <= roles[role] for role, verbs in ROLES.items())


@pytest.mark.parametrize(
    ("changed", "state", "told"),
    [
        ({"incidents": ()}, OK, "nothing is contained"),
        ({"incidents": (incident(phase="Released"), incident(phase="Closed"))}, OK, "nothing is contained"),
        ({"incidents": (incident(phase="Contained"),)}, FAILED, "still contained: chat/"),
        ({"incidents": (incident(phase="Releasing"),)}, FAILED, "still contained: chat/"),
        ({"incidents": NO}, UNKNOWN, "list is forbidden"),
        ({"incidents": (), "everywhere": False}, UNKNOWN, "nothing is contained in chat"),
    ],
    ids=["none", "ended", "contained", "on its way back", "unread", "elsewhere unseen"],
)
def test_an_uninstall_may_go_on_only_where_nothing_is_known_to_be_contained(
    changed: Json, state: State, told: str
) -> None:
    (finding,) = judge_uninstall(facts(**changed))
    assert (finding.state, finding.message[: len(told)]) == (state, told)


@pytest.mark.parametrize(
    ("container", "url"),
    [
        ({}, None),
        ({"env": [{"name": "STANCH_PROMETHEUS_URL", "value": "http://a"}]}, "http://a"),
        ({"env": [{"name": "STANCH_PROMETHEUS_URL", "valueFrom": {"configMapKeyRef": {}}}]}, ""),
        ({"args": ["run", "--prometheus-url=http://b"]}, "http://b"),
        (
            {
                "args": ["run", "--prometheus-url", "http://c"],
                "env": [{"name": "STANCH_PROMETHEUS_URL", "value": "http://a"}],
            },
            "http://c",
        ),
    ],
    ids=["none", "variable", "from elsewhere", "flag", "flag before variable"],
)
def test_which_prometheus_the_operator_asks_is_what_its_deployment_says(
    container: Json, url: str | None
) -> None:
    spec = {"replicas": 2, "template": {"spec": {"containers": [container]}}}
    assert gather._Deployment.model_validate({"spec": spec}).spec.prometheus == url


async def test_a_prometheus_that_does_not_answer_is_told_with_why() -> None:
    found = await gather._read(gather._answer("http://127.0.0.1:1"))
    assert isinstance(found, Unread)
    assert "--prometheus-url" in found.why or "refused" in found.why
