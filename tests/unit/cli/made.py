"""Incidents and installations as commands read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from stanch.api.v1alpha1.incident import AIIncident
from stanch.cli.doctor.facts import AdmissionPolicy, Attempt, Crd, Facts, Leader, Operator, Replicas
from stanch.cli.doctor.installed import ADMISSION
from stanch.cli.doctor.use import VERBS

Json = dict[str, Any]
AT = "2026-01-02T03:11:48Z"
NOW = datetime(2026, 1, 2, 3, 14, 48, tzinfo=UTC)


def said(type_: str, status: str, reason: str, message: str = "") -> Json:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": AT,
    }


HELD = said("Held", "True", "DeniedAtAdmission", "what would undo the containment is denied")


def raw(phase: str | None = "Contained", **status: Any) -> Json:
    """An incident of generation 1 that was looked at. `spec` and `metadata` add to those."""
    spec, metadata = status.pop("spec", {}), status.pop("metadata", {})
    looked = {"phase": phase, "observedGeneration": 1} if phase is not None else {}
    return {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "AIIncident",
        "metadata": {
            "name": "toxic-output",
            "namespace": "chat",
            "uid": "u1",
            "generation": 1,
            "resourceVersion": "7",
            "creationTimestamp": AT,
        }
        | metadata,
        "spec": {
            "title": "Toxic output",
            "category": "OutputPolicyViolation",
            "severity": "Critical",
            "targets": [{"kind": "Deployment", "name": "llm-chat"}],
        }
        | spec,
        "status": looked | status,
    }


def incident(phase: str | None = "Contained", **status: Any) -> AIIncident:
    return AIIncident.parse(raw(phase, **status))


def facts(**changed: Any) -> Facts:
    """An installation in which all is well, but for what is changed."""
    well: Json = {
        "namespace": "chat",
        "operator": "stanch-system",
        "version": (1, 36),
        "skew": 0.3,
        "crds": {"aiincidents.stanch.dev": Crd.SAME},
        "admission": dict.fromkeys(ADMISSION, AdmissionPolicy(present=True, fails_closed=True, denies=True)),
        "attempt": Attempt.DENIED,
        "leader": Leader("stanch-7d9f_0af1", 1.2, 15),
        "deployment": Operator(Replicas(2, 2), "http://prometheus.test"),
        "prometheus": None,
        "asked_prometheus": False,
        "rights": dict.fromkeys(VERBS, True),
        "policies": (),
        "incidents": (),
        "holds": (),
        "enforcers": (),
    }
    return Facts(**(well | changed))
