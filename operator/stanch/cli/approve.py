"""`stanch approve`: read the plan of an incident that awaits approval, and approve exactly that one."""

from __future__ import annotations

import asyncio
from enum import IntEnum
from pathlib import Path  # noqa: TC003 - typer resolves it at run time
from typing import TYPE_CHECKING, Annotated

import typer

from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.incident import AIIncident, Approval
from stanch.api.v1alpha1.status import Phase
from stanch.errors import Rejected, StanchError

if TYPE_CHECKING:
    from stanch.kube.client import Kube


class Exit(IntEnum):
    APPROVED = 0
    NOT_APPROVED = 1
    USAGE = 2


class _UserInfo(ApiModel):
    username: str


class _ReviewStatus(ApiModel):
    user_info: _UserInfo


class _SelfSubjectReview(ApiModel):
    """https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/self-subject-review-v1/."""

    status: _ReviewStatus


def approve(  # noqa: PLR0913 - one parameter a flag
    name: Annotated[str, typer.Argument(help="The AIIncident.")],
    *,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Its namespace.")] = "default",
    plan: Annotated[
        str | None, typer.Option(help="The hash of the plan that you have read; else it is shown, and asked.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    comment: Annotated[str | None, typer.Option(help="Why; kept in the record.")] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Kubeconfig; else in-cluster, else $KUBECONFIG.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
) -> None:
    """Approve the plan of an incident that awaits it, as the user of your kubeconfig.

    Ends with 0 if it is approved, with 1 if it is not, and with 2 if that could not be asked.
    """
    given = {"kubeconfig": kubeconfig, "context": context}

    async def work() -> Exit:
        from stanch.kube.client import Kube  # noqa: PLC0415 - `stanch --help` needs none of it
        from stanch.settings import Settings  # noqa: PLC0415

        kube = await Kube.connect(Settings(**{key: value for key, value in given.items() if value}))  # type: ignore[arg-type]  # each value is its setting's
        try:
            return await _approve(kube, namespace, name, plan, comment, asks=not yes and plan is None)
        finally:
            await kube.close()

    try:
        raise typer.Exit(asyncio.run(work()))
    except (StanchError, OSError, ValueError) as error:
        typer.echo(f"stanch approve: {error}; nothing was approved", err=True)
        raise typer.Exit(Exit.NOT_APPROVED if isinstance(error, Rejected) else Exit.USAGE) from None


async def _approve(  # noqa: PLR0913 - whose plan, which, and how
    kube: Kube, namespace: str, name: str, plan: str | None, comment: str | None, *, asks: bool
) -> Exit:
    """Raises StanchError, Rejected in the server's own words when the caller may not."""
    from stanch.kube.resources import AIINCIDENTS, ObjectRef  # noqa: PLC0415

    ref = ObjectRef(AIINCIDENTS, namespace, name)
    body = await kube.get(ref)
    if body is None:
        raise Rejected("NotFound", f"{ref} does not exist; see kubectl get aii -A")
    incident = AIIncident.parse(body)
    standing = incident.status.plan
    if incident.status.phase is not Phase.AWAITING_APPROVAL or standing is None:
        raise Rejected("NotAwaitingApproval", f"{ref} is {incident.status.phase or 'not looked at yet'}")
    if plan is not None and plan != standing.hash:
        raise Rejected(
            "PlanChanged", f"{ref} has plan {standing.hash} now, not {plan}; read it and try again"
        )
    show(incident)
    if asks and not typer.confirm(f"Approve plan {standing.hash}?"):
        typer.echo("not approved")
        return Exit.NOT_APPROVED
    me = await _who_am_i(kube)
    approval = Approval(plan_hash=standing.hash, by=me, comment=comment)
    # The incident as it was shown: if it has moved on, the server refuses, and there is another plan to read.
    op = {"op": "add", "path": "/spec/approval", "value": approval.wire()}
    await kube.json_patch(ref, [op], resource_version=incident.metadata.resource_version)
    typer.echo(f"plan {standing.hash} approved as {me}; see kubectl get aii -n {namespace} {name}")
    return Exit.APPROVED


def show(incident: AIIncident) -> None:
    """The plan as a diff, a line a change."""
    plan, spec, meta = incident.status.plan, incident.spec, incident.metadata
    assert plan is not None  # noqa: S101 - the caller has looked
    typer.echo(f"{spec.severity} {spec.category}: {spec.title}")
    typer.echo(f"Plan {plan.hash} for {meta.namespace}/{meta.name}, from {plan.source}")
    for number, step in enumerate(plan.steps, 1):
        typer.echo(f" {number} {step.action} of {step.target}")
        for line in step.diff:
            typer.echo(f"     {line}")
    for condition in incident.status.conditions:
        if condition.type in {"Approved", "GuardrailsPassed"}:
            typer.echo(f" {condition.reason}: {condition.message}")


async def _who_am_i(kube: Kube) -> str:
    from stanch.kube.resources import SELFSUBJECTREVIEWS  # noqa: PLC0415

    asked = {"apiVersion": SELFSUBJECTREVIEWS.api_version, "kind": SELFSUBJECTREVIEWS.kind}
    answer = await kube.create(SELFSUBJECTREVIEWS, None, asked)
    return _SelfSubjectReview.model_validate(answer).status.user_info.username
