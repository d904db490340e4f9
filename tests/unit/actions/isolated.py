"""A namespace of NetworkPolicies on plain values, with incidents that isolate workloads in it.

The engine decides as in the operator; each of its writes is one step that a test may look behind.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jsonpatch

from stanch.actions.isolation_seen import Reach
from stanch.actions.objects import Obj, Pod
from stanch.actions.protocol import Edit, Make
from stanch.api.v1alpha1.hold import hold_key
from stanch.api.v1alpha1.incident import FINALIZER, AIIncident, DesiredState
from stanch.api.v1alpha1.status import Change, ChangeType
from stanch.holds import entries
from stanch.holds.canary import HoldProof, Proof
from stanch.incidents import containment, release
from stanch.incidents.acts import (
    AddFinalizer,
    Create,
    Delete,
    DropHold,
    EnsureHold,
    GiveBackHold,
    Patch,
    RemoveFinalizer,
    TryOut,
)
from stanch.incidents.facts import Facts, Limits, Preflight, items_of
from stanch.incidents.preflight import marked
from stanch.incidents.record import key_of, ref_of, reference_of
from stanch.kube.resources import DEPLOYMENTS, NETWORKPOLICIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stanch.api.v1alpha1.hold import Held
    from stanch.incidents.acts import Act

Json = dict[str, Any]
SPACE = "chat"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def workload(name: str, selector: Json, labels: Mapping[str, str], spec: Json | None = None) -> Obj:
    """A Deployment that selects by `selector`; its pod template has `labels` and `spec`."""
    template = {"metadata": {"labels": dict(labels)}, "spec": spec or {}}
    body = {
        "metadata": {"name": name, "namespace": SPACE, "uid": f"uid-{name}", "resourceVersion": "1"},
        "spec": {"selector": selector, "template": template},
    }
    return Obj(DEPLOYMENTS, body)


def policy(name: str, spec: Json, **metadata: Any) -> Obj:
    given = {"name": name, "namespace": SPACE, "uid": f"uid-{name}", "resourceVersion": "1", **metadata}
    return Obj(NETWORKPOLICIES, {"metadata": given, "spec": {"podSelector": {}, **spec}})


def pod_body(name: str, labels: Mapping[str, str], owner: str = "", **more: Any) -> Json:
    """`more` is metadata, but for `phase` and `spec`."""
    spec, phase = more.pop("spec", {}), more.pop("phase", "Running")
    owners = [{"kind": "ReplicaSet", "name": "rs", "uid": owner, "controller": True}] if owner else []
    metadata: Json = {"name": name, "namespace": SPACE, "uid": f"uid-{name}", "resourceVersion": "1"}
    metadata |= {"labels": dict(labels), "ownerReferences": owners, **more}
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase}}


def reach(target: Obj | None, *policies: Obj, bodies: tuple[Json, ...] = (), **more: Any) -> Reach:
    """What is seen; the pods with an owner are the workload's own."""
    mine = tuple(Pod.model_validate(body) for body in bodies if body["metadata"]["ownerReferences"])
    return Reach(target, policies, mine, bodies, **more)


@dataclass
class Namespace:
    """`look` is called after each write."""

    workloads: dict[str, Obj]
    policies: dict[str, Json]
    held: Held = field(default_factory=dict)
    incidents: dict[str, AIIncident] = field(default_factory=dict)
    look: Callable[[], None] = lambda: None
    _version: int = 1

    def isolate(self, incident: str, *workloads: str, **step: Any) -> None:
        body: Json = {
            "metadata": {"name": incident, "namespace": SPACE, "uid": f"uid-{incident}", "generation": 1},
            "spec": {
                "title": "t",
                "category": "Jailbreak",
                "severity": "Critical",
                "targets": [{"kind": "Deployment", "name": name} for name in workloads],
                "steps": [{"isolate": step}],
            },
        }
        self.incidents[incident] = AIIncident.parse(body)

    def release(self, incident: str) -> None:
        what = self.incidents[incident]
        spec = what.spec.model_copy(update={"desired_state": DesiredState.RELEASED})
        self.incidents[incident] = what.model_copy(update={"spec": spec})

    def state(self, incident: str) -> list[str]:
        return [step.state.value for step in self.incidents[incident].status.steps]

    def settle(self) -> None:
        """Until nobody has anything left to do."""
        for _ in range(60):
            if not [name for name in list(self.incidents) if self.turn(name)]:
                return
        raise AssertionError(f"it never comes to rest: {self.incidents}")

    def turn(self, incident: str) -> bool:
        """One decision and what it asks for, but for writes that come too late. Whether it did anything."""
        facts = self._facts(incident)
        for _ in range(5):  # dry runs change nothing: their answers are looked at at once
            decision = self._decide(facts)
            tries = [act for act in decision.acts if isinstance(act, TryOut)]
            if not tries:
                break
            tried = {(act.step_id, act.intent.id): _tried(act) for act in tries}
            facts = Facts(**{**facts.__dict__, "preflights": {**facts.preflights, **tried}})
        changed = decision.status is not None and decision.status.steps != facts.incident.status.steps
        if decision.status is not None:
            what = facts.incident.model_copy(update={"status": decision.status})
            self.incidents[incident] = what
        done = [act for act in decision.acts if self._carry_out(incident, act)]
        return bool(done) or changed

    def _decide(self, facts: Facts) -> Any:
        if release.wanted(facts.incident):
            return release.decide(facts, NOW)
        return containment.decide(facts, NOW, Limits())

    def _facts(self, incident: str) -> Facts:
        what = self.incidents[incident]
        related = tuple(Obj(NETWORKPOLICIES, copy.deepcopy(body)) for body in self.policies.values())
        seen = {item.id: Reach(self.workloads[item.target.name], related) for item in items_of(what)}
        recorded = {
            hold_key(change.rule, key_of(ref_of(change.object, SPACE), SPACE))
            for step in what.status.steps
            for change in step.changes
        }
        names = {
            name
            for key, entry in self.held.items()
            if key in recorded
            or incident in entry.incidents
            or any(key.endswith(f"/{target.name}") for target in what.spec.targets)
            for name in entry.incidents
        } - {incident}
        return Facts(
            incident=what,
            holding=bool(self.held),
            held=self.held,
            observations=seen,
            siblings={name: self.incidents[name] for name in names},
            proof=HoldProof(Proof.PROVEN, "denied"),
        )

    def _carry_out(self, incident: str, act: Act) -> bool:
        match act:
            case AddFinalizer():
                return self._finalizers(incident, (FINALIZER,))
            case RemoveFinalizer():
                return self._finalizers(incident, ())
            case EnsureHold():
                self.held = entries.join(self.held, act.entries)
            case GiveBackHold():
                self.held = entries.give_back(self.held, incident, act.ghosts, act.kept)
            case DropHold():
                self.held = entries.drop(self.held, incident)
            case Patch() | Delete():
                name = act.obj.meta.name
                standing = self.policies.get(name)
                if standing is None or Obj(NETWORKPOLICIES, standing).meta.resource_version != (
                    act.obj.meta.resource_version
                ):
                    return True  # a conflict: looked at again
                if isinstance(act, Delete):
                    del self.policies[name]
                else:
                    self._store(jsonpatch.apply_patch(copy.deepcopy(standing), act.ops))
                self.look()
            case Create():
                assert act.ref.name not in self.policies
                self._store(copy.deepcopy(act.manifest) | {"uid": None})
                self.look()
            case _:
                return False
        return True

    def _finalizers(self, incident: str, names: tuple[str, ...]) -> bool:
        what = self.incidents[incident]
        if what.metadata.finalizers == names:
            return False
        metadata = what.metadata.model_copy(update={"finalizers": names})
        self.incidents[incident] = what.model_copy(update={"metadata": metadata})
        return True

    def _store(self, body: Json) -> None:
        """As the API server does: empty maps and lists of metadata and selectors are absent."""
        body.pop("uid", None)
        self._version += 1
        metadata = {key: value for key, value in body["metadata"].items() if value not in ({}, [])}
        metadata.setdefault("uid", f"uid-{metadata['name']}-{self._version}")
        selector = {key: value for key, value in body["spec"]["podSelector"].items() if value not in ({}, [])}
        self.policies[metadata["name"]] = {
            "metadata": metadata | {"resourceVersion": str(self._version)},
            "spec": body["spec"] | {"podSelector": selector},
        }


def _tried(act: TryOut) -> Preflight:
    match act.intent:
        case Edit(target, _, _, rule):
            return Preflight(Change(object=target.reference, rule=rule, fields=act.fields))
        case Make(ref, manifest, _, rule):
            made = ChangeType.CREATE
            body = {key: value for key, value in marked(manifest).items() if key in {"metadata", "spec"}}
            whole = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", **body}
            return Preflight(Change(object=reference_of(ref, SPACE), type=made, rule=rule, manifest=whole))
        case _:
            raise AssertionError(f"Isolate removes nothing: {act.intent}")
