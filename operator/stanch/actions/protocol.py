"""What an action is: observe, plan, judge, and what the hold must deny. One file per action.

Recording, pre-flight, applying, undoing and holding are the same for every action and live elsewhere.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from stanch.api.v1alpha1.hold import Rule
from stanch.api.v1alpha1.incident import TargetKind
from stanch.api.v1alpha1.recovery import Probation, ReleaseStage
from stanch.plans.changes import all_in_place

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from stanch.actions.objects import Obj, Pod
    from stanch.api.v1alpha1.incident import Target
    from stanch.api.v1alpha1.isolation import AllowedPeer
    from stanch.api.v1alpha1.status import Change, FieldChange, StepStatus
    from stanch.api.v1alpha1.steps import StepMember
    from stanch.evidence.take import Collector
    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef
    from stanch.verification.measure import Measurer

Json = dict[str, Any]

_COLLECTIONS = 2
BEHIND = "ControllerBehind"
"""The reason of a judgement that has to wait for a controller to see the newest spec."""


class Verdict(StrEnum):
    EFFECTIVE = "Effective"
    PENDING = "Pending"
    INEFFECTIVE = "Ineffective"
    INCONCLUSIVE = "Inconclusive"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is observed, why, and (seconds) when it is worth looking again."""

    verdict: Verdict
    reason: str
    message: str
    look_again: float | None = None
    by_itself: bool = False
    """What was effective is so no more, and nobody did it: no contest."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an action will not touch a target."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Edit:
    """Fields of one object to change, and what the hold denies while they are changed."""

    obj: Obj
    fields: tuple[FieldChange, ...]
    diff: str
    """One line for people: `replicas 3 → 0`."""
    rule: Rule = Rule.STOPPED

    @property
    def id(self) -> str:
        return self.obj.meta.uid

    @property
    def ref(self) -> ObjectRef:
        return self.obj.ref


@dataclass(frozen=True, slots=True)
class Make:
    """One object to create. Giving back deletes it."""

    ref: ObjectRef
    manifest: Json
    """With apiVersion, kind, metadata (name, namespace and what else is wanted) and the rest of it."""
    diff: str
    rule: Rule = Rule.SEALED
    follows: bool = False
    """Whether it is a copy of something: what is planned today counts, and not what was recorded."""

    @property
    def id(self) -> str:
        return f"make {self.ref}"


@dataclass(frozen=True, slots=True)
class Remove:
    """One object to delete. Giving back creates it from the manifest."""

    obj: Obj
    manifest: Json
    """From which it is made again: without what the server sets."""
    diff: str
    rule: Rule = Rule.ABSENT

    @property
    def id(self) -> str:
        return self.obj.meta.uid

    @property
    def ref(self) -> ObjectRef:
        return self.obj.ref


Intent = Edit | Make | Remove
"""One change, in the order of the list it stands in; giving back goes the other way."""


@dataclass(frozen=True)
class Observation:
    """What one action saw of one target. `target` is None when there is no such object.

    An action that sees more extends it; whatever it may change stands in `target` or `related`.
    """

    target: Obj | None
    related: tuple[Obj, ...] = ()
    pods: tuple[Pod, ...] = ()

    @property
    def objects(self) -> tuple[Obj, ...]:
        return (*self.related, *((self.target,) if self.target else ()))

    def find(self, uid: str | None) -> Obj | None:
        return next((obj for obj in self.objects if obj.meta.uid == uid), None)

    def named(self, ref: ObjectRef) -> Obj | None:
        return next((obj for obj in self.objects if obj.ref == ref), None)


@dataclass(frozen=True, slots=True)
class Doomed:
    """A pod that is to end now rather than in its controller's own order."""

    name: str
    uid: str
    grace_period_seconds: int | None


@dataclass(frozen=True, slots=True)
class Tools:
    """What errands work with. `slots` is how many collections this process has memory for at a time."""

    collector: Collector
    measurer: Measurer
    """Looks at the checks of releases, in the background."""
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_COLLECTIONS))


class Errand(Protocol):
    """Work of a step that changes no object of the cluster, done once: taking evidence."""

    async def run(self, tools: Tools) -> Mapping[str, Any]:
        """The fields of the journal entry (StepStatus) that it fills in. Raises StanchError."""
        ...


@dataclass(frozen=True, slots=True)
class Ask:
    """What a step is asked to do, for whom, and what stands of it already."""

    incident: str
    uid: str
    """The incident's."""
    namespace: str
    target: Target
    member: StepMember
    now: datetime
    timeout: timedelta
    """How long the step may take to become effective."""
    record: StepStatus | None = None
    """Its journal entry, once there is one."""
    changes: tuple[Change, ...] = ()
    """What is recorded and may have been done; before that, what another incident did to this target."""
    condemned: frozenset[str] = frozenset()
    """What the namespace's hold says no pod may carry, whoever condemned it: `image/llm:bad`."""
    peers: tuple[AllowedPeer, ...] = ()
    """For whom isolation is lifted already: the workload is on probation."""


@dataclass(frozen=True, slots=True)
class Leniency:
    """How far the stage of a release lets a workload in."""

    stage: ReleaseStage
    probation: Probation = field(default_factory=Probation)
    reborn: bool = False
    """Whether its pods have to be made anew: what they need to be born has to be there."""

    def count(self, before: int) -> int:
        """Of so many pods that there were, how many may be."""
        if self.stage is ReleaseStage.FULL:
            return before
        share = self.probation.share
        if share is not None:
            return min(before, max(1, math.ceil(before * int(share.removesuffix("%")) / 100)))
        return min(before, self.probation.replicas or 1)


class Action(Protocol):
    """Every function but `observe` is pure."""

    name: str
    timeout: timedelta
    """How long a step may stay Pending when the spec does not say."""
    kinds: frozenset[str]
    """Of targets; others it refuses."""
    essential: bool
    """Whether a Critical incident stops at its failure."""
    keeps_pods: bool
    """Whether it is about pods that run now: no step before it may end them."""

    async def observe(self, kube: Kube, ask: Ask) -> Observation:
        """Raises StanchError when something cannot be read: nothing is decided on half a picture."""
        ...

    def plan(self, seen: Any, ask: Ask) -> tuple[Intent, ...] | Refusal:
        """All that has to be changed; of what is recorded, the record counts and not the new plan."""
        ...

    def judge(self, seen: Any, ask: Ask) -> Judgement: ...

    def rush(self, seen: Any, ask: Ask) -> tuple[Doomed, ...]:
        """Pods to end right before the changes: a kubelet keeps to the first grace period that it is told."""
        ...

    def hurry(self, seen: Any, ask: Ask) -> tuple[Doomed, ...]:
        """Pods whose end need not be waited for, once the changes are in place."""
        ...

    def hold(self, seen: Any, ask: Ask) -> frozenset[str]:
        """Keys (`hold_key`) that must be denied while the step stands, beside those of its changes."""
        ...

    def condemns(self, seen: Any, ask: Ask) -> tuple[str, ...]:
        """What no pod of the namespace may carry while the step stands; recorded with the changes."""
        ...

    def stands(self, change: Change, obj: Obj, ask: Ask) -> bool:
        """Whether a recorded edit of this object is in place; what is not is put right."""
        ...

    def tolerates(self, change: Change, obj: Obj, seen: Any, ask: Ask) -> bool:
        """Whether an object that the step made may stay as it is, though it is not as it was made."""
        ...

    def ends_pods(self, member: StepMember) -> bool:
        """Whether pods of the target end by what it does."""
        ...

    def errand(self, seen: Any, ask: Ask) -> Errand | None:
        """Work to do once the changes are in place and the step is not yet effective."""
        ...

    def restores(self, ask: Ask) -> bool:
        """Whether release gives back what the step changed. What it does not, it no longer holds."""
        ...

    def eases(self, changes: tuple[Change, ...], ask: Ask, leniency: Leniency) -> tuple[Change, ...] | None:
        """The recorded changes as a stage of the release has them; None: they are given back in it.

        Of what it eased before it makes the same again.
        """
        ...

    def tightens(self, changes: tuple[Change, ...]) -> tuple[Change, ...]:
        """What `eases` made weaker, as it was: the release failed."""
        ...

    def discards(self, change: Change, ask: Ask) -> bool:
        """Whether release deletes an object that the step edited, instead of giving its fields back."""
        ...

    def keeps(self, ask: Ask) -> frozenset[str]:
        """Keys of the hold that outlast the release, until the incident is deleted."""
        ...


class Plain:
    """What most actions do: base class of actions."""

    kinds: frozenset[str] = frozenset(TargetKind)
    essential = True
    keeps_pods = False

    def rush(self, seen: Any, ask: Ask) -> tuple[Doomed, ...]:  # noqa: ARG002 - the protocol's
        return ()

    def hurry(self, seen: Any, ask: Ask) -> tuple[Doomed, ...]:  # noqa: ARG002 - the protocol's
        return ()

    def hold(self, seen: Any, ask: Ask) -> frozenset[str]:  # noqa: ARG002 - the protocol's
        return frozenset()

    def condemns(self, seen: Any, ask: Ask) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's
        return ()

    def stands(self, change: Change, obj: Obj, ask: Ask) -> bool:  # noqa: ARG002 - the protocol's
        return all_in_place(change.fields, obj.json)

    def tolerates(self, change: Change, obj: Obj, seen: Any, ask: Ask) -> bool:  # noqa: ARG002 - the protocol's
        return False

    def ends_pods(self, member: StepMember) -> bool:  # noqa: ARG002 - the protocol's
        return False

    def errand(self, seen: Any, ask: Ask) -> Errand | None:  # noqa: ARG002 - the protocol's
        return None

    def restores(self, ask: Ask) -> bool:  # noqa: ARG002 - the protocol's
        return True

    def eases(
        self,
        changes: tuple[Change, ...],
        ask: Ask,  # noqa: ARG002 - the protocol's
        leniency: Leniency,
    ) -> tuple[Change, ...] | None:
        return changes if leniency.stage is ReleaseStage.PROBATION else None

    def tightens(self, changes: tuple[Change, ...]) -> tuple[Change, ...]:
        return changes

    def discards(self, change: Change, ask: Ask) -> bool:  # noqa: ARG002 - the protocol's
        return False

    def keeps(self, ask: Ask) -> frozenset[str]:  # noqa: ARG002 - the protocol's
        return frozenset()
