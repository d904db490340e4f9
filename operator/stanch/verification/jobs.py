"""A Job made of a CronJob's template, as `kubectl create job --from` makes one, and how it ended. Pure."""

from __future__ import annotations

import copy
import hashlib
import math
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stanch.actions.objects import Meta
from stanch.api.schema import seconds
from stanch.api.v1alpha1.base import API_VERSION, ApiModel
from stanch.verification.reading import Answer, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from stanch.api.v1alpha1.recovery import JobCheck
    from stanch.verification.reading import Subject

Json = dict[str, Any]

INCIDENT_LABEL = "stanch.dev/incident"
_MANUAL = ("cronjob.kubernetes.io/instantiate", "manual")
_KEPT_SECONDS = 86_400
_LEAST_KEPT = 600
"""Of a Job that says less: until its end is seen, which is not to be mistaken for none having run."""
_LONGEST_LABEL = 63
_LONGEST_CHECK = 40


class _Template(ApiModel):
    metadata: Json = Field(default_factory=dict)
    spec: Json


class _CronJobSpec(ApiModel):
    job_template: _Template


class _CronJob(ApiModel):
    spec: _CronJobSpec


class _JobMeta(ApiModel):
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class _Limits(ApiModel):
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None


class _Condition(ApiModel):
    type: str
    status: str = ""
    reason: str = ""
    message: str = ""


class _RunStatus(ApiModel):
    active: int = 0
    conditions: tuple[_Condition, ...] = ()


class Run(ApiModel):
    """A Job's own account of how far it has come.

    https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions
    """

    metadata: Meta
    status: _RunStatus = Field(default_factory=_RunStatus)

    @classmethod
    def parse(cls, job: Mapping[str, Any]) -> Run:
        return cls.model_validate(job)

    @property
    def active(self) -> int:
        return self.status.active

    @property
    def complete(self) -> bool:
        return self._condition("Complete") is not None

    @property
    def failed(self) -> str:
        """Why it has; empty while it has not."""
        condition = self._condition("Failed")
        return f"{condition.reason}: {condition.message}" if condition is not None else ""

    def owned_by(self, uid: str) -> bool:
        return any(owner.uid == uid for owner in self.metadata.owner_references)

    def _condition(self, type_: str) -> _Condition | None:
        found = (one for one in self.status.conditions if (one.type, one.status) == (type_, "True"))
        return next(found, None)


def job_name(subject: Subject, check: str) -> str:
    """One for each incident, stage and attempt: an operator that starts anew goes on with what it began."""
    about = "\n".join((subject.uid, check, subject.stage.value, str(subject.attempt)))
    digest = hashlib.sha256(about.encode()).hexdigest()[:10]
    return f"verify-{check[:_LONGEST_CHECK].rstrip('-')}-{digest}"


def job_of(cron_job: Json, subject: Subject, check: str, rule: JobCheck) -> Json:
    """The Job to create. The incident owns it, so that it is deleted with it.

    Raises pydantic.ValidationError when that is no CronJob.
    """
    template = _CronJob.model_validate(cron_job).spec.job_template
    meta = _JobMeta.model_validate(template.metadata)
    limits = _Limits.model_validate(template.spec)
    deadline = max(math.ceil(seconds(rule.timeout)), 1)
    if limits.active_deadline_seconds is not None:
        deadline = min(deadline, limits.active_deadline_seconds)
    kept = limits.ttl_seconds_after_finished
    spec = copy.deepcopy(template.spec) | {
        "activeDeadlineSeconds": deadline,
        "ttlSecondsAfterFinished": _KEPT_SECONDS if kept is None else max(kept, _LEAST_KEPT),
    }
    owner = {
        "apiVersion": API_VERSION,
        "kind": "AIIncident",
        "name": subject.name,
        "uid": subject.uid,
        "blockOwnerDeletion": False,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(subject, check),
            "namespace": subject.namespace,
            "labels": meta.labels | {INCIDENT_LABEL: subject.name[:_LONGEST_LABEL].rstrip(".-")},
            "annotations": meta.annotations | dict([_MANUAL]),
            "ownerReferences": [owner],
        },
        "spec": spec,
    }


def job_reading(run: Run, at: datetime) -> Reading:
    name = run.metadata.name
    if run.complete:
        return Reading(Answer.HOLDS, "Completed", f"Job {name} completed", at)
    if run.failed:
        return Reading(Answer.FAILS, "JobFailed", f"Job {name} failed, {run.failed}", at)
    return Reading(Answer.RUNNING, "Running", f"Job {name} runs, {run.active} pods active", at)
