"""What `kubectl apply` says to what, on the real API server: types are right or refused with a sentence."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.installation import hold

if TYPE_CHECKING:
    from tests.installation import Installed

pytestmark = pytest.mark.compatibility("definitions")

BEGUN = "once containment has begun; release this incident and create another"


def incident(name: str = "x", **spec: Any) -> dict[str, Any]:
    """A valid AIIncident with some fields of its spec replaced; None removes one."""
    base: dict[str, Any] = {
        "title": "Toxic output above policy threshold",
        "category": "OutputPolicyViolation",
        "severity": "Critical",
        "mode": "DryRun",
        "targets": [target()],
    }
    given = {key: value for key, value in (base | spec).items() if value is not None}
    return {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "AIIncident",
        "metadata": {"name": name},
        "spec": given,
    }


def target(name: str = "llm-chat", kind: str = "Deployment") -> dict[str, str]:
    return {"apiVersion": "apps/v1", "kind": kind, "name": name}


def policy(**spec: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "selector": {"kinds": ["Deployment"], "matchLabels": {"app": "llm-chat"}},
        "steps": [{"scaleToZero": {}}],
    }
    return {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "ContainmentPolicy",
        "metadata": {"name": "x"},
        "spec": base | spec,
    }


def isolate_peer(**peer: Any) -> dict[str, Any]:
    """A step that leaves one peer open."""
    return {"isolate": {"allow": {"peers": [peer]}}}


TRIGGER = {"name": "toxic", "category": "OutputPolicyViolation", "severity": "Critical"}
ALERT = {"matchers": ['alertname="ToxicOutput"']}
CHECK = {"name": "toxicity", "prometheus": {"query": "toxicity", "operator": "lt", "value": "0.01"}}

NAME_RULE = (
    "a name has lower-case letters, digits, '-' and '.' only, and begins and ends with a letter or digit"
)

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a Pod": (
        incident(targets=[target(kind="Pod")]),
        (
            'spec.targets[0].kind: Invalid value: "Pod": a Pod cannot be contained by itself; '
            "name its controller"
        ),
    ),
    "a kind without a way to stop": (
        incident(targets=[target(kind="Rollout")]),
        (
            'spec.targets[0].kind: Invalid value: "Rollout": a Rollout cannot be contained; '
            "a target is a Deployment, StatefulSet, ReplicaSet, DaemonSet, Job or CronJob"
        ),
    ),
    "no target": (
        incident(targets=[]),
        "spec.targets: Invalid value: 0: spec.targets in body should have at least 1 items",
    ),
    "targets left out": (incident(targets=None), "spec.targets: Required value"),
    "21 targets": (
        incident(targets=[target(f"llm-{number}") for number in range(21)]),
        "spec.targets: Too many: 21: must have at most 20 items",
    ),
    "the same target twice": (
        incident(targets=[target(), target()]),
        'spec.targets[1]: Duplicate value: {"kind":"Deployment","name":"llm-chat"}',
    ),
    "a name that is not DNS-1123": (
        incident(targets=[target("LLM_Chat")]),
        f'spec.targets[0].name: Invalid value: "LLM_Chat": {NAME_RULE}',
    ),
    "a name that is too long": (
        incident(targets=[target("a" * 254)]),
        "spec.targets[0].name: Too long: may not be more than 253 bytes",
    ),
    "a category outside the list": (incident(category="Toxic"), 'spec.category: Unsupported value: "Toxic"'),
    "a severity outside the list": (
        incident(severity="Severe"),
        (
            'spec.severity: Unsupported value: "Severe": supported values: '
            '"Critical", "High", "Medium", "Low", "Informational"'
        ),
    ),
    "no title": (incident(title=None), "spec.title: Required value"),
    "a description of 600 KiB": (
        incident(description="x" * 600 * 1024),
        "spec.description: Too long: may not be more than 16384 bytes",
    ),
    "a technique without its prefix": (
        incident(attacks=["T0051"]),
        'spec.attacks[0]: Invalid value: "T0051": an ATLAS technique looks like AML.T0051 or AML.T0051.001',
    ),
    "an OWASP entry without its year": (
        incident(owaspRefs=["LLM01"]),
        (
            'spec.owaspRefs[0]: Invalid value: "LLM01": an OWASP reference looks like '
            "LLM01:2025 or ASI01:2026; the year is part of it"
        ),
    ),
    "a step that is nothing": (
        incident(steps=[{"optional": True}]),
        "spec.steps[0]: Invalid value: a step is exactly one of collectEvidence, ",
    ),
    "a step that is not served": (
        incident(steps=[{"paint": {"colour": "red"}}]),
        'strict decoding error: unknown field "spec.steps[0].paint"',
    ),
    "an empty plan": (
        incident(steps=[]),
        "spec.steps: Invalid value: 0: spec.steps in body should have at least 1 items",
    ),
    "a duration in words": (
        incident(steps=[{"scaleToZero": {}, "timeout": "20 seconds"}]),
        'spec.steps[0].timeout: Invalid value: "20 seconds": a duration looks like 20s, 5m or 1h30m',
    ),
    "DNS left open where the way out is not cut": (
        incident(steps=[{"isolate": {"direction": ["Ingress"], "allow": {"dns": True}}}]),
        "spec.steps[0].isolate: Invalid value: allow.dns opens egress, which direction does not cut",
    ),
    "scraping left open where the way in is not cut": (
        incident(
            steps=[
                {"isolate": {"direction": ["Egress"], "allow": {"metrics": {"podSelector": {}, "port": 1}}}}
            ]
        ),
        "spec.steps[0].isolate: Invalid value: allow.metrics opens ingress, which direction does not cut",
    ),
    "an isolation in no direction": (
        incident(steps=[{"isolate": {"direction": []}}]),
        "spec.steps[0].isolate.direction in body should have at least 1 items",
    ),
    "a peer that is both": (
        incident(steps=[isolate_peer(podSelector={}, ipBlock={"cidr": "10.0.0.0/8"})]),
        "a peer has either ipBlock or podSelector and namespaceSelector",
    ),
    "a peer that is nobody": (
        incident(steps=[isolate_peer()]),
        "a peer has either ipBlock or podSelector and namespaceSelector",
    ),
    "a peer by no CIDR": (
        incident(steps=[isolate_peer(ipBlock={"cidr": "10.0.0.0"})]),
        'spec.steps[0].isolate.allow.peers[0].ipBlock.cidr: Invalid value: "10.0.0.0"',
    ),
    "a port that is too high": (
        incident(steps=[isolate_peer(podSelector={}, ports=[{"port": 70000}])]),
        "spec.steps[0].isolate.allow.peers[0].ports[0].port: Invalid value: 70000",
    ),
    "an expression without values": (
        incident(steps=[isolate_peer(podSelector={"matchExpressions": [{"key": "a", "operator": "In"}]})]),
        "In and NotIn take values, Exists and DoesNotExist take none",
    ),
    "a misspelt field": (
        incident(sevrity="Critical"),
        'strict decoding error: unknown field "spec.sevrity"',
    ),
    "an enforced drill that is no drill": (
        incident(exerciseEnforce=True),
        "spec: Invalid value: exerciseEnforce: true needs exercise: true",
    ),
    "a trigger by two signals": (
        policy(
            triggers=[
                TRIGGER | {"alert": ALERT, "prometheus": {"query": "q", "operator": "gt", "value": "1"}}
            ]
        ),
        "spec.triggers[0]: Invalid value: a trigger is exactly one of alert, prometheus",
    ),
    "two triggers of one name": (
        policy(triggers=[TRIGGER | {"alert": ALERT}, TRIGGER | {"alert": ALERT}]),
        'spec.triggers[1]: Duplicate value: {"name":"toxic"}',
    ),
    "a matcher that is none": (
        policy(triggers=[TRIGGER | {"alert": {"matchers": ["ToxicOutput"]}}]),
        (
            'spec.triggers[0].alert.matchers[0]: Invalid value: "ToxicOutput": '
            'a matcher looks like alertname="ToxicOutput"; operators are =, !=, =~ and !~'
        ),
    ),
    "a threshold in words": (
        policy(
            verification={
                "checks": [{"name": "t", "prometheus": {"query": "t", "operator": "lt", "value": "low"}}]
            }
        ),
        (
            'spec.verification.checks[0].prometheus.value: Invalid value: "low": '
            'a threshold is a number in quotes, such as "0.2"'
        ),
    ),
    "nothing but an alert that cleared": (
        policy(verification={"checks": [{"name": "quiet", "alertCleared": ALERT}]}),
        (
            "spec.verification: Invalid value: a cleared alert proves nothing by itself: "
            "what does not run raises none; add another check"
        ),
    ),
    "a check that is two": (
        policy(verification={"checks": [CHECK | {"healthy": {}}]}),
        (
            "spec.verification.checks[0]: Invalid value: a check is exactly one of "
            "alertCleared, healthy, http, integrity, job, prometheus"
        ),
    ),
    "probation by number and share": (
        policy(release={"probation": {"replicas": 1, "share": "10%"}}),
        "spec.release.probation: Invalid value: probation has replicas or share, not both",
    ),
    "an incident closed without a cause": (
        incident(resolution={"determination": "Confirmed"}),
        "spec.resolution.rootCause: Required value",
    ),
    "not reported, and no reason why": (
        incident(
            regulatory={"decisions": [{"clock": "gdpr-33", "duty": "NotReportable", "decidedBy": "dpo"}]}
        ),
        "spec.regulatory.decisions[0]: Invalid value: a decision not to report needs a rationale",
    ),
    "reported, and nobody knows when": (
        incident(regulatory={"decisions": [{"clock": "gdpr-33", "duty": "Reported", "decidedBy": "dpo"}]}),
        "spec.regulatory.decisions[0]: Invalid value: duty: Reported needs at: when it was reported",
    ),
    "approval at or above nothing": (
        policy(guardrails={"approval": {"required": "AtOrAbove"}}),
        "spec.guardrails.approval: Invalid value: required: AtOrAbove needs a severity to be at or above",
    ),
    "a share above all": (
        policy(guardrails={"capacityFloor": "150%"}),
        'spec.guardrails.capacityFloor: Invalid value: "150%": a share is 0% to 100%',
    ),
    "recovery that nothing shows": (
        policy(release={"mode": "Automatic"}),
        (
            "spec: Invalid value: release.mode: Automatic needs verification: "
            "without checks nothing shows recovery"
        ),
    ),
}


@pytest.mark.parametrize(("manifest", "message"), BAD.values(), ids=BAD.keys())
def test_a_mistake_is_refused_with_a_sentence(
    stanch_installed: Installed, manifest: dict[str, Any], message: str
) -> None:
    answer = stanch_installed.admin.run("create", "--dry-run=server", "-f", "-", stdin=manifest)
    assert answer.returncode == 1
    assert message in answer.stderr


FULL = incident(
    "toxic-output",
    description="Users report insults since the 2.4.0 roll-out.",
    targets=[target(), target("embedder", "StatefulSet"), target("llm-chat", "DaemonSet")],
    policyRef={"name": "chat-guard"},
    steps=[{"scaleToZero": {"terminate": "Immediate"}, "timeout": "1m30s", "onFailure": "Continue"}],
    desiredState="Contained",
    deletionPolicy="Retain",
    exercise=True,
    exerciseEnforce=True,
    detection={
        "method": "Alert",
        "ruleRef": "https://rules.example.test/toxic",
        "signals": [{"name": "ToxicOutput", "value": "0.31", "observedAt": "2026-01-02T03:04:05Z"}],
    },
    affectedModel={
        "name": "llm-chat",
        "version": "2.4.0",
        "digest": f"sha256:{'0' * 64}",
        "uri": "s3://m/llm",
    },
    attacks=["AML.T0051", "AML.T0051.001"],
    owaspRefs=["LLM01:2025", "ASI10:2026"],
    tlp="TLP:AMBER+STRICT",
    roles={"incidentCommander": "alice@example.test"},
    dedupKey="chat/llm-chat/ToxicOutput",
    occurredAt="2026-01-02T03:04:05Z",
    externalRefs=[{"system": "pager", "id": "P-17", "url": "https://pager.example.test/P-17"}],
    regulatory={"awareAt": "2026-01-02T03:10:00Z", "personalData": False},
)


def test_a_full_incident_is_stored_as_written(stanch_installed: Installed, space: str) -> None:
    written = copy.deepcopy(FULL)
    stored = json.loads(stanch_installed.admin("create", "-n", space, "-o", "json", "-f", "-", stdin=written))
    expected = copy.deepcopy(FULL["spec"])
    expected["policyRef"]["kind"] = "ContainmentPolicy"
    expected["steps"][0]["optional"] = False
    assert stored["spec"] == expected | {"skipVerification": False}


def test_what_is_left_out_is_filled_in_visibly(stanch_installed: Installed, space: str) -> None:
    written = incident(
        mode=None, targets=[{"kind": "Deployment", "name": "llm-chat"}], steps=[{"scaleToZero": {}}]
    )
    stored = json.loads(stanch_installed.admin("create", "-n", space, "-o", "json", "-f", "-", stdin=written))
    assert stored["spec"] == {
        "title": "Toxic output above policy threshold",
        "category": "OutputPolicyViolation",
        "severity": "Critical",
        "targets": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "llm-chat"}],
        "steps": [{"scaleToZero": {"terminate": "Graceful"}, "onFailure": "Stop", "optional": False}],
        "mode": "Enforce",
        "desiredState": "Contained",
        "deletionPolicy": "Release",
        "exercise": False,
        "exerciseEnforce": False,
        "skipVerification": False,
    }


def test_what_nobody_has_looked_at_says_so(stanch_installed: Installed, space: str) -> None:
    """kstatus would take it for Current, and Helm or Flux for done."""
    for new in (incident(), policy()):
        stanch_installed.admin("create", "-n", space, "-f", "-", stdin=new)
        stored = stanch_installed.admin(
            "get", "-n", space, new["kind"], new["metadata"]["name"], "-o", "json"
        )
        assert json.loads(stored)["status"] == {"observedGeneration": -1}


def test_full_policies_are_accepted(stanch_installed: Installed, space: str) -> None:
    spec: dict[str, Any] = {
        "triggers": [
            TRIGGER | {"alert": ALERT},
            {
                "name": "drift",
                "category": "Drift",
                "severity": "Medium",
                "prometheus": {"query": "drift", "operator": "gt", "value": "0.2", "for": "5m"},
            },
        ],
        "guardrails": {
            "approval": {"required": "AtOrAbove", "severity": "High", "fourEyes": True, "expires": "30m"},
            "maxConcurrent": 3,
            "cooldown": "10m",
            "capacityFloor": "50%",
        },
        "verification": {"checks": [CHECK]},
        "release": {"mode": "Automatic", "probation": {"replicas": 1}},
        "notifications": [{"name": "oncall", "urlFrom": {"name": "pager"}}],
    }
    namespaced = policy(**spec)
    labels = {"matchLabels": {"tier": "serving"}}
    cluster = policy(**spec, selector={"matchLabels": {"app": "llm"}, "namespaceSelector": labels})
    cluster["kind"] = "ClusterContainmentPolicy"
    stanch_installed.admin("create", "-n", space, "-f", "-", stdin=namespaced)
    stanch_installed.admin("create", "--dry-run=server", "-f", "-", stdin=cluster)
    stored = stanch_installed.admin.get("cpol", "x", "-n", space)
    assert stored["spec"]["verification"]["consecutiveSuccesses"] == 3
    assert stored["spec"]["verification"]["checks"][0]["prometheus"]["onNaN"] == "Inconclusive"


CONTAINED = {
    "phase": "Contained",
    "target": "Deploy/llm-chat",
    "summary": "scaled llm-chat 3→0",
    "containedIn": "412ms",
    "plan": {"hash": "5be1", "source": "spec.steps", "steps": []},
    "conditions": [
        {
            "type": "Held",
            "status": "True",
            "reason": "InForce",
            "message": "",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }
    ],
}

CHANGES_WHILE_CONTAINED: dict[str, tuple[dict[str, Any], str | None]] = {
    "targets": ({"targets": [target("other")]}, f"spec.targets: Forbidden: targets cannot change {BEGUN}"),
    "steps": ({"steps": [{"scaleToZero": {}}]}, f"spec.steps: Forbidden: steps cannot change {BEGUN}"),
    "policyRef": (
        {"policyRef": {"name": "p"}},
        f"spec.policyRef: Forbidden: policyRef cannot change {BEGUN}",
    ),
    "exercise": ({"exercise": True}, f"spec.exercise: Forbidden: exercise cannot change {BEGUN}"),
    "mode": (
        {"mode": "DryRun"},
        (
            "spec.mode: Forbidden: mode cannot go back to DryRun once containment has begun; "
            "to give the workload back set desiredState: Released"
        ),
    ),
    "severity": ({"severity": "High"}, None),
    "description": ({"description": "now known to be a bad roll-out"}, None),
    "desiredState": ({"desiredState": "Released"}, None),
}


@pytest.mark.parametrize(
    ("change", "message"), CHANGES_WHILE_CONTAINED.values(), ids=CHANGES_WHILE_CONTAINED.keys()
)
def test_what_is_being_contained_cannot_be_swapped(
    stanch_installed: Installed, space: str, change: dict[str, Any], message: str | None
) -> None:
    made(stanch_installed, space, incident(mode="Enforce"), CONTAINED)
    answer = stanch_installed.admin.run(*patching(space, change))
    assert answer.returncode == (0 if message is None else 1)
    assert message is None or message in answer.stderr


def test_a_rejected_incident_and_a_dry_run_can_be_corrected(stanch_installed: Installed, space: str) -> None:
    made(stanch_installed, space, incident(mode="Enforce"), CONTAINED | {"phase": "Rejected"})
    made(stanch_installed, space, incident("dry"), CONTAINED)
    stanch_installed.admin(*patching(space, {"targets": [target("right")]}))
    stanch_installed.admin(*patching(space, {"targets": [target("right")], "mode": "Enforce"}, name="dry"))


def test_what_was_given_back_is_not_taken_again(stanch_installed: Installed, space: str) -> None:
    made(
        stanch_installed,
        space,
        incident(mode="Enforce", desiredState="Released"),
        CONTAINED | {"phase": "Releasing"},
    )
    answer = stanch_installed.admin.run(*patching(space, {"desiredState": "Contained"}))
    assert "a released incident cannot be contained again; create another" in answer.stderr


def test_the_columns_answer_is_it_stopped_and_does_it_stay_so(
    stanch_installed: Installed, space: str
) -> None:
    made(stanch_installed, space, incident("toxic-output"), CONTAINED)
    header, row = stanch_installed.admin("get", "aii", "-n", space).splitlines()
    assert header.split() == [
        "NAME",
        "SEVERITY",
        "CATEGORY",
        "TARGET",
        "PHASE",
        "HELD",
        "CONTAINED-IN",
        "AGE",
    ]
    *shown, _ = row.split()
    assert shown == [
        "toxic-output",
        "Critical",
        "OutputPolicyViolation",
        "Deploy/llm-chat",
        "Contained",
        "True",
        "412ms",
    ]
    wide, wide_row = stanch_installed.admin("get", "aiincident", "-o", "wide", "-n", space).splitlines()
    assert wide.split()[8:] == ["POLICY", "DUE", "SUMMARY"]
    assert wide_row.endswith("scaled llm-chat 3→0")
    assert stanch_installed.admin("get", "stanch", "-n", space).splitlines()[1].startswith("aiincident")


def test_holds_show_what_is_held_by_whom_since_when(stanch_installed: Installed, space: str) -> None:
    hold(stanch_installed, space, "Stopped apps/deployments/llm-chat")
    header, row = stanch_installed.admin("get", "holds", "-n", space).splitlines()
    assert header.split() == ["NAME", "HELD", "INCIDENTS", "SINCE", "AGE"]
    assert row.split()[:3] == ["stanch", "deployments/llm-chat", "leak-81d2e"]


def test_undo_records_keep_any_json(stanch_installed: Installed, space: str) -> None:
    fields = [
        {"path": "/spec/replicas", "before": 3, "after": 0},
        {"path": "/spec/behavior", "before": {"scaleUp": {"policies": [1, "x", True]}}, "after": "Disabled"},
    ]
    step = {
        "id": "0-llm-chat",
        "action": "ScaleToZero",
        "target": target(),
        "state": "Recorded",
        "changes": [{"object": target(), "fields": fields}],
    }
    made(stanch_installed, space, incident(), CONTAINED | {"steps": [step]})
    stored = stanch_installed.admin.get("aii", "x", "-n", space)
    assert stored["status"]["steps"][0]["changes"][0]["fields"] == fields


def test_explain_documents_every_step(stanch_installed: Installed) -> None:
    assert "Graceful" in stanch_installed.admin("explain", "aii.spec.steps.scaleToZero.terminate")


def made(installed: Installed, namespace: str, manifest: dict[str, Any], status: dict[str, Any]) -> None:
    """Create an incident and give it the status that the operator would."""
    installed.admin("create", "-n", namespace, "-f", "-", stdin=manifest)
    name = manifest["metadata"]["name"]
    stored = installed.operator.get("aii", name, "-n", namespace)
    installed.operator("replace", "--subresource=status", "-f", "-", stdin=stored | {"status": status})


def patching(namespace: str, spec: dict[str, Any], name: str = "x") -> tuple[str, ...]:
    return ("patch", "aii", name, "-n", namespace, "--type=merge", "-p", json.dumps({"spec": spec}))
