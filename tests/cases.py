"""What the standing tests contain: a case for each action and kind, and a plan of several steps.

Whoever adds an action adds a case here, with the ways to undo it: the crash matrix, the outages, the fights
and the round trip run over it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.operator_process import Json, autoscaler, workload
from tests.standing import CONDEMNED, PODS, RBAC, Case, Undoing

if TYPE_CHECKING:
    from tests.operator_process import Space

GOOD, BAD = "registry.example.test/llm:2.4.0", "registry.example.test/llm:2.5.0"


def patch(what: str, body: Json) -> tuple[str, ...]:
    return ("patch", *what.split(), "--type=merge", "-p", json.dumps(body))


def _bad_image_pushed(space: Space) -> None:
    space("set", "image", "deployment/llm", f"server={BAD}")
    space("rollout", "status", "deployment/llm", "--timeout=60s")


def _one_started(space: Space) -> None:
    space("create", "job", "llm-1", "--from=cronjob/llm")
    space.wait("job/llm-1", "{.status.ready}", "1")


def _charted(made: Json) -> Json:
    """Selected by two labels: whoever leaves its pods out of a policy has to split that one."""
    labels = {"app": "llm", "release": "chat"}
    made["spec"]["selector"] = {"matchLabels": labels}
    made["spec"]["template"]["metadata"]["labels"] = labels
    return made


def _with_image(made: Json, image: str) -> Json:
    made["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return made


def _policy(name: str, **peer: Json) -> Json:
    """Every pod of the namespace may be reached by that peer."""
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [peer]} if peer else {}]}
    metadata = {"name": name}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": spec,
    }


def _reader(kind: str, name: str) -> tuple[Json, Json]:
    """A role that reads pods, which the operator itself may, so may give; and its binding to the account."""
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    head = {"apiVersion": f"{RBAC}/v1", "metadata": {"name": name}}
    binding = {
        "kind": f"{kind}Binding",
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name},
        "subjects": [_SUBJECT],
    }
    return {**head, "kind": kind, "rules": rules}, head | binding


_IDENTITY = {"pod": {"serviceAccountName": "llm"}}
_ACCOUNT: Json = {
    "apiVersion": "v1",
    "kind": "ServiceAccount",
    "metadata": {"name": "llm", "labels": {"team": "chat"}, "annotations": {"note": "of the model server"}},
}
_SUBJECT = {"kind": "ServiceAccount", "name": "llm", "namespace": "NAMESPACE"}
_EVERYONE = _policy("everyone", podSelector={})
_ROLLBACK = {"rollback": {"to": {"lastKnownGood": True}, "onRelease": "Restore"}}
_VOLUMES = {"whenScaled": "Delete", "whenDeleted": "Retain"}
_APPLY = ("apply", "--server-side", "--force-conflicts", "-f", "-")
_RESUME = {"spec": {"suspend": False}}

_REMADE = (
    Undoing("deleter", ("delete", "deployment", "llm"), "delete deployments llm"),
    Undoing(
        "replacer",
        ("replace", "--force", "-f", "-"),
        "delete deployments llm",
        manifest=workload("Deployment", "llm", PODS),
    ),
)
_SCALED = (
    Undoing(
        "scaler",
        ("scale", "deployment/llm", "--replicas=2"),
        "patch deployments/scale llm",
        righted="changed Deployment llm /spec/replicas to 2",
    ),
    Undoing("patcher", patch("deployment llm", {"spec": {"replicas": 1}}), "patch deployments llm"),
)
_DEPLOYED = (
    Undoing(
        "ci",
        ("set", "image", "deployment/llm", f"server={BAD}"),
        "patch deployments llm",
        CONDEMNED,
        "changed Deployment llm /spec/template/spec/containers",
    ),
    Undoing("reverter", ("rollout", "undo", "deployment/llm"), "patch deployments llm", CONDEMNED),
    Undoing("copier", ("create", "deployment", "copy", f"--image={BAD}"), "create deployments", CONDEMNED),
    Undoing("runner", ("run", "sneaky", f"--image={BAD}"), "create pods sneaky", CONDEMNED),
)
_CREATED = (
    Undoing(
        "creator",
        ("create", "sa", "llm"),
        "create serviceaccounts llm",
        righted="created ServiceAccount llm again",
    ),
    Undoing("gitops", _APPLY, "patch serviceaccounts llm", manifest=_ACCOUNT),
)
_OPENED = (
    Undoing(
        "deleter of policies",
        ("delete", "networkpolicy", "MADE"),
        "delete networkpolicies MADE",
        righted="deleted NetworkPolicy MADE",
    ),
    Undoing(
        "opener",
        patch("networkpolicy everyone", {"spec": {"podSelector": {"matchExpressions": None}}}),
        "patch networkpolicies everyone",
        righted="changed NetworkPolicy everyone /spec/podSelector/matchExpressions to",
    ),
    Undoing("gitops", _APPLY, "patch networkpolicies MADE", manifest=_policy("MADE")),
    Undoing(
        "neighbour",
        ("create", "-f", "-"),
        denied="",
        righted="created NetworkPolicy open",
        manifest=_policy("open"),
    ),
)
SCALE_DEPLOYMENT = Case(
    "scaleToZero-Deployment",
    "Deployment/llm",
    (
        workload("Deployment", "llm", PODS),
        autoscaler("llm", behavior={"scaleUp": {"selectPolicy": "Min"}}),
    ),
    (("deployments", "llm"), ("horizontalpodautoscalers", "llm")),
    (),
    undoings=(
        *_SCALED,
        *_REMADE,
        Undoing("insider", ("scale", "rs", "-l", "app=llm", "--replicas=1"), "patch replicasets/scale llm-"),
        Undoing("gitops", _APPLY, "patch deployments llm", manifest=workload("Deployment", "llm", PODS)),
        Undoing(
            "thawer",
            patch("hpa llm", {"spec": {"behavior": None}}),
            "patch horizontalpodautoscalers llm",
            righted="changed HorizontalPodAutoscaler llm /spec/behavior/scaleUp/selectPolicy to",
        ),
        Undoing("unlabeller", ("label", "deployment", "llm", "stanch.dev/held-"), "patch deployments llm"),
    ),
)
SCALE_STATEFUL_SET = Case(
    "scaleToZero-StatefulSet",
    "StatefulSet/llm",
    (workload("StatefulSet", "llm", PODS, persistentVolumeClaimRetentionPolicy=_VOLUMES),),
    (("statefulsets", "llm"),),
    (),
    undoings=(
        Undoing(
            "scaler",
            ("scale", "statefulset/llm", "--replicas=2"),
            "patch statefulsets/scale llm",
            righted="changed StatefulSet llm /spec/replicas to 2",
        ),
        Undoing(
            "deleter of volumes",
            patch("statefulset llm", {"spec": {"persistentVolumeClaimRetentionPolicy": _VOLUMES}}),
            "patch statefulsets llm",
            righted="changed StatefulSet llm /spec/persistentVolumeClaimRetentionPolicy/whenScaled to Delete",
        ),
        Undoing("deleter", ("delete", "statefulset", "llm"), "delete statefulsets llm"),
        Undoing("gitops", _APPLY, "patch statefulsets llm", manifest=workload("StatefulSet", "llm", PODS)),
    ),
)
ROLLBACK = Case(
    "rollback-Deployment",
    "Deployment/llm",
    (workload("Deployment", "llm", PODS),),
    (("deployments", "llm"),),
    (_ROLLBACK,),
    _bad_image_pushed,
    (
        *_DEPLOYED,
        Undoing(
            "gitops",
            _APPLY,
            "patch deployments llm",
            CONDEMNED,
            manifest=_with_image(workload("Deployment", "llm", PODS), BAD),
        ),
        *_REMADE,
    ),
)
REVOKE = Case(
    "revokeServiceAccount-Deployment",
    "Deployment/llm",
    (_ACCOUNT, workload("Deployment", "llm", PODS, **_IDENTITY)),
    (("deployments", "llm"), ("serviceaccounts", "llm")),
    ({"revokeServiceAccount": {}},),
    undoings=(
        *_CREATED,
        *_REMADE,
    ),
)
REVOKE_RIGHTS = Case(
    "revokeServiceAccount-DeleteBindings",
    "Deployment/llm",
    (
        _ACCOUNT,
        workload("Deployment", "llm", PODS, **_IDENTITY),
        *_reader("Role", "llm"),
        *_reader("ClusterRole", "llm-NAMESPACE"),
    ),
    (("deployments", "llm"), ("rolebindings", "llm")),
    ({"revokeServiceAccount": {"method": "DeleteBindings"}},),
    undoings=(
        Undoing(
            "binder",
            patch("rolebinding llm", {"subjects": [_SUBJECT]}),
            "patch rolebindings llm",
            righted="changed RoleBinding llm /subjects to",
        ),
        Undoing("deleter", ("delete", "rolebinding", "llm"), "delete rolebindings llm"),
        Undoing("gitops", _APPLY, "patch rolebindings llm", manifest=_reader("Role", "llm")[1]),
        Undoing(
            "administrator",
            patch("clusterrolebinding llm-NAMESPACE", {"subjects": [_SUBJECT]}),
            denied="",
            righted="changed ClusterRoleBinding llm-NAMESPACE /subjects to",
        ),
        Undoing(
            "granter",
            ("create", "rolebinding", "another", "--role=llm", "--serviceaccount=NAMESPACE:llm"),
            denied="",
            righted="created RoleBinding another",
        ),
        *_REMADE,
    ),
)
ISOLATE = Case(
    "isolate-Deployment",
    "Deployment/llm",
    (_charted(workload("Deployment", "llm", PODS)), _EVERYONE),
    (("deployments", "llm"), ("networkpolicies", "everyone")),
    ({"isolate": {"others": "Override"}},),
    undoings=(
        *_OPENED,
        *_REMADE,
    ),
)

_POD = {"restartPolicy": "Never", "containers": [{"name": "train", "image": GOOD}]}
_CRON_JOB: Json = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "llm"},
    "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": _POD}}}},
}
SUSPEND = Case(
    "suspend-CronJob",
    "CronJob/llm",
    (_CRON_JOB,),
    (("cronjobs", "llm"),),
    ({"suspend": {}},),
    _one_started,
    (
        Undoing(
            "resumer",
            patch("cronjob llm", _RESUME),
            "patch cronjobs llm",
            righted="changed CronJob llm /spec/suspend to false",
        ),
        Undoing(
            "waker",
            patch("job llm-1", _RESUME),
            "patch jobs llm-1",
            righted="changed Job llm-1 /spec/suspend to false",
        ),
        Undoing(
            "starter",
            ("create", "job", "another", "--from=cronjob/llm"),
            "create jobs another",
            righted="created Job another",
        ),
        Undoing("deleter", ("delete", "cronjob", "llm"), "delete cronjobs llm"),
        Undoing(
            "gitops",
            _APPLY,
            "patch cronjobs llm",
            manifest=_CRON_JOB | {"spec": _CRON_JOB["spec"] | {"suspend": False}},
        ),
    ),
    awaited=False,
)
# A StatefulSet's pod has a name that is known, and nothing takes its place meanwhile.
QUARANTINE = Case(
    "quarantine-StatefulSet",
    "StatefulSet/llm",
    (
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "llm"},
            "spec": {"clusterIP": "None", "selector": {"app": "llm"}, "ports": [{"port": 80}]},
        },
        workload("StatefulSet", "llm", PODS, pod={"automountServiceAccountToken": False}),
    ),
    (("statefulsets", "llm"), ("pods", "llm-0"), ("pods", "llm-1")),
    ({"quarantine": {"pods": ["llm-0", "llm-1"]}},),
    undoings=(
        Undoing(
            "recruiter",
            ("label", "pod", "llm-0", "app=llm"),
            "patch pods llm-0",
            righted="changed Pod llm-0 /metadata/labels/app to llm",
        ),
        Undoing("deleter of pods", ("delete", "pod", "llm-1"), "delete pods llm-1"),
        Undoing(
            "drainer",
            ("create", "--raw", "/api/v1/namespaces/NAMESPACE/pods/llm-1/eviction", "-f", "-"),
            "create pods/eviction llm-1",
            manifest={"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "llm-1"}},
        ),
        Undoing(
            "deleter of policies",
            ("delete", "networkpolicy", "MADE"),
            "delete networkpolicies MADE",
            righted="deleted NetworkPolicy MADE",
        ),
        Undoing("gitops", _APPLY, "patch networkpolicies MADE", manifest=_policy("MADE")),
        Undoing("deleter", ("delete", "statefulset", "llm"), "delete statefulsets llm"),
    ),
)
SEVERAL = Case(
    "five-steps-Deployment",
    "Deployment/llm",
    (_ACCOUNT, _charted(workload("Deployment", "llm", PODS, **_IDENTITY)), _EVERYONE),
    (*ISOLATE.objects, ("serviceaccounts", "llm")),
    (
        {"collectEvidence": {}},
        *ISOLATE.steps,
        _ROLLBACK,  # before the account is gone, without which no pod is born
        {"revokeServiceAccount": {}},
        {"scaleToZero": {}},
    ),
    _bad_image_pushed,
    (*_OPENED, *_CREATED, *_DEPLOYED, *_SCALED, *_REMADE),
)

CASES = (
    SCALE_DEPLOYMENT,
    SCALE_STATEFUL_SET,
    ROLLBACK,
    REVOKE,
    REVOKE_RIGHTS,
    ISOLATE,
    SUSPEND,
    QUARANTINE,
    SEVERAL,
)
