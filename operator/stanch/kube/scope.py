"""Where this process looks and acts: the whole cluster, or some namespaces and nothing else. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from stanch.errors import Forbidden
from stanch.kube.resources import NAMESPACES

if TYPE_CHECKING:
    from stanch.kube.resources import Resource
    from stanch.settings import Settings

OUT_OF_SCOPE = "NamespaceOutOfScope"


@dataclass(frozen=True, slots=True)
class Place:
    """One of the requests that a list of everything becomes."""

    namespace: str | None
    field_selector: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """Without `namespaces` the whole cluster. `own` is the operator's, in which it contains nothing."""

    namespaces: tuple[str, ...] = ()
    own: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.namespaces, settings.namespace)

    @property
    def whole(self) -> bool:
        return not self.namespaces

    def acts_in(self, namespace: str) -> bool:
        """Whether incidents there are looked at."""
        return self.whole or namespace in self.namespaces

    def covers(self, namespace: str) -> bool:
        """Whether anything there may be asked for: its own namespace has its lease and its canary."""
        return self.acts_in(namespace) or namespace == self.own

    def places(self, resource: Resource, namespace: str | None, field_selector: str) -> tuple[Place, ...]:
        """The lists that make up one. With `metadata.name` RBAC allows a list of what it allows by name:

        https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources
        """
        asked = Place(namespace, field_selector)
        if self.whole or namespace is not None:
            return (asked,)
        if resource == NAMESPACES:
            named = (f"metadata.name={each}" for each in self.namespaces)
            return tuple(Place(None, ",".join(filter(None, (field_selector, one)))) for one in named)
        if resource.namespaced:
            return tuple(Place(each, field_selector) for each in self.namespaces)
        return (asked,)

    def heed(self, what: str, resource: Resource, namespace: str | None, name: str | None) -> None:
        """Raises Forbidden for a request about another namespace: it is not sent."""
        about = name if resource == NAMESPACES else namespace
        if about is not None and not self.covers(about):
            raise Forbidden(
                OUT_OF_SCOPE,
                f"{what}: not sent, as namespace {about} is not one that this operator acts in "
                f"(STANCH_NAMESPACES={','.join(self.namespaces)}); add it there, and bind the operator's "
                "roles in it",
            )


WHOLE_CLUSTER = Scope()
