"""`stanch contain`: an incident for one workload, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stanch.api.v1alpha1.incident import Category, Severity
from stanch.cli.ending import Exit
from stanch.cli.follow import Timeout, Told, follow
from stanch.cli.request import Request, create
from stanch.cli.screen import DataForm, can_be_drawn_on, emit, lines
from stanch.cli.session import Command, Context, Kubeconfig, Namespace, Where, read
from stanch.cli.standing import is_rehearsal, next_of
from stanch.cli.workloads import StepName

if TYPE_CHECKING:
    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.kube.client import Kube

COMMAND = Command("contain", "nothing was contained", refused=Exit.NO)

Policy = Annotated[
    str | None,
    typer.Option(
        help="The policy whose plan is carried out, ccpol/NAME for one of the cluster; else the best match, "
        "else it is scaled to zero."
    ),
]
Steps = Annotated[
    list[StepName] | None,
    typer.Option("--step", help="A step instead of a policy's plan; may be repeated, in their order."),
]


def contain(  # noqa: PLR0913 - one parameter a flag
    workload: Annotated[
        str,
        typer.Argument(metavar="WORKLOAD", help="What is to be stopped: deploy/llm-chat, sts/x, cronjob/x."),
    ],
    *,
    namespace: Namespace = None,
    title: Annotated[str | None, typer.Option("--title", "-t", help="One line: what happens.")] = None,
    category: Annotated[Category, typer.Option(help="What kind of incident it is.")] = Category.OTHER,
    severity: Annotated[Severity, typer.Option(help="How bad it is.")] = Severity.HIGH,
    policy: Policy = None,
    step: Steps = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="An incident that shows its plan and changes nothing.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it until it is contained, or is not.")] = False,
    timeout: Timeout = 120.0,
    output: Annotated[DataForm, typer.Option("--output", "-o", help="How it is printed.")] = DataForm.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Create an AIIncident for a workload, so that it is contained and held.

    Ends with 0 if the incident is there and, with --wait, if it is contained (or, with --dry-run, planned);
    with 1 if it was refused or is not contained; with 2 if that is not known; with 3 if it waits for
    approval, or longer than --timeout.
    """
    request = Request(workload, title, category, severity, policy, tuple(step or ()), dry_run)

    async def work(kube: Kube, space: str) -> Exit:
        created = await create(kube, space, request)
        name = created["metadata"]["name"]
        quiet = output.form.is_data
        if not quiet:
            typer.echo(f"AIIncident {space}/{name} created")
        if not wait:
            if quiet:
                emit(created, output.form)
            else:
                typer.echo(f"follow it: kubectl stanch status -n {space} {name} --watch")
            return Exit.YES
        where = Told.BESIDE if quiet else Told.SCREEN
        looking = follow(kube, space, name, within=timeout, told=where)
        done = f"AIIncident {space}/{name} is created"
        ended = await COMMAND.after(done, space, name, looking)
        if quiet:
            emit(await COMMAND.after(done, space, name, read(kube, space, name)), output.form)
        elif ended is not None and not can_be_drawn_on():
            typer.echo(lines(f"{ended.status.summary or ''}\nNext: {next_of(ended).told}"))
        return ending(ended)

    COMMAND.run(Where(namespace, kubeconfig, context), work)


def ending(incident: AIIncident | None) -> Exit:
    """Of an incident that was to be contained, or planned. Not held is not contained."""
    from stanch.api.v1alpha1.status import Phase  # noqa: PLC0415
    from stanch.cli.standing import at_rest, held  # noqa: PLC0415

    if incident is None or not at_rest(incident):
        return Exit.NO if incident is None else Exit.WAITS
    match incident.status.phase:
        case Phase.AWAITING_APPROVAL:
            return Exit.WAITS
        case Phase.CONTAINED:
            return Exit.NO if held(incident) == "False" else Exit.YES
        case Phase.DETECTED:
            return Exit.YES if is_rehearsal(incident) else Exit.NO
        case _:
            return Exit.NO
