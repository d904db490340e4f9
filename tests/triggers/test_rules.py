"""Every alert fires on what it is for and on nothing else, as promtool judges it, and every part is needed.

promtool reads plain rules, so what is under `spec` of a PrometheusRule is given to it.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.triggers import library, mutations
from tests.triggers.library import FAMILIES, METRICS, Alert, Family, every_alert, family

if TYPE_CHECKING:
    from pathlib import Path

ALERTS = [pytest.param(of, alert, id=alert.alert) for of, alert in every_alert()]
MUTANTS = [
    pytest.param(of, mutant, id=f"{alert.alert}: {what}")
    for of, alert in every_alert()
    for what, mutant in mutations.mutants(alert)
]
WORKLOAD = ("deployment", "pod", "stanch_name")
"""Labels by one of which the workload is found, beside the namespace."""


def unit_tests(of: Family, about: str = "") -> dict[str, Any]:
    """The family's unit tests; those about one alert, if one is named."""
    tests = of.tests.model_dump(mode="json")
    for case in tests["tests"] if about else ():
        case["alert_rule_test"] = [one for one in case["alert_rule_test"] if one["alertname"] == about]
    tests["tests"] = [case for case in tests["tests"] if case["alert_rule_test"]]
    return tests


def firing(of: Family, alert: str) -> list[dict[str, str]]:
    """The labels of every alert of that name that the unit tests expect."""
    return [
        expected.exp_labels
        for case in of.tests.tests
        for test in case.alert_rule_test
        if test.alertname == alert
        for expected in test.exp_alerts
    ]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_rules_of_a_family_do_what_its_unit_tests_say(name: str, tmp_path: Path) -> None:
    wrong = library.unit_test(tmp_path, family(name).rule.spec, unit_tests(family(name)))
    assert wrong is None, wrong


@pytest.mark.parametrize(("of", "mutant"), MUTANTS)
def test_a_rule_made_wrong_is_noticed(of: Family, mutant: Alert, tmp_path: Path) -> None:
    wrong = library.unit_test(tmp_path, library.replaced(of.rule.spec, mutant), unit_tests(of, mutant.alert))
    assert wrong is not None, f"no unit test fails without it, in {mutant.expr}"
    assert "FAILED" in wrong
    assert f"alertname: {mutant.alert}" in wrong, wrong


@pytest.mark.parametrize(("of", "alert"), ALERTS)
def test_an_alert_is_tested_where_it_fires_and_where_nothing_is_known(of: Family, alert: Alert) -> None:
    assert firing(of, alert.alert)

    (unknown,) = [case for case in of.tests.tests if case.name == "nothing is known"]
    assert not [one for one in unknown.input_series if one.series.startswith(tuple(alert.metrics - {"up"}))]
    (test,) = [test for test in unknown.alert_rule_test if test.alertname == alert.alert]
    assert test.exp_alerts == ()


@pytest.mark.parametrize(("of", "alert"), ALERTS)
def test_an_alert_is_tested_with_what_is_not_a_number_and_with_a_restart(of: Family, alert: Alert) -> None:
    values = [
        series.values
        for case in of.tests.tests
        if alert.alert in {test.alertname for test in case.alert_rule_test}
        for series in case.input_series
        if series.series.startswith(tuple(alert.metrics - {"up"}))
    ]
    assert any("NaN" in one for one in values)
    counts = re.search(r"\b(increase|rate)\(", alert.expr)
    assert counts is None or any(re.match(r"[5-9]\S* 0", one) for one in values), "no counter is reset"


@pytest.mark.parametrize(("of", "alert"), ALERTS)
def test_an_alert_names_its_target_and_never_a_job(of: Family, alert: Alert) -> None:
    for labels in firing(of, alert.alert):
        assert labels["namespace"] == "chat"
        assert [label for label in WORKLOAD if label in labels], labels
        assert ("stanch_kind" in labels) == ("stanch_name" in labels)
        assert not labels.keys() & {"job", "instance", "stanch_namespace"}


@pytest.mark.parametrize(("of", "alert"), ALERTS)
def test_an_alert_asks_only_for_metrics_that_are_known(of: Family, alert: Alert) -> None:
    assert alert.metrics
    assert alert.metrics <= METRICS


@pytest.mark.parametrize(("of", "alert"), ALERTS)
def test_an_alert_tells_the_figure_and_can_be_routed(of: Family, alert: Alert) -> None:
    assert "$value" in alert.annotations.summary
    assert "{{" not in alert.annotations.description
    assert alert.annotations.description.endswith(".")
    assert alert.labels.keys() == {"severity", "containment"}
    assert alert.labels["severity"] in {"critical", "warning"}
    assert alert.labels["containment"] == "stanch"


def test_no_name_is_given_twice_and_no_metric_is_known_for_nothing() -> None:
    names = Counter(alert.alert for _, alert in every_alert())
    assert max(names.values()) == 1
    assert {metric for _, alert in every_alert() for metric in alert.metrics} == METRICS


@pytest.mark.parametrize("name", FAMILIES)
def test_rules_are_a_prometheusrule_where_monitoring_looks_for_it(name: str) -> None:
    rule = family(name).rule
    assert (rule.apiVersion, rule.kind) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert (rule.metadata.namespace, rule.metadata.name) == ("monitoring", f"stanch-{name}")
    assert [group.name for group in rule.spec.groups] == [f"stanch-{name}"]


def test_the_names_of_metrics_are_read_from_an_expression() -> None:
    expression = """
      label_replace(sum by (namespace, pod) (increase(a:b_total{x=~"c|d", y!=""}[5m])) / 1e6 > 0.5
        and on (job) (up{z="q"} offset 10m == 1) unless min_over_time(g[1h]) < Inf, "l", "$1-s", "m", "(.+)")
    """
    assert library.metrics_of(expression) == {"a:b_total", "up", "g"}


def test_without_promtool_nothing_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(pytest.fail.Exception, match="apt-get install prometheus"):
        library.promtool()
