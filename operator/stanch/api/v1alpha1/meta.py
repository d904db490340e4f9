"""The part of Kubernetes object metadata that the operator reads."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from stanch.api.v1alpha1.base import ApiModel


class ManagedFields(ApiModel):
    """metadata.managedFields: who set which fields, when."""

    manager: str = ""
    operation: str = ""
    time: datetime | None = None
    subresource: str = ""
    fields_v1: dict[str, Any] = Field(default_factory=dict, alias="fieldsV1")


class ObjectMeta(ApiModel):
    """https://pkg.go.dev/k8s.io/apimachinery/pkg/apis/meta/v1#ObjectMeta."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    finalizers: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    managed_fields: tuple[ManagedFields, ...] = ()
