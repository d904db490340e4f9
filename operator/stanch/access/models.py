"""Accounts, bindings and roles as the API server stores them, parsed once at the boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.meta import ObjectMeta

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]

TOKEN_SECRET_TYPE = "kubernetes.io/service-account-token"  # noqa: S105 - a type's name
TOKEN_SECRET_ACCOUNT = "kubernetes.io/service-account.name"  # noqa: S105 - an annotation's name


def _none_as_empty(value: Any) -> Any:
    """Go writes an empty list without `omitempty` as null: the rules of an aggregated role without parts."""
    return () if value is None else value


Words = Annotated[tuple[str, ...], BeforeValidator(_none_as_empty)]


@dataclass(frozen=True, slots=True)
class Account:
    """A ServiceAccount by name: all that RBAC knows of it.

    https://kubernetes.io/docs/reference/access-authn-authz/authentication/#service-account-tokens
    """

    namespace: str
    name: str

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    @property
    def groups(self) -> tuple[str, ...]:
        return ("system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{self.namespace}")

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Owner(ApiModel):
    kind: str
    name: str
    uid: str
    controller: bool = False

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class OwnedMeta(ObjectMeta):
    owner_references: tuple[Owner, ...] = ()

    @property
    def controller(self) -> Owner | None:
        return next((owner for owner in self.owner_references if owner.controller), None)


class SecretReference(ApiModel):
    name: str = ""


class ServiceAccount(ApiModel):
    metadata: OwnedMeta
    secrets: tuple[SecretReference, ...] = ()

    @property
    def account(self) -> Account:
        return Account(self.metadata.namespace, self.metadata.name)


class TokenSecret(ApiModel):
    """A Secret's metadata and type. Its data is no field here: whatever is read, values end at this line."""

    metadata: ObjectMeta
    type: str = TOKEN_SECRET_TYPE
    """The type it was listed by, when only metadata was asked for."""

    def of(self, account: Account) -> bool:
        """Whether it holds a legacy token of the account, which goes with the account."""
        return (
            self.type == TOKEN_SECRET_TYPE
            and self.metadata.namespace == account.namespace
            and self.metadata.annotations.get(TOKEN_SECRET_ACCOUNT) == account.name
        )


class Subject(ApiModel):
    kind: str
    name: str
    namespace: str = ""

    def names(self, account: Account, binding_namespace: str) -> bool:
        """As RBAC reads it: the account's own kind, or the user that it is.

        https://pkg.go.dev/k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac
        """
        if self.kind == "ServiceAccount":
            return (self.namespace or binding_namespace, self.name) == (account.namespace, account.name)
        return self.kind == "User" and self.name == account.user

    def holds(self, account: Account) -> bool:
        """Whether it is a group the account is always in."""
        return self.kind == "Group" and self.name in account.groups


class RoleRef(ApiModel):
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Binding(ApiModel):
    """A RoleBinding, or a ClusterRoleBinding (without a namespace)."""

    kind: str
    metadata: OwnedMeta
    subjects: Annotated[tuple[Subject, ...], BeforeValidator(_none_as_empty)] = ()
    role_ref: RoleRef

    @property
    def role(self) -> RoleKey:
        """The role it grants: a RoleBinding may grant a ClusterRole within its own namespace."""
        namespace = self.metadata.namespace if self.role_ref.kind == "Role" else ""
        return RoleKey(self.role_ref.kind, namespace, self.role_ref.name)

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.kind, self.metadata.namespace, self.metadata.name)

    def __str__(self) -> str:
        where = f"{self.metadata.namespace}/" if self.metadata.namespace else ""
        return f"{self.kind} {where}{self.metadata.name}"


@dataclass(frozen=True, slots=True, order=True)
class RoleKey:
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {where}{self.name}"


class Rule(ApiModel):
    """rbac/v1 PolicyRule; an empty `resource_names` means every name."""

    verbs: Words = ()
    api_groups: Words = ()
    resources: Words = ()
    resource_names: Words = ()
    non_resource_urls: Words = Field(default=(), alias="nonResourceURLs")


class Role(ApiModel):
    """A Role or a ClusterRole, its rules as stored: those of an aggregated one are what was aggregated."""

    kind: str
    metadata: ObjectMeta
    rules: Annotated[tuple[Rule, ...], BeforeValidator(_none_as_empty)] = ()

    @property
    def key(self) -> RoleKey:
        return RoleKey(self.kind, self.metadata.namespace, self.metadata.name)


def by_key(roles: Iterable[Role]) -> dict[RoleKey, Role]:
    return {role.key: role for role in roles}
