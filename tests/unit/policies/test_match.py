"""Which policy an incident follows: the table of the rules, and what holds for any policies at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.incident import PolicyRef
from stanch.policies.match import Choice, Workload, best, by_match, by_reference, serves, terms, unmet
from tests.unit.policies.made import cluster, own, selector

if TYPE_CHECKING:
    from stanch.policies.match import Policy

LLM = Workload("Deployment", "llm", {"app": "llm", "team": "chat"})
RAG = Workload("StatefulSet", "rag", {"app": "rag"})
PROD = {"env": "prod"}
GONE = {"deletionTimestamp": "2026-01-02T03:04:05Z"}


@pytest.mark.parametrize(
    ("policies", "winners"),
    [
        ([], []),
        ([own(selector=selector(app="rag"))], []),
        ([own(selector=selector("StatefulSet"))], []),
        ([own()], ["chat"]),
        ([own("a"), own("b", selector=selector(app="llm"))], ["b"]),
        ([own("a", selector=selector(app="llm")), own("b", selector=selector("Deployment"))], ["a", "b"]),
        (
            [own("a", selector=selector("Deployment", app="llm")), own("b", selector=selector(app="llm"))],
            ["a"],
        ),
        ([own("a"), cluster("b", selector=selector("Deployment", app="llm", team="chat"))], ["a"]),
        ([cluster("a", selector=selector(namespace=PROD)), cluster("b")], ["a"]),
        ([cluster("a", selector=selector(namespace={"env": "test"})), cluster("b")], ["b"]),
        (
            [cluster("a", selector=selector(namespace=PROD)), cluster("b", selector=selector(app="llm"))],
            ["a", "b"],
        ),
        ([own("a", suspend=True), cluster("b")], ["b"]),
        ([own("a", metadata=GONE), cluster("b")], ["b"]),
        ([own("a", mode="DryRun"), cluster("b")], ["a"]),
    ],
)
def test_namespaced_before_cluster_then_the_most_terms_then_a_tie(
    policies: list[Policy], winners: list[str]
) -> None:
    assert [policy.metadata.name for policy in best(policies, LLM, PROD)] == winners


def test_no_policy_leaves_the_built_in_plan() -> None:
    assert by_match([], [LLM], PROD) == Choice()
    assert by_match([own(suspend=True)], [LLM, RAG], PROD) == Choice()


def test_what_is_carried_out_is_a_copy_with_the_generation() -> None:
    choice = by_match([own(mode="DryRun", metadata={"generation": 7})], [LLM, RAG], PROD)
    assert choice.policy is not None
    assert (choice.policy.kind, choice.policy.name, choice.policy.generation) == (
        "ContainmentPolicy",
        "chat",
        7,
    )
    assert choice.policy.dry_run
    assert choice.policy.steps == own().spec.steps


@pytest.mark.parametrize(
    ("policies", "reason", "says"),
    [
        ([own("b"), own("a"), own("c")], "PolicyAmbiguous", "ContainmentPolicy a, ContainmentPolicy b and"),
        ([own("a", selector=selector(app="llm"))], "PoliciesDiffer", "StatefulSet rag: none"),
        (
            [own("a", selector=selector(app="llm")), cluster("b", selector=selector(app="rag"))],
            "PoliciesDiffer",
            "Deployment llm: ContainmentPolicy a; StatefulSet rag: ClusterContainmentPolicy b",
        ),
    ],
)
def test_a_doubt_is_told_with_the_way_out(policies: list[Policy], reason: str, says: str) -> None:
    choice = by_match(policies, [LLM, RAG], PROD)
    assert choice.policy is None
    assert choice.refusal is not None
    assert choice.refusal.reason == reason
    assert says in choice.refusal.message
    assert "spec.policyRef" in choice.refusal.message


@pytest.mark.parametrize(
    ("policy", "reason", "says"),
    [
        (None, "PolicyNotFound", "there is no ContainmentPolicy chat in namespace chat"),
        (own(metadata=GONE), "PolicyNotFound", "there is no ContainmentPolicy chat"),
        (own(suspend=True), "PolicySuspended", "set its spec.suspend to false"),
        (own(selector=selector("Job", app="x")), "PolicyDoesNotSelect", "kind Deployment is not one of Job"),
        (own(selector=selector(gpu="a100")), "PolicyDoesNotSelect", "label gpu=a100 is not set"),
        (own(selector=selector(app="x")), "PolicyDoesNotSelect", "label app=x is 'llm' there"),
    ],
)
def test_a_policy_that_is_named_and_cannot_be_followed(policy: Policy | None, reason: str, says: str) -> None:
    choice = by_reference(PolicyRef(name="chat"), policy, "chat", [LLM], PROD)
    assert choice.policy is None
    assert choice.refusal is not None
    assert choice.refusal.reason == reason
    assert says in choice.refusal.message


def test_a_named_policy_wins_over_a_better_match_but_must_select_every_target() -> None:
    ref = PolicyRef.model_validate({"kind": "ClusterContainmentPolicy", "name": "all"})
    assert by_reference(ref, cluster(), "chat", [LLM, RAG], {}).policy is not None
    narrow = cluster(selector=selector(app="llm", namespace=PROD))
    assert by_reference(ref, narrow, "chat", [LLM], PROD).policy is not None
    assert by_reference(ref, narrow, "chat", [LLM], {}).refusal is not None
    assert by_reference(ref, narrow, "chat", [LLM, RAG], PROD).refusal is not None


KEYS = st.sampled_from(["app", "team"])
VALUES = st.sampled_from(["llm", "rag"])
LABELS = st.dictionaries(KEYS, VALUES, max_size=2)
KINDS = st.lists(st.sampled_from(["Deployment", "StatefulSet"]), unique=True, max_size=2)
WORKLOADS = st.builds(Workload, st.sampled_from(["Deployment", "StatefulSet"]), st.just("llm"), LABELS)


@st.composite
def policies_of_a_cluster(draw: st.DrawFn) -> list[Policy]:
    made: list[Policy] = []
    for number in range(draw(st.integers(0, 5))):
        kinds, labels, suspend = draw(KINDS), draw(LABELS), draw(st.booleans())
        chosen = {"kinds": kinds, "matchLabels": labels}
        if draw(st.booleans()):
            made.append(own(f"p{number}", selector=chosen, suspend=suspend))
        else:
            where = chosen | {"namespaceSelector": {"matchLabels": draw(LABELS)}}
            made.append(cluster(f"p{number}", selector=where, suspend=suspend))
    return made


@given(policies_of_a_cluster(), WORKLOADS, LABELS, st.randoms(use_true_random=False))
def test_the_best_match_selects_the_workload_and_nothing_that_selects_it_is_better(
    policies: list[Policy], workload: Workload, namespace: dict[str, str], random: st.DataObject
) -> None:
    found = best(policies, workload, namespace)
    fitting = [one for one in policies if serves(one) and not unmet(one, workload, namespace)]
    assert bool(found) == bool(fitting)
    for winner in found:
        assert winner in fitting
        for other in fitting:
            if other.kind == winner.kind:
                assert terms(other) <= terms(winner)
                assert (terms(other) == terms(winner)) == (other in found)
            else:
                assert winner.kind == "ContainmentPolicy"
                assert other not in found
    shuffled = list(policies)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random, which hypothesis does not say
    assert best(shuffled, workload, namespace) == found


@given(policies_of_a_cluster(), st.lists(WORKLOADS, min_size=1, max_size=3), LABELS)
def test_a_choice_is_one_policy_or_a_reason_or_nothing_that_matches(
    policies: list[Policy], targets: list[Workload], namespace: dict[str, str]
) -> None:
    choice = by_match(policies, targets, namespace)
    each = [best(policies, target, namespace) for target in targets]
    if choice.policy is not None:
        assert choice.refusal is None
        assert all([one.metadata.name for one in found] == [choice.policy.name] for found in each)
    elif choice.refusal is None:
        assert not any(each)
    else:
        names = {tuple(one.metadata.name for one in found) for found in each}
        assert any(len(found) > 1 for found in each) or len(names) > 1
