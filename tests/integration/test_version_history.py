"""Histories as a real API server keeps them: an earlier version is known again, and comes back exactly."""

from __future__ import annotations

import copy
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from stanch.api.v1alpha1.versions import RollbackTo
from stanch.plans.changes import forward
from stanch.versions.choice import Chosen, Standing, choose
from stanch.versions.diff import clean, diff, field_changes
from stanch.versions.revisions import current_of, of_controller_revisions, of_replica_sets
from tests.operator_process import workload

if TYPE_CHECKING:
    from stanch.versions.revisions import Revision
    from tests.cluster import Kubectl

Json = dict[str, Any]
_WITHIN = 60.0
_PATIENCE = 0.2
# Fields that the server gives defaults to, empties, and maps: what a naive comparison would stumble over.
_POD: Json = {
    "containers": [
        {
            "name": "server",
            "image": "registry.example.test/llm:1",
            "args": ["--model=org/x", "--revision=r1"],
            "env": [
                {"name": "EMPTY"},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            ],
            "ports": [{"containerPort": 8000}],
            "resources": {"requests": {"cpu": "1"}},
            "securityContext": {},
            "readinessProbe": {"httpGet": {"port": 8000}},
            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        }
    ],
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "securityContext": {},
    "terminationGracePeriodSeconds": 1,
    "tolerations": [{"operator": "Exists"}],
    "volumes": [
        {"name": "scratch", "emptyDir": {}},
        {"name": "late", "configMap": {"name": "x", "optional": True}},
    ],
}


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_an_earlier_version_comes_back_without_a_new_revision(
    kubectl: Kubectl, namespace: str, kind: str
) -> None:
    first = workload(kind, "llm", 1, pod=_POD)
    del first["spec"]["template"]["spec"]["nodeSelector"]
    second = copy.deepcopy(first)
    server = second["spec"]["template"]["spec"]["containers"][0]
    server |= {"image": "registry.example.test/llm:2", "args": ["--model=org/x", "--revision=r2"], "env": []}
    second["spec"]["template"]["spec"]["tolerations"] = []
    second["spec"]["template"]["metadata"]["annotations"] = {"team": "chat"}
    for number, manifest in enumerate((first, second), start=1):
        kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(manifest), check=True)
        _wait_recorded(kubectl, namespace, kind, number)

    before, history = _look(kubectl, namespace, kind)
    chosen = choose(_standing(before, history), RollbackTo(last_known_good=True), None, ())
    assert isinstance(chosen, Chosen), chosen
    assert chosen.number == 1
    fields = field_changes(diff(before["spec"]["template"], chosen.template), "spec", "template")
    kubectl(
        *("-n", namespace, "patch", kind, "llm", "--type=json", "-p", json.dumps(forward(fields, before))),
        check=True,
    )
    _wait_recorded(kubectl, namespace, kind, 3)

    after, history = _look(kubectl, namespace, kind)
    assert clean(after["spec"]["template"]) == chosen.template
    current = current_of(history, after["spec"]["template"])
    assert current is not None
    # The first one, renumbered: had a field differed, a third one would have been made.
    assert [revision.number for revision in history] == [2, 3]
    assert (current.number, current.name) == (3, chosen.what.partition("(")[2].rstrip(")"))


def _standing(obj: Json, history: tuple[Revision, ...]) -> Standing:
    return Standing(obj["spec"]["template"], history, history_limit=obj["spec"]["revisionHistoryLimit"])


def _look(kubectl: Kubectl, namespace: str, kind: str) -> tuple[Json, tuple[Revision, ...]]:
    def get(*what: str) -> Json:
        answer: Json = json.loads(kubectl("-n", namespace, "get", *what, "-o", "json", check=True).stdout)
        return answer

    obj = get(kind, "llm")
    uid = obj["metadata"]["uid"]
    if kind == "Deployment":
        return obj, of_replica_sets(uid, get("replicasets")["items"])
    return obj, of_controller_revisions(uid, get("controllerrevisions")["items"])


def _wait_recorded(kubectl: Kubectl, namespace: str, kind: str, number: int) -> None:
    """Until the controller has made the current template its revision `number`."""
    deadline = time.monotonic() + _WITHIN
    while True:
        obj, history = _look(kubectl, namespace, kind)
        current = current_of(history, obj["spec"]["template"])
        if current is not None and current.number == number:
            return
        assert time.monotonic() < deadline, f"{kind} has no revision {number}: {history}"
        time.sleep(_PATIENCE)
