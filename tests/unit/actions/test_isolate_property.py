"""Isolations come and go in any order, whatever they share: each workload is cut off, nobody else is."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from stanch.network.evaluate import evaluate
from stanch.network.facts import PodFacts
from stanch.network.models import NetworkPolicy
from stanch.network.selectors import LabelSelector
from tests.unit.actions.isolated import SPACE, Namespace, workload
from tests.unit.network.made import examples, policies, selectors

if TYPE_CHECKING:
    from stanch.actions.objects import Obj
    from stanch.network.evaluate import Evaluation

Json = dict[str, Any]
_VALUES = (None, "x", "y", "z")
EVERYBODY = [
    PodFacts(SPACE, f"{app}-{tier}", {key: value for key, value in (("app", app), ("tier", tier)) if value})
    for app, tier in itertools.product(_VALUES, _VALUES)
]
INCIDENTS = ("a", "b", "c")


def usable(selector: Json) -> bool:
    return bool(selector) and LabelSelector.model_validate(selector).satisfiable


WORKLOADS = st.lists(selectors("app", "tier").filter(usable), min_size=1, max_size=3)
# Who decides next; after the isolations have begun, after the first releases, and so on.
TURNS = st.lists(st.sampled_from(INCIDENTS), max_size=25)


def made(selectors_: list[Json]) -> dict[str, Obj]:
    found = {}
    for name, selector in zip(INCIDENTS, selectors_, strict=False):
        matching = next(
            pod for pod in EVERYBODY if LabelSelector.model_validate(selector).matches(pod.labels)
        )
        found[name] = workload(name, selector, matching.labels)
    return found


def evaluated(namespace: Namespace, pod: PodFacts) -> Evaluation:
    return evaluate([NetworkPolicy.parse(body) for body in namespace.policies.values()], [pod])


def allowed(namespace: Namespace, pod: PodFacts) -> set[Any]:
    return {(one.direction, one.peers, one.ports) for one in evaluated(namespace, pod).allowances}


class Watched(Namespace):
    """Nobody outside the workloads gains or loses anything, at any moment."""

    def watch(self) -> None:
        self.bystanders = [
            (pod, allowed(self, pod))
            for pod in EVERYBODY
            if not any(selector_of(one).matches(pod.labels) for one in self.workloads.values())
        ]
        self.look = self.unchanged

    def unchanged(self) -> None:
        for pod, before in self.bystanders:
            assert allowed(self, pod) == before, pod.name


def selector_of(obj: Obj) -> LabelSelector:
    return LabelSelector.model_validate(obj.json["spec"]["selector"])


def cut_off(namespace: Namespace, names: set[str]) -> None:
    """What an isolation says of its workload's pods is so."""
    for name in names:
        mine = [pod for pod in EVERYBODY if selector_of(namespace.workloads[name]).matches(pod.labels)]
        leaking = [pod.name for pod in mine if evaluated(namespace, pod).leaks]
        (state,) = namespace.state(name)
        event(state)
        assert bool(leaking) == (state != "Effective"), (name, state, leaking)


def come_and_go(made_policies: list[Json], wanted: list[Json], turns: list[str], order: list[str]) -> None:
    workloads = made(wanted)
    bodies = {
        body["metadata"]["name"]: {
            "metadata": {**body["metadata"], "namespace": SPACE, "resourceVersion": "1"},
            "spec": body["spec"],
        }
        for body in copy.deepcopy(made_policies)
    }
    namespace = Watched(workloads, bodies)
    original = {name: (body["spec"], sorted(body["metadata"])) for name, body in bodies.items()}
    namespace.watch()
    for name in workloads:
        namespace.isolate(name, name, others="Override")
    for name in turns:
        if name in workloads:
            namespace.turn(name)
    namespace.settle()
    cut_off(namespace, set(workloads))
    standing = set(workloads)
    for name in order:
        if name not in workloads:
            continue
        namespace.release(name)
        for other in turns:
            if other in workloads:
                namespace.turn(other)
        namespace.settle()
        standing -= {name}
        cut_off(namespace, standing)
    after = {name: (body["spec"], sorted(body["metadata"])) for name, body in namespace.policies.items()}
    assert after == original
    assert namespace.held == {}


@given(policies(), WORKLOADS, TURNS, st.permutations(INCIDENTS))
@examples(40)
def test_isolations_that_share_policies_come_and_go_in_any_order(
    made_policies: list[Json], wanted: list[Json], turns: list[str], order: list[str]
) -> None:
    come_and_go(made_policies, wanted, turns, order)


@pytest.mark.long
@pytest.mark.timeout(3600)
@given(policies(), WORKLOADS, TURNS, st.permutations(INCIDENTS))
@examples(1000)
def test_isolations_that_share_policies_come_and_go_in_any_order_at_length(
    made_policies: list[Json], wanted: list[Json], turns: list[str], order: list[str]
) -> None:
    come_and_go(made_policies, wanted, turns, order)
