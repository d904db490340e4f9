"""The AIIncident of a signal. Pure: whatever labels and annotations say, it is one that the CRD accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stanch.api.v1alpha1.base import API_VERSION
from stanch.api.v1alpha1.incident import (
    AIIncidentSpec,
    PolicyKind,
    PolicyRef,
    Target,
    TargetKind,
)
from stanch.api.v1alpha1.record import Detection, DetectionMethod
from stanch.api.v1alpha1.record import Signal as RecordedSignal
from stanch.kube.resources import AIINCIDENTS
from stanch.signals.intake.naming import incident_labels, incident_name, short
from stanch.signals.intake.wording import in_utc, one_line, several_lines, web_address

if TYPE_CHECKING:
    from stanch.policies.match import Workload
    from stanch.signals.intake.grading import Armed
    from stanch.signals.model import Signal, Speaker

_BATCH = {TargetKind.JOB, TargetKind.CRON_JOB}
_TITLE, _DESCRIPTION, _NAME, _URL, _SOURCE, _VALUE = 256, 4096, 253, 1024, 1024, 256
LONGEST_FINGERPRINT = 128


def signal_name(signal: Signal) -> str:
    return one_line(signal.name, _NAME) or "unnamed"


def fingerprint_of(signal: Signal) -> str:
    """As it is recorded everywhere."""
    return short(signal.fingerprint, LONGEST_FINGERPRINT)


def incident_of(
    signal: Signal, speaker: Speaker, by: Armed, workload: Workload, namespace: str
) -> dict[str, Any]:
    """The manifest. The plan is the policy's, and so is whether it is carried out."""
    kind = TargetKind(workload.kind)
    name = incident_name(
        by.trigger.name, by.policy.metadata.uid, workload, fingerprint_of(signal), signal.starts_at
    )
    spec = AIIncidentSpec(
        title=_title(signal, workload),
        description=several_lines(signal.annotations.get("description", ""), _DESCRIPTION) or None,
        category=by.trigger.category,
        severity=by.trigger.severity,
        targets=(
            Target(api_version="batch/v1" if kind in _BATCH else "apps/v1", kind=kind, name=workload.name),
        ),
        policy_ref=PolicyRef(kind=PolicyKind(by.policy.kind), name=by.policy.metadata.name),
        occurred_at=in_utc(signal.starts_at),
        detection=_detection(signal, speaker),
    )
    return {
        "apiVersion": API_VERSION,
        "kind": AIINCIDENTS.kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": incident_labels(by.trigger.name, by.policy, workload),
        },
        "spec": spec.wire(),
    }


def _title(signal: Signal, workload: Workload) -> str:
    summary = one_line(signal.annotations.get("summary", ""), _TITLE)
    return summary or one_line(f"{signal_name(signal)}: {workload}", _TITLE)


def _detection(signal: Signal, speaker: Speaker) -> Detection:
    return Detection(
        method=DetectionMethod.METRIC if signal.trigger is not None else DetectionMethod.ALERT,
        rule_ref=web_address(signal.url, _URL) or None,
        signals=(
            RecordedSignal(
                name=signal_name(signal),
                source=one_line(speaker.name, _SOURCE) or None,
                fingerprint=fingerprint_of(signal),
                value=one_line(signal.value, _VALUE) or None,
                observed_at=in_utc(signal.starts_at),
            ),
        ),
    )
