"""What is known of a workload already, and what that makes of the next signal about it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from stanch.api.schema import seconds
from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.incident import Mode
from stanch.api.v1alpha1.meta import ObjectMeta
from stanch.api.v1alpha1.status import ENDED
from stanch.queue import Key
from stanch.signals.intake.declined import ignored
from stanch.status.text import span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stanch.policies.match import Policy, Workload

_EARLIEST = datetime.min.replace(tzinfo=UTC)


class _Signal(ApiModel):
    fingerprint: str = ""


class _Detection(ApiModel):
    signals: tuple[_Signal, ...] = ()


class _Object(ApiModel):
    kind: str
    name: str


class _Spec(ApiModel):
    targets: tuple[_Object, ...] = ()
    policy_ref: _Object | None = None
    steps: tuple[object, ...] = ()
    mode: str = Mode.ENFORCE
    exercise: bool = False
    detection: _Detection = _Detection()


class _Signals(ApiModel):
    firing: tuple[str, ...] = ()
    resolved: tuple[str, ...] = ()


class _Timestamps(ApiModel):
    contained: datetime | None = None


class _Status(ApiModel):
    phase: str = ""
    signals: _Signals = _Signals()
    timestamps: _Timestamps = _Timestamps()


class Known(ApiModel):
    """As much of an AIIncident as tells what it stands for; a phase of a newer version counts as open."""

    metadata: ObjectMeta
    spec: _Spec
    status: _Status = _Status()

    @property
    def key(self) -> Key:
        return Key(self.metadata.namespace, self.metadata.name)

    @property
    def open(self) -> bool:
        return self.status.phase not in ENDED and self.metadata.deletion_timestamp is None

    def stands_for(self, policy: Policy, workload: Workload) -> bool:
        """Whether it contains that workload by that policy. Anybody may set labels that say so."""
        ref = self.spec.policy_ref
        by_policy = ref is not None and (ref.kind, ref.name) == (policy.kind, policy.metadata.name)
        targets = {(one.kind, one.name) for one in self.spec.targets}
        return self.in_earnest and by_policy and (workload.kind, workload.name) in targets

    @property
    def in_earnest(self) -> bool:
        """Whether it contains by its policy: no drill, and no dry run or plan of its own."""
        spec = self.spec
        return not spec.steps and not spec.exercise and spec.mode == Mode.ENFORCE

    @property
    def phase(self) -> str:
        if self.metadata.deletion_timestamp is not None:
            return "being deleted"
        return self.status.phase or "new"

    @property
    def fingerprints(self) -> frozenset[str]:
        """Of the signals that it stands for."""
        begun = {one.fingerprint for one in self.spec.detection.signals}
        return frozenset({*begun, *self.status.signals.firing, *self.status.signals.resolved})

    @property
    def born(self) -> tuple[datetime, str]:
        return self.metadata.creation_timestamp or _EARLIEST, self.metadata.name


def standing(incidents: Iterable[Known], fingerprint: str | None = None) -> Known | None:
    """The oldest open one; with a fingerprint, of those that stand for that signal."""
    found = [
        one
        for one in incidents
        if one.open and one.in_earnest and (fingerprint is None or fingerprint in one.fingerprints)
    ]
    return min(found, key=lambda one: one.born, default=None)


def heed_cooldown(
    incidents: Iterable[Known], policy: Policy, now: datetime, own: float | None = None
) -> None:
    """`incidents` are those of one workload by this policy, and have ended. `own` is the operator's cooldown,
    in seconds; the longer one holds.

    Counted from the containment: what the windows of queries still hold is from before it. Raises Declined
    while it lasts.
    """
    theirs = policy.spec.guardrails.cooldown if policy.spec.guardrails else None
    cooldown = timedelta(seconds=max(seconds(theirs) if theirs else 0.0, own or 0.0))
    contained = [(at, one) for one in incidents if (at := one.status.timestamps.contained) is not None]
    if not cooldown or not contained:
        return
    at, newest = max(contained, key=lambda pair: (pair[0], pair[1].born))
    left = cooldown - (now - at)
    if left > timedelta(0):
        whose = "policy" if theirs and timedelta(seconds=seconds(theirs)) == cooldown else "operator"
        raise ignored(
            "Cooldown",
            f"{newest.key} contained it {span(now - at)} ago and is {newest.phase}; the {whose}'s cooldown "
            f"of {span(cooldown)} lasts another {span(left)}",
        )
