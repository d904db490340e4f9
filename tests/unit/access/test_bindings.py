from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.access.bindings import Taken, bindings_of, put_back, stripped
from stanch.access.models import Binding, Subject
from tests.unit.access.cluster_objects import (
    CHAT,
    account_subject,
    binding,
    binding_json,
    group_subject,
    user_subject,
)

if TYPE_CHECKING:
    from tests.unit.access.cluster_objects import Json

OURS = [
    account_subject(),
    user_subject("system:serviceaccount:chat:llm"),
    {"kind": "ServiceAccount", "name": "llm"},  # in a RoleBinding of its own namespace
]
THEIRS = [
    account_subject(namespace="other"),
    account_subject(name="llm2"),
    user_subject("llm"),
    user_subject("system:serviceaccount:chat:llm2"),
    group_subject("system:serviceaccounts:chat"),
    group_subject("system:serviceaccounts"),
    group_subject("system:serviceaccount:chat:llm"),
    group_subject("ops"),
    {"kind": "ServiceAccount", "name": "llm2"},
]
SUBJECTS = st.lists(st.sampled_from(OURS + THEIRS), max_size=8)


@pytest.mark.parametrize("subject", OURS)
def test_a_binding_names_the_account_as_such_or_as_the_user_it_is(subject: Json) -> None:
    found = bindings_of(CHAT, [binding("edit", subject)])

    assert [str(each) for each in found.direct] == ["RoleBinding chat/edit"]
    assert found.through_groups == ()


@pytest.mark.parametrize("subject", THEIRS)
def test_a_binding_of_somebody_else_is_not_the_accounts_own(subject: Json) -> None:
    assert bindings_of(CHAT, [binding("edit", subject)]).direct == ()


def test_an_account_without_namespace_means_the_bindings_own_namespace() -> None:
    bare = {"kind": "ServiceAccount", "name": "llm"}

    assert bindings_of(CHAT, [binding("edit", bare, namespace="other")]).direct == ()
    assert bindings_of(CHAT, [binding("edit", bare, namespace="")]).direct == ()


@pytest.mark.parametrize(
    ("group", "reaches"),
    [
        ("system:serviceaccounts", True),
        ("system:serviceaccounts:chat", True),
        ("system:authenticated", True),
        ("system:serviceaccounts:other", False),
        ("system:unauthenticated", False),
        ("ops", False),
    ],
)
def test_rights_through_groups_are_told_apart(group: str, *, reaches: bool) -> None:
    found = bindings_of(CHAT, [binding("all", group_subject(group), namespace="")])

    assert found.direct == ()
    expected = [f"ClusterRoleBinding all (group {group})"] if reaches else []
    assert [str(each) for each in found.through_groups] == expected


@pytest.mark.parametrize(
    ("name", "labels", "own"),
    [
        ("system:discovery", {"kubernetes.io/bootstrapping": "rbac-defaults"}, True),
        ("system:discovery", {}, False),
        ("everybody", {"kubernetes.io/bootstrapping": "rbac-defaults"}, False),
    ],
)
def test_what_kubernetes_itself_gives_everybody_is_known(name: str, labels: Json, *, own: bool) -> None:
    body = binding_json(name, group_subject("system:authenticated"), namespace="")
    body["metadata"]["labels"] = labels
    (grant,) = bindings_of(CHAT, [Binding.model_validate(body)]).through_groups

    assert grant.built_in is own


def test_a_binding_that_names_account_and_group_is_both() -> None:
    both = binding("both", account_subject(), group_subject("system:authenticated"))
    found = bindings_of(CHAT, [both])

    assert found.direct == (both,)
    assert [grant.groups for grant in found.through_groups] == [("system:authenticated",)]


@given(st.permutations([binding(name, account_subject()) for name in "abcd"]))
def test_the_order_in_which_bindings_are_listed_does_not_matter(listed: list[Binding]) -> None:
    assert [each.metadata.name for each in bindings_of(CHAT, listed).direct] == ["a", "b", "c", "d"]


def test_a_binding_without_subjects_is_nobodys() -> None:
    null = Binding.model_validate(binding_json("empty") | {"subjects": None})

    assert bindings_of(CHAT, [binding("empty"), null]).direct == ()
    assert not stripped(binding_json("empty"), CHAT).whole


@given(SUBJECTS, st.sampled_from(["chat", ""]))
def test_stripping_takes_the_account_and_nobody_else(subjects: list[Json], namespace: str) -> None:
    body = binding_json("edit", *subjects, namespace=namespace)
    strip = stripped(body, CHAT)

    after = body | {"subjects": list(strip.left)}
    assert bindings_of(CHAT, [Binding.model_validate(after)]).direct == ()
    for each in THEIRS:
        assert list(strip.left).count(each) == subjects.count(each)
    assert len(strip.left) + len(strip.taken) == len(subjects)
    assert strip.whole == (bool(subjects) and not strip.left)


@given(SUBJECTS)
def test_putting_back_is_the_exact_way_back(subjects: list[Json]) -> None:
    body = binding_json("edit", *subjects)
    strip = stripped(body, CHAT)

    assert put_back(strip.left, strip.taken) == subjects


@given(SUBJECTS, SUBJECTS)
def test_what_others_made_of_the_list_meanwhile_is_kept(before: list[Json], now: list[Json]) -> None:
    strip = stripped(binding_json("edit", *before), CHAT)
    restored = put_back(now, strip.taken)

    rest = list(restored)
    for each in now:
        rest.remove(each)
    assert all(Subject.model_validate(each).names(CHAT, "chat") for each in rest)
    assert [each for each in restored if each in now and each not in rest] == [
        each for each in now if each not in rest
    ]
    assert all(taken.subject in restored for taken in strip.taken)
    assert put_back(restored, strip.taken) == restored


def test_a_subject_that_somebody_put_back_is_not_doubled() -> None:
    mine = account_subject()

    assert put_back([group_subject("ops"), mine], [Taken(0, mine)]) == [group_subject("ops"), mine]
