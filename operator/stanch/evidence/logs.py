"""The newest part of each container's log, of the instance that runs and of the one before."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.errors import Rejected
from stanch.evidence.model import Source
from stanch.evidence.reading import Answer
from stanch.kube.resources import PODS, ObjectRef

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stanch.evidence.reading import Reading
    from stanch.evidence.selection import Instance, Pod
    from stanch.kube.client import Kube

SHARE = 0.75  # of all bytes, which manifests cannot take
_MOST_LINES = 4096  # asked for at first
_FEWER = 8  # times fewer are asked for when they are too long
_ROOM = 4  # times as many bytes are read as kept: the kubelet cuts the newest part off, not the oldest
_SMALLEST = 4096  # bytes
# Lines of a log begin with their time, so no container can say this.
_GONE = re.compile(rb"unable to retrieve container logs for [!-~]+\s?")


@dataclass(frozen=True, slots=True)
class _Log:
    pod: Pod
    container: str
    instance: Instance

    @property
    def source(self) -> Source:
        metadata = self.pod.metadata
        return Source(
            api_version="v1",
            kind="Pod",
            namespace=metadata.namespace,
            name=metadata.name,
            uid=metadata.uid,
            container=self.container,
            instance=self.instance,
        )


async def read_logs(reading: Reading, pods: Sequence[Pod], rank: int) -> None:
    """All at once, as far as the slots go; each has the same share of the bytes."""
    wanted = [_Log(pod, container, instance) for pod in pods for container, instance in pod.logs()]
    share = int(reading.limits.total_bytes * SHARE) // max(1, len(wanted))
    keep = min(reading.limits.log_bytes, max(_SMALLEST, share))
    await asyncio.gather(*(_read_log(reading, each, keep, rank) for each in wanted))


async def _read_log(reading: Reading, log: _Log, keep: int, rank: int) -> None:
    source, metadata = log.source, log.pod.metadata
    ref = ObjectRef(PODS, metadata.namespace, metadata.name)
    previous = log.instance == "previous"
    got = await reading.ask(
        f"log of {source}", lambda: newest(reading.kube, ref, log.container, previous=previous, keep=keep)
    )
    if got is not None:
        body, cut = got
        key = (metadata.name, log.container, log.instance)
        reading.answers.append(Answer(rank, key, "log", body, source, reading.now(), truncated=cut))


async def newest(
    kube: Kube, pod: ObjectRef, container: str, *, previous: bool, keep: int
) -> tuple[bytes, bool]:
    """The last `keep` bytes in whole lines, and whether there was more before. Raises StanchError.

    `limitBytes` cuts off the end of what `tailLines` selects, which is what matters most: so fewer lines are
    asked for until they fit. A single line that does not fit is kept from its beginning. Raises Rejected
    (`LogGone`) for the sentence with which the kubelet answers, with 200, when it has no log any more.
    """
    lines, room = _MOST_LINES, keep * _ROOM
    while True:
        body = await kube.log(pod, container, previous=previous, tail_lines=lines, limit_bytes=room)
        if _GONE.fullmatch(body):
            raise Rejected("LogGone", f"the kubelet of {pod} answers: {body.decode().strip()}")
        if len(body) < room or lines == 1:
            break
        lines = max(1, lines // _FEWER)
    cut = body.count(b"\n") >= lines or len(body) >= room
    if len(body) <= keep:
        return body, cut
    # Only at the beginning of a line: half a credential has no shape that tells it.
    begin = body.find(b"\n", len(body) - keep - 1) + 1
    return (body[begin:] if 0 < begin < len(body) else body), True
