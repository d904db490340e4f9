"""`stanch plan`: what would be done, before it is asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from stanch.cli.contain import Policy, Steps, ending
from stanch.cli.ending import Exit
from stanch.cli.follow import Told, follow
from stanch.cli.request import Request, create
from stanch.cli.screen import DataForm, emit, lines, plain, progress
from stanch.cli.session import (
    Command,
    Context,
    Kubeconfig,
    Name,
    Namespace,
    Where,
    incident_ref,
    read,
    read_incident,
    told,
)
from stanch.errors import StanchError

if TYPE_CHECKING:
    from stanch.actions.objects import Obj
    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.api.v1alpha1.policy import Guardrails
    from stanch.incidents.preview import Preview
    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef

Json = dict[str, Any]
PLAN = Command("plan", "no plan is known", refused=Exit.NO)
RELEASE = Command("plan release", "nothing is known of a release")

app = typer.Typer()


@app.callback(invoke_without_command=True)
def plan(  # noqa: PLR0913 - one parameter a flag
    asked: typer.Context,
    *,
    workload: Annotated[str | None, typer.Option(help="What would be stopped: deploy/llm-chat.")] = None,
    namespace: Namespace = None,
    policy: Policy = None,
    step: Steps = None,
    timeout: Annotated[float, typer.Option(help="Seconds until a plan is given up.")] = 60.0,
    output: Annotated[DataForm, typer.Option("--output", "-o", help="How it is printed.")] = DataForm.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Show what containing a workload would do, whether the way back is proven, and which guardrails apply.

    No workload is changed. The operator makes the plan, as it would carry it out, for an AIIncident with
    mode: DryRun that is deleted again: you need to be allowed to create and to delete incidents.

    Ends with 0 if there is a plan, with 1 if it would be refused, with 2 if that is not known, and with 3 if
    none was made within --timeout.
    """
    if asked.invoked_subcommand is not None:
        return
    if workload is None:
        PLAN.fail("give --workload, such as deploy/llm-chat, or see: stanch plan release NAME")
    request = Request(
        workload, title=f"Plan for {workload}"[:256], policy=policy, steps=tuple(step or ()), dry_run=True
    )

    async def work(kube: Kube, space: str) -> Exit:
        name = (await create(kube, space, request))["metadata"]["name"]
        try:
            with progress(f"the operator makes the plan, as AIIncident {space}/{name}"):
                await follow(kube, space, name, within=timeout, told=Told.NOWHERE)
            body = await read(kube, space, name)
            rails = await _guardrails(kube, body)
        finally:
            await _forget(kube, space, name)
        return _shown(body, rails, output)

    PLAN.run(Where(namespace, kubeconfig, context), work)


async def _forget(kube: Kube, namespace: str, name: str) -> None:
    """A dry run holds nothing: it is gone at once. That it stays harms nobody, but has to be known."""
    try:
        await kube.delete(incident_ref(namespace, name))
    except StanchError as error:
        typer.echo(
            lines(f"stanch plan: AIIncident {namespace}/{name} stays, as a dry run: {told(error)}"), err=True
        )


async def _guardrails(kube: Kube, body: Json) -> Guardrails | None:
    """Of the policy that the plan follows. None where it has none, or the caller may not read it."""
    from stanch.api.v1alpha1.incident import AIIncident  # noqa: PLC0415 - `stanch --help` needs none of it
    from stanch.policies.choose import parse, ref_of  # noqa: PLC0415

    incident = AIIncident.parse(body)
    policy = incident.status.plan.policy if incident.status.plan is not None else None
    if policy is None:
        return None
    try:
        found = await kube.get(ref_of(policy.kind, incident.metadata.namespace, policy.name))
        return parse(found).spec.guardrails if found is not None else None
    except (StanchError, ValidationError):
        return None


def _shown(body: Json, rails: Guardrails | None, form: DataForm) -> Exit:
    from stanch.api.v1alpha1.incident import AIIncident  # noqa: PLC0415
    from stanch.cli.planned import plan_lines  # noqa: PLC0415

    incident = AIIncident.parse(body)
    if form.form.is_data:
        emit(body, form.form)
    else:
        for line in plan_lines(incident, rails):
            typer.echo(line)
    return ending(incident)


@app.command("release")
def release(
    name: Name,
    *,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """What a release would give back, and what others changed since, which it would leave as it is.

    Ends with 0 if there is something to give back, with 1 if there is nothing, and with 2 if that could not
    be read: you need to be allowed to get the objects that the incident changed.
    """

    async def work(kube: Kube, space: str) -> Exit:
        return await _show(kube, space, name)

    RELEASE.run(Where(namespace, kubeconfig, context), work)


async def _show(kube: Kube, namespace: str, name: str) -> Exit:
    """Raises StanchError."""
    from stanch.incidents.preview import preview  # noqa: PLC0415
    from stanch.incidents.record import ref_of  # noqa: PLC0415

    incident = await read_incident(kube, namespace, name)
    refs = {ref_of(change.object, namespace) for step in incident.status.steps for change in step.changes}
    objects = await _read(kube, refs)
    steps = preview(incident, lambda reference: objects.get(ref_of(reference, namespace)))
    _tell(incident, steps)
    return Exit.YES if steps else Exit.NO


async def _read(kube: Kube, refs: set[ObjectRef]) -> dict[ObjectRef, Obj]:
    from stanch.actions.objects import Obj  # noqa: PLC0415

    ordered = sorted(refs, key=str)
    bodies = await asyncio.gather(*(kube.get(ref) for ref in ordered))
    return {
        ref: Obj(ref.resource, body) for ref, body in zip(ordered, bodies, strict=True) if body is not None
    }


def _tell(incident: AIIncident, steps: tuple[Preview, ...]) -> None:
    meta, status = incident.metadata, incident.status
    typer.echo(f"{meta.namespace}/{meta.name} is {status.phase or 'not looked at yet'}")
    if not steps:
        typer.echo("there is nothing to give back")
        return
    policy = status.plan.policy if status.plan is not None else None
    if policy is not None and policy.verification is not None and not incident.spec.skip_verification:
        names = ", ".join(check.name for check in policy.verification.checks)
        typer.echo(plain(f"first on probation, then in full, each until these pass: {names}"))
    for number, step in enumerate(steps, 1):
        typer.echo(plain(f" {number} {step.action} of {step.target}"))
        for line in step.gives_back:
            typer.echo(plain(f"     {line}"))
        for line in step.keeps:
            typer.echo(plain(f"     kept: {line}"))
    typer.echo("Nothing was changed.")
