"""`stanch plan`: what would be done, before it is asked for."""

from __future__ import annotations

import asyncio
from enum import IntEnum
from pathlib import Path  # noqa: TC003 - typer resolves it at run time
from typing import TYPE_CHECKING, Annotated

import typer

from stanch.errors import Rejected, StanchError

if TYPE_CHECKING:
    from stanch.actions.objects import Obj
    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.incidents.preview import Preview
    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef

app = typer.Typer(help="What would be done, before it is asked for.", no_args_is_help=True)


class Exit(IntEnum):
    SHOWN = 0
    NOTHING = 1
    USAGE = 2


@app.callback()
def plan() -> None:
    """What would be done, before it is asked for. Nothing is changed."""


@app.command("release")
def release(
    name: Annotated[str, typer.Argument(help="The AIIncident.")],
    *,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Its namespace.")] = "default",
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Kubeconfig; else in-cluster, else $KUBECONFIG.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
) -> None:
    """What a release would give back, and what others changed since, which it would leave as it is.

    Ends with 0 if there is something to give back, with 1 if there is nothing, and with 2 if that could not
    be read: you need to be allowed to get the objects that the incident changed.
    """
    given = {"kubeconfig": kubeconfig, "context": context}

    async def work() -> Exit:
        from stanch.kube.client import Kube  # noqa: PLC0415 - `stanch --help` needs none of it
        from stanch.settings import Settings  # noqa: PLC0415

        kube = await Kube.connect(Settings(**{key: value for key, value in given.items() if value}))  # type: ignore[arg-type]  # each value is its setting's
        try:
            return await _show(kube, namespace, name)
        finally:
            await kube.close()

    try:
        raise typer.Exit(asyncio.run(work()))
    except (StanchError, OSError, ValueError) as error:
        typer.echo(f"stanch plan release: {error}; nothing is known of a release", err=True)
        raise typer.Exit(Exit.USAGE) from None


async def _show(kube: Kube, namespace: str, name: str) -> Exit:
    """Raises StanchError."""
    from stanch.api.v1alpha1.incident import AIIncident  # noqa: PLC0415
    from stanch.incidents.preview import preview  # noqa: PLC0415
    from stanch.incidents.record import ref_of  # noqa: PLC0415
    from stanch.kube.resources import AIINCIDENTS, ObjectRef  # noqa: PLC0415

    ref = ObjectRef(AIINCIDENTS, namespace, name)
    body = await kube.get(ref)
    if body is None:
        raise Rejected("NotFound", f"{ref} does not exist; see kubectl get aii -A")
    incident = AIIncident.parse(body)
    refs = {ref_of(change.object, namespace) for step in incident.status.steps for change in step.changes}
    objects = await _read(kube, refs)
    steps = preview(incident, lambda reference: objects.get(ref_of(reference, namespace)))
    _tell(incident, steps)
    return Exit.SHOWN if steps else Exit.NOTHING


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
        typer.echo(f"first on probation, then in full, each until these pass: {names}")
    for number, step in enumerate(steps, 1):
        typer.echo(f" {number} {step.action} of {step.target}")
        for line in step.gives_back:
            typer.echo(f"     {line}")
        for line in step.keeps:
            typer.echo(f"     kept: {line}")
    typer.echo("Nothing was changed.")
