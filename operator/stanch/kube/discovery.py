from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stanch.kube.client import Kube
    from stanch.kube.resources import Resource


class _ServedResource(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str


class _ResourceList(BaseModel):
    """APIResourceList."""

    model_config = ConfigDict(frozen=True)

    resources: tuple[_ServedResource, ...] = ()


async def not_served(kube: Kube, resources: Iterable[Resource]) -> list[Resource]:
    """Those of `resources` that the server does not serve, or not in this version.

    Raises NotServed if it does not serve one of their groups at all.
    """
    wanted = list(resources)
    served: dict[str, frozenset[str]] = {}
    for api_version in {resource.api_version for resource in wanted}:
        prefix = "/apis" if "/" in api_version else "/api"
        answer = _ResourceList.model_validate(await kube.raw(f"{prefix}/{api_version}"))
        served[api_version] = frozenset(resource.name for resource in answer.resources)
    return [resource for resource in wanted if resource.plural not in served[resource.api_version]]
