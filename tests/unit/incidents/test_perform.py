"""Acts carried out against an API server that refuses one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from stanch.actions.objects import Obj
from stanch.actions.protocol import Doomed
from stanch.errors import Forbidden
from stanch.holds.keeper import HoldKeeper
from stanch.incidents.acts import EndPods, Patch
from stanch.incidents.perform import Performer
from stanch.kube.resources import PODS, REPLICASETS, ObjectRef
from tests.unit.incidents.in_memory import NO_TOOLS, TARGET, InMemory
from tests.unit.incidents.walk import facts_of, incident

if TYPE_CHECKING:
    from stanch.kube.client import Kube

Json = dict[str, Any]


class Guarded(InMemory):
    """Somebody else's webhook lets one pod be deleted by nobody."""

    guarded = "llm-1"

    async def _turn(self) -> None:
        """Nobody waits."""

    async def delete(self, ref: ObjectRef, **_options: Any) -> None:
        if ref.name == self.guarded:
            raise Forbidden("Forbidden", f"{ref} is guarded")
        assert ref.resource == PODS
        self.pods = [pod for pod in self.pods if pod["metadata"]["name"] != ref.name]


async def test_a_pod_that_cannot_be_ended_does_not_keep_the_workload_from_being_stopped() -> None:
    api = Guarded()
    kube = cast("Kube", api)
    workload = Obj(REPLICASETS, api.objects[TARGET])
    facts = facts_of(incident(), workload)
    performer = Performer(kube, HoldKeeper(kube), facts, {}, doubt=lambda _: False, tools=NO_TOOLS)
    doomed = tuple(Doomed(pod["metadata"]["name"], pod["metadata"]["uid"], 1) for pod in api.pods)
    stop: list[Json] = [{"op": "replace", "path": "/spec/replicas", "value": 0}]

    with pytest.raises(Forbidden, match="llm-1 is guarded"):
        await performer.perform_all([EndPods(doomed), Patch(workload, stop)])

    assert api.objects[TARGET]["spec"]["replicas"] == 0
    assert [pod["metadata"]["name"] for pod in api.pods] == ["llm-1"], "the others are ended all the same"
