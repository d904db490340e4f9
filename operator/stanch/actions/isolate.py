"""Isolate: nothing reaches the workload's pods, and they reach nothing, but for what is allowed.

NetworkPolicies add up: one that denies everything changes nothing beside one that allows. So all that select
the pods are evaluated, and what they still allow is either listed (`others: Report`) or taken from these pods
(`Override`). That anybody enforces NetworkPolicies cannot be seen in the API: it is said what is known.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from stanch.actions import isolation_words as words
from stanch.actions.isolation_plan import as_made, clash, isolation_of, member_of, override, own, shared
from stanch.actions.isolation_seen import RESOURCES, look, own_policy, selector_of
from stanch.actions.isolation_tiers import denial, denied_since, tried
from stanch.actions.protocol import Ask, Doomed, Intent, Judgement, Plain, Refusal, Verdict
from stanch.actions.target import staying, uncontrolled
from stanch.api.v1alpha1.hold import Rule, hold_key
from stanch.api.v1alpha1.isolation import Others
from stanch.api.v1alpha1.status import ChangeType
from stanch.api.v1alpha1.steps import Isolate as IsolateStep
from stanch.kube.resources import JOBS, NETWORKPOLICIES, ObjectRef
from stanch.network.evaluate import evaluate
from stanch.network.isolate import possible_leaks
from stanch.network.override import PART_OF
from stanch.network.tiers import AdminTier
from stanch.plans.changes import lookup, pointer

if TYPE_CHECKING:
    from datetime import datetime

    from stanch.actions.isolation_seen import Reach
    from stanch.actions.objects import Obj, Pod
    from stanch.api.v1alpha1.status import Change
    from stanch.api.v1alpha1.steps import StepMember
    from stanch.kube.client import Kube
    from stanch.network.isolate import Isolation

_SOON = 0.2
OUR_MANAGER = "stanch"
"""The field manager of our writes."""
_NOW = 1
"""Seconds of grace: with none the API server forgets a pod while its processes run on."""


class Isolate(Plain):
    name = "Isolate"
    timeout = timedelta(minutes=2)
    kinds = frozenset(RESOURCES)

    async def observe(self, kube: Kube, ask: Ask) -> Reach:
        seen = await look(kube, ask)
        try:
            isolation = _isolation(seen, ask)
        except ValueError:
            return seen  # said when it is planned
        return seen if isolation is None else await tried(kube, seen, isolation, ask)

    def plan(self, seen: Reach, ask: Ask) -> tuple[Intent, ...] | Refusal:
        begun = own_policy(ask) is not None
        refusal = None if begun else _untouchable(seen, ask)
        if refusal is not None:
            return refusal
        try:
            isolation = _isolation(seen, ask)
        except ValueError as error:
            return Refusal("AllowNotUnderstood", words.bad_input(error))
        if isolation is None:
            return Refusal("NoSelector", words.no_selector(ask.target.kind))
        mine = own(isolation, ask)
        whose = "" if begun else clash(seen, mine, isolation, ask)
        if whose:
            return Refusal("IsolatedOtherwise", words.isolated_otherwise(whose))
        first = denial(seen, isolation, ask).make
        made = (mine,) if first is None else (mine, first)
        if member_of(ask).others is Others.REPORT:
            return made
        return (*made, *override(seen, isolation, ask).intents)

    def judge(self, seen: Reach, ask: Ask) -> Judgement:
        """Effective when no policy allows a pod that is there, or the next one, more than the holes."""
        isolation = _isolation(seen, ask)
        if isolation is None or (seen.target is None and not seen.reachable):
            return Judgement(Verdict.EFFECTIVE, "TargetGone", "the workload no longer exists")
        reachable = _still_reachable(seen, isolation, ask)
        if reachable is not None:
            return reachable
        terminate = member_of(ask).terminate_connections
        old = _from_before(seen, ask) if terminate else ()
        if old:
            return Judgement(Verdict.PENDING, "ConnectionsOpen", words.from_before(old), _SOON)
        others = possible_leaks(seen.read[0], isolation)
        first = words.first(denial(seen, isolation, ask), seen.tiers)
        message = words.isolated(seen, isolation, terminated=terminate, others=others, first=first)
        return Judgement(Verdict.EFFECTIVE, "Isolated", message)

    def ends_pods(self, member: StepMember) -> bool:
        return isinstance(member, IsolateStep) and member.terminate_connections

    def hurry(self, seen: Reach, ask: Ask) -> tuple[Doomed, ...]:
        if not member_of(ask).terminate_connections:
            return ()
        return tuple(
            Doomed(pod.metadata.name, pod.metadata.uid, _NOW)
            for pod in _from_before(seen, ask)
            if not pod.terminating or (pod.metadata.deletion_grace_period_seconds or 0) > _NOW
        )

    def hold(self, seen: Reach, ask: Ask) -> frozenset[str]:  # noqa: ARG002 - the protocol's
        """Made again with other labels the workload would be out of our policy's reach."""
        return frozenset({hold_key(Rule.KEPT, seen.target.key)} if seen.target else ())

    def tolerates(self, change: Change, obj: Obj, seen: Reach, ask: Ask) -> bool:  # noqa: ARG002 - the protocol's
        """Another isolation has left its own pods out of a policy that this one split off."""
        split_off = lookup(change.manifest, pointer("metadata", "annotations", PART_OF)) is not None
        return split_off and as_made(change.manifest, obj, seen.standing)


def _untouchable(seen: Reach, ask: Ask) -> Refusal | None:
    kind = ask.target.kind
    if kind not in RESOURCES:
        return Refusal("KindNotSelectable", words.not_selectable(kind))
    # A CronJob does nothing to a Job that runs; other owners replace what they own.
    found = (
        staying(seen.target) if kind == JOBS.kind else uncontrolled(seen.target, "starts pods beside its own")
    )
    return found if isinstance(found, Refusal) else None


def _isolation(seen: Reach, ask: Ask) -> Isolation | None:
    """None when there is no selector to isolate by. Raises ValueError for holes that cannot be."""
    selector = selector_of(seen.target, ask)
    return isolation_of(selector, ask) if selector is not None else None


def _still_reachable(seen: Reach, isolation: Isolation, ask: Ask) -> Judgement | None:
    """What stands against the claim that nothing but the holes is allowed; None when nothing does."""
    policies, unreadable = seen.read
    if unreadable:
        message = words.not_understood(unreadable)
        return Judgement(Verdict.INCONCLUSIVE, "PolicyNotUnderstood", message)
    pods = (*seen.reachable, *seen.newborn)
    found = evaluate(policies, pods, directions=isolation.directions, holes=isolation.holes)
    if found.host_network:
        return Judgement(Verdict.INEFFECTIVE, "HostNetwork", words.host_network(found.host_network))
    accepted = AdminTier.of(seen.tier_policies, isolation, seen.labels).accepting()
    if accepted:
        message = words.accepted(accepted, words.first(denial(seen, isolation, ask), seen.tiers))
        return Judgement(Verdict.INEFFECTIVE, "AcceptedBeforehand", message)
    if found.leaks:
        overriding = member_of(ask).others is Others.OVERRIDE
        refused = override(seen, isolation, ask).refused if overriding else ()
        message = words.still_allowed(found.leaks, refused)
        return Judgement(Verdict.INEFFECTIVE, "StillAllowed", message)
    if seen.tiers.unread:
        return Judgement(Verdict.INCONCLUSIVE, "PoliciesNotReadable", words.not_readable(seen.tiers.unread))
    return None


def _from_before(seen: Reach, ask: Ask) -> tuple[Pod, ...]:
    """Pods that may have connections from before they were cut off. Times are in whole seconds."""
    since = _cut_off_at(seen, ask)
    return tuple(
        pod for pod in seen.pods if pod.live and since and (pod.metadata.creation_timestamp or since) <= since
    )


def _cut_off_at(seen: Reach, ask: Ask) -> datetime | None:
    """By the clock of the API server: since when our policy stands, and the last other one was changed.

    Once the step was effective, what others do later to a policy that they share with it is no news.
    """
    mine = own_policy(ask)
    policy = seen.named(ObjectRef(NETWORKPOLICIES, ask.namespace, mine.object.name)) if mine else None
    if policy is None or policy.meta.creation_timestamp is None:
        return None
    times = [policy.meta.creation_timestamp]
    if ask.record is None or ask.record.effective_at is None:
        denial_stands = denied_since(seen, ask)
        times += [denial_stands] if denial_stands else []
        for change in ask.changes:
            obj = seen.find(change.object.uid) if change.type is ChangeType.UPDATE else None
            if obj is not None and not shared(obj):
                times += [
                    one.time
                    for one in obj.meta.managed_fields
                    if one.manager == OUR_MANAGER and one.time is not None
                ]
    return max(times)
