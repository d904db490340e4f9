"""The few fields of a pod template that say which version it runs, parsed once, each with its place."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field, model_validator

from stanch.api.v1alpha1.base import ApiModel

Json = dict[str, Any]
Place = tuple[str | int, ...]
"""Keys and list positions that lead into a pod template."""

CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


class _View(ApiModel):
    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        """A null field is an absent field: templates inside ControllerRevisions may hold nulls."""
        if isinstance(value, Mapping):
            return {key: item for key, item in value.items() if item is not None}
        return value


class EnvVar(_View):
    name: str
    value: str = ""
    value_from: Json | None = None

    @property
    def literal(self) -> str | None:
        return None if self.value_from is not None else self.value


class VolumeMount(_View):
    name: str
    mount_path: str


class Container(_View):
    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()


class ImageSource(_View):
    reference: str = ""


class Volume(_View):
    name: str
    image: ImageSource | None = None


class _Metadata(_View):
    annotations: dict[str, str] = Field(default_factory=dict)


class _PodSpec(_View):
    init_containers: tuple[Container, ...] = ()
    containers: tuple[Container, ...] = ()
    ephemeral_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()


class _Body(_View):
    metadata: _Metadata = Field(default_factory=_Metadata)
    spec: _PodSpec = Field(default_factory=_PodSpec)


@dataclass(frozen=True, slots=True)
class Placed:
    """A container and where it stands."""

    place: Place
    container: Container


@dataclass(frozen=True)
class PodTemplate:
    """A pod template, or a pod: both have annotations, containers and volumes at the same places."""

    body: _Body

    @classmethod
    def parse(cls, template: Mapping[str, Any]) -> PodTemplate:
        return cls(_Body.model_validate(template))

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.body.metadata.annotations

    @property
    def volumes(self) -> tuple[Volume, ...]:
        return self.body.spec.volumes

    @property
    def main(self) -> Container | None:
        """The container that `kubectl logs` would show."""
        containers = self.body.spec.containers
        named = self.annotations.get("kubectl.kubernetes.io/default-container")
        return next((one for one in containers if one.name == named), next(iter(containers), None))

    def placed(self) -> Iterator[Placed]:
        """Every container: those that serve first, then init and ephemeral ones."""
        spec = self.body.spec
        for key, containers in (
            ("containers", spec.containers),
            ("initContainers", spec.init_containers),
            ("ephemeralContainers", spec.ephemeral_containers),
        ):
            for index, container in enumerate(containers):
                yield Placed(("spec", key, index), container)


def value_at(template: Any, place: Place) -> Any:
    """Raises KeyError or IndexError when there is nothing at that place."""
    for key in place:
        template = template[key]
    return template


def with_value(template: Json, place: Place, value: Any) -> Json:
    """A copy with another value at a place that exists."""
    changed = copy.deepcopy(template)
    value_at(changed, place[:-1])[place[-1]] = value
    return changed


class _ContainerStatus(_View):
    name: str
    image_id: str = Field(default="", alias="imageID")


class _PodStatus(_View):
    init_container_statuses: tuple[_ContainerStatus, ...] = ()
    container_statuses: tuple[_ContainerStatus, ...] = ()
    ephemeral_container_statuses: tuple[_ContainerStatus, ...] = ()


class Statuses(_View):
    """What the kubelet says of a pod's containers."""

    status: _PodStatus = Field(default_factory=_PodStatus)

    @classmethod
    def parse(cls, pod: Mapping[str, Any]) -> Statuses:
        return cls.model_validate(pod)

    def image_ids(self) -> Iterator[tuple[str, str]]:
        status = self.status
        for statuses in (
            status.init_container_statuses,
            status.container_statuses,
            status.ephemeral_container_statuses,
        ):
            yield from ((one.name, one.image_id) for one in statuses)
