"""ScaleToZero: run no pod of a workload, and let none be started.

The count is written to the main resource, never to `/scale`: through `/scale` nobody owns the field, and the
next server-side apply of the workload's manifest would silently restore the old count.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from stanch.actions.objects import Obj, Pod
from stanch.actions.protocol import (
    BEHIND,
    Ask,
    Doomed,
    Edit,
    Intent,
    Judgement,
    Leniency,
    Observation,
    Plain,
    Refusal,
    Verdict,
)
from stanch.actions.target import uncontrolled
from stanch.api.v1alpha1.hold import Rule, hold_key, limit_of
from stanch.api.v1alpha1.recovery import ReleaseStage
from stanch.api.v1alpha1.status import StepState
from stanch.api.v1alpha1.steps import ScaleToZero as ScaleToZeroStep
from stanch.api.v1alpha1.steps import Terminate
from stanch.kube.resources import (
    DAEMONSETS,
    DEPLOYMENTS,
    HPAS,
    PODS,
    REPLICASETS,
    STATEFULSETS,
    WORKLOADS,
    ObjectRef,
)
from stanch.plans.changes import all_in_place, field_change, lookup, pointer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stanch.api.v1alpha1.status import Change, FieldChange
    from stanch.api.v1alpha1.steps import StepMember
    from stanch.kube.client import Kube

RESOURCES = {resource.kind: resource for resource in WORKLOADS}
NODE_SELECTOR_KEY = "stanch.dev/contained"
"""No node carries this label, so a DaemonSet that selects it runs nowhere."""

_REPLICAS = pointer("spec", "replicas")
_WHEN_SCALED = pointer("spec", "persistentVolumeClaimRetentionPolicy", "whenScaled")
_NODE_SELECTOR = pointer("spec", "template", "spec", "nodeSelector", NODE_SELECTOR_KEY)
_SELECT_POLICY = pointer("spec", "behavior", "scaleUp", "selectPolicy")
_SOON = 0.2
_IN_FORCE = {StepState.APPLIED, StepState.EFFECTIVE, StepState.INEFFECTIVE, StepState.INCONCLUSIVE}


class ScaleToZero(Plain):
    name = "ScaleToZero"
    timeout = timedelta(minutes=10)
    kinds = frozenset(RESOURCES)

    async def observe(self, kube: Kube, ask: Ask) -> Observation:
        """The workload, the autoscalers that aim at it, a Deployment's ReplicaSets, and its pods."""
        target, namespace = ask.target, ask.namespace
        resource = RESOURCES.get(target.kind)
        body = await kube.get(ObjectRef(resource, namespace, target.name)) if resource else None
        if resource is None or body is None:
            return Observation(None)
        workload = Obj(resource, body)
        selector = workload.spec.selector.query()
        aimed, replica_sets = await asyncio.gather(
            _autoscalers(kube, workload, namespace), _replica_sets(kube, workload, namespace, selector)
        )
        owners = {obj.meta.uid for obj in replica_sets} if resource == DEPLOYMENTS else {workload.meta.uid}
        pods = [
            Pod.model_validate(item) for item in await kube.list(PODS, namespace, label_selector=selector)
        ]
        return Observation(
            workload,
            (*aimed, *replica_sets),
            tuple(pod for pod in pods if (owner := pod.metadata.controller) and owner.uid in owners),
        )

    def plan(self, seen: Observation, ask: Ask) -> tuple[Intent, ...] | Refusal:
        if ask.target.kind not in RESOURCES:
            return Refusal(
                "KindNotScalable",
                f"a {ask.target.kind} has no replicas to take away; suspend it instead",
            )
        workload = uncontrolled(seen.target)
        if isinstance(workload, Refusal):
            return workload
        freezes = (_freeze(hpa) for hpa in seen.related if hpa.resource == HPAS)
        return (*freezes, _stop(workload))

    def judge(self, seen: Observation, ask: Ask) -> Judgement:
        """Effective when no pod is left that may still run, and none can be born of an older order."""
        workload = seen.target
        if workload is None:
            return Judgement(Verdict.EFFECTIVE, "TargetGone", "the workload no longer exists")
        behind = [obj for obj in _chain(seen) if not obj.observed]
        if behind:
            names = ", ".join(f"{obj.resource.kind} {obj.meta.name}" for obj in behind)
            return Judgement(Verdict.PENDING, BEHIND, f"its controller has not yet seen {names}", _SOON)
        return _let_in(workload) if _eased(ask) else _stopped(seen)

    def rush(self, seen: Observation, ask: Ask) -> tuple[Doomed, ...]:
        """For Immediate the pods that run. Told first by its controller, a kubelet gives a pod all its grace.

        Not those that do not run yet: the controller replaces what is ended, until it sees the change.
        https://github.com/kubernetes/kubernetes/issues/83916
        """
        return tuple(
            Doomed(pod.metadata.name, pod.metadata.uid, 1)
            for pod in seen.pods
            if _at_once(ask) and not _eased(ask) and pod.status.phase == "Running" and not pod.terminating
        )

    def ends_pods(self, member: StepMember) -> bool:  # noqa: ARG002 - the protocol's
        return True

    def hurry(self, seen: Observation, ask: Ask) -> tuple[Doomed, ...]:
        """Pods to delete ourselves: all of them for Immediate; a StatefulSet's, which end one by one.

        One second of grace, not zero: with zero the API server forgets the pod while its processes run on.
        https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination-forced
        """
        if _eased(ask):
            return ()
        if _at_once(ask):
            return tuple(
                Doomed(pod.metadata.name, pod.metadata.uid, 1)
                for pod in seen.pods
                if pod.live and (not pod.terminating or (pod.metadata.deletion_grace_period_seconds or 0) > 1)
            )
        if seen.target is not None and seen.target.resource == STATEFULSETS:
            return tuple(
                Doomed(pod.metadata.name, pod.metadata.uid, None)
                for pod in seen.pods
                if pod.live and not pod.terminating
            )
        return ()

    def hold(self, seen: Observation, ask: Ask) -> frozenset[str]:
        """What the target owns as well: a ReplicaSet can be scaled without its Deployment."""
        if not _eased(ask):
            return frozenset(hold_key(Rule.STOPPED, obj.key) for obj in seen.objects)
        frozen = {hold_key(Rule.STOPPED, obj.key) for obj in seen.objects if obj.resource == HPAS}
        return frozenset(frozen | _limits(seen, ask))

    def stands(self, change: Change, obj: Obj, ask: Ask) -> bool:
        """Let in, it may have fewer pods than it is let, and in full as many as its owners like."""
        record = ask.record
        if record is None or not _eased(ask) or record.state not in _IN_FORCE:
            return all_in_place(change.fields, obj.json)
        most = record.eased is ReleaseStage.PROBATION
        replicas = lookup(obj.json, _REPLICAS) or 0
        return all(
            (not most or replicas <= (field.after or 0))
            if field.path == _REPLICAS
            else all_in_place((field,), obj.json)
            for field in change.fields
        )

    def eases(
        self,
        changes: tuple[Change, ...],
        ask: Ask,
        leniency: Leniency,
    ) -> tuple[Change, ...] | None:
        """A DaemonSet runs on its nodes or on none. Autoscalers stay frozen until all of it is given back."""
        if ask.target.kind == DAEMONSETS.kind:
            return None
        return tuple(_with_replicas(change, leniency.count, Rule.KEPT) for change in changes)

    def tightens(self, changes: tuple[Change, ...]) -> tuple[Change, ...]:
        return tuple(_with_replicas(change, lambda _: 0, Rule.STOPPED) for change in changes)


def _eased(ask: Ask) -> bool:
    return ask.record is not None and ask.record.eased in {ReleaseStage.PROBATION, ReleaseStage.FULL}


def _with_replicas(change: Change, count: Callable[[int], int], rule: Rule) -> Change:
    """The change of the workload with another count; of what else was changed, as it is."""
    if not any(field.path == _REPLICAS for field in change.fields):
        return change
    fields = tuple(
        field.model_copy(update={"after": count(field.before or 0)}) if field.path == _REPLICAS else field
        for field in change.fields
    )
    return change.model_copy(update={"fields": fields, "rule": rule})


def _limits(seen: Observation, ask: Ask) -> set[str]:
    record = ask.record
    if record is None or record.eased is not ReleaseStage.PROBATION or seen.target is None:
        return set()
    return {
        hold_key(Rule.LIMITED, limit_of(seen.target.key, field.after or 0))
        for change in ask.changes
        for field in change.fields
        if field.path == _REPLICAS
    }


def _let_in(workload: Obj) -> Judgement:
    return Judgement(Verdict.EFFECTIVE, "LetIn", f"replicas {workload.spec.replicas or 0}")


def _stopped(seen: Observation) -> Judgement:
    standing = [obj for obj in _chain(seen) if _wants_pods(obj)]
    if standing:
        names = ", ".join(f"{obj.resource.kind} {obj.meta.name}" for obj in standing)
        return Judgement(Verdict.PENDING, "StillScaled", f"{names} still asks for pods", _SOON)
    live = [pod for pod in seen.pods if pod.live]
    if live:
        return Judgement(Verdict.PENDING, "PodsRunning", _left(live), _SOON)
    counted = [obj for obj in _chain(seen) if obj.status.replicas > 0]
    if counted:
        names = ", ".join(f"{obj.resource.kind} {obj.meta.name}" for obj in counted)
        return Judgement(Verdict.PENDING, "StillScaled", f"{names} still counts pods", _SOON)
    return Judgement(Verdict.EFFECTIVE, "NoPodsLeft", _gone(seen.pods))


async def _autoscalers(kube: Kube, workload: Obj, namespace: str) -> tuple[Obj, ...]:
    listed = await kube.list(HPAS, namespace)
    return tuple(hpa for item in listed if _aims_at(hpa := Obj(HPAS, item), workload))


async def _replica_sets(kube: Kube, workload: Obj, namespace: str, selector: str) -> tuple[Obj, ...]:
    if workload.resource != DEPLOYMENTS:
        return ()
    listed = await kube.list(REPLICASETS, namespace, label_selector=selector)
    return tuple(obj for item in listed if _owned(obj := Obj(REPLICASETS, item), workload.meta.uid))


def _at_once(ask: Ask) -> bool:
    return isinstance(ask.member, ScaleToZeroStep) and ask.member.terminate is Terminate.IMMEDIATE


def _stop(workload: Obj) -> Intent:
    if workload.resource == DAEMONSETS:
        change = field_change(workload.json, _NODE_SELECTOR, "true")
        return Edit(workload, (change,), f"node selector + {NODE_SELECTOR_KEY}=true, which no node has")
    replicas = field_change(workload.json, _REPLICAS, 0)
    diff = f"replicas {replicas.before} → 0"
    fields: tuple[FieldChange, ...] = (replicas,)
    if workload.resource == STATEFULSETS and _deletes_volumes(workload):
        # In the same write as the count: the controller never sees one without the other.
        fields = (field_change(workload.json, _WHEN_SCALED, "Retain"), replicas)
        diff += ", volumes kept (whenScaled Delete → Retain)"
    return Edit(workload, fields, diff)


def _freeze(hpa: Obj) -> Intent:
    policy = field_change(hpa.json, _SELECT_POLICY, "Disabled")
    before = lookup(hpa.json, _SELECT_POLICY) or "unset"
    return Edit(hpa, (policy,), f"HorizontalPodAutoscaler {hpa.meta.name}: scale-up {before} → Disabled")


def _deletes_volumes(workload: Obj) -> bool:
    return workload.spec.persistent_volume_claim_retention_policy.when_scaled == "Delete"


def _aims_at(hpa: Obj, workload: Obj) -> bool:
    aim = hpa.spec.scale_target_ref
    group = workload.resource.group
    return (
        aim is not None
        and (aim.kind, aim.name) == (workload.resource.kind, workload.meta.name)
        and aim.api_version.split("/")[0] == group
    )


def _owned(obj: Obj, uid: str) -> bool:
    return obj.meta.controller is not None and obj.meta.controller.uid == uid


def _chain(seen: Observation) -> list[Obj]:
    return [obj for obj in seen.objects if obj.resource != HPAS]


def _wants_pods(obj: Obj) -> bool:
    if obj.resource == DAEMONSETS:
        return obj.status.desired_number_scheduled > 0
    return (obj.spec.replicas or 0) > 0


def _gone(ended: Sequence[Pod]) -> str:
    kept = [_named(pod) for pod in ended if pod.metadata.finalizers]
    return f"no pod is left that may run; ended: {_few(kept)}" if kept else "no pod is left"


def _left(live: Sequence[Pod]) -> str:
    return f"{len(live)} pod{'s' if len(live) != 1 else ''} left: {_few([_named(pod) for pod in live])}"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004 - as many as fit a line
    return f"{', '.join(names[:3])}{more}"


def _named(pod: Pod) -> str:
    """With what keeps it: some wait for a process to end, some have to find out who set a finalizer."""
    kept = "".join(f", finalizer {name}" for name in pod.metadata.finalizers)
    return f"{pod.metadata.name} (terminating{kept})" if pod.terminating else pod.metadata.name
