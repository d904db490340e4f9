"""manifests/triggers as its tests read it: rules, policies and promtool's tests of a family of signals."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from stanch.api.schema import seconds
from stanch.policies.choose import parse
from tests.installation import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stanch.api.v1alpha1.policy import Trigger
    from stanch.policies.match import Policy

LIBRARY = ROOT / "manifests" / "triggers"
TESTS = ROOT / "tests" / "triggers"
FAMILIES = sorted(path.name for path in LIBRARY.iterdir())

METRICS = frozenset(
    {
        # vLLM, docs.vllm.ai/en/stable/usage/metrics
        "vllm:corrupted_requests_total",
        "vllm:kv_cache_usage_perc",
        "vllm:num_requests_waiting",
        "vllm:request_success_total",
        "vllm:time_to_first_token_seconds_bucket",
        "vllm:time_to_first_token_seconds_count",
        # Triton Inference Server, docs/user_guide/metrics.md
        "nv_inference_pending_request_count",
        "nv_inference_queue_duration_us",
        "nv_inference_request_failure",
        # KServe's model server; Knative Serving 1.19, knative.dev/docs/serving/observability/metrics
        "kn_serving_invocation_duration_seconds_count",
        "kn_serving_queue_depth",
        "request_predict_seconds_bucket",
        "request_predict_seconds_count",
        # NeMo Guardrails' IORails engine, TrustyAI's detectors, LiteLLM's proxy
        "guardrails_requests_blocked_total",
        "litellm_guardrail_requests_total",
        "litellm_spend_metric_total",
        "trustyai_guardrails_detections_total",
        # TrustyAI's service; MLServer's drift detectors
        "seldon_model_drift_count",
        "seldon_model_drift_sum",
        "trustyai_dir",
        "trustyai_kstest",
        "trustyai_meanshift",
        "trustyai_spd",
        # OpenTelemetry's semantic conventions for generative AI
        "gen_ai_client_token_usage_sum",
        # Falcosidekick, Kyverno, and Prometheus itself
        "falcosecurity_falcosidekick_falco_events_total",
        "kyverno_policy_results_total",
        "up",
    }
)
"""Every metric that a rule may ask for: a name that nobody exposes makes a trigger that never fires."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Annotations(_Strict):
    summary: str
    description: str


class Alert(_Strict):
    """An alerting rule. `for_` is absent where one event is enough."""

    alert: str
    expr: str
    for_: str | None = Field(default=None, alias="for")
    labels: dict[str, str]
    annotations: Annotations

    @property
    def metrics(self) -> frozenset[str]:
        return metrics_of(self.expr)

    @property
    def windows(self) -> tuple[str, ...]:
        """How far back it looks: ranges and offsets."""
        found = re.findall(r"\[(\d+[smh])\]|offset (\d+[smh])", self.expr)
        return tuple(a_range or an_offset for a_range, an_offset in found)

    @property
    def window(self) -> str:
        return max(self.windows, key=seconds, default="")


class Group(_Strict):
    name: str
    rules: tuple[Alert, ...]


class Groups(_Strict):
    groups: tuple[Group, ...]


class Named(_Strict):
    name: str
    namespace: str


class PrometheusRule(_Strict):
    """https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.PrometheusRule."""

    apiVersion: str  # noqa: N815 - the name on the wire
    kind: str
    metadata: Named
    spec: Groups


class ExpectedAlert(_Strict):
    exp_labels: dict[str, str]
    exp_annotations: Annotations


class AlertTest(_Strict):
    alertname: str
    eval_time: str
    exp_alerts: tuple[ExpectedAlert, ...]


class Series(_Strict):
    series: str
    values: str


class Case(_Strict):
    """One group of promtool's unit tests."""

    name: str
    interval: str
    input_series: tuple[Series, ...]
    alert_rule_test: tuple[AlertTest, ...]


class UnitTests(_Strict):
    rule_files: tuple[str, ...]
    evaluation_interval: str
    tests: tuple[Case, ...]


@dataclass(frozen=True)
class Family:
    name: str
    rule: PrometheusRule
    policies: tuple[Policy, ...]
    tests: UnitTests

    @property
    def alerts(self) -> dict[str, Alert]:
        return {alert.alert: alert for group in self.rule.spec.groups for alert in group.rules}

    @property
    def triggers(self) -> Iterator[tuple[Policy, Trigger]]:
        return ((policy, trigger) for policy in self.policies for trigger in policy.spec.triggers)


@cache
def family(name: str) -> Family:
    directory = LIBRARY / name
    return Family(
        name,
        PrometheusRule.model_validate(yaml.safe_load((directory / "rules.yaml").read_text())),
        tuple(parse(body) for body in policy_bodies(name)),
        UnitTests.model_validate(yaml.safe_load((TESTS / f"{name}.yaml").read_text())),
    )


def policy_bodies(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((LIBRARY / name / "policy.yaml").read_text()))


def every_alert() -> list[tuple[Family, Alert]]:
    return [(family(name), alert) for name in FAMILIES for alert in family(name).alerts.values()]


def alert_of(trigger: Trigger) -> str:
    """The alert that a trigger of the library is for: its one matcher, on the alert's name."""
    assert trigger.alert is not None, trigger.name
    (matcher,) = trigger.alert.matchers
    found = re.fullmatch(r'alertname="(\w+)"', matcher)
    assert found is not None, matcher
    return found[1]


def metrics_of(expression: str) -> frozenset[str]:
    """The names of the metrics that are selected by name."""
    bare = re.sub(r"#.*", "", re.sub(r'"[^"]*"', "", expression))
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(by|on)\s*\([^)]*\)|\boffset\s+\w+", " ", bare)
    words = re.findall(r"(?<![\w:.])[a-zA-Z_:][\w:]*\b(?!\s*\()", bare)
    return frozenset(words) - {"and", "or", "unless", "Inf"}


def promtool() -> str:
    """Where promtool is. A rule that was not tested is not a rule that passed, so without it tests fail."""
    found = shutil.which("promtool")
    if found is None:
        pytest.fail(
            "promtool is not installed, and without it no rule of manifests/triggers is tested: "
            "`apt-get install prometheus` (Debian, Ubuntu), or take it from a release of Prometheus",
            pytrace=False,
        )
    return found


def unit_test(directory: Path, rules: Groups, tests: dict[str, Any]) -> str | None:
    """What promtool finds wrong; None when every test passes."""
    plain = rules.model_dump(by_alias=True, exclude_none=True, mode="json")
    (directory / "rules.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    (directory / "tests.yaml").write_text(yaml.safe_dump(tests, sort_keys=False))
    done = subprocess.run(
        [promtool(), "test", "rules", "tests.yaml"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    return None if done.returncode == 0 else done.stdout + done.stderr


def replaced(rules: Groups, changed: Alert) -> Groups:
    """The rules with one alert changed."""
    return Groups(
        groups=tuple(
            Group(
                name=group.name,
                rules=tuple(changed if one.alert == changed.alert else one for one in group.rules),
            )
            for group in rules.groups
        )
    )
