"""The rights of an operator that acts in some namespaces only (STANCH_NAMESPACES)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stanch.granted.core import AT_HOME, EVERYWHERE
from stanch.granted.model import Right
from stanch.kube import resources as of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROLE = "stanch-namespace"
"""The ClusterRole that is bound in each of the namespaces."""
EXAMPLE = ("chat", "search")


def in_each() -> tuple[Right, ...]:
    """What is in a namespace: granted in each by a RoleBinding."""
    left = (right.in_some_namespaces(namespaced=True) for right in EVERYWHERE)
    return tuple(right for right in left if right is not None)


def of_the_cluster(namespaces: Sequence[str], home: str) -> tuple[Right, ...]:
    """What is of no namespace. Namespaces themselves are limited to those, and its own."""
    return tuple(_of_the_cluster((*namespaces, home)))


def _of_the_cluster(names: tuple[str, ...]) -> Iterator[Right]:
    for right in EVERYWHERE:
        left = right.in_some_namespaces(namespaced=False)
        if left is not None:
            yield replace(left, names=names) if of.NAMESPACES in left.resources else left


OF_THE_CANARY = (
    Right("The canary, which is tried.", ("get",), (of.DEPLOYMENTS,), names=("stanch-canary",)),
    Right("Its hold. Creating cannot be limited to a name.", ("create",), (of.CONTAINMENTHOLDS,)),
    Right("Its hold.", ("get", "patch"), (of.CONTAINMENTHOLDS,), names=("stanch",)),
)
"""In its own namespace, where otherwise the ClusterRole grants it."""
ALONE_AT_HOME = AT_HOME + OF_THE_CANARY
