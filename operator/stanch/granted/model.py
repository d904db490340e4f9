"""Rights as data: what may be done to what, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from stanch.kube.resources import Resource

Json = dict[str, Any]
Verb = Literal["bind", "create", "delete", "get", "list", "patch", "update", "watch"]


@dataclass(frozen=True, slots=True)
class Right:
    """One rule of a role. `resources` are of one API group; `names` limits it to objects of these names."""

    why: str
    """Sentences: a comment of the manifest, a cell of the reference."""
    verbs: tuple[Verb, ...]
    resources: tuple[Resource, ...]
    subresource: str = ""
    names: tuple[str, ...] = ()
    in_namespaces: tuple[Verb, ...] | None = None
    """The verbs of an operator that acts in some namespaces only; None: the same."""

    def __post_init__(self) -> None:
        if len({resource.group for resource in self.resources}) != 1:
            raise ValueError(f"a rule is about one API group: {self.resources}")

    @property
    def group(self) -> str:
        return self.resources[0].group

    def plural(self, resource: Resource) -> str:
        """As RBAC names it: `pods/log`."""
        return f"{resource.plural}/{self.subresource}" if self.subresource else resource.plural

    def in_some_namespaces(self, *, namespaced: bool) -> Right | None:
        """What is left of it, of objects in a namespace or of the cluster; None: nothing."""
        resources = tuple(one for one in self.resources if one.namespaced is namespaced)
        verbs = self.verbs if self.in_namespaces is None else self.in_namespaces
        return replace(self, resources=resources, verbs=verbs) if resources and verbs else None

    def rule(self) -> Json:
        """As rbac/v1 PolicyRule."""
        limited = {"resourceNames": sorted(self.names)} if self.names else {}
        return {
            "apiGroups": [self.group],
            "resources": sorted(map(self.plural, self.resources)),
            **limited,
            "verbs": sorted(self.verbs),
        }


@dataclass(frozen=True, slots=True)
class Switch:
    """Rights that not everybody wants to give: a file of their own, and a value of the chart."""

    name: str
    """Of the ClusterRole, after `stanch-`, and of the file in manifests/rbac."""
    value: str
    """Of the chart, below `rights`."""
    gives: str
    """What the operator can do with it, and what becomes of that without; sentences."""
    mind: str
    """What to think of before and after; sentences."""
    rights: tuple[Right, ...]

    @property
    def role(self) -> str:
        return f"stanch-{self.name}"

    @property
    def path(self) -> str:
        return f"manifests/rbac/{self.name}.yaml"
