"""The last words of a container are kept, however the kubelet cuts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.errors import Rejected
from stanch.evidence.logs import newest
from stanch.evidence.selection import Pod
from stanch.kube.resources import PODS, ObjectRef

if TYPE_CHECKING:
    from stanch.kube.client import Kube

KEEP = 4096
POD = ObjectRef(PODS, "chat", "llm-0")
Json = dict[str, Any]


@dataclass
class Kubelet:
    """With its two limits, as PodLogOptions: the last `tailLines`, of these the first `limitBytes`."""

    written: bytes
    asked: list[int] = field(default_factory=list)

    async def log(
        self, _pod: ObjectRef, _container: str, *, previous: bool, tail_lines: int, limit_bytes: int
    ) -> bytes:
        assert not previous
        self.asked.append(tail_lines)
        lines = self.written.splitlines(keepends=True)
        return b"".join(lines[-tail_lines:])[:limit_bytes]


async def kept(written: bytes) -> tuple[bytes, bool]:
    return await newest(cast("Kube", Kubelet(written)), POD, "vllm", previous=False, keep=KEEP)


@given(lengths=st.lists(st.integers(0, 600), max_size=60))
async def test_the_newest_whole_lines_are_kept(lengths: list[int]) -> None:
    written = b"".join(b"%d " % number + b"x" * length + b"\n" for number, length in enumerate(lengths))
    body, cut = await kept(written)
    assert written.endswith(body)
    assert cut == (body != written)
    assert len(body) <= KEEP
    older = written[: len(written) - len(body)]
    assert older == b"" or older.endswith(b"\n")
    if cut:
        last_left_out = older.splitlines(keepends=True)[-1]
        assert len(body) + len(last_left_out) > KEEP


async def test_of_a_long_log_the_end_is_kept() -> None:
    written = b"".join(b"line %06d %s\n" % (number, b"x" * 300) for number in range(20_000))
    body, cut = await kept(written)
    assert cut
    assert body.startswith(b"line ")
    assert body.endswith(written[-300:])
    assert len(body) > KEEP / 2


async def test_of_more_short_lines_than_are_asked_for_it_is_told_that_there_were_more() -> None:
    body, cut = await kept(b"\n" * 10_000)
    assert (body, cut) == (b"\n" * 4096, True)


async def test_one_line_that_never_ends_is_kept_from_its_beginning() -> None:
    body, cut = await kept(b"ok\n" + b"begin " + b"x" * 1_000_000)
    assert body.startswith(b"begin ")
    assert cut
    assert len(body) <= 4 * KEEP


async def test_the_kubelets_excuse_is_no_log() -> None:
    """As a real kubelet answers, with 200, for an instance whose log was removed meanwhile."""
    excuse = b"unable to retrieve container logs for containerd://7481ca08508a346f756ced5562b0057a36b1c501"
    with pytest.raises(Rejected, match="the kubelet of Pod chat/llm-0 answers: unable to retrieve") as caught:
        await kept(excuse)
    assert caught.value.reason == "LogGone"
    said_by_the_container = b"2026-11-23T13:38:25.157435688Z " + excuse + b"\n"
    assert await kept(said_by_the_container) == (said_by_the_container, False)


# Which containers have one


def pod(**status: Any) -> Json:
    return {
        "metadata": {"name": "llm-0", "namespace": "chat", "uid": "1"},
        "spec": {
            "initContainers": [{"name": "fetch"}],
            "containers": [{"name": "vllm"}],
            "ephemeralContainers": [{"name": "debug"}],
        },
        "status": status,
    }


RUNNING: Json = {"state": {"running": {}}, "restartCount": 0}
RESTARTED: Json = {"state": {"running": {}}, "restartCount": 3, "lastState": {"terminated": {}}}
CRASHING: Json = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 3}
PULLING: Json = {"state": {"waiting": {"reason": "ImagePullBackOff"}}, "restartCount": 0}
ENDED: Json = {"state": {"terminated": {}}, "restartCount": 0}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (RUNNING, ["current"]),
        (ENDED, ["current"]),
        (RESTARTED, ["current", "previous"]),
        (CRASHING, ["current", "previous"]),
        (PULLING, []),
    ],
)
def test_only_instances_that_ran_are_asked_for(status: Json, expected: list[str]) -> None:
    statuses = {
        "phase": "Running",
        "initContainerStatuses": [ENDED | {"name": "fetch"}],
        "containerStatuses": [status | {"name": "vllm"}],
        "ephemeralContainerStatuses": [RUNNING | {"name": "debug"}],
    }
    logs = list(Pod.model_validate(pod(**statuses)).logs())
    assert [instance for name, instance in logs if name == "vllm"] == expected
    assert ("fetch", "current") in logs
    assert ("debug", "current") in logs


def test_a_kubelet_that_reports_nothing_is_asked_unless_nothing_can_have_started() -> None:
    assert [name for name, _ in Pod.model_validate(pod(phase="Running")).logs()] == ["fetch", "vllm", "debug"]
    assert list(Pod.model_validate(pod(phase="Pending")).logs()) == []
    assert list(Pod.model_validate({"metadata": {"name": "x"}}).logs()) == []
