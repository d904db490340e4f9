"""What a workload is seen to run: its history, its pods, and how far its rollout has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from stanch.actions.objects import Obj, Pod
from stanch.actions.protocol import Ask, Doomed, Judgement, Observation, Verdict
from stanch.kube.resources import (
    CONTROLLERREVISIONS,
    DEPLOYMENTS,
    PODS,
    REPLICASETS,
    STATEFULSETS,
    ObjectRef,
    Resource,
)
from stanch.plans.changes import lookup
from stanch.versions.condemned import carries, runs
from stanch.versions.diff import clean
from stanch.versions.revisions import Revision, current_of, of_controller_revisions, of_replica_sets
from stanch.versions.rollout import Member, Rolling, Rollout, rollout

if TYPE_CHECKING:
    from collections.abc import Collection

    from stanch.kube.client import Kube

Json = dict[str, Any]

SOON = 0.5
"""Seconds until it is worth looking again."""
_SHOWN = 3


@dataclass(frozen=True)
class Versions(Observation):
    """With the workload's history and its pods in full."""

    revisions: tuple[Revision, ...] = field(default=(), repr=False)
    bodies: tuple[Json, ...] = field(default=(), repr=False)

    @cached_property
    def members(self) -> list[Member]:
        """The pods in the order of `bodies`."""
        return [Member.model_validate(body) for body in self.bodies]

    def rollout(self) -> Rollout:
        """How far the pods have come to the current template. Raises ValueError without a target."""
        if self.target is None:
            raise ValueError("there is no workload to speak of")
        current = current_of(self.revisions, template_of(self.target))
        return rollout(Rolling.parse(self.target.json), current.name if current else None, self.members)


@dataclass(frozen=True)
class Tainted(Obj):
    """A workload whose pods are seen to run a condemned digest by a name that nobody condemned: a re-tag."""

    digests: tuple[str, ...] = ()


async def look(kube: Kube, resource: Resource | None, ask: Ask) -> Versions:
    """The workload, then its history, then its pods: no pod of an older order is overlooked."""
    body = await kube.get(ObjectRef(resource, ask.namespace, ask.target.name)) if resource else None
    if resource is None or body is None:
        return Versions(None)
    workload = Obj(resource, body)
    uid, selector = workload.meta.uid, workload.spec.selector.query()
    owners = {uid}
    if resource == DEPLOYMENTS:
        listed = await kube.list(REPLICASETS, ask.namespace, label_selector=selector)
        revisions = of_replica_sets(uid, listed)
        sets = [Obj(REPLICASETS, item) for item in listed]
        owners = {one.meta.uid for one in sets if one.meta.controller and one.meta.controller.uid == uid}
    else:
        listed = await kube.list(CONTROLLERREVISIONS, ask.namespace, label_selector=selector)
        revisions = of_controller_revisions(uid, listed)
    found = [
        (item, Pod.model_validate(item))
        for item in await kube.list(PODS, ask.namespace, label_selector=selector)
    ]
    mine = [(item, pod) for item, pod in found if (by := pod.metadata.controller) and by.uid in owners]
    bodies = tuple(item for item, _ in mine)
    target = _tainted(workload, bodies, condemned_by(ask))
    return Versions(target, (), tuple(pod for _, pod in mine), revisions, bodies)


def template_of(workload: Obj) -> Json:
    template: Json = lookup(workload.json, "/spec/template") or {}
    return template


def condemned_by(ask: Ask) -> frozenset[str]:
    return frozenset(ask.record.condemned if ask.record else ())


def still_runs(seen: Versions, condemned: Collection[str]) -> Judgement | None:
    """What is said while a pod that may still run is of a condemned version; None when there is none."""
    offenders = [
        (member, found)
        for member, body in zip(seen.members, seen.bodies, strict=True)
        if member.live and (found := runs(body, condemned))
    ]
    if not offenders or seen.target is None:
        return None
    names = ", ".join(member.metadata.name for member, _ in offenders[:_SHOWN])
    more = f" and {len(offenders) - _SHOWN} more" if len(offenders) > _SHOWN else ""
    said = f"{names}{more} still run {offenders[0][1][0][:200]}"
    if isinstance(seen.target, Tainted):
        message = f"{said}: an image of its pod template has come to be the condemned one"
        return Judgement(Verdict.INEFFECTIVE, "CondemnedByDigest", message, SOON)
    partition = Rolling.parse(seen.target.json).partition
    if any(member.ordinal < partition for member, _ in offenders):
        message = f"{said}: updateStrategy.rollingUpdate.partition {partition} keeps them so"
        return Judgement(Verdict.INEFFECTIVE, "HeldBackByPartition", message, SOON)
    progress = seen.rollout()
    told = f"{said}; {progress.message}" if progress.message else said
    if progress.stuck:
        return Judgement(Verdict.INEFFECTIVE, progress.reason, told, SOON)
    return Judgement(Verdict.PENDING, "CondemnedRuns", told, SOON)


def left_behind(seen: Versions) -> tuple[Doomed, ...]:
    """Old pods that no controller replaces: with OnDelete all, and a StatefulSet's that is not ready.

    https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback
    """
    if seen.target is None or not seen.target.observed:
        return ()
    if current_of(seen.revisions, template_of(seen.target)) is None:
        return ()
    on_delete = Rolling.parse(seen.target.json).on_delete
    ordered = seen.target.resource == STATEFULSETS
    return tuple(
        Doomed(member.metadata.name, member.metadata.uid, None)
        for member in seen.rollout().old
        if member.metadata.deletion_timestamp is None and (on_delete or (ordered and not member.ready))
    )


def _tainted(workload: Obj, bodies: tuple[Json, ...], versions: Collection[str]) -> Obj:
    """Only pods of the current template speak of it: old ones are on their way out."""
    condemned = {key for key in versions if key.startswith("digest/")}
    if not condemned or carries(template_of(workload), versions):
        return workload
    now = clean(template_of(workload))["spec"]["containers"]
    images = {one["name"]: one.get("image") for one in now}
    found = {
        key
        for body in bodies
        if {one["name"]: one.get("image") for one in body["spec"]["containers"]}.items() >= images.items()
        for key in runs(body, condemned)
    }
    return Tainted(workload.resource, workload.json, tuple(sorted(found))) if found else workload
