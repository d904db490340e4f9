"""Workloads before and after a rollback, as an action sees them."""

from __future__ import annotations

from typing import Any

from stanch.actions.objects import Obj
from stanch.actions.protocol import Ask, Edit, Refusal
from stanch.actions.rollback import Rollback
from stanch.actions.rollout import Versions
from stanch.api.v1alpha1.incident import Target, TargetKind
from stanch.api.v1alpha1.status import Change, FieldChange, StepState, StepStatus
from stanch.api.v1alpha1.steps import Rollback as Member
from stanch.kube.resources import DAEMONSETS, DEPLOYMENTS, STATEFULSETS
from stanch.versions.revisions import Revision
from tests.unit.actions.cluster_objects import ask, obj
from tests.unit.versions.templates import server, template

Json = dict[str, Any]
ACTION = Rollback()
HUB = "registry.example.test/llm"
LABEL = FieldChange(path="/metadata/labels", after={"stanch.dev/held": "true"})
GOOD = "sha256:" + "0d" * 32
BAD = "sha256:" + "ba" * 32
TARGETS = {resource.kind: resource for resource in (DEPLOYMENTS, STATEFULSETS, DAEMONSETS)}


def version(number: int, **more: Any) -> Json:
    return template(server(f"{HUB}:{number}", args=[f"--revision=r{number}"]), **more)


def asked(kind: str = "Deployment", record: StepStatus | None = None, **more: Any) -> Ask:
    to = more.pop("to", {"lastKnownGood": True})
    member = Member.model_validate({"to": to, **more.pop("member", {})})
    changes = more.pop("changes", record.changes if record else ())
    return ask(Target(kind=TargetKind(kind), name="llm"), member, record=record, changes=changes, **more)


def pod(name: str, number: int, digest: str = "", **status: Any) -> Json:
    """A ready pod of that version, made from the revision of that number."""
    conditions = [{"type": "Ready", "status": str(status.pop("ready", True))}]
    container = {
        "name": "server",
        "imageID": f"{HUB}@{digest}" if digest else "",
        **status.pop("container", {}),
    }
    metadata = {"name": name, "uid": f"uid-{name}", "labels": {"pod-template-hash": f"h{number}"}}
    metadata |= status.pop("metadata", {})
    full = {"phase": "Running", "conditions": conditions, "containerStatuses": [container], **status}
    return {"metadata": metadata, "spec": version(number)["spec"], "status": full}


def seen(current: Json, *pods: Json, kind: str = "Deployment", uid: str = "", **spec: Any) -> Versions:
    """A workload of two replicas, whose history is the versions 1 to 3, and its pods."""
    counts = {
        "observedGeneration": 1,
        "replicas": 2,
        "updatedReplicas": 2,
        "availableReplicas": 2,
        "desiredNumberScheduled": 2,
        "updatedNumberScheduled": 2,
        "numberAvailable": 2,
        **spec.pop("status", {}),
    }
    labels = {"labels": marked} if (marked := spec.pop("labels", {})) else {}
    body = obj(kind, spec={"replicas": 2, "template": current, **spec}, status=counts, **labels).json
    if uid:
        body["metadata"]["uid"] = uid
    revisions = tuple(Revision(number, f"llm-h{number}", version(number)) for number in (1, 2, 3))
    return Versions(Obj(TARGETS[kind], body), revisions=revisions, bodies=pods)


def only_edit(observed: Versions, what: Ask) -> Edit:
    intents = ACTION.plan(observed, what)
    assert not isinstance(intents, Refusal), intents
    (intent,) = intents
    assert isinstance(intent, Edit)
    return intent


def recorded(observed: Versions, what: Ask, state: StepState = StepState.APPLIED) -> StepStatus:
    """The journal entry after the change was recorded."""
    edit = only_edit(observed, what)
    change = Change(object=edit.obj.reference, rule=edit.rule, fields=(LABEL, *edit.fields))
    return StepStatus(
        id="0-Rollback-Deployment-llm",
        action="Rollback",
        target=edit.obj.reference,
        state=state,
        changes=(change,),
        condemned=ACTION.condemns(observed, what),
    )


def rolled_back(
    current: Json, *pods: Json, state: StepState = StepState.APPLIED, **spec: Any
) -> tuple[Versions, Ask]:
    """What is seen after a rollback from 3 to 2, and what is asked then."""
    record = recorded(
        seen(version(3), kind=spec.get("kind", "Deployment")), asked(spec.get("kind", "Deployment")), state
    )
    observed = seen(current, *pods, labels={"stanch.dev/held": "true"}, **spec)
    return observed, asked(spec.get("kind", "Deployment"), record)
