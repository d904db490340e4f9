"""A Kubernetes control plane on one machine for tests, demos and development: see `sandbox.cluster`."""

from __future__ import annotations

from sandbox.audit import AuditEndpoint, AuditWebhook
from sandbox.cluster import Sandbox
from sandbox.errors import SandboxError

__all__ = ["AuditEndpoint", "AuditWebhook", "Sandbox", "SandboxError"]
