"""Incidents that a report is made of, and what became of their evidence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from stanch.api.v1alpha1.incident import AIIncident
from stanch.evidence.verify import Fault, Finding, Verdict
from stanch.reports.compose import compose
from stanch.reports.recheck import Checked, CheckedTimeline, Rechecked
from tests.unit.evidence.collections_of_evidence import stored

if TYPE_CHECKING:
    from stanch.reports.model import Report

Json = dict[str, Any]
START = datetime(2026, 1, 2, 3, 11, 48, tzinfo=UTC)
NOW = START + timedelta(days=4)
PLACE = "s3://evidence/prod/chat/toxic-output-0af1/20260102T031204Z-3f9c1a"
EVIDENCE = stored([b"one", b"two", b"three"])


def at(**after: float) -> str:
    """A moment so long after the start of it all."""
    return (START + timedelta(**after)).isoformat()


def raw() -> Json:
    """An incident of which nothing is left to say."""
    return {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "AIIncident",
        "metadata": {
            "name": "toxic-output",
            "namespace": "chat",
            "uid": "0af1b2c3-4d5e-6f70-8192-a3b4c5d6e7f8",
            "generation": 4,
            "resourceVersion": "81723",
            "creationTimestamp": at(seconds=16),
            "annotations": {
                "stanch.dev/requested-by": "system:serviceaccount:stanch-system:stanch",
                "stanch.dev/released-by": "carol@example.test",
            },
        },
        "spec": _spec(),
        "status": _status(),
    }


def _spec() -> Json:
    return {
        "title": "Toxic output above policy threshold",
        "description": "From 03:11 on, answers violated the output policy in 41% of conversations.",
        "category": "OutputPolicyViolation",
        "severity": "Critical",
        "targets": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "llm-chat"}],
        "desiredState": "Released",
        "occurredAt": at(),
        "tlp": "TLP:AMBER",
        "attacks": ["AML.T0051.001", "AML.T9999"],
        "owaspRefs": ["LLM01:2025"],
        "affectedModel": {
            "name": "llm-chat",
            "version": "2.4.0",
            "digest": "sha256:" + "9c" * 32,
            "uri": "https://models.example.test/llm-chat/2.4.0",
        },
        "knownGood": {"modelVersion": "2.3.1", "images": ["sha256:" + "5a" * 32]},
        "roles": {
            "incidentCommander": "Ines Moreau",
            "operationsLead": "Bob Okafor",
            "communicationsLead": "Carol Lindqvist",
            "scribe": "Dai Nguyen",
        },
        "externalRefs": [
            {"system": "Jira", "id": "OPS-1287", "url": "https://jira.example.test/browse/OPS-1287"}
        ],
        "detection": {
            "method": "Alert",
            "ruleRef": "https://prometheus.example.test/graph?g0.expr=toxic",
            "signals": [
                {
                    "name": "ToxicOutputRate",
                    "source": "https://alertmanager.example.test",
                    "fingerprint": "8f2c1d90aa",
                    "value": "0.41",
                    "observedAt": at(seconds=15),
                }
            ],
        },
        "regulatory": {
            "awareAt": at(minutes=3),
            "personalData": False,
            "notes": "Legal has the transcripts of the sampled conversations.",
            "decisions": [
                {
                    "clock": "gdpr-33",
                    "duty": "NotReportable",
                    "decidedBy": "dpo@example.test",
                    "rationale": "No personal data was in the sampled answers.",
                    "at": at(hours=9),
                }
            ],
        },
        "resolution": {
            "determination": "Confirmed",
            "rootCause": "Model 2.4.0 followed instructions hidden in retrieved documents: the filter of the "
            "retriever was off since the migration of 30 December.",
            "summary": "For sixteen seconds the assistant gave toxic answers. It was stopped within a second "
            "of the alert, stayed stopped through five attempts to bring it back, and serves 2.3.1 again.",
            "impact": "About 1 900 conversations; 41% had at least one toxic answer. No customer data left.",
            "communications": "03:25 status page\n03:40 customer success\n\n09:00 legal and the DPO",
            "nearMisses": "The GitOps controller tried to redeploy 2.4.0 within a minute.",
            "lessons": {
                "wentWell": ["The alert fired before the first complaint.", "Nobody had to type anything."],
                "wentWrong": ["The filter had no test of its own."],
                "gotLucky": ["It was the middle of the night."],
            },
            "actions": [
                {"what": "Test the retrieval filter in CI", "owner": "retrieval team", "due": "2026-01-16"},
                {"what": "Alert on instructions in retrieved documents", "owner": "bob@example.test"},
            ],
        },
    }


def _step(number: int, action: str, message: str, applied: float, **more: Any) -> Json:
    return {
        "id": f"{number}-{action}-deployment-llm-chat",
        "action": action,
        "target": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "llm-chat",
            "uid": "77e1c0de-0001-4a4b-8c8d-000000000001",
        },
        "state": "Effective",
        "message": message,
        "startedAt": at(seconds=16),
        "appliedAt": at(seconds=applied),
        "effectiveAt": at(seconds=applied + 0.3),
    } | more


def _entry(seq: int, type_: str, message: str = "", *, after: float, actor: str = "stanch") -> Json:
    return {"seq": seq, "at": at(seconds=after), "type": type_, "actor": actor, "message": message}


def _status() -> Json:
    hours = 3600.0
    return {
        "phase": "Closed",
        "summary": "given back: llm-chat: replicas 0→3",
        "containedIn": "900ms",
        "conditions": [
            _condition("Held", "False", "Released", "no longer denied by this incident"),
            _condition("GuardrailsPassed", "False", "StormBreaker", "3 of 3 containments within 10m"),
            _condition("EvidenceCollected", "False", "EvidenceIncomplete", "one log is missing"),
        ],
        "plan": {
            "hash": "5be19a02c3d4e5f6",
            "source": "ContainmentPolicy/chat-guard, generation 3",
            "policy": {"kind": "ContainmentPolicy", "name": "chat-guard", "uid": "p1", "generation": 3},
            "steps": [
                {
                    "id": "2-ScaleToZero-deployment-llm-chat",
                    "action": "ScaleToZero",
                    "target": "Deployment/llm-chat",
                    "diff": ["replicas 3 → 0"],
                }
            ],
        },
        "steps": [
            _step(1, "CollectEvidence", "14 items stored", 16.1),
            _step(
                2,
                "ScaleToZero",
                "no live pod is left",
                16.2,
                state="Undone",
                condemned=["image/registry.example.test/llm-chat:2.4.0"],
                undo={"at": at(hours=50), "kept": ["/spec/paused"], "message": "replicas 0→3"},
            ),
            _step(
                3,
                "Isolate",
                "allow-monitoring still allows 9090/tcp",
                16.3,
                state="Ineffective",
                optional=True,
            ),
        ],
        "contested": {
            "count": 5,
            "lastAt": at(seconds=190),
            "lastBy": "argocd-application-controller",
            "lastWhat": "was denied: patch deployments llm-chat",
        },
        "approval": {
            "planHash": "5be19a02c3d4e5f6",
            "by": "bob@example.test",
            "at": at(seconds=16),
            "expiresAt": at(minutes=30),
            "usedAt": at(seconds=16.05),
        },
        "signals": {"count": 7, "flaps": 1, "resolved": ["8f2c1d90aa"], "resolvedAt": at(minutes=2)},
        "evidence": [
            {
                "location": PLACE,
                "head": EVIDENCE.head,
                "items": 3,
                "size": 11,
                "collectedAt": at(seconds=16.1),
                "complete": False,
                "missing": ["log of Pod llm-chat-7d9f: Timeout: no kubelet answered"],
            }
        ],
        "release": {
            "stage": "Passed",
            "askedBy": "Person",
            "generation": 3,
            "attempt": 2,
            "since": at(hours=51),
        },
        "verification": {
            "outcome": "Passed",
            "since": at(hours=51),
            "checks": [
                {
                    "name": "toxicity",
                    "outcome": "Passed",
                    "value": "0.002",
                    "successes": 3,
                    "message": "0.002 < 0.01",
                    "lookedAt": at(hours=51.1),
                }
            ],
        },
        "clocks": [
            {
                "id": "eu-ai-act-73-2",
                "version": "2026.1",
                "title": "Serious incident, AI Act",
                "source": "Regulation (EU) 2024/1689, Art. 73(2)",
                "state": "Undecided",
                "dueAt": at(days=15, minutes=3),
            },
            {
                "id": "gdpr-33",
                "version": "2026.1",
                "title": "Personal data breach, GDPR",
                "source": "Regulation (EU) 2016/679, Art. 33",
                "state": "NotReportable",
                "dueAt": at(hours=72, minutes=3),
            },
        ],
        "timestamps": {
            "occurred": at(),
            "detected": at(seconds=15.6),
            "approved": at(seconds=16),
            "begun": at(seconds=16.05),
            "contained": at(seconds=16.5),
            "released": at(hours=51),
            "recovered": at(hours=51.2),
            "closed": at(hours=80),
        },
        "timeline": [
            _entry(4, "Signalled", "ToxicOutputRate fires (8f2c1d90aa)", after=15.6, actor="alertmanager"),
            _entry(5, "AwaitingApproval", "3 of 3 containments within 10m", after=15.7),
            _entry(6, "Approved", "plan 5be19a02c3d4e5f6", after=16, actor="bob@example.test"),
            _entry(7, "Containing", after=16.05),
            _entry(8, "StepEffective", "ScaleToZero of llm-chat: no live pod is left", after=16.5),
            _entry(9, "Contained", after=16.5),
            *(
                _entry(
                    9 + number,
                    "Contested",
                    "denied: patch deployments",
                    after=30 + 32 * number,
                    actor="argocd",
                )
                for number in range(1, 6)
            ),
            _entry(15, "Releasing", "probation of 1 replica", after=26 * hours, actor="carol@example.test"),
            _entry(16, "Contained", "check toxicity failed: 0.2 is not < 0.01", after=26.5 * hours),
            _entry(17, "Releasing", "probation of 1 replica", after=50 * hours, actor="carol@example.test"),
            _entry(18, "Recovered", after=51.2 * hours),
            _entry(19, "Closed", after=80 * hours, actor="ines@example.test"),
        ],
    }


def _condition(type_: str, status: str, reason: str, message: str) -> Json:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": at(seconds=17),
    }


def intact() -> Checked:
    return Checked(PLACE, Verdict(EVIDENCE.manifest, ()))


def altered() -> Checked:
    finding = Finding("001-pod.json", Fault.ALTERED, "it has 9 bytes, collected were 3", 1)
    return Checked(PLACE, Verdict(EVIDENCE.manifest, (finding,)))


def unread() -> Checked:
    return Checked(PLACE, None, f"{PLACE}: timed out: it was not read")


def report(
    body: Json | None = None,
    *checks: Checked,
    now: datetime = NOW,
    timeline: CheckedTimeline | None = None,
) -> Report:
    return compose(AIIncident.parse(body or raw()), Rechecked(checks or (intact(),), timeline), now)


def fresh(**spec: Any) -> Json:
    """An incident that Stanch has not looked at yet, and of which nobody has said anything."""
    base = {
        "title": "Toxic output",
        "category": "OutputPolicyViolation",
        "severity": "High",
        "targets": [{"kind": "Deployment", "name": "llm-chat"}],
    }
    return {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "AIIncident",
        "metadata": {"name": "toxic", "namespace": "chat", "uid": "u1"},
        "spec": base | spec,
    }
