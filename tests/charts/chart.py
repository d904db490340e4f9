"""The real helm and kubectl on the chart and the manifests, without a cluster."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from sandbox import binaries, helm, versions

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "stanch"
NAMESPACE = "stanch-system"
Json = dict[str, Any]
Objects = dict[str, Json]

_HELM_LABELS = {"app.kubernetes.io/managed-by", "helm.sh/chart"}


@functools.cache
def program() -> Path:
    return helm.find()


def run(*arguments: str, kubeconfig: Path | None = None, home: Path | None = None) -> tuple[int, str]:
    """Helm's exit code and all that it said."""
    environment = {**os.environ, **({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})}
    if home is not None:
        environment |= {f"HELM_{kind}_HOME": str(home) for kind in ("CACHE", "CONFIG", "DATA")}
    done = subprocess.run(
        [program(), *arguments], env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    return done.returncode, done.stdout + done.stderr


def template(
    *values: str, namespace: str = NAMESPACE, kubernetes: str = "1.37.0", how: str = "--set"
) -> tuple[int, str]:
    """`helm template` with `--set` of each value, or `--set-json`."""
    sets = [part for value in values for part in (how, value)]
    return run(
        "template", "stanch", str(CHART), f"--namespace={namespace}", f"--kube-version={kubernetes}", *sets
    )


def rendered(*values: str, namespace: str = NAMESPACE, how: str = "--set") -> Objects:
    """Without hooks, which are no part of what is installed."""
    objects = _rendered(*values, namespace=namespace, how=how)
    return {name: body for name, body in objects.items() if not _is_hook(body)}


def hooks(*values: str) -> Objects:
    return {name: body for name, body in _rendered(*values).items() if _is_hook(body)}


def _is_hook(body: Json) -> bool:
    return "helm.sh/hook" in body["metadata"].get("annotations", {})


def _rendered(*values: str, namespace: str = NAMESPACE, how: str = "--set") -> Objects:
    code, said = template(*values, namespace=namespace, how=how)
    assert code == 0, said
    return by_name(said)


def refused(*values: str, kubernetes: str = "1.37.0") -> str:
    """What helm said, having refused the values."""
    code, said = template(*values, kubernetes=kubernetes)
    assert code != 0, f"accepted: {values}"
    return said


def kustomized(folder: str) -> Objects:
    kubectl = binaries.find()[versions.KUBECTL]
    done = subprocess.run(
        [kubectl, "kustomize", ROOT / "manifests" / folder], capture_output=True, text=True, check=True
    )
    return by_name(done.stdout)


def by_name(text: str) -> Objects:
    """`Kind/name` → object; with its namespace what is in several. No two may bear one name."""
    objects = [each for each in yaml.safe_load_all(text) if each]
    named = {_name(each): each for each in objects}
    assert len(named) == len(objects), "an object is there twice"
    return named


def _name(body: Json) -> str:
    kind, meta = body["kind"], body["metadata"]
    elsewhere = kind == "RoleBinding" and meta["name"] in {"stanch-namespace", "stanch-verification-jobs"}
    return f"{kind}/{meta['namespace']}/{meta['name']}" if elsewhere else f"{kind}/{meta['name']}"


def comparable(objects: Objects) -> Objects:
    """Without what is Helm's own, and the namespace, which a chart does not make for itself."""
    return {name: _plain(each) for name, each in objects.items() if each["kind"] != "Namespace"}


def _plain(body: Json) -> Json:
    meta = dict(body["metadata"])
    labels = {key: value for key, value in meta.get("labels", {}).items() if key not in _HELM_LABELS}
    notes = {
        key: value for key, value in meta.get("annotations", {}).items() if not key.startswith("helm.sh/")
    }
    meta = {key: value for key, value in meta.items() if key not in {"labels", "annotations"}}
    meta |= {key: value for key, value in (("labels", labels), ("annotations", notes)) if value}
    plain: Json = _unordered(body | {"metadata": meta})
    return plain


def _unordered(value: Any) -> Any:
    """Lists that Kubernetes merges by name, in the order of their names."""
    if isinstance(value, dict):
        return {key: _unordered(each) for key, each in value.items()}
    if not isinstance(value, list):
        return value
    items = [_unordered(each) for each in value]
    named = all(isinstance(each, dict) and "name" in each for each in items)
    return sorted(items, key=lambda each: str(each["name"])) if named else items
