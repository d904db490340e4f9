"""A target, what its controller made of it, and its pods."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stanch.evidence import selection
from stanch.kube import resources as known
from stanch.network.parsing import understand
from stanch.network.selectors import LabelSelector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stanch.evidence.reading import Reading
    from stanch.kube.resources import ObjectRef

Json = dict[str, Any]

_REVISIONS_OF = {
    "Deployment": known.REPLICASETS,
    "StatefulSet": known.CONTROLLERREVISIONS,
    "DaemonSet": known.CONTROLLERREVISIONS,
}
_JOB_UID = "batch.kubernetes.io/controller-uid"


@dataclass(frozen=True, slots=True)
class Family:
    """`whole` is False where something of it could not be read."""

    target: Json
    made: Sequence[Json] = ()
    pods: Sequence[Json] = ()
    whole: bool = True

    @property
    def template(self) -> Json:
        """What its pods are made from; a pod is its own."""
        return selection.template_of(self.target) or self.target

    @property
    def labels(self) -> dict[str, str]:
        """Those its pods have, also when there is none."""
        labels: dict[str, str] = (self.template.get("metadata") or {}).get("labels") or {}
        return labels

    @property
    def members(self) -> Sequence[Json]:
        return (self.target, *self.made, *self.pods)


async def read_family(reading: Reading, ref: ObjectRef) -> Family | None:
    """None, and why, when the target itself could not be read."""
    target = await reading.get(ref)
    if target is None:
        return None
    if ref.resource == known.PODS:
        return Family(target, pods=(target,))
    if ref.resource == known.CRONJOBS:
        return await _of_cron_job(reading, ref, target)
    return await _selected(reading, ref, target)


async def _of_cron_job(reading: Reading, ref: ObjectRef, target: Json) -> Family:
    jobs = await reading.list(known.JOBS, ref.namespace)
    own = selection.controlled(jobs or [], [selection.uid_of(target)])
    uids = ",".join(sorted(selection.uid_of(job) for job in own))
    pods = await reading.list(known.PODS, ref.namespace, f"{_JOB_UID} in ({uids})") if own else []
    return Family(target, own, pods or [], whole=jobs is not None and pods is not None)


async def _selected(reading: Reading, ref: ObjectRef, target: Json) -> Family:
    """A workload with a selector: the pods that it controls, itself or through its revisions."""
    raw = (target.get("spec") or {}).get("selector")
    if not isinstance(raw, dict):
        reading.miss(f"pods of {ref}", "NoSelector", "it has no selector that would tell its pods")
        return Family(target, whole=False)
    query = await reading.ask(f"selector of {ref}", lambda: _query(raw, str(ref)))
    if query is None:
        return Family(target, whole=False)
    revisions = _REVISIONS_OF.get(ref.resource.kind)
    made, pods = await asyncio.gather(
        reading.list(revisions, ref.namespace, query) if revisions else _nothing(),
        reading.list(known.PODS, ref.namespace, query),
    )
    own = selection.controlled(made or [], [selection.uid_of(target)])
    owners = [selection.uid_of(target), *(selection.uid_of(each) for each in own)]
    # Without its ReplicaSets nobody can say which of the selected pods are a Deployment's own.
    selected = pods or []
    its = selection.controlled(selected, owners) if made is not None else selected
    return Family(target, own, its, whole=made is not None and pods is not None)


async def _query(raw: Json, what: str) -> str:
    return selection.label_query(understand(LabelSelector, raw, f"the selector of {what}"))


async def _nothing() -> list[Json] | None:
    return []
