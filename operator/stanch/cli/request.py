"""An incident that is asked for on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stanch.api.v1alpha1.incident import AIIncidentSpec, Category, Mode, Severity
from stanch.cli.workloads import policy_of, target_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stanch.cli.workloads import StepName
    from stanch.kube.client import Kube

Json = dict[str, Any]

_LONGEST_NAME = 40
"""Of what is given a suffix: labels made of names have 63 characters at most."""


@dataclass(frozen=True)
class Request:
    """What is to be contained, why and how."""

    workload: str
    title: str | None = None
    category: Category = Category.OTHER
    severity: Severity = Severity.HIGH
    policy: str | None = None
    steps: Sequence[StepName] = ()
    dry_run: bool = False

    def manifest(self, namespace: str) -> Json:
        """Raises ValueError with what is wrong."""
        if self.policy is not None and self.steps:
            raise ValueError("give --policy or --step, not both: a policy has its own steps")
        target = target_of(self.workload)
        spec = AIIncidentSpec(
            title=self.title or f"{target.kind} {target.name} contained by hand",
            category=self.category,
            severity=self.severity,
            targets=(target,),
            policy_ref=policy_of(self.policy) if self.policy is not None else None,
            steps=tuple(each.step for each in self.steps) or None,
            mode=Mode.DRY_RUN if self.dry_run else Mode.ENFORCE,
        )
        prefix = target.name[:_LONGEST_NAME].rstrip("-.")
        return {
            "apiVersion": "stanch.dev/v1alpha1",
            "kind": "AIIncident",
            "metadata": {"generateName": f"{prefix}-", "namespace": namespace},
            "spec": _said(spec),
        }


def _said(spec: AIIncidentSpec) -> Json:
    """Without what is empty: the server knows its defaults, and a policy has its own steps."""
    return {name: value for name, value in spec.wire().items() if value not in ([], {}, False)}


async def create(kube: Kube, namespace: str, request: Request) -> Json:
    """The incident as it was stored. Raises ValueError, StanchError."""
    from stanch.kube.resources import AIINCIDENTS  # noqa: PLC0415 - `stanch --help` needs none of it

    return await kube.create(AIINCIDENTS, namespace, request.manifest(namespace))
