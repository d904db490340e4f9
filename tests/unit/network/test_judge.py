"""The brute-force model, and what Override leaves behind, before a judge that others wrote: cyclonus."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from sandbox import gobuild
from sandbox.progress import Progress
from tests.unit.network import brute_force, made
from tests.unit.network.brute_force import NAME, OWN, TRAFFIC, WORLD, Pairs, Someone
from tests.unit.network.test_override_property import WORKLOADS, Workload, ours, plan, writes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.network.made import Json

pytestmark = pytest.mark.long

PODS = [pod for pod in brute_force.own_pods() if pod.named_ports]


def shadowed(labels: Json) -> Json:
    """See `as_judged`: beside each label, one that says `absent` where it is not set."""
    keys = ("app", "tier", "role", "env", NAME)
    return {**labels, **{f"shadow.{key}": labels.get(key, "absent") for key in keys}}


def as_judged(policy: Any) -> Any:
    """NotIn asked of a label that is always set.

    The judge takes NotIn for false where the label is not set. The API server's own selectors, and so the
    plugins that use them, take it for true: k8s.io/apimachinery, pkg/labels, Requirement.Matches.
    """
    if isinstance(policy, list):
        return [as_judged(one) for one in policy]
    if isinstance(policy, dict):
        if policy.get("operator") == "NotIn":
            return {**policy, "key": f"shadow.{policy['key']}"}
        return {key: as_judged(one) for key, one in policy.items()}
    return policy


def party(someone: Someone) -> Json:
    ports = [
        {"name": name, "protocol": protocol, "port": port} for name, protocol, port in someone.named_ports
    ]
    return {
        "ip": someone.ip,
        "namespace": someone.namespace,
        "namespaceLabels": shadowed(someone.namespace_labels),
        "labels": shadowed(someone.labels or {}),
        "ports": ports,
    }


def as_stored(policy: Json) -> Json:
    """With the policyTypes that the API server fills in: the judge wants them."""
    types = [direction for direction in ("Ingress", "Egress") if brute_force.isolates(policy, direction)]
    return {**policy, "spec": {**policy["spec"], "policyTypes": types}}


class Judge:
    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def allowed(self, policies: list[Json]) -> dict[tuple[int, str], Pairs]:
        """By the number of the pod in PODS, and direction."""
        question = {
            "policies": [as_judged(as_stored(policy)) for policy in policies],
            "pods": [party(pod) for pod in PODS],
            "others": [party(someone) for someone in WORLD],
            "traffic": [{"protocol": one.protocol, "port": one.port} for one in TRAFFIC],
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        answers = iter(json.loads(self._process.stdout.readline()))
        return {
            (pod, direction): frozenset(
                divmod(place, len(TRAFFIC)) for place, bit in enumerate(next(answers)) if bit == "1"
            )
            for pod in range(len(PODS))
            for direction in ("Ingress", "Egress")
        }

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        assert self._process.wait(timeout=10) == 0
        self._process.stdout.close()


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    directory = tmp_path_factory.mktemp("judge")
    progress = Progress()
    go = gobuild.toolchain("1.26.0", directory, progress)
    package = gobuild.Package(Path(__file__).with_name("judge"), "the judge of network policies")
    judge = Judge(gobuild.compile_program(go, package, directory / "judge", progress))
    yield judge
    judge.end()


@pytest.mark.timeout(900)  # compiling it for the first time takes minutes
@made.examples(200)
@given(made.policies(most=4), WORKLOADS)
def test_the_judge_agrees_before_and_after_override(
    judge: Judge, policies: list[Json], workloads: list[Workload]
) -> None:
    after = [*writes(policies, plan(policies, workloads).edits)[-1], *ours(workloads)]
    was, became = judge.allowed(policies), judge.allowed(after)

    for number, pod in enumerate(PODS):
        for direction in ("Ingress", "Egress"):
            assert was[number, direction] == brute_force.allowed(policies, pod, direction)
            isolating = [one for one in workloads if one.isolates(pod, direction)]
            if isolating:
                holes = frozenset().union(*(one.open_on_purpose(pod, direction) for one in isolating))
                assert became[number, direction] == holes
            else:
                assert became[number, direction] == was[number, direction]


def test_the_judge_knows_a_pod_that_nobody_isolates_and_one_that_is(judge: Judge) -> None:
    deny = {"metadata": {"name": "deny", "namespace": OWN}, "spec": {"podSelector": {}}}

    assert set(judge.allowed([]).values()) == {brute_force.EVERYTHING}
    assert judge.allowed([deny])[0, "Ingress"] == frozenset()
    assert PODS[0].namespace_labels == {NAME: OWN}
