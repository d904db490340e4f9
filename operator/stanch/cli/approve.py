"""`stanch approve`: read the plan of an incident that awaits approval, and approve exactly that one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.incident import AIIncident, Approval
from stanch.api.v1alpha1.status import Phase
from stanch.cli.ending import Exit
from stanch.cli.screen import plain
from stanch.cli.session import (
    Command,
    Context,
    Kubeconfig,
    Name,
    Namespace,
    Where,
    incident_ref,
    read_incident,
)
from stanch.errors import Rejected

if TYPE_CHECKING:
    from stanch.kube.client import Kube

COMMAND = Command("approve", "nothing was approved", refused=Exit.NO)


class _UserInfo(ApiModel):
    username: str


class _ReviewStatus(ApiModel):
    user_info: _UserInfo


class _SelfSubjectReview(ApiModel):
    """https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/self-subject-review-v1/."""

    status: _ReviewStatus


def approve(  # noqa: PLR0913 - one parameter a flag
    name: Name,
    *,
    namespace: Namespace = None,
    plan: Annotated[
        str | None, typer.Option(help="The hash of the plan that you have read; else it is shown, and asked.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    comment: Annotated[str | None, typer.Option(help="Why; kept in the record.")] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Approve the plan of an incident that awaits it, as the user of your kubeconfig.

    Ends with 0 if it is approved, with 1 if it is not, and with 2 if that could not be asked.
    """

    async def work(kube: Kube, space: str) -> Exit:
        return await _approve(kube, space, name, plan, comment, asks=not yes and plan is None)

    COMMAND.run(Where(namespace, kubeconfig, context), work)


async def _approve(  # noqa: PLR0913 - whose plan, which, and how
    kube: Kube, namespace: str, name: str, plan: str | None, comment: str | None, *, asks: bool
) -> Exit:
    """Raises StanchError, Rejected in the server's own words when the caller may not."""
    ref = incident_ref(namespace, name)
    incident = await read_incident(kube, namespace, name)
    standing = incident.status.plan
    if incident.status.phase is not Phase.AWAITING_APPROVAL or standing is None:
        raise Rejected("NotAwaitingApproval", f"{ref} is {incident.status.phase or 'not looked at yet'}")
    if plan is not None and plan != standing.hash:
        raise Rejected(
            "PlanChanged", f"{ref} has plan {standing.hash} now, not {plan}; read it and try again"
        )
    show(incident)
    if asks and not typer.confirm(f"Approve plan {plain(standing.hash)}?"):
        typer.echo("not approved")
        return Exit.NO
    me = await _who_am_i(kube)
    approval = Approval(plan_hash=standing.hash, by=me, comment=comment)
    # The incident as it was shown: if it has moved on, the server refuses, and there is another plan to read.
    op = {"op": "add", "path": "/spec/approval", "value": approval.wire()}
    await kube.json_patch(ref, [op], resource_version=incident.metadata.resource_version)
    typer.echo(plain(f"plan {standing.hash} approved as {me}; see kubectl get aii -n {namespace} {name}"))
    return Exit.YES


def show(incident: AIIncident) -> None:
    """The plan as a diff, a line a change."""
    plan, spec, meta = incident.status.plan, incident.spec, incident.metadata
    assert plan is not None  # noqa: S101 - the caller has looked
    typer.echo(plain(f"{spec.severity} {spec.category}: {spec.title}"))
    typer.echo(plain(f"Plan {plan.hash} for {meta.namespace}/{meta.name}, from {plan.source}"))
    for number, step in enumerate(plan.steps, 1):
        typer.echo(plain(f" {number} {step.action} of {step.target}"))
        for line in step.diff:
            typer.echo(plain(f"     {line}"))
    for condition in incident.status.conditions:
        if condition.type in {"Approved", "GuardrailsPassed"}:
            typer.echo(plain(f" {condition.reason}: {condition.message}"))


async def _who_am_i(kube: Kube) -> str:
    from stanch.kube.resources import SELFSUBJECTREVIEWS  # noqa: PLC0415 - `stanch --help` needs none of it

    asked = {"apiVersion": SELFSUBJECTREVIEWS.api_version, "kind": SELFSUBJECTREVIEWS.kind}
    answer = await kube.create(SELFSUBJECTREVIEWS, None, asked)
    return _SelfSubjectReview.model_validate(answer).status.user_info.username
