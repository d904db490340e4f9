"""A pod to quarantine with all that selects it, and the same once it is recorded and done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from stanch.actions.objects import Obj
from stanch.actions.protocol import Edit, Make, Refusal
from stanch.actions.quarantine import Quarantine
from stanch.actions.quarantine_cut import Claim
from stanch.actions.quarantine_seen import Ward
from stanch.api.v1alpha1.hold import HELD_LABEL
from stanch.api.v1alpha1.incident import Target, TargetKind
from stanch.api.v1alpha1.status import Change, ChangeType, ObjectReference, StepState, StepStatus
from stanch.api.v1alpha1.steps import Quarantine as Member
from stanch.kube.resources import (
    NETWORKPOLICIES,
    PODS,
)
from stanch.network.selectors import LabelSelector, Requirement
from stanch.plans.changes import field_change, forward, pointer
from tests.unit.actions.cluster_objects import ask, obj, pod_body

if TYPE_CHECKING:
    from stanch.actions.protocol import Ask, Judgement


Json = dict[str, Any]


ACTION = Quarantine()


LABELS = {"app": "llm", "pod-template-hash": "abc", "note": "stays"}


OWNER = "uid-ReplicaSet-rs"


def asked(*pods: str, kind: TargetKind = TargetKind.DEPLOYMENT, **more: Any) -> Ask:
    member = more.pop("member", None) or Member(pods=pods or ("a",))
    api_version = "batch/v1" if kind in {"Job", "CronJob"} else "apps/v1"
    return ask(Target(api_version=api_version, kind=kind, name="llm"), member, **more)


def pod(name: str = "a", owner: str = OWNER, **more: Any) -> Obj:
    spec, status = more.pop("spec", {}), more.pop("status", {})
    made = pod_body(name, owner, more.pop("phase", "Running"), labels=more.pop("labels", LABELS), **more)
    return Obj(PODS, {**made, "spec": spec, "status": made["status"] | status})


def selects(kind: str, name: str, *requirements: Requirement, **labels: str) -> Claim:
    return Claim(kind, name, LabelSelector(match_labels=labels, match_expressions=requirements))


def policy(name: str, **spec: Any) -> Obj:
    metadata = {"name": name, "namespace": "chat", "uid": f"uid-{name}", "resourceVersion": "7"}
    made = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {"podSelector": {}} | spec,
    }
    return Obj(NETWORKPOLICIES, made)


def ward(*related: Obj, **more: Any) -> Ward:
    default: Json = {
        "target": obj("Deployment"),
        "owners": frozenset({OWNER}),
        "controllers": (selects("ReplicaSet", "rs", app="llm", **{"pod-template-hash": "abc"}),),
        "services": (selects("Service", "llm", app="llm"),),
    }
    return Ward(related=related or (pod(),), **(default | more))


def plan(seen: Ward, ask: Ask) -> tuple[Make, tuple[Edit, ...]]:
    intents = ACTION.plan(seen, ask)
    assert not isinstance(intents, Refusal), intents
    make, *edits = intents
    assert isinstance(make, Make)
    return make, cast("tuple[Edit, ...]", tuple(edits))


def recorded(*pods: Obj, **member: Any) -> Ask:
    """Asked again, after these pods have been recorded."""
    names = tuple(one.meta.name for one in pods)
    seen = ward(*pods)
    make, edits = plan(seen, asked(*names))
    held = pointer("metadata", "labels", HELD_LABEL)
    changes = (
        Change(
            object=ObjectReference(
                api_version="networking.k8s.io/v1", kind="NetworkPolicy", name=make.ref.name
            ),
            type=ChangeType.CREATE,
            rule=make.rule,
            manifest=make.manifest,
        ),
        *(
            Change(
                object=edit.obj.reference,
                rule=edit.rule,
                fields=(field_change(edit.obj.json, held, "true"), *edit.fields),
            )
            for edit in edits
        ),
    )
    target = ObjectReference(api_version="apps/v1", kind="Deployment", name="llm")
    record = StepStatus(
        id="0", action="Quarantine", target=target, state=StepState.EFFECTIVE, changes=changes
    )
    return asked(member=Member(pods=names, **member), record=record, changes=changes)


def patched(one: Obj, ask: Ask, **more: Any) -> Obj:
    """The pod as the recorded change makes it, let go by its controller."""
    change = next(change for change in ask.changes if change.object.uid == one.meta.uid)
    labels = dict(one.meta.labels)
    for op in forward(change.fields, one.json):
        key = op["path"].rsplit("/", 1)[1].replace("~1", "/")
        labels.pop(key, None)
        labels |= {} if op["op"] == "remove" else {key: op["value"]}
    json = one.json
    status = json["status"] | more.pop("status", {})
    metadata = {**json["metadata"], "labels": labels, "ownerReferences": [], **more}
    return Obj(PODS, {**json, "metadata": metadata, "status": status})


def own(ask: Ask) -> Obj:
    made = next(change for change in ask.changes if change.type is ChangeType.CREATE)
    metadata = made.manifest["metadata"] | {"uid": "uid-own", "resourceVersion": "7"}
    return Obj(NETWORKPOLICIES, {**made.manifest, "metadata": metadata})


A, B = pod("a"), pod("b")


AGAIN = recorded(A, B)


def judged(*pods: Obj, **more: Any) -> Judgement:
    others = more.pop("policies", ())
    return ACTION.judge(ward(*pods, own(AGAIN), *others, **more), AGAIN)


def both(**more: Any) -> tuple[Obj, Obj]:
    return patched(A, AGAIN, **more), patched(B, AGAIN)
