"""The real HorizontalPodAutoscaler acts on loads that a test sets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sandbox.metrics import ResourceMetrics
from tests.cluster import kubectl_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster import OwnSandbox

WORKLOAD = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "llm-chat"},
    "spec": {
        "selector": {"matchLabels": {"app": "llm-chat"}},
        "template": {
            "metadata": {"labels": {"app": "llm-chat"}},
            "spec": {
                "containers": [
                    {
                        "name": "server",
                        "image": "registry.example/model:1",
                        "resources": {"requests": {"cpu": "100m"}},
                    }
                ]
            },
        },
    },
}


def test_the_autoscaler_scales_up_under_load(own_sandbox: OwnSandbox, tmp_path: Path) -> None:
    sandbox = own_sandbox()
    kubectl = kubectl_of(sandbox, tmp_path)
    with ResourceMetrics(sandbox) as metrics:
        metrics.set_cpu("default", 300)
        kubectl("apply", "-f", "-", stdin=json.dumps(WORKLOAD), check=True)
        kubectl("autoscale", "deployment/llm-chat", "--cpu=50%", "--min=1", "--max=4", check=True)
        kubectl(
            "wait", "deployment/llm-chat", "--for=jsonpath={.spec.replicas}=4", "--timeout=110s", check=True
        )
        said = kubectl("get", "hpa/llm-chat", "-o", "json", check=True).stdout
    current = json.loads(said)["status"]["currentMetrics"][0]["resource"]["current"]
    assert current["averageUtilization"] == 300
