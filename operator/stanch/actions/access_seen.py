"""Reading what RevokeServiceAccount decides on: the account, who else uses it, and what it may do."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from stanch.access.accounts import legacy_tokens
from stanch.access.bindings import GroupGrant, bindings_of
from stanch.access.models import TOKEN_SECRET_TYPE, Account, Binding, Role, RoleKey, TokenSecret, by_key
from stanch.access.questions import Questions, questions
from stanch.access.users import users_of
from stanch.actions.objects import Obj
from stanch.actions.protocol import Observation
from stanch.api.v1alpha1.base import ApiModel
from stanch.errors import Forbidden
from stanch.kube.resources import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    CRONJOBS,
    DAEMONSETS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    REPLICASETS,
    ROLEBINDINGS,
    ROLES,
    SECRETS,
    SERVICEACCOUNTS,
    STATEFULSETS,
    SUBJECTACCESSREVIEWS,
    ObjectRef,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stanch.access.rights import Right
    from stanch.api.v1alpha1.status import Change
    from stanch.kube.client import Kube

SUBJECTS = "/subjects"
_USERS = (PODS, DEPLOYMENTS, STATEFULSETS, DAEMONSETS, REPLICASETS, JOBS, CRONJOBS)
_AT_ONCE = 8
"""SubjectAccessReviews under way at the same time."""


@dataclass(frozen=True)
class AccessSeen(Observation):
    """`related` are the account, if it exists, and the bindings that name it or were changed."""

    account: Account | None = None
    """None when neither the workload nor the record says which."""
    runs_as: str = ""
    """The name of the account that the workload's pods are given now; empty without a workload."""
    users: tuple[str, ...] = ()
    """Other workloads under the account; looked for only before anything is recorded."""
    legacy: tuple[str, ...] | None = ()
    """Secrets with a token that does not expire; None when the operator may not look."""
    groups: tuple[GroupGrant, ...] = ()
    asked: Questions | None = None
    """What was asked about the bindings that were changed; None while one of them still names the account."""
    still: tuple[Right, ...] = ()
    """What of it the account may do all the same."""
    whole: bool = True
    """Whether the bindings of all namespaces could be looked at."""

    @property
    def service_account(self) -> Obj | None:
        return next((obj for obj in self.related if obj.resource == SERVICEACCOUNTS), None)

    @property
    def bindings(self) -> tuple[Obj, ...]:
        return tuple(obj for obj in self.related if obj.resource in {ROLEBINDINGS, CLUSTERROLEBINDINGS})

    @property
    def naming(self) -> tuple[Obj, ...]:
        """Bindings that name the account now."""
        return tuple(obj for obj in self.bindings if self.account and names(self.account, obj))


@dataclass(frozen=True, slots=True)
class Access:
    """What the cluster's bindings give one account."""

    objects: tuple[Obj, ...]
    groups: tuple[GroupGrant, ...]
    asked: Questions | None
    still: tuple[Right, ...] = ()


def names(account: Account, obj: Obj) -> bool:
    return bool(bindings_of(account, [Binding.model_validate(obj.json)]).direct)


async def account_object(kube: Kube, account: Account) -> tuple[Obj, ...]:
    body = await kube.get(ObjectRef(SERVICEACCOUNTS, account.namespace, account.name))
    return (Obj(SERVICEACCOUNTS, body),) if body else ()


async def other_users(kube: Kube, account: Account, workload: Obj) -> tuple[str, ...]:
    lists = await asyncio.gather(*(kube.list(resource, account.namespace) for resource in _USERS))
    owner = workload.meta.controller
    own = {workload.meta.uid, *([owner.uid] if owner else [])}
    return users_of(account.name, (obj for listed in lists for obj in listed), own)


async def legacy(kube: Kube, account: Account) -> tuple[str, ...] | None:
    """Names of the account's token Secrets; None when the operator may not look."""
    try:
        listed = await kube.list(
            SECRETS,
            account.namespace,
            field_selector=f"type={TOKEN_SECRET_TYPE}",
            metadata_only=True,
        )
    except Forbidden:
        return None
    return legacy_tokens(account, (TokenSecret.model_validate(item) for item in listed))


async def access(kube: Kube, account: Account, changes: Iterable[Change]) -> Access:
    """Of all bindings of the cluster those that name the account, or that `changes` are about.

    Once none names it any more, the API server is asked what the account may still do.
    """
    namespaced, cluster = await asyncio.gather(kube.list(ROLEBINDINGS), kube.list(CLUSTERROLEBINDINGS))
    everything = [
        *(Obj(ROLEBINDINGS, body) for body in namespaced),
        *(Obj(CLUSTERROLEBINDINGS, body) for body in cluster),
    ]
    bindings = bindings_of(account, (Binding.model_validate(obj.json) for obj in everything))
    named = {binding.metadata.uid for binding in bindings.direct}
    before = {
        change.object.uid: each.before
        for change in changes
        for each in change.fields
        if each.path == SUBJECTS
    }
    objects = tuple(obj for obj in everything if obj.meta.uid in named | before.keys())
    if named:
        return Access(objects, bindings.through_groups, None)
    changed = [Binding.model_validate(obj.json | {"subjects": before[obj.meta.uid]}) for obj in objects]
    shared = [grant.binding for grant in bindings.through_groups]
    asked = questions(changed, shared, await _roles(kube, (*changed, *shared) if changed else ()))
    return Access(objects, bindings.through_groups, asked, await _still_allowed(kube, account, asked.asked))


async def _roles(kube: Kube, bindings: Iterable[Binding]) -> Mapping[RoleKey, Role]:
    async def role(key: RoleKey) -> Role | None:
        of_cluster = key.kind == CLUSTERROLES.kind
        ref = (
            ObjectRef(CLUSTERROLES, None, key.name)
            if of_cluster
            else ObjectRef(ROLES, key.namespace, key.name)
        )
        body = await kube.get(ref)
        return Role.model_validate(body) if body else None

    found = await asyncio.gather(*(role(key) for key in sorted({binding.role for binding in bindings})))
    return by_key(each for each in found if each is not None)


class _ReviewStatus(ApiModel):
    allowed: bool = Field(strict=True)


class _Review(ApiModel):
    status: _ReviewStatus


async def _still_allowed(kube: Kube, account: Account, rights: Iterable[Right]) -> tuple[Right, ...]:
    """Which of the rights the API server still grants, by whatever authorizer."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def allowed(right: Right) -> bool:
        async with slots:
            answer = await kube.create(SUBJECTACCESSREVIEWS, None, right.review(account))
        return _Review.model_validate(answer).status.allowed

    asked = tuple(rights)
    answers = await asyncio.gather(*(allowed(right) for right in asked))
    return tuple(right for right, yes in zip(asked, answers, strict=True) if yes)
