from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.plan import PlannedStep
from stanch.plans.hash import plan_hash

WORDS = st.text("abc→0", max_size=6)
STEPS = st.builds(
    PlannedStep,
    id=WORDS,
    action=WORDS,
    target=WORDS,
    diff=st.lists(WORDS, max_size=3).map(tuple),
)


@given(st.lists(STEPS, max_size=3), st.lists(STEPS, max_size=3))
def test_an_approval_of_one_plan_is_no_approval_of_another(
    one: list[PlannedStep], other: list[PlannedStep]
) -> None:
    assert (plan_hash(one) == plan_hash(other)) == (one == other)


def test_the_order_of_steps_is_part_of_the_plan() -> None:
    first = PlannedStep(id="0", action="ScaleToZero", target="Deployment/a")
    second = PlannedStep(id="1", action="ScaleToZero", target="Deployment/b")

    assert plan_hash([first, second]) != plan_hash([second, first])


def test_the_name_of_a_plan_never_changes() -> None:
    """Approvals name it: a new version of the operator must give the same plan the same name."""
    step = PlannedStep(
        id="0-ScaleToZero-Deployment-llm",
        action="ScaleToZero",
        target="Deployment/llm",
        diff=("replicas 3 → 0",),
    )

    assert plan_hash([step]) == "ad9085e03a4c01c4"


def test_what_an_autoscaler_moves_is_no_other_plan_but_another_version_is() -> None:
    def named(diff: str) -> str:
        return plan_hash([PlannedStep(id="0", action="Any", target="Deployment/a", diff=(diff,))])

    assert named("replicas 3 → 0") == named("replicas 4 → 0") == named("replicas None → 0")
    assert named("replicas 3 → 0") != named("replicas 3 → 1")
    assert named("server image llm:2 → llm:1") != named("server image llm:3 → llm:1")
