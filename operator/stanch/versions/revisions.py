"""A workload's history: the pod templates it has had, numbered as `kubectl rollout history` numbers them.

A Deployment keeps them as ReplicaSets, a StatefulSet or DaemonSet as ControllerRevisions whose data is a
strategic merge patch that replaces spec.template whole.
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/controller-revision-v1/
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stanch.api.v1alpha1.base import ApiModel
from stanch.versions.diff import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Json = dict[str, Any]

KNOWN_GOOD = "stanch.dev/known-good"
"""Annotation of a ReplicaSet or ControllerRevision that somebody vouches for, `true`."""
_NUMBER = "deployment.kubernetes.io/revision"
_FORMER = "deployment.kubernetes.io/revision-history"


@dataclass(frozen=True, slots=True)
class Revision:
    """One pod template the workload has had, as a person would have written it."""

    number: int
    name: str
    template: Json = field(repr=False)
    known_good: bool = False
    created: datetime | None = None
    former: tuple[int, ...] = ()
    """Numbers it had before somebody rolled back to it."""


class _Owner(ApiModel):
    uid: str = ""
    controller: bool | None = None


class _Metadata(ApiModel):
    name: str
    annotations: dict[str, str] | None = None
    owner_references: tuple[_Owner, ...] | None = None
    creation_timestamp: datetime | None = None

    def owned_by(self, uid: str) -> bool:
        return any(owner.uid == uid and owner.controller for owner in self.owner_references or ())

    def annotation(self, key: str) -> str:
        return (self.annotations or {}).get(key, "")


class _Templated(ApiModel):
    template: Json | None = None


class _ReplicaSet(ApiModel):
    metadata: _Metadata
    spec: _Templated = Field(default_factory=_Templated)


class _Data(ApiModel):
    spec: _Templated = Field(default_factory=_Templated)


class _ControllerRevision(ApiModel):
    metadata: _Metadata
    revision: int = 0
    data: _Data | None = None


def of_replica_sets(owner_uid: str, items: Iterable[Mapping[str, Any]]) -> tuple[Revision, ...]:
    """The revisions of a Deployment, oldest first; ReplicaSets of others or without a number are none."""
    found = (_ReplicaSet.model_validate(item) for item in items)
    revisions = []
    for each in found:
        number = each.metadata.annotation(_NUMBER)
        if each.metadata.owned_by(owner_uid) and number.isdecimal() and each.spec.template:
            former = re.findall(r"\d+", each.metadata.annotation(_FORMER))
            revisions.append(
                _revision(each.metadata, int(number), each.spec.template, tuple(map(int, former)))
            )
    return _in_order(revisions)


def of_controller_revisions(owner_uid: str, items: Iterable[Mapping[str, Any]]) -> tuple[Revision, ...]:
    """The revisions of a StatefulSet or DaemonSet, oldest first."""
    revisions = []
    for item in items:
        each = _ControllerRevision.model_validate(item)
        template = each.data.spec.template if each.data else None
        if each.metadata.owned_by(owner_uid) and template:
            whole = {key: value for key, value in template.items() if key != "$patch"}
            revisions.append(_revision(each.metadata, each.revision, whole))
    return _in_order(revisions)


def current_of(revisions: Sequence[Revision], template: Json) -> Revision | None:
    """The revision that a template is, None when no controller has recorded it yet."""
    cleaned = clean(template)
    same = [revision for revision in revisions if revision.template == cleaned]
    return same[-1] if same else None


def _revision(metadata: _Metadata, number: int, template: Json, former: tuple[int, ...] = ()) -> Revision:
    return Revision(
        number,
        metadata.name,
        clean(template),
        metadata.annotation(KNOWN_GOOD) == "true",
        metadata.creation_timestamp,
        former,
    )


def _in_order(revisions: list[Revision]) -> tuple[Revision, ...]:
    return tuple(sorted(revisions, key=lambda revision: revision.number))
