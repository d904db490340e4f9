from __future__ import annotations

import pytest

from stanch.access.models import Role, Rule, by_key
from stanch.access.rights import Grant, Right, grants_of
from tests.unit.access.cluster_objects import CHAT, account_subject, binding, role, rule

PODS = Right("get", "", "pods", namespace="chat")
SCALE = Right("patch", "apps", "deployments", "scale", namespace="chat")
LLM = Right("get", "", "secrets", name="llm", namespace="chat")
METRICS = Right("get", url="/metrics/cadvisor")


@pytest.mark.parametrize(
    ("right", "granted", "yes"),
    [
        (PODS, rule("get", "pods"), True),
        (PODS, rule("list", "pods"), False),
        (PODS, rule("*", "pods"), True),
        (PODS, rule("get", "*"), True),
        (PODS, rule("get", "pods", group="apps"), False),
        (PODS, rule("get", "pods", group="*"), True),
        (PODS, rule("get", "pods/log"), False),
        (PODS, rule("get", "pods", names="one"), False),
        (SCALE, rule("patch", "deployments", group="apps"), False),
        (SCALE, rule("patch", "deployments/scale", group="apps"), True),
        (SCALE, rule("patch", "*/scale", group="apps"), True),
        (SCALE, rule("patch", "deployments/*", group="apps"), False),
        (LLM, rule("get", "secrets"), True),
        (LLM, rule("get", "secrets", names="llm other"), True),
        (LLM, rule("get", "secrets", names="other"), False),
        (METRICS, rule("get", urls="/metrics"), False),
        (METRICS, rule("get", urls="/metrics/*"), True),
        (METRICS, rule("get", urls="*"), True),
        (METRICS, rule("get", "*", group="*"), False),
        (Right("*", "", "pods"), rule("get list watch create", "pods"), False),
        (Right("*", "*", "*"), rule("*", "*", group="*"), True),
    ],
)
def test_a_rule_is_read_as_rbac_reads_it(right: Right, granted: dict[str, object], *, yes: bool) -> None:
    assert Grant("", Rule.model_validate(granted)).allows(right) is yes


@pytest.mark.parametrize(("namespace", "yes"), [("chat", True), ("other", False), ("", False)])
def test_a_role_binding_counts_in_its_namespace_alone(namespace: str, *, yes: bool) -> None:
    here = Grant("chat", Rule.model_validate(rule("get", "pods")))

    assert here.allows(Right("get", "", "pods", namespace=namespace)) is yes


def test_a_url_is_in_no_namespace() -> None:
    urls = Rule.model_validate(rule("get", urls="/metrics/*"))

    assert not Grant("chat", urls).allows(METRICS)
    assert list(Grant("chat", urls).rights()) == []
    assert list(Grant("", urls).rights()) == [Right("get", url="/metrics/*")]


def test_a_role_binding_of_a_cluster_role_grants_in_its_namespace() -> None:
    roles = by_key([role("reader", rule("get", "pods"))])

    (grant,) = grants_of(binding("r", account_subject()), roles)
    assert list(grant.rights()) == [PODS]


def test_a_role_of_another_namespace_or_of_the_cluster_is_another_role() -> None:
    roles = by_key([role("reader", rule("get", "pods")), role("reader", rule("get", "nodes"), namespace="x")])

    assert grants_of(binding("r", account_subject(), role_kind="Role"), roles) == ()


def test_an_aggregated_role_without_parts_grants_nothing() -> None:
    empty = Role.model_validate({"kind": "ClusterRole", "metadata": {"name": "reader"}, "rules": None})

    assert grants_of(binding("r", account_subject()), by_key([empty])) == ()


def test_a_question_is_asked_about_the_user_and_all_groups_that_the_account_is() -> None:
    assert LLM.review(CHAT)["spec"] == {
        "user": "system:serviceaccount:chat:llm",
        "groups": ["system:authenticated", "system:serviceaccounts", "system:serviceaccounts:chat"],
        "resourceAttributes": {"verb": "get", "resource": "secrets", "name": "llm", "namespace": "chat"},
    }
    assert METRICS.review(CHAT)["spec"]["nonResourceAttributes"] == {
        "verb": "get",
        "path": "/metrics/cadvisor",
    }


@pytest.mark.parametrize(
    ("right", "text"),
    [
        (LLM, "get secrets llm in chat"),
        (SCALE, "patch deployments/scale.apps in chat"),
        (Right("*", "*", "*"), "* *.* in the cluster"),
        (METRICS, "get /metrics/cadvisor"),
    ],
)
def test_a_right_reads_like_what_it_is(right: Right, text: str) -> None:
    assert str(right) == text
