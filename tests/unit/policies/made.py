"""Policies and incidents as a test needs them."""

from __future__ import annotations

from typing import Any

from stanch.api.v1alpha1.policy import ClusterContainmentPolicy, ContainmentPolicy

Json = dict[str, Any]


def own(name: str = "chat", *, metadata: Json | None = None, **spec: Any) -> ContainmentPolicy:
    return ContainmentPolicy.model_validate(
        {"metadata": _meta(name, {"namespace": "chat", **(metadata or {})}), "spec": _spec(spec)}
    )


def cluster(name: str = "all", *, metadata: Json | None = None, **spec: Any) -> ClusterContainmentPolicy:
    return ClusterContainmentPolicy.model_validate(
        {"metadata": _meta(name, metadata or {}), "spec": _spec(spec)}
    )


def selector(*kinds: str, namespace: Json | None = None, **labels: Any) -> Json:
    chosen: Json = {"kinds": list(kinds), "matchLabels": labels}
    return chosen | ({"namespaceSelector": {"matchLabels": namespace}} if namespace is not None else {})


def _meta(name: str, more: Json) -> Json:
    return {"name": name, "uid": f"uid-{name}", "generation": 1, **more}


def _spec(spec: Json) -> Json:
    return {"selector": {}, "steps": [{"scaleToZero": {}}], **spec}
