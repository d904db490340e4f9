"""RevokeServiceAccount: what the workload's pods prove to be is worth nothing any more.

DeleteAccount takes the identity: tokens of an account that does not exist are refused. DeleteBindings takes
the rights: at once, but only where the operator may `bind` the role, as without it nobody could put the
account back into the binding.
https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from stanch.access.accounts import cloud_identities, cloud_note, saved
from stanch.access.bindings import stripped
from stanch.access.models import Account, ServiceAccount, Subject
from stanch.access.users import Runner
from stanch.actions.access_seen import (
    SUBJECTS,
    AccessSeen,
    access,
    account_object,
    legacy,
    other_users,
)
from stanch.actions.access_words import line, some, undeletable, unfit, unseen
from stanch.actions.objects import Obj
from stanch.actions.protocol import (
    BEHIND,
    Ask,
    Edit,
    Intent,
    Judgement,
    Leniency,
    Plain,
    Refusal,
    Remove,
    Verdict,
)
from stanch.api.v1alpha1.hold import Rule, hold_key
from stanch.api.v1alpha1.recovery import ReleaseStage
from stanch.api.v1alpha1.status import ChangeType, FieldChange
from stanch.api.v1alpha1.steps import RevokeMethod
from stanch.api.v1alpha1.steps import RevokeServiceAccount as RevokeStep
from stanch.kube.resources import CRONJOBS, JOBS, SERVICEACCOUNTS, WORKLOADS, ObjectRef
from stanch.plans.changes import pointer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stanch.access.bindings import GroupGrant
    from stanch.api.v1alpha1.status import Change
    from stanch.kube.client import Kube

RESOURCES = {resource.kind: resource for resource in (*WORKLOADS, JOBS, CRONJOBS)}
TOKEN_CACHE = timedelta(seconds=10)
"""How long an API server goes on accepting a token that it has just checked (`TokenSuccessCacheTTL`).

https://pkg.go.dev/k8s.io/kubernetes/pkg/kubeapiserver/options#BuiltInAuthenticationOptions
"""
MOST_CHANGES = 60
MOST_TOLD = 4
_SOON = 0.2


class RevokeServiceAccount(Plain):
    name = "RevokeServiceAccount"
    timeout = timedelta(minutes=1)
    kinds = frozenset(RESOURCES)

    async def observe(self, kube: Kube, ask: Ask) -> AccessSeen:
        """The account, and by the method: who else uses it and its tokens, or all that gives it rights."""
        resource = RESOURCES.get(ask.target.kind)
        body = await kube.get(ObjectRef(resource, ask.namespace, ask.target.name)) if resource else None
        workload = Obj(resource, body) if resource and body else None
        runner = Runner.parse(workload.json) if workload else None
        runs_as = runner.account if runner else ""
        name = _recorded_account(ask) or runs_as
        if not name:
            return AccessSeen(workload)
        account = Account(ask.namespace, name)
        found = await account_object(kube, account)
        seen = AccessSeen(workload, found, account=account, runs_as=runs_as)
        begun = ask.record is not None and bool(ask.record.changes)
        if workload is not None and not begun:
            seen = replace(seen, users=await other_users(kube, account, workload))
        if _step(ask).method is RevokeMethod.DELETE_ACCOUNT:
            return seen if begun else replace(seen, legacy=await legacy(kube, account))
        if not kube.scope.whole:
            return replace(seen, whole=False)
        rights = await access(kube, account, ask.changes)
        return replace(
            seen,
            related=(*found, *rights.objects),
            groups=rights.groups,
            asked=rights.asked,
            still=rights.still,
        )

    def plan(self, seen: AccessSeen, ask: Ask) -> tuple[Intent, ...] | Refusal:
        begun = ask.record is not None and bool(ask.record.changes)
        refusal = None if begun else unfit(seen, _step(ask))
        if refusal is not None:
            return refusal
        if _step(ask).method is RevokeMethod.DELETE_ACCOUNT:
            return _deletion(seen, ask)
        return _without_rights(seen, ask) if seen.whole or begun else unseen(seen)

    def judge(self, seen: AccessSeen, ask: Ask) -> Judgement:
        if seen.account is None:
            return Judgement(Verdict.EFFECTIVE, "TargetGone", "the workload no longer exists")
        if _step(ask).method is RevokeMethod.DELETE_ACCOUNT:
            return _judge_identity(seen, seen.account, ask)
        if not seen.whole:
            return Judgement(Verdict.INCONCLUSIVE, unseen(seen).reason, unseen(seen).message)
        return _judge_rights(seen, seen.account)

    def eases(
        self,
        changes: tuple[Change, ...],
        ask: Ask,
        leniency: Leniency,
    ) -> tuple[Change, ...] | None:
        """No pod is born without its account."""
        needed = leniency.reborn and _step(ask).method is RevokeMethod.DELETE_ACCOUNT
        return None if needed or leniency.stage is ReleaseStage.FULL else changes

    def hold(self, seen: AccessSeen, ask: Ask) -> frozenset[str]:
        """The workload: deleted and made again it would run under whatever account its new author names."""
        return frozenset({hold_key(Rule.KEPT, seen.target.key)} if seen.target and ask.changes else ())


def _step(ask: Ask) -> RevokeStep:
    return ask.member if isinstance(ask.member, RevokeStep) else RevokeStep()


def _recorded_account(ask: Ask) -> str:
    """The account that was revoked, whatever the workload's template says by now."""
    changes = ask.record.changes if ask.record else ()
    for change in changes:
        if change.object.kind == SERVICEACCOUNTS.kind:
            return change.object.name
    taken = (
        Subject.model_validate(subject)
        for change in changes
        for field in change.fields
        if field.path == SUBJECTS
        for subject in field.before or ()
        if subject not in (field.after or ())
    )
    user = Account(ask.namespace, "").user
    return next((subject.name.removeprefix(user) for subject in taken), "")


def _deletion(seen: AccessSeen, ask: Ask) -> tuple[Intent, ...] | Refusal:
    obj, account = seen.service_account, seen.account
    of_account = [change for change in ask.changes if change.object.kind == SERVICEACCOUNTS.kind]
    if any(change.type is ChangeType.DELETE for change in of_account):
        return ()
    if of_account:
        return Refusal(
            "AccountEdited",
            "another incident took the cloud identity of its ServiceAccount and must give it back; "
            "release that one first, or use method DeleteBindings",
        )
    if obj is None or account is None:
        return Refusal(
            "AccountNotFound",
            "its ServiceAccount does not exist: no token of it is accepted, and nothing could be given back",
        )
    refusal = undeletable(obj, seen.legacy, _step(ask))
    if refusal is not None:
        return refusal
    parsed = ServiceAccount.model_validate(obj.json)
    notes = [
        f"token Secrets {some(seen.legacy)} go with it for good" if seen.legacy else "",
        f"{parsed.metadata.controller} owns it and cannot make it again"
        if parsed.metadata.controller
        else "",
        cloud_note(cloud_identities(parsed)),
    ]
    return (Remove(obj, saved(obj.json), line(f"ServiceAccount {account.name} deleted", *notes)),)


def _without_rights(seen: AccessSeen, ask: Ask) -> tuple[Intent, ...] | Refusal:
    """Every binding that names the account, and what was recorded before: the first values are kept there."""
    account = seen.account
    if account is None:
        return ()
    recorded = {change.object.uid: change for change in ask.changes}
    naming = seen.naming
    intents: list[Intent] = []
    for obj in seen.related:
        change = recorded.get(obj.meta.uid)
        fields = _cloud_fields(obj) if obj.resource == SERVICEACCOUNTS else ()
        if obj in naming:
            fields = (_without(obj, account),)
        elif not fields and change is not None:
            fields = _ours(change)
        if fields:
            intents.append(Edit(obj, fields, _told(obj, account, fields, ask.namespace), Rule.SEALED))
    if len(intents) > MOST_CHANGES:
        return Refusal(
            "TooManyBindings",
            f"{len(naming)} bindings name ServiceAccount {account.name}, more than a step can record "
            f"({MOST_CHANGES}); use method DeleteAccount",
        )
    return tuple(intents)


def _without(obj: Obj, account: Account) -> FieldChange:
    left = list(stripped(obj.json, account).left)
    # Without subjects the field is absent. The binding stays: it gives nothing, and it is the same one after.
    return FieldChange(path=SUBJECTS, before=obj.json["subjects"], after=left or None, members=True)


def _cloud_fields(obj: Obj) -> tuple[FieldChange, ...]:
    found = cloud_identities(ServiceAccount.model_validate(obj.json))
    return tuple(
        FieldChange(path=pointer("metadata", "annotations", each.annotation), before=each.value)
        for each in found
    )


def _ours(change: Change) -> tuple[FieldChange, ...]:
    return tuple(field for field in change.fields if not field.path.startswith("/metadata/labels"))


def _told(obj: Obj, account: Account, fields: Sequence[FieldChange], namespace: str) -> str:
    if obj.resource == SERVICEACCOUNTS:
        note = cloud_note(cloud_identities(ServiceAccount.model_validate(obj.json)))
        return line(
            f"ServiceAccount {account.name} without its cloud identity ({len(fields)} annotations)", note
        )
    what = f"{obj.resource.kind} {obj.meta.name}"
    if obj.meta.namespace == namespace:
        return f"{what} without ServiceAccount {account.name}"
    where = f" in {obj.meta.namespace}" if obj.meta.namespace else ""
    return (
        f"{what}{where} without ServiceAccount {account.name}; put right when changed, as no hold reaches it"
    )


def _judge_identity(seen: AccessSeen, account: Account, ask: Ask) -> Judgement:
    """Effective once the account is gone for longer than any API server remembers a token of it."""
    if seen.service_account is not None:
        return Judgement(
            Verdict.PENDING, "AccountExists", f"ServiceAccount {account.name} still exists", _SOON
        )
    gone_since = (ask.record.applied_at if ask.record else None) or ask.now
    left = (gone_since + TOKEN_CACHE - ask.now).total_seconds()
    if left > 0:
        return Judgement(
            Verdict.PENDING,
            "TokensRemembered",
            f"ServiceAccount {account.name} is gone; an API server may accept a token of it for "
            f"{TOKEN_CACHE.seconds} s more if it has just checked it",
            left,
        )
    told = f"ServiceAccount {account.name} is gone and its tokens are refused"
    return Judgement(Verdict.EFFECTIVE, "TokensRefused", line(told, _moved(seen, account)))


def _judge_rights(seen: AccessSeen, account: Account) -> Judgement:
    """Effective once no binding names the account and the API server denies what they allowed."""
    if seen.naming:
        names = some([f"{obj.resource.kind} {obj.meta.name}" for obj in seen.naming])
        return Judgement(Verdict.PENDING, "StillBound", f"{names} still names {account.name}", _SOON)
    if seen.asked is None:
        # Our own write is not older than this look: that nobody was asked yet is no news.
        return Judgement(Verdict.PENDING, BEHIND, "the API server is asked next what is still allowed", _SOON)
    if seen.still:
        told = f"ServiceAccount {account.name} may still: {some([str(right) for right in seen.still])}"
        return Judgement(Verdict.PENDING, "StillAllowed", told, _SOON)
    notes = (seen.asked.note, _through_groups(seen.groups), _moved(seen, account))
    if seen.asked.asked:
        count = len(seen.asked.asked)
        told = f"ServiceAccount {account.name} is denied {count} of {count} rights asked about"
        return Judgement(Verdict.EFFECTIVE, "RightsDenied", line(told, *notes))
    if seen.asked.remaining:
        told = (
            f"all that the bindings allowed ServiceAccount {account.name} is allowed through groups as well"
        )
        return Judgement(Verdict.INEFFECTIVE, "AllowedThroughGroups", line(told, *notes))
    told = f"no binding gives ServiceAccount {account.name} rights of its own"
    return Judgement(Verdict.EFFECTIVE, "NothingGranted", line(told, *notes))


def _moved(seen: AccessSeen, account: Account) -> str:
    if seen.runs_as in {"", account.name}:
        return ""
    return f"the workload now runs under ServiceAccount {seen.runs_as}, which keeps what it may do"


def _through_groups(groups: Sequence[GroupGrant]) -> str:
    added = [str(grant) for grant in groups if not grant.built_in]
    own = len(groups) - len(added)
    told = [*added[:MOST_TOLD], *([f"{len(added) - MOST_TOLD} more"] if len(added) > MOST_TOLD else [])]
    told += [f"{own} group bindings of Kubernetes itself"] if own else []
    return f"not revoked: {', '.join(told)}" if told else ""
