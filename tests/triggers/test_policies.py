"""The library's policies fit its rules: what fires has a plan, and what a plan waits for can fire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from stanch.api.schema import seconds
from stanch.api.v1alpha1.incident import Mode, Severity
from stanch.api.v1alpha1.policy import ApprovalRequired
from stanch.api.v1alpha1.steps import Rollback
from stanch.policies.state import Found, impossible
from tests.triggers import library
from tests.triggers.library import FAMILIES, LIBRARY, Family, alert_of, family, metrics_of

if TYPE_CHECKING:
    from pathlib import Path

    from stanch.api.v1alpha1.policy import Trigger
    from stanch.policies.match import Policy

TRIGGERS = [
    pytest.param(family(name), policy, trigger, id=f"{policy.metadata.name}: {trigger.name}")
    for name in FAMILIES
    for policy, trigger in family(name).triggers
]
POLICIES = [
    pytest.param(name, policy, body, id=policy.metadata.name)
    for name in FAMILIES
    for policy, body in zip(family(name).policies, library.policy_bodies(name), strict=True)
]
CRITICAL = {Severity.CRITICAL, Severity.HIGH}


def unread(given: Any, read: Any, at: str = "") -> list[str]:
    """What was written down and is not in what was read: a field that does not exist, or is misspelt."""
    if isinstance(given, dict):
        return [
            one
            for key, value in given.items()
            for one in (unread(value, read[key], f"{at}.{key}") if key in read else [f"{at}.{key}"])
        ]
    if isinstance(given, list):
        return [
            one
            for place, (value, other) in enumerate(zip(given, read, strict=True))
            for one in unread(value, other, f"{at}[{place}]")
        ]
    return [] if given == read else [at]


@pytest.mark.parametrize(("name", "policy", "body"), POLICIES)
def test_a_policy_says_only_what_the_types_know(name: str, policy: Policy, body: dict[str, Any]) -> None:
    assert unread(body, policy.wire()) == []


def test_a_misspelt_field_would_be_noticed() -> None:
    (policy, *_), (body, *_) = family("vllm").policies, library.policy_bodies("vllm")
    body["spec"]["guardrails"]["coolDown"] = "30m"
    assert unread(body, policy.wire()) == [".spec.guardrails.coolDown"]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_alert_has_one_trigger_and_every_trigger_an_alert(name: str) -> None:
    waited_for = [alert_of(trigger) for _, trigger in family(name).triggers]
    assert sorted(waited_for) == sorted(family(name).alerts)


@pytest.mark.parametrize(("of", "policy", "trigger"), TRIGGERS)
def test_a_trigger_is_inactive_while_any_metric_of_its_alert_is_missing(
    of: Family, policy: Policy, trigger: Trigger
) -> None:
    asked_for = {name for selector in trigger.metrics for name in metrics_of(selector)}
    assert asked_for == of.alerts[alert_of(trigger)].metrics


@pytest.mark.parametrize(("of", "policy", "trigger"), TRIGGERS)
def test_its_selectors_find_something_where_the_alert_fires_and_nothing_where_nothing_is_known(
    of: Family, policy: Policy, trigger: Trigger, tmp_path: Path
) -> None:
    """`absent()` of each selector is how a trigger comes to be Inactive."""
    name = alert_of(trigger)
    case, when = next(
        (case, test.eval_time)
        for case in of.tests.tests
        for test in case.alert_rule_test
        if test.alertname == name and test.exp_alerts
    )
    series = [one.model_dump() for one in case.input_series]
    here = [
        {"expr": f"absent({selector})", "eval_time": when, "exp_samples": []} for selector in trigger.metrics
    ]
    nowhere = [
        {
            "expr": f"count(absent({selector})) or vector(0)",
            "eval_time": when,
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for selector in trigger.metrics
    ]
    tests = [
        {"interval": "1m", "input_series": series, "promql_expr_test": here},
        {"interval": "1m", "input_series": [], "promql_expr_test": nowhere},
    ]
    wrong = library.unit_test(tmp_path, of.rule.spec, {"rule_files": ["rules.yaml"], "tests": tests})
    assert wrong is None, wrong


@pytest.mark.parametrize(("of", "policy", "trigger"), TRIGGERS)
def test_the_tail_of_an_alert_is_over_before_its_policy_listens_again(
    of: Family, policy: Policy, trigger: Trigger
) -> None:
    guardrails, alert = policy.spec.guardrails, of.alerts[alert_of(trigger)]
    assert guardrails is not None
    assert guardrails.cooldown is not None
    longest = max((seconds(window) for window in alert.windows), default=0.0)
    assert seconds(guardrails.cooldown) > longest + seconds(alert.for_ or "0s")


@pytest.mark.parametrize(("of", "policy", "trigger"), TRIGGERS)
def test_trigger_and_alert_agree_on_how_bad_it_is(of: Family, policy: Policy, trigger: Trigger) -> None:
    severity = of.alerts[alert_of(trigger)].labels["severity"]
    assert (severity == "critical") == (trigger.severity in CRITICAL)


@pytest.mark.parametrize(("name", "policy", "body"), POLICIES)
def test_a_policy_tries_nothing_until_it_is_told_to_and_its_plan_is_possible(
    name: str, policy: Policy, body: dict[str, Any]
) -> None:
    assert policy.spec.mode is Mode.DRY_RUN
    assert impossible(policy, Found()) is None
    assert policy.spec.selector.kinds
    assert policy.spec.selector.match_labels == {f"triggers.stanch.dev/{name}": "true"}


@pytest.mark.parametrize(("name", "policy", "body"), POLICIES)
def test_a_plan_that_takes_the_service_away_asks_first_unless_it_is_critical(
    name: str, policy: Policy, body: dict[str, Any]
) -> None:
    """An earlier version still serves."""
    rolls_back = all(isinstance(step.member, Rollback) for step in policy.spec.steps)
    guardrails = policy.spec.guardrails
    assert guardrails is not None
    assert guardrails.max_concurrent is not None
    assert guardrails.attempts is not None
    rule = guardrails.approval
    asks = rule is not None and rule.required is not ApprovalRequired.NEVER
    critical = {trigger.severity for trigger in policy.spec.triggers} == {Severity.CRITICAL}
    assert asks or rolls_back or (critical and guardrails.storm is not None)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_can_be_applied_as_a_whole_or_without_the_prometheus_operator(name: str) -> None:
    directory = LIBRARY / name
    kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
    assert kustomization["resources"] == ["rules.yaml", "policy.yaml"]
    assert {path.name for path in directory.iterdir()} == {*kustomization["resources"], "kustomization.yaml"}
    assert {body["apiVersion"] for body in library.policy_bodies(name)} == {"stanch.dev/v1alpha1"}
