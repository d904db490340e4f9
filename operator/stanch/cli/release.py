"""`stanch release`: ask for the workload to be given back, and see it come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stanch.api.v1alpha1.incident import AIIncident, DesiredState
from stanch.api.v1alpha1.status import GIVEN_BACK
from stanch.cli.ending import Exit
from stanch.cli.follow import follow
from stanch.cli.screen import lines
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
from stanch.cli.standing import at_rest, failed_release, next_of, where_of
from stanch.errors import Conflict, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from stanch.kube.client import Kube

Json = dict[str, Any]
COMMAND = Command("release", "nothing was asked to be given back", refused=Exit.NO)

_TRIES = 10  # the operator may write the incident's status at the same time


def release(  # noqa: PLR0913 - one parameter a flag
    name: Name,
    *,
    namespace: Namespace = None,
    skip_verification: Annotated[
        bool, typer.Option("--skip-verification", help="At once, without proof of recovery.")
    ] = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", "-w", help="Follow it stage by stage until it is given back, or is not."),
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(help="With --watch: seconds until it is given up; the release goes on.")
    ] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Give the workload of an incident back, stage by stage where its policy has recovery proven.

    What it would change: stanch plan release NAME. After a release that failed this is another try.

    Ends with 0 if it is asked for and, with --watch, if it is given back; with 1 if it was refused, or failed
    and is contained again; with 2 if that is not known; with 3 if it takes longer than --timeout.
    """

    async def work(kube: Kube, space: str) -> Exit:
        asked = await ask(kube, space, name, skip_verification=skip_verification)
        typer.echo(asked)
        if not watch:
            typer.echo(f"follow it: kubectl stanch status -n {space} {name} --watch")
            return Exit.YES
        ended = await COMMAND.after(asked, space, name, follow(kube, space, name, within=timeout))
        typer.echo(lines(ending(ended, f"{space}/{name}")))
        if ended is None or ended.status.phase in GIVEN_BACK:
            return Exit.YES
        return Exit.NO if at_rest(ended) else Exit.WAITS

    COMMAND.run(Where(namespace, kubeconfig, context), work)


async def ask(kube: Kube, namespace: str, name: str, *, skip_verification: bool) -> str:
    """What was done, for a person. Raises StanchError."""
    incident = await read_incident(kube, namespace, name)
    phase = incident.status.phase
    if phase in GIVEN_BACK:
        raise Rejected("GivenBack", f"AIIncident {namespace}/{name} is {phase} already")
    if incident.spec.desired_state is DesiredState.RELEASED and failed_release(incident):
        # Only another generation of the spec is another try.
        await change(kube, namespace, name, lambda _: [_set("desiredState", "Contained")])
    skip = [_set("skipVerification", value=True)] if skip_verification else []
    await change(kube, namespace, name, lambda _: [*skip, _set("desiredState", "Released")])
    proof = " without proof of recovery" if skip_verification else ""
    return f"AIIncident {namespace}/{name} is asked to be given back{proof}"


async def change(
    kube: Kube, namespace: str, name: str, ops: Callable[[AIIncident], list[Json]]
) -> AIIncident:
    """The incident with these JSON patch operations done to it, as it stood at that moment.

    Raises StanchError, Conflict when it is written all the time.
    """
    for _ in range(_TRIES):
        seen = await read_incident(kube, namespace, name)
        try:
            body = await kube.json_patch(
                incident_ref(namespace, name), ops(seen), resource_version=seen.metadata.resource_version
            )
        except Conflict as error:
            conflict = error
        else:
            return AIIncident.parse(body)
    raise conflict


def _set(field: str, value: object) -> Json:
    return {"op": "add", "path": f"/spec/{field}", "value": value}


def ending(incident: AIIncident | None, which: str) -> str:
    """What came of it, and what is left to do."""
    if incident is None:
        return f"AIIncident {which} is gone: it was deleted, which gives the workload back"
    status = incident.status
    if status.phase not in GIVEN_BACK:
        state = "contained again" if at_rest(incident) else "still under way"
        return f"Not given back, {state}: {status.summary or status.phase}\nNext: {next_of(incident).told}"
    kept = [
        f"{step.target.kind} {step.target.name} {path}"
        for step in status.steps
        if step.undo is not None
        for path in step.undo.kept
    ]
    said = [f"{status.phase}. {status.summary or ''}"]
    if kept:
        said.append(f"Not touched, changed by others meanwhile: {', '.join(kept)}")
    if next_of(incident).word == "close":
        said.append(f"Close it with what was learnt: kubectl stanch close {where_of(incident)}")
    return "\n".join(said)
