"""Which trigger of which policy a signal is for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from stanch.policies.match import Workload
from stanch.signals.intake.declined import Declined
from stanch.signals.intake.grading import Armed, DeclinedOf, armed, fired, graded
from stanch.signals.model import Outcome
from tests.unit.policies import made
from tests.unit.signals.made import armed_by, query, ref, signal, trigger

if TYPE_CHECKING:
    from stanch.policies.match import Policy

LLM = Workload("Deployment", "llm", {"app": "llm", "tier": "prod"})


def names(triggers: list[Armed]) -> list[str]:
    return [one.trigger.name for one in triggers]


def all_armed(*policies: Policy) -> list[Armed]:
    return armed(policies)[0]


def test_a_trigger_fires_on_the_alerts_that_its_matchers_match() -> None:
    triggers = armed_by(
        trigger("toxic"), trigger("leak", 'alertname="Leak"'), trigger("any", 'alertname=~".+"')
    )

    assert names(fired(triggers, signal(), "chat")) == ["toxic", "any"]
    with pytest.raises(Declined) as caught:
        fired(triggers[:1], signal("Other"), "chat")
    assert (caught.value.outcome, caught.value.reason) == (Outcome.IGNORED, "NoTrigger")


def test_an_answer_to_a_query_is_for_the_trigger_that_asked() -> None:
    triggers = armed_by(query("drift"), query("bias"), trigger("any", 'alertname=~".+"'))
    sample = replace(signal("anything"), trigger=ref("bias"))

    assert names(fired(triggers, sample, "chat")) == ["bias"]
    with pytest.raises(Declined, match="NoTrigger"):
        fired(triggers, replace(sample, trigger=ref("any")), "chat")
    with pytest.raises(Declined, match="NoTrigger"):
        fired(triggers, replace(sample, trigger=ref("bias", "another-policy")), "chat")


def test_an_alert_never_fires_a_query_s_trigger() -> None:
    with pytest.raises(Declined, match="NoTrigger"):
        fired(armed_by(query("drift")), signal("drift"), "chat")


def test_a_policy_of_a_namespace_is_for_that_namespace_alone() -> None:
    both = [*all_armed(made.cluster(triggers=[trigger("wide")])), *armed_by(trigger("own"))]

    assert names(fired(both, signal(), "chat")) == ["wide", "own"]
    assert names(fired(both, signal(), "bank")) == ["wide"]
    assert names(fired(both, signal(), None)) == ["wide", "own"]


@pytest.mark.parametrize(
    "policy",
    [
        made.own(triggers=[trigger()], suspend=True),
        made.own(triggers=[trigger()], metadata={"deletionTimestamp": "2026-01-02T03:04:05Z"}),
    ],
    ids=["suspended", "being deleted"],
)
def test_a_policy_that_takes_on_nothing_has_no_triggers(policy: Policy) -> None:
    assert armed([policy]) == ([], {})


def test_a_trigger_that_cannot_be_read_leaves_the_others_armed() -> None:
    ready, problems = armed([made.own(triggers=[trigger("bad", 'pod=~"("'), trigger("good")])])

    assert names(ready) == ["good"]
    (problem,) = problems.items()
    assert problem[0] == ref("bad")
    assert problem[1].startswith('alert.matchers[0] pod=~"(": unclosed group')


def test_a_silence_does_not_stop_containment_unless_the_policy_says_so() -> None:
    contains, ignores = armed_by(trigger("contains"), trigger("ignores", silenced="Ignore"))
    silenced = signal(silenced=True)

    assert names(fired([contains, ignores], silenced, "chat")) == ["contains"]
    assert names(fired([contains, ignores], signal(), "chat")) == ["contains", "ignores"]
    with pytest.raises(DeclinedOf) as caught:
        fired([ignores], silenced, "chat")
    assert (caught.value.outcome, caught.value.reason) == (Outcome.IGNORED, "Silenced")
    assert caught.value.triggers == (ignores,), "so that the policy's status says why nothing came of it"


def test_the_gravest_trigger_of_a_policy_grades_the_incident() -> None:
    firing = armed_by(
        trigger("low", severity="Low"), trigger("high", severity="High"), trigger("medium", severity="Medium")
    )

    assert graded(firing, LLM, {}).trigger.name == "high"


def test_the_policy_that_selects_best_is_taken_before_the_gravest_trigger() -> None:
    wide = all_armed(made.own("wide", triggers=[trigger("critical")]))
    narrow = all_armed(
        made.own("narrow", triggers=[trigger("low", severity="Low")], selector=made.selector(app="llm"))
    )

    assert graded([*wide, *narrow], LLM, {}).trigger.name == "low"


def test_a_policy_that_ties_with_another_is_not_guessed() -> None:
    one = all_armed(made.own("one", triggers=[trigger("a")], selector=made.selector(app="llm")))
    other = all_armed(made.own("other", triggers=[trigger("b")], selector=made.selector(tier="prod")))
    worse = all_armed(made.own("worse", triggers=[trigger("c")]))

    with pytest.raises(DeclinedOf) as caught:
        graded([*one, *other, *worse], LLM, {})

    assert (caught.value.outcome, caught.value.reason) == (Outcome.REFUSED, "PolicyAmbiguous")
    assert names(list(caught.value.triggers)) == ["a", "b"]
    assert "ContainmentPolicy one and ContainmentPolicy other" in caught.value.message


def test_a_workload_that_no_policy_selects_is_left_alone_and_says_why() -> None:
    elsewhere = all_armed(
        made.cluster(triggers=[trigger()], selector=made.selector(namespace={"ai": "true"}, app="embedder"))
    )

    with pytest.raises(Declined) as caught:
        graded(elsewhere, LLM, {"ai": "false"})

    assert (caught.value.outcome, caught.value.reason) == (Outcome.IGNORED, "NotSelected")
    assert "label app=embedder is 'llm' there" in caught.value.message
    assert "namespace label ai=true" in caught.value.message
