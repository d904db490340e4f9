"""How a policy has recovery proven, and a workload given back stage by stage."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from stanch.api.schema import Duration, Matching, Name, exactly_one, items, rule, rules
from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.isolation import AllowedPeer, PortOrName
from stanch.api.v1alpha1.scalars import Comparison, Matcher, Number, Percentage, Query, ShortName
from stanch.api.v1alpha1.versions import ModelLocator

Selector = Annotated[
    str,
    Matching(
        r'^[a-zA-Z_:][a-zA-Z0-9_:]*(\{([^"{}]|"([^"\\]|\\.)*")*\})?$',
        'a selector is a metric with or without labels, such as requests_total{app="llm"}; what a function '
        "gives is always new",
        max_length=1024,
        min_length=1,
    ),
]


class OnUnknown(StrEnum):
    """How a check that has no answer counts. Never as passed."""

    INCONCLUSIVE = "Inconclusive"
    FAILED = "Failed"


class Traffic(ApiModel):
    """What has to have been asked of the workload for a check to mean anything."""

    query: Query = Field(description="gives one number, such as sum(increase(requests_total[5m]))")
    at_least: Number


class PrometheusCheck(Comparison):
    """Passes when the query returns exactly one sample, and that compares true."""

    query: Query = Field(
        description="an instant query; windows longer than verification.initialDelay reach back to when the "
        "workload was not let in"
    )
    on_no_data: OnUnknown = OnUnknown.INCONCLUSIVE
    on_na_n: OnUnknown = Field(
        default=OnUnknown.INCONCLUSIVE, alias="onNaN", description="also of an infinity"
    )
    metrics: tuple[Selector, ...] = items(
        10,
        unique=True,
        default=(),
        description="selectors of the series it lives on: while one has none, or only older samples than "
        "maxStaleness, the check is inconclusive",
    )
    max_staleness: Duration = "2m"
    traffic: Traffic | None = Field(
        default=None, description="while there is less of it, the check is inconclusive"
    )


class AlertClearedCheck(ApiModel):
    """Passes while no alert that matches all matchers is firing in Prometheus."""

    matchers: tuple[Matcher, ...] = items(20, min_length=1)


class Scheme(StrEnum):
    HTTP = "HTTP"
    HTTPS = "HTTPS"


class HttpCheck(ApiModel):
    """Passes when every pod of the workload answers a GET with the status that is expected."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.timeout) || duration(self.timeout) <= duration('45s')",
                "a pod has at most 45s to answer",
            )
        )
    )

    port: PortOrName = Field(description="of the pod, by number or by a container port's name")
    path: str = Field(default="/", max_length=1024, pattern="^/[^?#]*$")
    scheme: Scheme = Field(
        default=Scheme.HTTP, description="HTTPS verifies no certificate, as a kubelet does"
    )
    status: int = Field(default=200, ge=200, le=599)
    timeout: Duration = "5s"


class JobCheck(ApiModel):
    """Passes when a Job made of a CronJob's template completes, as `kubectl create job --from` makes one.

    The CronJob, usually with `suspend: true`, is in the incident's namespace: an evaluation suite.
    """

    cron_job: Name
    timeout: Duration = Field(default="10m", description="until the Job is ended and the check has failed")


class HealthyCheck(ApiModel):
    """Passes while the workload's rollout is complete, all its pods are ready and none restarts."""


class IntegrityCheck(ApiModel):
    """Passes while what runs is what the incident's knownGood says, and nothing that is condemned."""

    locator: ModelLocator | None = Field(
        default=None, description="where the version of the model is kept; found by its looks when absent"
    )


class Check(ApiModel):
    """One condition of recovery."""

    model_config = ConfigDict(json_schema_extra=exactly_one("a check", beside=("name",)))

    name: ShortName
    prometheus: PrometheusCheck | None = None
    alert_cleared: AlertClearedCheck | None = None
    healthy: HealthyCheck | None = None
    http: HttpCheck | None = None
    job: JobCheck | None = None
    integrity: IntegrityCheck | None = None


class Verification(ApiModel):
    """Recovery is proven when every check passed so often in a row, on probation and once more in full."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.checks.exists(check, !has(check.alertCleared))",
                "a cleared alert proves nothing by itself: what does not run raises none; add another check",
            )
        )
    )

    checks: tuple[Check, ...] = items(20, keys=("name",), min_length=1)
    initial_delay: Duration = Field(
        default="30s", description="after a stage is in place, until the checks are first looked at"
    )
    interval: Duration = "15s"
    consecutive_successes: int = Field(default=3, ge=1, le=100, description="of every check, to pass")
    failure_limit: int = Field(default=3, ge=1, le=100, description="of one check, in a row, to fail")
    inconclusive_limit: int = Field(
        default=8,
        ge=1,
        le=100,
        description="of one check, in a row, to give up: the workload is contained again",
    )
    timeout: Duration = Field(default="15m", description="of one stage, to pass")


class ReleaseMode(StrEnum):
    MANUAL = "Manual"
    AUTOMATIC = "Automatic"


class Probation(ApiModel):
    """What is let in first, while the rest stays contained and the checks are looked at."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("!(has(self.replicas) && has(self.share))", "probation has replicas or share, not both")
        )
    )

    replicas: int | None = Field(default=None, ge=1, le=1000, description="pods that serve; 1 when absent")
    share: Percentage | None = Field(
        default=None, description="of the pods there were, rounded up to at least one"
    )
    peers: tuple[AllowedPeer, ...] = items(
        10, default=(), description="for whom isolation is lifted already; for nobody when absent"
    )


class ReleaseRule(ApiModel):
    mode: ReleaseMode = Field(
        default=ReleaseMode.MANUAL, description="Automatic tries by itself, and needs verification"
    )
    after: Duration = Field(
        default="10m",
        description="with Automatic: how long it stays contained before a try; doubled by each try that "
        "failed",
    )
    attempts: int = Field(
        default=3, ge=1, le=20, description="with Automatic: how often, before a person has to ask"
    )
    probation: Probation = Field(default_factory=Probation)
    review_after: Duration = Field(
        default="24h", description="how long it may stay contained until people are told to look at it"
    )


class ReleaseStage(StrEnum):
    """How far a release that is proven stage by stage has come."""

    PROBATION = "Probation"
    FULL = "Full"
    PASSED = "Passed"
    FAILED = "Failed"
