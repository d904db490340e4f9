"""What a binding grants, and whether a right is among it: RBAC's own reading of its rules.

Source: `RuleAllows` and `VisitRulesFor` of https://pkg.go.dev/k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac
and the matching in https://pkg.go.dev/k8s.io/kubernetes/pkg/apis/rbac/v1.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from stanch.access.models import Account, Binding, Json, Role, RoleKey, Rule

ALL = "*"


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One thing to be allowed or not, as a SubjectAccessReview asks it.

    `*` is asked as such: the answer is yes only where a rule says `*`. An empty `namespace` is all of them
    and the cluster's own resources; an empty `name` is every name. Either `resource` or `url` is set.
    """

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    namespace: str = ""
    url: str = ""

    def review(self, account: Account) -> Json:
        """The SubjectAccessReview that asks whether the account has it."""
        if self.url:
            asked: Json = {"nonResourceAttributes": {"verb": self.verb, "path": self.url}}
        else:
            attributes = {
                "verb": self.verb,
                "group": self.group,
                "resource": self.resource,
                "subresource": self.subresource,
                "name": self.name,
                "namespace": self.namespace,
            }
            asked = {"resourceAttributes": {key: value for key, value in attributes.items() if value}}
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": account.user, "groups": list(account.groups), **asked},
        }

    def __str__(self) -> str:
        if self.url:
            return f"{self.verb} {self.url}"
        resource = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        group = f".{self.group}" if self.group else ""
        name = f" {self.name}" if self.name else ""
        where = f" in {self.namespace}" if self.namespace else " in the cluster"
        return f"{self.verb} {resource}{group}{name}{where}"


@dataclass(frozen=True, slots=True)
class Grant:
    """One rule where a binding makes it count: in a namespace, or (empty) in the whole cluster."""

    namespace: str
    rule: Rule

    def rights(self) -> Iterator[Right]:
        """Every right that the rule spells out, in its own order; possibly very many.

        One that the rule does not even give (`pods/`: no such subresource) is among them: ask `allows`.
        """
        rule = self.rule
        for group, resource, name, verb in product(
            rule.api_groups, rule.resources, rule.resource_names or ("",), rule.verbs
        ):
            kind, _, subresource = resource.partition("/")
            yield Right(verb, group, kind, subresource, name, self.namespace)
        if not self.namespace:
            # In a RoleBinding such a rule counts for nothing: a URL is in no namespace.
            for url, verb in product(rule.non_resource_urls, rule.verbs):
                yield Right(verb, url=url)

    @property
    def size(self) -> int:
        """How many rights it spells out."""
        rule = self.rule
        resources = len(rule.api_groups) * len(rule.resources) * max(1, len(rule.resource_names))
        urls = 0 if self.namespace else len(rule.non_resource_urls)
        return len(rule.verbs) * (resources + urls)

    def allows(self, right: Right) -> bool:
        if not _among(right.verb, self.rule.verbs):
            return False
        if right.url:
            return not self.namespace and any(_url(right.url, rule) for rule in self.rule.non_resource_urls)
        return (
            self.namespace in {"", right.namespace}
            and _among(right.group, self.rule.api_groups)
            and any(_resource(right, rule) for rule in self.rule.resources)
            and (not self.rule.resource_names or right.name in self.rule.resource_names)
        )


def grants_of(binding: Binding, roles: Mapping[RoleKey, Role]) -> tuple[Grant, ...]:
    """What the binding grants; nothing while its role does not exist."""
    role = roles.get(binding.role)
    return tuple(Grant(binding.metadata.namespace, rule) for rule in role.rules) if role else ()


def allowed(right: Right, grants: Iterable[Grant]) -> bool:
    return any(grant.allows(right) for grant in grants)


def _among(word: str, words: tuple[str, ...]) -> bool:
    return ALL in words or word in words


def _resource(right: Right, rule: str) -> bool:
    if rule == ALL:
        return True
    if not right.subresource:
        return rule == right.resource
    return rule in {f"{right.resource}/{right.subresource}", f"{ALL}/{right.subresource}"}


def _url(url: str, rule: str) -> bool:
    if rule in {ALL, url}:
        return True
    return rule.endswith(ALL) and url.startswith(rule.rstrip(ALL))
