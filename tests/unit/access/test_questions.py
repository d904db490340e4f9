from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from stanch.access.models import by_key
from stanch.access.questions import CAP, questions
from stanch.access.rights import Right, allowed, grants_of
from tests.unit.access.cluster_objects import account_subject, binding, group_subject, role, rule

if TYPE_CHECKING:
    from stanch.access.models import Binding, Role

EVERYBODY = group_subject("system:authenticated")
WORDS = st.lists(st.sampled_from(["get", "list", "*", "watch"]), min_size=1, max_size=3)
RESOURCES = st.lists(
    st.sampled_from(["pods", "pods/log", "*", "*/scale", "pods/", "/", "*/", "pods/*", ""]),
    max_size=3,
)
RULES = st.fixed_dictionaries(
    {"verbs": WORDS},
    optional={
        "apiGroups": st.lists(st.sampled_from(["", "apps", "*"]), max_size=2),
        "resources": RESOURCES,
        "resourceNames": st.lists(st.sampled_from(["llm", "other", ""]), max_size=2),
        "nonResourceURLs": st.lists(st.sampled_from(["/metrics", "/api/*", "*", ""]), max_size=2),
    },
)
ROLES = st.lists(RULES, max_size=3)


def reading(
    name: str, *subjects: dict[str, Any], verbs: str = "get", resources: str = "pods"
) -> tuple[Binding, Role]:
    return (
        binding(name, *subjects, role=name),
        role(name, rule(verbs, resources)),
    )


def test_what_the_account_could_do_is_asked_once_each() -> None:
    one, one_role = reading("one", account_subject(), verbs="get list")
    two, two_role = reading("two", account_subject(), verbs="list watch")

    found = questions([one, two], [], by_key([one_role, two_role]))

    assert set(found.asked) == {
        Right(verb, "", "pods", namespace="chat") for verb in ("get", "list", "watch")
    }
    assert len(found.asked) == 3
    assert found.note == ""


def test_what_everybody_may_is_not_asked_but_told() -> None:
    mine, my_role = reading("mine", account_subject(), resources="pods secrets")
    all_, all_role = reading("all", EVERYBODY, verbs="*")

    found = questions([mine], [all_], by_key([my_role, all_role]))

    assert found.asked == (Right("get", "", "secrets", namespace="chat"),)
    assert found.note == "kept through groups: get pods in chat"


def test_a_role_that_does_not_exist_is_told() -> None:
    found = questions([binding("r", account_subject(), role="gone")], [], {})

    assert found.asked == ()
    assert found.note == "granted nothing, as the role does not exist: ClusterRole gone"


def test_a_wildcard_is_asked_as_such() -> None:
    admin = binding("admin", account_subject(), role="admin", namespace="")
    everything = role("admin", rule("*", "*", group="*"), rule("*", urls="*"))

    found = questions([admin], [], by_key([everything]))

    assert set(found.asked) == {Right("*", "*", "*"), Right("*", url="*")}


def test_a_hostile_role_costs_a_bounded_number_of_questions_and_no_binding_goes_unasked() -> None:
    many = " ".join(f"verb{number}" for number in range(1000))
    huge = role("huge", rule(many, many, names=many))
    small, small_role = reading("small", account_subject(), resources="secrets")

    found = questions(
        [binding("huge", account_subject(), role="huge"), small], [], by_key([huge, small_role])
    )

    assert len(found.asked) == CAP
    assert Right("get", "", "secrets", namespace="chat") in found.asked
    assert found.note == "asked about 64 of up to 1000000001 rights"


def test_a_hostile_role_that_everybody_has_ends_too() -> None:
    many = " ".join(f"verb{number}" for number in range(1000))
    huge = role("huge", rule(many, many, names=many))

    found = questions(
        [binding("mine", account_subject(), role="huge")],
        [binding("all", EVERYBODY, role="huge")],
        by_key([huge]),
    )

    assert found.asked == ()
    assert found.note.startswith("asked about 0 of up to 1000000000 rights; kept through groups: ")


@given(ROLES, ROLES, ROLES, st.sampled_from(["chat", ""]), st.integers(1, 5))
def test_no_question_is_outside_what_the_rules_grant(
    first: list[dict[str, Any]],
    second: list[dict[str, Any]],
    groups: list[dict[str, Any]],
    namespace: str,
    cap: int,
) -> None:
    roles = by_key([role("first", *first), role("second", *second), role("groups", *groups)])
    direct = [
        binding("first", account_subject(), role="first", namespace=namespace),
        binding("second", account_subject(), role="second"),
    ]
    shared = [binding("groups", EVERYBODY, role="groups")]
    granted = [grant for each in direct for grant in grants_of(each, roles)]
    kept = [grant for each in shared for grant in grants_of(each, roles)]

    found = questions(direct, shared, roles, cap)

    assert len(set(found.asked)) == len(found.asked) <= cap
    assert all(allowed(right, granted) and not allowed(right, kept) for right in found.asked)
    assert all(allowed(right, granted) and allowed(right, kept) for right in found.remaining)
    assert questions(direct[::-1], shared, roles, cap) == found
    if found.complete:
        spelled = {right for grant in granted for right in grant.rights() if grant.allows(right)}
        assert spelled == {*found.asked, *found.remaining}
