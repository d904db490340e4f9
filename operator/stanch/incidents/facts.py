"""Everything one decision looks at, gathered once. Frozen: a decision is a function of this and `now`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stanch.actions.protocol import Ask
from stanch.actions.registry import ACTIONS
from stanch.api.schema import seconds
from stanch.api.v1alpha1.incident import AIIncident, DeletionPolicy, DesiredState, Mode, Target
from stanch.api.v1alpha1.recovery import ReleaseStage
from stanch.api.v1alpha1.status import Phase, StepState
from stanch.api.v1alpha1.steps import CollectEvidence, Step, StepMember, default_steps
from stanch.holds import entries
from stanch.holds.canary import HoldProof
from stanch.incidents.guardrails import OwnLimits, Serving
from stanch.policies.match import Choice

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from stanch.actions.protocol import Observation
    from stanch.api.v1alpha1.hold import Held
    from stanch.api.v1alpha1.incident import AIIncidentSpec, PolicyRef
    from stanch.api.v1alpha1.isolation import AllowedPeer
    from stanch.api.v1alpha1.plan import PlanPolicy
    from stanch.api.v1alpha1.status import Change, StepStatus
    from stanch.incidents.census import Containment
    from stanch.incidents.signalled import Note
    from stanch.verification.reading import Reading

Json = dict[str, Any]
_FIRST = "evidence"
INLINE = "spec.steps"
BUILT_IN = "built-in default"
_NOT_BEGUN = {StepState.PLANNED, StepState.REFUSED}


@dataclass(frozen=True, slots=True)
class Item:
    """One step on one target."""

    id: str
    step: Step
    target: Target

    @property
    def action(self) -> str:
        """Its action's name; empty for a step newer than this operator."""
        return action_of(self.step)


@dataclass(frozen=True, slots=True)
class Contest:
    """One attempt to undo the containment."""

    at: datetime
    by: str
    what: str

    @property
    def line(self) -> str:
        """As the timeline tells it."""
        return f"{self.by} {self.what}"[:1024]


@dataclass(frozen=True, slots=True)
class Preflight:
    """What the API server answered to the dry runs of a change and of its undo: the record, or a refusal."""

    change: Change | None
    refused: str = ""


LOOKS_A_SECOND = 10.0
"""At what is held and has not changed, all incidents together. Watches tell of what happens meanwhile."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator's settings say."""

    protected_namespaces: frozenset[str] = frozenset({"kube-system", "kube-public", "kube-node-lease"})
    rejudge_seconds: float = 15.0
    evidence: bool = False
    """Whether there is a place to store evidence: then it is taken first, asked for or not."""
    protected_labels: frozenset[tuple[str, str]] = frozenset()
    """A workload with any of these is never touched."""
    scope_label: tuple[str, str] | None = None
    """What a namespace has to carry; None: every namespace is in scope."""
    own: OwnLimits = field(default_factory=OwnLimits)

    def paced(self, holding: int) -> Limits:
        """With so many incidents that hold something, all of them together cost no more than a few held."""
        pause = max(self.rejudge_seconds, holding / LOOKS_A_SECOND)
        return self if pause == self.rejudge_seconds else replace(self, rejudge_seconds=pause)


@dataclass(frozen=True)
class Facts:
    incident: AIIncident
    holding: bool = False
    """Whether the namespace carries the label that makes the hold's admission policies look at it."""
    held: Held = field(default_factory=dict)
    ending: bool = False
    """Whether the namespace is being deleted: nothing can be created in it any more."""
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    observations: Mapping[str, Observation] = field(default_factory=dict)
    """By step id."""
    siblings: Mapping[str, AIIncident] = field(default_factory=dict)
    """The other incidents that hold the same objects."""
    ghosts: frozenset[str] = frozenset()
    """Names in the hold that no incident answers to any more."""
    preflights: Mapping[tuple[str, str], Preflight] = field(default_factory=dict)
    """By step id and the intent's id."""
    errands: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What errands brought back, by step id: fields of the journal entry."""
    choice: Choice = field(default_factory=Choice)
    """The policy found for an incident that has no plan yet."""
    serving: Serving = field(default_factory=Serving)
    """What the policy's workloads serve, where it says how much of that has to stay."""
    containments: tuple[Containment, ...] = ()
    """All there are, for guardrails to count."""
    same_as: str = ""
    """An older open incident of the namespace with the same dedupKey."""
    proof: HoldProof = field(default_factory=HoldProof)
    contests: tuple[Contest, ...] = ()
    readings: Mapping[str, Reading] = field(default_factory=dict)
    """What checks of the release's stage said, by name, not told yet."""
    measuring: frozenset[str] = frozenset()
    """The checks that are being looked at now."""
    signals: tuple[Note, ...] = ()
    """Reports of the alerts that the incident stands for, not told yet."""
    problem: str = ""
    """What the API server refused when it was last asked, empty since it agreed."""
    seen_at: datetime | None = None
    """When this operator first saw the incident; finer than creationTimestamp's whole seconds."""

    @property
    def name(self) -> str:
        return self.incident.metadata.name

    @property
    def policy(self) -> PlanPolicy | None:
        """The policy that the plan follows: as recorded, once there is a plan."""
        return carried(self.incident) if settled(self.incident) else self.choice.policy

    def ask(self, item: Item, record: StepStatus | None, now: datetime) -> Ask:
        return ask(self.incident, item, record, self.held, self.siblings, now, allowed(item))


def allowed(item: Item) -> timedelta:
    """How long the step may take: what its spec says, else its action."""
    if item.step.timeout:
        return timedelta(seconds=seconds(item.step.timeout))
    return ACTIONS[item.action].timeout if item.action in ACTIONS else timedelta(0)


def ask(  # noqa: PLR0913, PLR0917 - what an Ask is made of
    incident: AIIncident,
    item: Item,
    record: StepStatus | None,
    held: Held,
    siblings: Mapping[str, AIIncident],
    now: datetime,
    timeout: timedelta,
) -> Ask:
    """What the item's action is asked. Before it has a record, another incident's of the same counts."""
    changes = record.changes if record else ()
    if not changes:
        others = (
            as_contained(step)
            for sibling in siblings.values()
            for step in sibling.status.steps
            if (step.action, step.target.kind, step.target.name)
            == (item.action, item.target.kind, item.target.name)
            and step.state not in (StepState.UNDONE, StepState.PASSED_ON)
        )
        changes = next(others, ())
    return Ask(
        incident=incident.metadata.name,
        uid=incident.metadata.uid or "",
        namespace=incident.metadata.namespace,
        target=item.target,
        member=item.step.member or StepMember(),
        now=now,
        timeout=timeout,
        record=record,
        changes=changes,
        condemned=entries.condemned(held),
        peers=_let_in(incident),
    )


def as_contained(step: StepStatus) -> tuple[Change, ...]:
    """Its changes as containment needs them: a release under way may have made them weaker."""
    known = step.eased is not None and step.action in ACTIONS
    return ACTIONS[step.action].tightens(step.changes) if known else step.changes


def _let_in(incident: AIIncident) -> tuple[AllowedPeer, ...]:
    """For whom the policy lifts isolation while the workload is on probation."""
    release, plan = incident.status.release, incident.status.plan
    if release is None or release.stage is not ReleaseStage.PROBATION or plan is None or plan.policy is None:
        return ()
    return plan.policy.release.probation.peers if plan.policy.release else ()


def settled(incident: AIIncident) -> bool:
    """Whether the incident has a plan: it keeps that, whatever becomes of policies.

    A plan by which nothing was begun holds only while it is shown. Before it is enforced, and when targets,
    steps or policyRef are others, policies are asked anew: one may have been withdrawn since.
    """
    plan, spec = incident.status.plan, incident.spec
    if plan is None or incident.status.phase in (None, Phase.REJECTED):
        return False
    if not begun(incident) and not _looks(spec, plan.policy):
        return False
    if (plan.source == INLINE) != bool(spec.steps):
        return False
    if (spec.steps or spec.policy_ref) and not _follows(plan.policy, spec.policy_ref):
        return False
    return {step.target for step in plan.steps} == {f"{one.kind}/{one.name}" for one in spec.targets}


def _follows(policy: PlanPolicy | None, ref: PolicyRef | None) -> bool:
    if policy is None or ref is None:
        return policy is None and ref is None
    return (policy.kind, policy.name) == (ref.kind, ref.name)


def carried(incident: AIIncident) -> PlanPolicy | None:
    """The policy that the recorded plan follows."""
    return incident.status.plan.policy if settled(incident) and incident.status.plan else None


def items_of(
    incident: AIIncident, *, evidence: bool = False, policy: PlanPolicy | None = None
) -> tuple[Item, ...]:
    """Every step on every target; a target's steps in the order of the plan.

    With `evidence`, a plan that says nothing of it begins with it. What was begun is gone on with.
    `policy` is the one chosen for an incident that has no plan yet.
    """
    policy = policy or carried(incident)
    planned = incident.spec.steps or (policy.steps if policy else ())
    first = _takes_evidence_first(incident, planned, evidence=evidence)
    begin = [(_FIRST, Step(collect_evidence=CollectEvidence()))] if first else []
    return tuple(
        Item(f"{place}-{action_of(step)}-{target.kind}-{target.name}", step, target)
        for target in incident.spec.targets
        for place, step in (*begin, *_numbered(planned or default_steps(target.kind)))
    )


def _numbered(steps: tuple[Step, ...]) -> list[tuple[str, Step]]:
    return [(str(index), step) for index, step in enumerate(steps)]


def _takes_evidence_first(incident: AIIncident, planned: tuple[Step, ...], *, evidence: bool) -> bool:
    status = incident.status
    if status.steps and status.phase is not Phase.REJECTED:
        return any(step.id.startswith(f"{_FIRST}-") for step in status.steps)
    return evidence and not any(step.collect_evidence for step in planned)


def action_of(step: Step) -> str:
    return step.member.action if step.member else ""


def begun(incident: AIIncident) -> bool:
    """Whether anything may have been changed for it."""
    rejected = incident.status.phase is Phase.REJECTED
    return not rejected and any(step.state not in _NOT_BEGUN for step in incident.status.steps)


def only_looks(facts: Facts) -> bool:
    """Whether the plan is shown and nothing written: a drill that does not say otherwise, or DryRun.

    That either the incident says or its policy: the stricter wins.
    """
    return _looks(facts.incident.spec, facts.policy)


def _looks(spec: AIIncidentSpec, policy: PlanPolicy | None) -> bool:
    drill = spec.exercise and not spec.exercise_enforce
    return drill or spec.mode is Mode.DRY_RUN or (policy is not None and policy.dry_run)


def retains(incident: AIIncident) -> bool:
    """Whether its deletion leaves everything as containment made it, unheld."""
    return (
        incident.metadata.deletion_timestamp is not None
        and incident.spec.deletion_policy is DeletionPolicy.RETAIN
        and incident.spec.desired_state is not DesiredState.RELEASED
    )
