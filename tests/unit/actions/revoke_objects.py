"""Accounts, bindings and journal entries, as RevokeServiceAccount sees them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stanch.access.models import Account
from stanch.access.rights import Right
from stanch.actions.access_seen import AccessSeen
from stanch.actions.objects import Obj
from stanch.actions.revoke_service_account import RevokeServiceAccount
from stanch.api.v1alpha1.hold import Rule
from stanch.api.v1alpha1.incident import Target, TargetKind
from stanch.api.v1alpha1.status import Change, ChangeType, FieldChange, ObjectReference, StepState, StepStatus
from stanch.api.v1alpha1.steps import RevokeMethod
from stanch.api.v1alpha1.steps import RevokeServiceAccount as Member
from stanch.kube.resources import CLUSTERROLEBINDINGS, ROLEBINDINGS, SERVICEACCOUNTS
from tests.unit.access.cluster_objects import binding_json
from tests.unit.actions.cluster_objects import ask, obj

if TYPE_CHECKING:
    from stanch.actions.protocol import Ask

Json = dict[str, Any]
ACTION = RevokeServiceAccount()
TARGET = Target(kind=TargetKind.DEPLOYMENT, name="llm")
RIGHT = Right("get", "", "pods", namespace="chat")
ARN = "eks.amazonaws.com/role-arn"


def asking(method: RevokeMethod = RevokeMethod.DELETE_ACCOUNT, **fields: Any) -> Ask:
    return ask(TARGET, Member(method=method, **fields))


DELETE = asking()
STRIP = asking(RevokeMethod.DELETE_BINDINGS)


def service_account(name: str = "llm", **metadata: Any) -> Obj:
    body = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": "chat", "uid": "uid-sa", "resourceVersion": "7", **metadata},
    }
    return Obj(SERVICEACCOUNTS, body)


def bound(name: str, *subjects: Json, namespace: str = "chat") -> Obj:
    body = binding_json(name, *subjects, namespace=namespace)
    return Obj(ROLEBINDINGS if namespace else CLUSTERROLEBINDINGS, body)


def seen(*related: Obj, name: str = "llm", **fields: Any) -> AccessSeen:
    return AccessSeen(obj("Deployment"), related, account=Account("chat", name), runs_as=name, **fields)


def recorded(asked: Ask, *changes: Change, **fields: Any) -> Ask:
    target = ObjectReference(api_version="apps/v1", kind="Deployment", name="llm")
    entry = StepStatus(
        id="0", action=ACTION.name, target=target, state=StepState.APPLIED, changes=changes, **fields
    )
    return replace(asked, record=entry, changes=changes)


def deleted(name: str = "llm") -> Change:
    reference = ObjectReference(api_version="v1", kind="ServiceAccount", name=name, uid="uid-sa")
    return Change(object=reference, type=ChangeType.DELETE, rule=Rule.ABSENT, manifest={})


def taken(of: Obj, before: list[Json], after: list[Json] | None) -> Change:
    field = FieldChange(path="/subjects", before=before, after=after, members=True)
    return Change(object=of.reference, rule=Rule.SEALED, fields=(field,))
