"""What a case of the standing tests is (tests/cases.py has them all), and what has to come back of it.

In manifests and commands NAMESPACE stands for the namespace, MADE for what containment has made there.
"""

from __future__ import annotations

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sandbox import Sandbox
from stanch.api.v1alpha1.status import AIIncidentStatus, Change, ChangeType
from stanch.kube.resources import CHANGEABLE, JOBS, NETWORKPOLICIES
from stanch.plans.changes import all_in_place
from tests.operator_process import Json, Space, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stanch.kube.resources import Resource
    from tests.cluster import Cluster, Kubectl

INCIDENT = "toxic-output"
PATIENCE = 100.0  # seconds: everything at once on a busy machine
SETTLED = 200.0
"""Seconds. Kubernetes' controllers wait ever longer after an error, up to 160 s (5 ms, doubled 15 times)."""
PODS = 2
RBAC = "rbac.authorization.k8s.io"
_SERVER_SET = {
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "selfLink",
}
_NOT_OURS = {"deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation"}  # counted
_STANCH = "/apis/stanch.dev/v1alpha1"
PATHS = {
    "aiincidents": _STANCH,
    "containmentholds": _STANCH,
    "deployments": "/apis/apps/v1",
    "statefulsets": "/apis/apps/v1",
    "horizontalpodautoscalers": "/apis/autoscaling/v2",
    "networkpolicies": "/apis/networking.k8s.io/v1",
    "pods": "/api/v1",
    "serviceaccounts": "/api/v1",
    "cronjobs": "/apis/batch/v1",
    "rolebindings": f"/apis/{RBAC}/v1",
}
HELD = f"held by AIIncident {INCIDENT} (Critical, OutputPolicyViolation)"
CONDEMNED = f"is condemned by AIIncident {INCIDENT} (Critical, OutputPolicyViolation)"


@dataclass(frozen=True)
class Undoing:
    """A command by which somebody would undo a containment: denied, or put right when it goes through.

    `denied` is what the denial says, empty where no hold can know; `told` which request the incident tells it
    as. `righted` is what the incident tells when it goes through; empty where there is nothing to put right.
    """

    who: str
    command: tuple[str, ...]
    told: str = ""
    denied: str = HELD
    righted: str = ""
    manifest: Json | None = None


@dataclass(frozen=True)
class Case:
    """`objects` (resource, name) have to come back byte by byte; `happened` is what led to the incident."""

    id: str
    target: str
    manifests: tuple[Json, ...]
    objects: tuple[tuple[str, str], ...]
    steps: tuple[Json, ...]
    happened: Callable[[Space], None] = field(default=lambda _: None)
    undoings: tuple[Undoing, ...] = ()
    awaited: bool = True
    """Whether it runs pods of its own, all the time."""

    def create(self, space: Space) -> None:
        items = [placed(manifest, space) for manifest in self.manifests]
        space.create({"apiVersion": "v1", "kind": "List", "items": items})

    def stage(self, space: Space) -> None:
        self.create(space)
        kind, _, name = self.target.partition("/")
        if self.awaited:
            space.running(kind, name, PODS)
        self.happened(space)
        if self.awaited:
            space.running(kind, name, PODS)

    @property
    def spec(self) -> Json:
        return {"steps": list(self.steps)} if self.steps else {}

    @property
    def resources(self) -> set[Resource]:
        """Of what containing it may touch."""
        kinds = {manifest["kind"] for manifest in self.manifests}
        made = {NETWORKPOLICIES, JOBS} if "CronJob" in kinds else {NETWORKPOLICIES}
        plurals = {plural for plural, _ in self.objects}
        return made | {one for one in CHANGEABLE.values() if one.kind in kinds or one.plural in plurals}

    def clear(self, space: Space) -> None:
        """Delete what is in no namespace."""
        for manifest in self.manifests:
            if manifest["kind"] in {"ClusterRole", "ClusterRoleBinding"}:
                space("delete", manifest["kind"], placed(manifest, space)["metadata"]["name"])


@dataclass(frozen=True)
class Scene:
    """A case in a namespace of its own, and what was there before its incident."""

    case: Case
    space: Space
    before: dict[str, Json]

    @classmethod
    def of(cls, case: Case, cluster: Cluster, kubectl: Kubectl) -> Scene:
        space = Space(f"{case.id.lower()}-{secrets.token_hex(4)}", kubectl, cluster)
        kubectl("create", "namespace", space.name, check=True)
        case.stage(space)
        scene = cls(case, space, {})
        return replace(scene, before=scene.shapes())

    def shapes(self) -> dict[str, Json]:
        """All that an action may have touched, by kind and name, as it has to come back."""
        found = {}
        for resource in self.case.resources:
            for body in self._list(resource):
                kind, name = resource.kind, body["metadata"]["name"]
                if (kind, name) != ("ServiceAccount", "default"):
                    head = {"apiVersion": resource.api_version, "kind": kind}
                    found[f"{kind}/{name}"] = shape_of(head | body)
        return found

    def stands(self, before: dict[str, Json]) -> bool:
        """Whether all is as it was before, and every change in place."""
        shapes = self.shapes()
        same = {key: shapes.get(key) for key in before} == before
        return same and all(_in_place(one, shapes) for _, one in changes_of(self.status))

    @property
    def incident(self) -> Json:
        return self._get(f"{_STANCH}/namespaces/{self.space.name}/aiincidents/{INCIDENT}")

    @property
    def status(self) -> Json:
        status: Json = self.incident.get("status", {})
        return status

    @property
    def contests(self) -> int:
        count: int = self.status.get("contested", {}).get("count", 0)
        return count

    @property
    def made(self) -> str:
        """The name of the first object that containment has made; empty when it has made none."""
        made = (one.object.name for _, one in changes_of(self.status) if one.type is ChangeType.CREATE)
        return next(made, "")

    def contain(self) -> None:
        """Ask for it, without waiting."""
        self.space.incident(INCIDENT, self.case.target, **self.case.spec)

    def in_phase(self, phase: str) -> Json:
        """The status, once it is in that phase."""
        what = f"{self.case.id} is {phase}"
        try:
            eventually(lambda: self.status.get("phase") == phase, what, SETTLED)
        except AssertionError as late:
            there = self.space("get", "deployments,replicasets,statefulsets,pods,events", "-o", "wide")
            raise AssertionError(f"{late}\n{json.dumps(self.status, indent=1)}\n{there}") from late
        return self.status

    def contained(self) -> Json:
        """The status, once it is contained and held: every change recorded once, and in place."""
        self.in_phase("Contained")
        eventually(lambda: _is_true(self.status, "Held"), f"{self.case.id} is held", PATIENCE)
        status, shapes = self.status, self.shapes()
        changes = changes_of(status)
        recorded = [(step, one.type, one.object.kind, one.object.name) for step, one in changes]
        assert len(recorded) == len(set(recorded)), recorded
        assert {one.object.kind for _, one in changes} <= {each.kind for each in self.case.resources}
        missing = [one for _, one in changes if not _in_place(one, shapes)]
        assert missing == [], missing
        return status

    def given_back(self) -> Json:
        """The status, once all that was there is there again, and nothing of containment is left."""
        status, shapes = self.in_phase("Released"), self.shapes()
        assert {key: shapes.get(key) for key in self.before} == self.before
        made = {_key(one) for _, one in changes_of(status) if one.type is ChangeType.CREATE}
        assert not made & shapes.keys()
        assert not [key for key in shapes if "stanch.dev/held" in shapes[key]["metadata"].get("labels", {})]
        assert self._get(f"{_STANCH}/namespaces/{self.space.name}/containmentholds")["items"] == []
        eventually(lambda: "finalizers" not in self.incident["metadata"], "the finalizer is gone", PATIENCE)
        namespace = self._get(f"/api/v1/namespaces/{self.space.name}")
        assert "stanch.dev/holding" not in namespace["metadata"]["labels"]
        return status

    def _list(self, resource: Resource) -> list[Json]:
        """Of what is in no namespace only what bears the name of this one."""
        items: list[Json] = self._get(resource.path(self.space.name if resource.namespaced else None))[
            "items"
        ]
        if resource.namespaced:
            return items
        return [item for item in items if item["metadata"]["name"].endswith(f"-{self.space.name}")]

    def _get(self, path: str) -> Json:
        """Spares the time of a kubectl where there is no need for one."""
        cluster = self.space.cluster
        if not isinstance(cluster, Sandbox):
            raw: Json = json.loads(self.space("get", "--raw", path))
            return raw
        answer = cluster.api.call("GET", path)
        assert answer.ok, f"GET {path}: {answer.status} {answer.body.decode()}"
        body: Json = json.loads(answer.body)
        return body


def scenes(cases: Sequence[Case], cluster: Cluster, kubectl: Kubectl) -> dict[str, Scene]:
    """All at once, by the id of the case."""
    with ThreadPoolExecutor() as at_once:
        staged = at_once.map(lambda case: Scene.of(case, cluster, kubectl), cases)
        return {scene.case.id: scene for scene in staged}


def changes_of(status: Json) -> list[tuple[str, Change]]:
    """What is recorded, with the id of its step."""
    steps = AIIncidentStatus.model_validate(status).steps
    return [(step.id, change) for step in steps for change in step.changes]


def _is_true(status: Json, type_: str) -> bool:
    return any((one["type"], one["status"]) == (type_, "True") for one in status.get("conditions", ()))


def _key(change: Change) -> str:
    return f"{change.object.kind}/{change.object.name}"


def _in_place(change: Change, shapes: dict[str, Json]) -> bool:
    there = shapes.get(_key(change))
    match change.type:
        case ChangeType.CREATE:
            return there is not None
        case ChangeType.DELETE:
            return there is None
        case ChangeType.UPDATE:
            return there is not None and all_in_place(change.fields, there)


def placed(manifest: Json, space: Space, made: str = "") -> Json:
    """The manifest in that namespace."""
    text: Json = json.loads(here(json.dumps(manifest), space, made))
    return text


def here(text: str, space: Space, made: str = "") -> str:
    return text.replace("NAMESPACE", space.name).replace("MADE", made)


def bytes_of(body: Json) -> str:
    return json.dumps(shape_of(body), sort_keys=True)


def shape_of(body: Json) -> Json:
    """What has to come back: everything but the status and what only the server sets.

    Whose a pod is its controller says, and takes a moment to; where it runs, the scheduler.
    """
    metadata = {key: value for key, value in body["metadata"].items() if key not in _SERVER_SET}
    if body["kind"] == "Pod":
        metadata.pop("ownerReferences", None)
        body = {**body, "spec": {**body["spec"], "nodeName": ""}}
    notes = {name: value for name, value in metadata.pop("annotations", {}).items() if name not in _NOT_OURS}
    rest = {key: value for key, value in body.items() if key not in {"metadata", "status"}}
    return {**rest, "metadata": {**metadata, "annotations": notes}}
