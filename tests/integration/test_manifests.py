"""Installing and removing Stanch with kubectl alone, as the README says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cluster import kubectl_of
from tests.installation import ROOT
from tests.operator_process import eventually

if TYPE_CHECKING:
    from tests.cluster import Kubectl, OwnSandbox

pytestmark = pytest.mark.compatibility("kustomize")

MANIFESTS = ROOT / "manifests"
# kubectl sends a patch for a budget every time, as its selector is replaced whole, and says so.
ALWAYS_PATCHED = "poddisruptionbudget.policy/stanch configured"
GONE_WITHIN = 300.0  # seconds; the namespace waits out the grace period of its pods


@pytest.fixture(scope="module")
def fresh(own_sandbox: OwnSandbox, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """An administrator's kubectl on a server that has never seen Stanch."""
    return kubectl_of(own_sandbox(), tmp_path_factory.mktemp("kubectl"))


@pytest.mark.long
def test_install_once_again_and_remove(fresh: Kubectl) -> None:
    first = fresh("apply", "-k", str(MANIFESTS / "default"), check=True)
    assert first.stderr == ""
    assert all(line.endswith(" created") for line in first.stdout.splitlines())

    again = fresh("apply", "-k", str(MANIFESTS / "default"), check=True)
    changed = [line for line in again.stdout.splitlines() if not line.endswith(" unchanged")]
    assert changed == [ALWAYS_PATCHED]

    receiver = fresh("apply", "-k", str(MANIFESTS / "receiver"), "--dry-run=server", check=True)
    changed = [line.split()[0] for line in receiver.stdout.splitlines() if " unchanged" not in line]
    budget, _ = ALWAYS_PATCHED.split()
    assert set(changed) - {budget} == {"deployment.apps/stanch", "service/stanch"}

    checked = "--for=jsonpath={.status.observedGeneration}=1"
    fresh("wait", "validatingadmissionpolicies", "--all", checked, "--timeout=110s", check=True)
    warnings = "jsonpath={.items[*].status.typeChecking.expressionWarnings}"
    assert fresh("get", "validatingadmissionpolicies", "-o", warnings, check=True).stdout == ""
    ready = ("rollout", "status", "deployment/stanch", "-n", "stanch-system", "--timeout=110s")
    fresh(*ready, check=True)

    self_signed = fresh("apply", "-k", str(MANIFESTS / "receiver-self-signed"), check=True)
    made = [line.split()[0] for line in self_signed.stdout.splitlines() if line.endswith(" created")]
    tls = ("role.rbac.authorization.k8s.io", "rolebinding.rbac.authorization.k8s.io", "secret")
    assert made == [f"{kind}/stanch-receiver-tls" for kind in tls]
    fresh(*ready, check=True)

    samples = "apply", "-f", str(MANIFESTS / "samples" / "llm-chat.yaml")
    fresh(*samples, check=True)
    fresh("apply", "-f", str(MANIFESTS / "samples" / "toxic-output.yaml"), check=True)
    fresh("apply", "-f", str(MANIFESTS / "samples" / "recovery-policy.yaml"), check=True)
    fresh("delete", "aii", "--all", "-n", "demo", check=True)

    fresh("delete", "-k", str(MANIFESTS / "admission"), check=True)
    fresh("delete", "-k", str(MANIFESTS / "default"), "--ignore-not-found", "--wait=false", check=True)
    eventually(
        lambda: not left(fresh), "nothing of Stanch is left", within=GONE_WITHIN, seen=lambda: ending(fresh)
    )


def left(kubectl: Kubectl) -> list[str]:
    """What has Stanch in its name, of the kinds that are not in a namespace."""
    kinds = "crds,clusterroles,clusterrolebindings,flowschemas,namespaces"
    kinds += ",validatingadmissionpolicies,validatingadmissionpolicybindings"
    return [
        name for name in kubectl("get", kinds, "-o", "name", check=True).stdout.split() if "stanch" in name
    ]


def ending(kubectl: Kubectl) -> str:
    """What is left, and what the server's controllers say of its end."""
    conditions = "jsonpath={range .items[*]}{.metadata.name}: {.status.conditions}{'\\n'}{end}"
    return kubectl("get", "crds,namespaces", "-o", conditions).stdout
