"""What a cluster has to offer for Stanch, in the order of the table. Pure."""

from __future__ import annotations

from enum import StrEnum


class Area(StrEnum):
    """As in `@pytest.mark.compatibility("helm")`; `heading` is what the table says."""

    KUSTOMIZE = "kustomize"
    HELM = "helm"
    DEFINITIONS = "definitions"
    ADMISSION = "admission"
    RIGHTS = "rights"
    CONTAINMENT = "containment"
    SUSPEND = "suspend"
    ISOLATE = "isolate"
    QUARANTINE = "quarantine"
    REVOKE = "revoke"
    ROLLBACK = "rollback"
    EVIDENCE = "evidence"
    ALERTS = "alerts"
    CLI = "cli"
    STAMPS = "stamps"

    @property
    def heading(self) -> str:
        return _HEADINGS[self]

    @property
    def optional(self) -> bool:
        """Whether Stanch does what it promises on a cluster that does not offer this."""
        return self is Area.STAMPS


_HEADINGS = {
    Area.KUSTOMIZE: "Installed and removed with kustomize",
    Area.HELM: "Installed, upgraded, rolled back and removed with Helm",
    Area.DEFINITIONS: "Definitions refuse mistakes",
    Area.ADMISSION: "The hold, and who may ask for what",
    Area.RIGHTS: "Roles, and the operator's own rights",
    Area.CONTAINMENT: "Every kind of workload: scaled to zero, held, given back",
    Area.SUSPEND: "Jobs and CronJobs: suspended, held, given back",
    Area.ISOLATE: "Isolated by NetworkPolicies, held, given back",
    Area.QUARANTINE: "Pods quarantined, held, given back",
    Area.REVOKE: "ServiceAccounts revoked, held, given back",
    Area.ROLLBACK: "Rolled back, the condemned version kept out",
    Area.EVIDENCE: "Evidence collected before anything changes",
    Area.ALERTS: "A metric in Prometheus contains, by way of Alertmanager",
    Area.CLI: "`kubectl stanch`, with `doctor`",
    Area.STAMPS: "The API server stamps who asked (`admission.stamps`)",
}
