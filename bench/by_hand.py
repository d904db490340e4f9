"""The alternative: a script of kubectl commands. And a hold as Stanch writes it."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import UTC, datetime

from bench.stage import BenchError, Json, Stage
from stanch.api.v1alpha1.hold import HOLD_NAME, ContainmentHoldSpec, HeldEntry, Rule, hold_key
from stanch.kube.resources import CONTAINMENTHOLDS, DEPLOYMENTS

_STOP: list[Json] = [
    {"op": "add", "path": "/metadata/labels/stanch.dev~1held", "value": "true"},
    {"op": "replace", "path": "/spec/replicas", "value": 0},
]


def held(names: list[str]) -> Json:
    entry = HeldEntry.of("toxic", "Critical", datetime.now(UTC))
    keys = [hold_key(Rule.STOPPED, f"{DEPLOYMENTS.key}/{name}") for name in names]
    return {
        "apiVersion": CONTAINMENTHOLDS.api_version,
        "kind": CONTAINMENTHOLDS.kind,
        "metadata": {"name": HOLD_NAME},
        "spec": ContainmentHoldSpec.of(dict.fromkeys(keys, entry)).wire(),
    }


_SCRIPT = """
set -e
kubectl get namespace "$NS" -o json > namespace.json
kubectl get deployment llm -n "$NS" -o json > deployment.json
kubectl get hpa,replicasets,pods -n "$NS" -o json > related.json
kubectl patch deployment llm -n "$NS" --type=json -p "$STOP" --dry-run=server -o json > stopped.json
kubectl label namespace "$NS" stanch.dev/holding=true
kubectl create -n "$NS" -f hold.json
kubectl patch deployment llm -n "$NS" --type=json -p "$STOP"
"""


def script(stage: Stage, namespace: str) -> float:
    """Seconds that a shell script takes that saves the objects, tries the change, holds and scales."""
    directory = stage.home / namespace
    directory.mkdir()
    (directory / "hold.json").write_text(json.dumps(held(["llm"])))
    environment = {
        "PATH": f"{stage.sandbox.kubectl.parent}:/usr/bin:/bin",
        "HOME": str(stage.home),
        "KUBECONFIG": str(stage.operator_kubeconfig),
        "NS": namespace,
        "STOP": json.dumps(_STOP),
    }
    began = time.perf_counter()
    done = subprocess.run(
        ["sh", "-c", _SCRIPT], env=environment, cwd=directory, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"the kubectl script failed in {namespace}: {done.stderr}")
    return time.perf_counter() - began
