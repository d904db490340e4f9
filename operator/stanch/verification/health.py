"""Whether a workload is healthy, by its own account and its pods'. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.verification.jobs import Run
from stanch.verification.reading import Answer, Reading
from stanch.verification.serving import ROLLED_OUT, Seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

_ORDER = (Answer.FAILS, Answer.UNKNOWN, Answer.RUNNING)


def health_reading(seen: Sequence[Seen], since: datetime, at: datetime) -> Reading:
    """Of all targets the worst. `since`: restarts from then on count. A workload at zero is not healthy."""
    found = [reading for one in seen for reading in _problems(one, since, at)]
    for answer in _ORDER:
        worst = [reading for reading in found if reading.answer is answer]
        if worst:
            message = "; ".join(dict.fromkeys(reading.message for reading in worst))
            return Reading(answer, worst[0].reason, message, at)
    count = sum(len(one.ready) for one in seen)
    message = f"{count} of {count} pods ready" if count else "all completed"
    return Reading(Answer.HOLDS, "Healthy", message, at)


def _problems(seen: Seen, since: datetime, at: datetime) -> Iterator[Reading]:
    def found(answer: Answer, reason: str, message: str) -> Reading:
        return Reading(answer, reason, message, at)

    if seen.workload is None:
        yield found(Answer.FAILS, "TargetGone", f"there is no {seen.name}")
        return
    for pod in (pod for pod in seen.pods if pod.staying):
        for container, ended in pod.restarts():
            if ended is None:
                message = f"when container {container} of pod {pod.name} restarted is not told"
                yield found(Answer.UNKNOWN, "RestartUnknown", message)
            elif ended >= since.replace(microsecond=0):  # the kubelet tells whole seconds
                message = (
                    f"container {container} of pod {pod.name} ended at {ended:%H:%M:%S} UTC and restarted"
                )
                yield found(Answer.FAILS, "Restarted", message)
    if seen.target.kind in ROLLED_OUT:
        yield from _rollout(seen, at)
    elif seen.target.kind == "Job":
        yield from _job(seen, at)
    else:
        message = f"{seen.name} has no pods between its runs; use a job check"
        yield found(Answer.UNKNOWN, "NothingServes", message)


def _rollout(seen: Seen, at: datetime) -> Iterator[Reading]:
    def found(answer: Answer, reason: str, message: str) -> Reading:
        return Reading(answer, reason, message, at)

    if not seen.rolling.observed:
        yield found(Answer.UNKNOWN, "ControllerBehind", f"its controller has not yet seen {seen.name}")
        return
    if not seen.wanted:
        yield found(Answer.UNKNOWN, "NothingServes", f"{seen.name} is at zero")
        return
    staying = [pod for pod in seen.pods if pod.staying]
    troubles = [trouble for pod in staying if (trouble := pod.member.trouble()) is not None]
    for trouble in troubles:
        yield found(Answer.FAILS if trouble.hopeless else Answer.RUNNING, "PodTrouble", str(trouble))
    stuck = seen.rolling.gave_up() or seen.rolling.hindered()
    if stuck:
        yield found(Answer.FAILS, "RolloutStuck", f"{seen.name}: {stuck}")
    to_update, updated, available = seen.rolling.counts()
    if seen.target.kind == "ReplicaSet":
        updated = to_update
    ready = len(seen.ready)
    if updated < to_update or len(staying) > seen.wanted:
        message = f"{min(updated, to_update)} of {to_update} pods are of the new template, {len(staying)} run"
        yield found(Answer.RUNNING, "RollingOut", message)
    if ready < seen.wanted or available < seen.wanted:
        lost = any(pod.was_ready for pod in staying if not pod.ready)
        answer = Answer.FAILS if lost else Answer.RUNNING
        message = f"{ready} of {seen.wanted} pods ready" + (", and one that was is no more" if lost else "")
        if ready >= seen.wanted:
            message = f"{available} of {seen.wanted} pods available"
        yield found(answer, "NotReady" if lost else "Starting", message)


def _job(seen: Seen, at: datetime) -> Iterator[Reading]:
    run = Run.parse(seen.workload or {})
    if run.failed:
        yield Reading(Answer.FAILS, "JobFailed", f"{seen.name}: {run.failed}", at)
    elif run.active > len(seen.ready):
        yield Reading(Answer.RUNNING, "Starting", f"{len(seen.ready)} of {run.active} pods ready", at)
    elif not run.active and not run.complete:
        yield Reading(Answer.UNKNOWN, "NothingServes", f"{seen.name} has no pod", at)
