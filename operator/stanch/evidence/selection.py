"""Which of the objects that were read belong to the targets. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AwareDatetime, Field

from stanch.access.bindings import bindings_of
from stanch.access.models import Account, Binding, OwnedMeta
from stanch.api.v1alpha1.base import ApiModel
from stanch.network.selectors import LabelSelector, Operator

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from stanch.access.models import RoleKey

Json = dict[str, Any]
Instance = Literal["current", "previous"]

# Where a pod's spec says which other objects it uses: field, what it names, and the member with the name.
_REFERENCES = {
    "configMap": ("configMaps", "name"),
    "configMapKeyRef": ("configMaps", "name"),
    "configMapRef": ("configMaps", "name"),
    "persistentVolumeClaim": ("persistentVolumeClaims", "claimName"),
    "secret": ("secrets", "secretName"),
    "secretKeyRef": ("secrets", "name"),
    "secretRef": ("secrets", "name"),
}


class _State(ApiModel):
    running: Json | None = None
    terminated: Json | None = None
    waiting: Json | None = None


class _ContainerStatus(ApiModel):
    name: str
    restart_count: int = 0
    state: _State = Field(default_factory=_State)
    last_state: _State = Field(default_factory=_State)

    def instances(self) -> Iterator[Instance]:
        """Those that ran, and so may have a log."""
        ran_before = self.restart_count > 0 or self.last_state.terminated is not None
        if ran_before or self.state.waiting is None:
            yield "current"
        if ran_before:
            yield "previous"


class _Container(ApiModel):
    name: str


class _PodSpec(ApiModel):
    service_account_name: str = "default"
    init_containers: tuple[_Container, ...] = ()
    containers: tuple[_Container, ...] = ()
    ephemeral_containers: tuple[_Container, ...] = ()


class _PodStatus(ApiModel):
    phase: str = "Unknown"
    init_container_statuses: tuple[_ContainerStatus, ...] = ()
    container_statuses: tuple[_ContainerStatus, ...] = ()
    ephemeral_container_statuses: tuple[_ContainerStatus, ...] = ()


class Pod(ApiModel):
    metadata: OwnedMeta
    spec: _PodSpec = Field(default_factory=_PodSpec)
    status: _PodStatus = Field(default_factory=_PodStatus)

    @property
    def account(self) -> Account:
        return Account(self.metadata.namespace, self.spec.service_account_name)

    def logs(self) -> Iterator[tuple[str, Instance]]:
        """The containers, in the order of the spec, and which of their instances may have a log."""
        spec, status = self.spec, self.status
        reported = (
            *status.init_container_statuses,
            *status.container_statuses,
            *status.ephemeral_container_statuses,
        )
        statuses = {each.name: each for each in reported}
        for container in (*spec.init_containers, *spec.containers, *spec.ephemeral_containers):
            known = statuses.get(container.name)
            if known is not None:
                yield from ((container.name, instance) for instance in known.instances())
            elif status.phase != "Pending":
                yield container.name, "current"  # a kubelet that reports nothing may still have a log


class _Named(ApiModel):
    metadata: OwnedMeta


def uid_of(body: Json) -> str:
    return _Named.model_validate(body).metadata.uid


def controlled(objects: Iterable[Json], owners: Iterable[str]) -> list[Json]:
    """The objects whose controller is one of `owners`, which are uids."""
    wanted = set(owners)
    return [
        body
        for body in objects
        if (owner := _Named.model_validate(body).metadata.controller) is not None and owner.uid in wanted
    ]


def in_order(objects: Iterable[Json]) -> list[Json]:
    """By namespace and name, each once."""
    named = {uid_of(body): body for body in objects}
    return sorted(named.values(), key=_place)


def _place(body: Json) -> tuple[str, str]:
    metadata = _Named.model_validate(body).metadata
    return metadata.namespace, metadata.name


def template_of(body: Json) -> Json | None:
    """The pod template of a workload, a CronJob's included."""
    spec = body.get("spec") or {}
    holder = (spec.get("jobTemplate") or {}).get("spec") or spec
    template = holder.get("template")
    return template if isinstance(template, dict) else None


def label_query(selector: LabelSelector) -> str:
    """The `labelSelector` of a list request."""
    parts = [f"{key}={value}" for key, value in sorted(selector.match_labels.items())]
    for requirement in selector.match_expressions:
        values = f"({','.join(requirement.values)})"
        parts.append(
            {
                Operator.IN: f"{requirement.key} in {values}",
                Operator.NOT_IN: f"{requirement.key} notin {values}",
                Operator.EXISTS: requirement.key,
                Operator.DOES_NOT_EXIST: f"!{requirement.key}",
            }[requirement.operator]
        )
    return ",".join(parts)


def references(pods: Iterable[Json]) -> Json:
    """Names of the ConfigMaps, Secrets and claims that pods or templates use. Nothing of what is in them."""
    found: dict[str, set[str]] = {"configMaps": set(), "persistentVolumeClaims": set(), "secrets": set()}
    for pod in pods:
        for what, name in _used(pod.get("spec")):
            found[what].add(name)
    return {what: sorted(names) for what, names in found.items()}


def _used(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for item in value:
            yield from _used(item)
    if not isinstance(value, dict):
        return
    for key, member in value.items():
        if key in _REFERENCES and isinstance(member, dict):
            what, field = _REFERENCES[key]
            name = member.get(field) or member.get("name")  # of a projected Secret it is `name`
            if isinstance(name, str):
                yield what, name
        if key == "imagePullSecrets" and isinstance(member, list):
            yield from (("secrets", each["name"]) for each in member if isinstance(each.get("name"), str))
        yield from _used(member)


@dataclass(frozen=True)
class Access:
    """What gives accounts their rights: the bindings as stored, and the roles these name."""

    bindings: list[Json]
    roles: frozenset[RoleKey]


def access_of(accounts: Iterable[Account], bindings: Sequence[Json]) -> Access:
    """The bindings that name one of the accounts, or a group that it is in."""
    parsed = [Binding.model_validate(body) for body in bindings]
    kept: dict[tuple[str, str, str], Binding] = {}
    for account in accounts:
        found = bindings_of(account, parsed)
        for binding in (*found.direct, *(grant.binding for grant in found.through_groups)):
            kept[binding.key] = binding
    stored = [body for body, binding in zip(bindings, parsed, strict=True) if binding.key in kept]
    return Access(in_order(stored), frozenset(binding.role for binding in kept.values()))


class _InvolvedObject(ApiModel):
    uid: str = ""


class _EventMeta(ApiModel):
    creation_timestamp: AwareDatetime = datetime.min.replace(tzinfo=UTC)


class _Event(ApiModel):
    metadata: _EventMeta = Field(default_factory=_EventMeta)
    involved_object: _InvolvedObject = Field(default_factory=_InvolvedObject)
    last_timestamp: AwareDatetime | None = None
    event_time: AwareDatetime | None = None

    @property
    def seen(self) -> datetime:
        return self.last_timestamp or self.event_time or self.metadata.creation_timestamp


def events_about(events: Iterable[Json], uids: Iterable[str]) -> list[Json]:
    wanted = set(uids)
    return [body for body in events if _Event.model_validate(body).involved_object.uid in wanted]


def newest_events(events: Iterable[Json], most: int) -> list[Json]:
    return sorted(events, key=lambda body: _Event.model_validate(body).seen, reverse=True)[:most]


class _ScaleTargetRef(ApiModel):
    kind: str = ""
    name: str = ""


class _AutoscalerSpec(ApiModel):
    scale_target_ref: _ScaleTargetRef = Field(default_factory=_ScaleTargetRef)


class _Autoscaler(ApiModel):
    spec: _AutoscalerSpec = Field(default_factory=_AutoscalerSpec)


def autoscalers_of(autoscalers: Iterable[Json], targets: Iterable[tuple[str, str]]) -> list[Json]:
    """Those that scale one of the targets, which are kinds and names."""
    wanted = set(targets)
    return [
        body
        for body in autoscalers
        if (ref := _Autoscaler.model_validate(body).spec.scale_target_ref) and (ref.kind, ref.name) in wanted
    ]


def budgets_over(budgets: Iterable[Json], labels: Sequence[Mapping[str, str]]) -> list[Json]:
    """PodDisruptionBudgets that select one of the pods. Raises ValueError for a selector that is none."""
    return [
        body
        for body in budgets
        if (raw := (body.get("spec") or {}).get("selector")) is not None
        and any(LabelSelector.model_validate(raw).matches(each) for each in labels)
    ]
