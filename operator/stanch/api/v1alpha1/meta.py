"""The part of Kubernetes object metadata that the operator reads."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from stanch.api.v1alpha1.base import ApiModel


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
