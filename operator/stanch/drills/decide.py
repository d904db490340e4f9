"""Which drills of a policy are due, what their incidents are, and which have been kept long enough. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from stanch.api.v1alpha1.base import API_VERSION
from stanch.api.v1alpha1.incident import (
    AIIncidentSpec,
    Category,
    PolicyKind,
    PolicyRef,
    Severity,
    Target,
    TargetKind,
)
from stanch.kube.resources import AIINCIDENTS
from stanch.policies.drilled import DRILL_LABEL, Drilled, of_drill
from stanch.policies.schedule import latest, wrong_with

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stanch.api.v1alpha1.policy import Drill
    from stanch.policies.match import Policy
    from stanch.policies.state import Matched

LATEST = timedelta(hours=1)
"""What was missed by more than this is left out: the next one comes."""
_NEVER = datetime.min.replace(tzinfo=UTC)
_MOST_NAME = 63  # characters of a DNS label
_DIGITS = 6
_BATCH = {TargetKind.JOB, TargetKind.CRON_JOB}


@dataclass(frozen=True, slots=True)
class Due:
    """One drill, and the minute that its schedule names."""

    drill: Drill
    at: datetime


def drills_due(policy: Policy, last: Mapping[str, datetime], now: datetime) -> tuple[Due, ...]:
    """Those whose time has come, and that have not been made for it. At most the last missed one of each.

    `last`: for which minute each was last made, by its name. A schedule that is none is never due; the status
    of the policy says so.
    """
    if policy.spec.suspend or policy.metadata.deletion_timestamp is not None:
        return ()
    due = []
    for drill in policy.spec.drills:
        at = None if wrong_with(drill.schedule) else latest(drill.schedule, now)
        if at is not None and _open(policy, at, now) and at > last.get(drill.name, _NEVER):
            due.append(Due(drill, at))
    return tuple(due)


def _open(policy: Policy, at: datetime, now: datetime) -> bool:
    """Not long past, and not from before the policy was there."""
    created = policy.metadata.creation_timestamp or _NEVER
    return now - at < LATEST and at >= created.replace(second=0, microsecond=0)


def last_made(policy: Policy, drilled: Iterable[Drilled], now: datetime) -> dict[str, datetime]:
    """When each drill was made last, by the names of its incidents and by the policy's status.

    Anybody who may create incidents may choose such a name: one of the future is none.
    """
    made: dict[str, datetime] = {one.name: one.at for one in policy.status.drills}
    names = {one.metadata.name for one in drilled}
    for drill in policy.spec.drills:
        stem = f"{_stem(policy, drill.name)}-"
        moments = (_moment(name.removeprefix(stem)) for name in names if name.startswith(stem))
        times = [at for at in moments if at is not None and at <= now]
        made[drill.name] = max([*times, made.get(drill.name, _NEVER)])
    return made


def _moment(stamp: str) -> datetime | None:
    try:
        return datetime.strptime(stamp, "%Y%m%d%H%M").replace(tzinfo=UTC)
    except ValueError:  # a name that somebody else gave
        return None


def incident_name(policy: Policy, drill: str, at: datetime) -> str:
    """The same for one minute of one drill, so that the API server itself refuses to have it twice.

    `drill-<policy>-<drill>-<digest>-<YYYYMMDDHHMM>`, a DNS label: what is too long is cut, and the digest
    tells apart what then reads the same.
    """
    return f"{_stem(policy, drill)}-{at:%Y%m%d%H%M}"


def _stem(policy: Policy, drill: str) -> str:
    who = [policy.kind, policy.metadata.name, drill]
    digest = hashlib.sha256(json.dumps(who).encode()).hexdigest()[:_DIGITS]
    room = _MOST_NAME - len("-202601020304") - 1 - _DIGITS
    words = f"drill-{policy.metadata.name}-{drill}".replace(".", "-")[:room].rstrip("-")
    return f"{words}-{digest}"


def target_of(policy: Policy, drill: Drill, matched: Iterable[Matched]) -> Matched | None:
    """The workload that it is about: the first that the policy selects and the drill means."""
    wanted = drill.target
    namespace = policy.metadata.namespace or (wanted.namespace if wanted is not None else None)
    fitting = [
        one
        for one in matched
        if (wanted is None or (one.kind, one.name) == (wanted.kind, wanted.name))
        and (not namespace or one.namespace == namespace)
    ]
    return min(fitting, default=None)


def incident_of(policy: Policy, due: Due, target: Matched) -> dict[str, Any]:
    """The manifest of the exercise: by the policy's own plan, in dry run."""
    kind = TargetKind(target.kind)
    spec = AIIncidentSpec(
        title=f"Drill {due.drill.name} of {policy.kind} {policy.metadata.name}"[:256],
        category=Category.OTHER,
        severity=Severity.INFORMATIONAL,
        targets=(
            Target(api_version="batch/v1" if kind in _BATCH else "apps/v1", kind=kind, name=target.name),
        ),
        policy_ref=PolicyRef(kind=PolicyKind(policy.kind), name=policy.metadata.name),
        exercise=True,
        occurred_at=due.at,
    )
    return {
        "apiVersion": API_VERSION,
        "kind": AIINCIDENTS.kind,
        "metadata": {
            "name": incident_name(policy, due.drill.name, due.at),
            "namespace": target.namespace,
            "labels": {DRILL_LABEL: due.drill.name},
        },
        "spec": spec.wire(),
    }


def kept_enough(policy: Policy, drilled: Iterable[Drilled]) -> tuple[Drilled, ...]:
    """The exercises beyond what each drill keeps, the newest first being kept. Only what changes nothing."""
    known = tuple(drilled)
    return tuple(
        old
        for drill in policy.spec.drills
        for old in sorted(
            (one for one in known if of_drill(one, policy, drill.name)),
            key=lambda one: (one.metadata.creation_timestamp or _NEVER, one.metadata.name),
            reverse=True,
        )[drill.keep :]
        if old.metadata.deletion_timestamp is None
    )
