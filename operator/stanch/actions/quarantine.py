"""Quarantine: chosen pods leave their workload and its Services, are cut off the network, and live on.

A pod that loses the labels by which its controller selects it is let go, and another takes its place. It
stays as it is, memory and all, to be looked into, until release.
https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#isolating-pods-from-a-replicaset
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from stanch.actions import isolation_words as words
from stanch.actions.protocol import Ask, Edit, Intent, Judgement, Leniency, Make, Plain, Refusal, Verdict
from stanch.actions.quarantine_cut import claims_of, cut
from stanch.actions.quarantine_seen import RESOURCES, Patient, Ward, look
from stanch.actions.target import staying
from stanch.api.v1alpha1.hold import HELD_LABEL, Rule, hold_key
from stanch.api.v1alpha1.status import Change, ChangeType, FieldChange
from stanch.api.v1alpha1.steps import Discharge
from stanch.api.v1alpha1.steps import Quarantine as QuarantineStep
from stanch.kube.resources import NETWORKPOLICIES, PODS, ObjectRef
from stanch.network.evaluate import evaluate
from stanch.network.isolate import Isolation, isolation_policy, policy_name
from stanch.network.models import Direction
from stanch.network.selectors import LabelSelector, Operator, Requirement
from stanch.network.tiers import AdminTier, about
from stanch.plans.changes import field_change, pointer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stanch.actions.objects import Obj
    from stanch.kube.client import Kube

QUARANTINED = "stanch.dev/quarantined"
"""Label of a pod under quarantine; its value is the incident's name, shortened where that is too long."""

_LABELS = ("metadata", "labels")
_MARK = pointer(*_LABELS, QUARANTINED)
_HELD = pointer(*_LABELS, HELD_LABEL)
_MOST_FIELDS = 60
_LONGEST_LABEL = 63
_LONGEST_DIFF = 500
_SOON = 0.2
_WARD = Isolation(
    LabelSelector(match_expressions=(Requirement(key=QUARANTINED, operator=Operator.EXISTS),)),
    frozenset(Direction),
)
_IN_ITS_PLACE = {
    "Deployment": "its ReplicaSet starts another in its place",
    "ReplicaSet": "another is started in its place",
    "StatefulSet": "its ordinal stays taken until release, and its controller rolls out nothing meanwhile",
    "DaemonSet": "another is started on its node",
}


class Quarantine(Plain):
    name = "Quarantine"
    timeout = timedelta(minutes=2)
    kinds = frozenset(RESOURCES)
    keeps_pods = True

    async def observe(self, kube: Kube, ask: Ask) -> Ward:
        return await look(kube, ask, _member(ask).pods)

    def plan(self, seen: Ward, ask: Ask) -> tuple[Intent, ...] | Refusal:
        recorded = {change.object.uid: change for change in _pods_of(ask)}
        begun = ask.record is not None and bool(ask.record.changes)
        refusal = None if recorded else _untouchable(seen, ask)
        if refusal is not None:
            return refusal
        edits: list[Intent] = []
        for name in _member(ask).pods:
            obj = seen.named(ObjectRef(PODS, ask.namespace, name))
            change = recorded.get(obj.meta.uid) if obj is not None else None
            if begun and change is None:
                continue  # gone; what has its name by now is another pod
            marked = obj is not None and QUARANTINED in obj.meta.labels
            edit = _admitted(obj, change) if obj and change and marked else _admit(obj, name, seen, ask)
            if isinstance(edit, Refusal):
                return edit
            edits.append(edit)
        # The policy first: no pod is marked before the mark cuts it off.
        return (_policy(ask), *edits)

    def judge(self, seen: Ward, ask: Ask) -> Judgement:
        """Effective when every pod lives, nothing selects or lists it, and no policy allows it anything."""
        unclear = _unclear(seen)
        if unclear is not None:
            return Judgement(Verdict.INCONCLUSIVE, unclear.reason, unclear.message, _SOON)
        every = [(change.object.name, seen.find(change.object.uid)) for change in _pods_of(ask)]
        there = [Patient.of(obj) for _, obj in every if obj is not None]
        patients = [one for one in there if one.pod.live and not one.pod.terminating]
        gone = [name for name, obj in every if obj is None]
        failed = [*_lost(gone, there), *_open(seen, patients), *_claimed(seen, patients)]
        if not failed and seen.tiers.unread:
            return Judgement(
                Verdict.INCONCLUSIVE, "PoliciesNotReadable", words.not_readable(seen.tiers.unread), _SOON
            )
        waiting = [*_owned(patients), *_listed(seen, patients)]
        told = "; ".join(message for _, message in (*failed, *waiting))
        if failed:
            reason, _ = failed[0]
            left = f"; under quarantine: {_names(patients)}" if patients else ""
            by_itself = {each for each, _ in failed} == {"PodEnded"}
            return Judgement(Verdict.INEFFECTIVE, reason, told + left, by_itself=by_itself)
        if waiting:
            reason, _ = waiting[0]
            return Judgement(Verdict.PENDING, reason, told, _SOON)
        return Judgement(Verdict.EFFECTIVE, "Quarantined", _quarantined(seen, patients, ask))

    def hold(self, seen: Ward, ask: Ask) -> frozenset[str]:  # noqa: ARG002 - the protocol's
        """The workload to which its pods are to come back."""
        return frozenset({hold_key(Rule.KEPT, seen.target.key)} if seen.target else ())

    def eases(
        self,
        changes: tuple[Change, ...],
        ask: Ask,  # noqa: ARG002 - the protocol's
        leniency: Leniency,  # noqa: ARG002 - the protocol's
    ) -> tuple[Change, ...]:
        """A suspect pod stays out until all else is proven and given back."""
        return changes

    def discards(self, change: Change, ask: Ask) -> bool:
        return change.object.kind == PODS.kind and _member(ask).on_release is Discharge.DELETE


def mark_of(incident: str) -> str:
    """A label's value is shorter than a name may be. The same for the same name and for no other."""
    if len(incident) <= _LONGEST_LABEL:
        return incident
    digest = hashlib.sha256(incident.encode()).hexdigest()[:10]
    return f"{incident[: _LONGEST_LABEL - 11].rstrip('.-')}-{digest}"


def _member(ask: Ask) -> QuarantineStep:
    """Raises TypeError when the step is another one: a defect of the caller."""
    if not isinstance(ask.member, QuarantineStep):
        raise TypeError(f"not a Quarantine step: {ask.member!r}")
    return ask.member


def _pods_of(ask: Ask) -> list[Change]:
    return [
        change
        for change in ask.changes
        if change.type is ChangeType.UPDATE
        and change.object.kind == PODS.kind
        and change.object.name in _member(ask).pods
    ]


def _untouchable(seen: Ward, ask: Ask) -> Refusal | None:
    if ask.target.kind not in RESOURCES:
        return Refusal(
            "KindNotQuarantinable",
            f"a {ask.target.kind} counts a pod that leaves it as failed and tries again; suspend it instead",
        )
    if isinstance(refusal := staying(seen.target), Refusal):
        return refusal
    if seen.unread:
        return Refusal("SelectorNotUnderstood", words.not_understood(seen.unread))
    return None


def _unclear(seen: Ward) -> Refusal | None:
    """What nothing can be claimed about."""
    unreadable = seen.policies[1]
    if unreadable:
        return Refusal("PolicyNotUnderstood", words.not_understood(unreadable))
    if seen.unread:
        return Refusal("SelectorNotUnderstood", words.not_understood(seen.unread))
    return None


def _policy(ask: Ask) -> Make:
    """Named by the incident: nobody can take the name before it."""
    target = f"{ask.target.kind}/{ask.target.name}"
    name = policy_name(f"quarantine-{ask.target.name}", target, ask.uid)
    manifest = isolation_policy(_WARD, base=name, namespace=ask.namespace, labels={}, annotations={})
    manifest["metadata"]["name"] = name
    ref = ObjectRef(NETWORKPOLICIES, ask.namespace, name)
    return Make(ref, manifest, f"NetworkPolicy {name} allows pods labelled {QUARANTINED} nothing")


def _admitted(obj: Obj, change: Change) -> Edit:
    """Recorded already, by this incident or by the first of several."""
    fields = tuple(field for field in change.fields if field.path != _HELD)
    return Edit(obj, fields, f"Pod {obj.meta.name}: as recorded", Rule.SEALED)


def _admit(obj: Obj | None, name: str, seen: Ward, ask: Ask) -> Edit | Refusal:
    refusal = _not_eligible(obj, name, seen, ask)
    if obj is None or refusal is not None:
        return refusal or Refusal("PodNotFound", f"there is no Pod {name}")
    labels, mark = obj.meta.labels, mark_of(ask.incident)
    policies = claims_of(seen.policies[0])
    found = cut(
        labels,
        {QUARANTINED: mark, HELD_LABEL: "true"},
        (*seen.controllers, *seen.services, *policies),
    )
    stuck = [claim for claim in found.stuck if claim not in policies]
    if stuck:
        return Refusal(
            "SelectorNotLeft",
            f"{stuck[0].text} selects pods by what they are not ({stuck[0].selector.text}): without the "
            f"labels by which others select it, Pod {name} would be its own; contain the workload instead",
        )
    if len(found.removed) > _MOST_FIELDS:
        return Refusal(
            "TooManyLabels",
            f"Pod {name} would lose {len(found.removed)} labels, and {_MOST_FIELDS} can be recorded",
        )
    fields: list[FieldChange] = [
        field_change(obj.json, pointer(*_LABELS, key), None) for key in found.removed
    ]
    fields.append(field_change(obj.json, _MARK, mark))
    ports = Patient.of(obj).host_ports
    diff = (
        f"Pod {name}: without labels {words.some(found.removed)}, out of "
        f"{words.some([claim.text for claim in found.left])}; {_IN_ITS_PLACE[ask.target.kind]}"
    )
    if ports:
        diff += f"; host port {words.some([str(port) for port in ports])} of its node stays taken"
    return Edit(obj, tuple(fields), diff[:_LONGEST_DIFF], Rule.SEALED)


def _not_eligible(obj: Obj | None, name: str, seen: Ward, ask: Ask) -> Refusal | None:
    if obj is None:
        return Refusal("PodNotFound", f"there is no Pod {name} in the incident's namespace")
    patient = Patient.of(obj)
    owner = obj.meta.controller
    if owner is None or owner.uid not in seen.owners:
        whose = f"{owner.kind} {owner.name} controls it" if owner else "nothing controls it"
        return Refusal(
            "PodNotOfTarget", f"Pod {name} is none of {ask.target.kind} {ask.target.name}: {whose}"
        )
    if not patient.pod.live:
        return Refusal(
            "PodEnded", f"Pod {name} has ended ({patient.pod.status.phase}): collect evidence of it"
        )
    if patient.pod.terminating:
        return Refusal("PodTerminating", f"Pod {name} is being deleted, which nothing can stop any more")
    if QUARANTINED in obj.meta.labels:
        return Refusal(
            "QuarantineLeft",
            f"Pod {name} is labelled {QUARANTINED}={obj.meta.labels[QUARANTINED]}: another quarantine of it "
            "stands, or was left behind; release that one, or remove the label",
        )
    return None


def _lost(gone: Sequence[str], there: Sequence[Patient]) -> Iterable[tuple[str, str]]:
    ended = [one for one in there if not one.pod.live]
    ending = [one for one in there if one.pod.live and one.pod.terminating]
    if gone:
        yield "PodGone", f"{words.some(gone)} no longer exists: what it could have told is lost"
    if ending:
        yield "PodTerminating", f"{_names(ending)} is being deleted: evidence is about to be lost"
    if ended:
        yield "PodEnded", f"{_names(ended)} ended by itself: evidence may be lost"


def _open(seen: Ward, patients: Sequence[Patient]) -> Iterable[tuple[str, str]]:
    found = evaluate(seen.policies[0], [one.facts for one in patients])
    if found.host_network:
        names = words.some(found.host_network)
        yield "HostNetwork", f"{names} share their node's network, to which NetworkPolicies do not apply"
    accepted = [text for one in patients for text in _accepted(seen, one)]
    if accepted:
        yield "AcceptedBeforehand", words.accepted(list(dict.fromkeys(accepted)), "")
    if found.leaks:
        yield "StillAllowed", words.still_allowed(found.leaks, ())


def _accepted(seen: Ward, one: Patient) -> tuple[str, ...]:
    labels = one.obj.meta.labels
    exactly = Isolation(LabelSelector(match_labels=labels), frozenset(Direction))
    return AdminTier.of(about(seen.tiers.policies, labels, seen.labels), exactly, seen.labels).accepting()


def _claimed(seen: Ward, patients: Sequence[Patient]) -> Iterable[tuple[str, str]]:
    """What was made or changed later may select them by labels that they kept."""
    for one in patients:
        claims = [
            claim
            for claim in (*seen.controllers, *seen.services)
            if claim.selector.matches(one.obj.meta.labels)
        ]
        if claims:
            text = words.some([claim.text for claim in claims])
            yield "StillSelected", f"{one.name} is selected by {text}"


def _owned(patients: Sequence[Patient]) -> Iterable[tuple[str, str]]:
    for one in patients:
        owner = one.obj.meta.controller
        if owner is not None:
            yield "NotLetGo", f"{owner.kind} {owner.name} has not yet let go of {one.name}"


def _listed(seen: Ward, patients: Sequence[Patient]) -> Iterable[tuple[str, str]]:
    for one in patients:
        names = [each.metadata.name for each in seen.slices if each.lists(one.facts)]
        if names:
            yield "StillServed", f"{one.name} is an endpoint still in EndpointSlice {words.some(names)}"


def _quarantined(seen: Ward, patients: Sequence[Patient], ask: Ask) -> str:
    return "; ".join(
        [
            f"alive and by themselves: {_names(patients)}",
            f"out of {ask.target.kind} {ask.target.name} and every Service, no traffic is allowed",
            words.enforcement(seen.enforcers),
            "connections that were open may live on",
            f"kubectl get pods -n {ask.namespace} -l {QUARANTINED}",
        ]
    )


def _names(patients: Sequence[Patient]) -> str:
    return words.some([one.name for one in patients])
