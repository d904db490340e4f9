"""`stanch status`: what is contained, whether it is held, what is left to do; of one incident its story."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from stanch.cli.ending import Exit
from stanch.cli.screen import Form, can_be_drawn_on, emit, listed, show
from stanch.cli.session import Command, Context, Kubeconfig, Namespace, OptionalName, Where, read

if TYPE_CHECKING:
    from stanch.kube.client import Kube

COMMAND = Command("status", "")


def status(  # noqa: PLR0913 - one parameter a flag
    name: OptionalName = None,
    *,
    namespace: Namespace = None,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="List those of every namespace.")
    ] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            "-w",
            help="Follow NAME until nothing happens any more; without NAME all of them, until Ctrl-C.",
        ),
    ] = False,
    output: Annotated[Form, typer.Option("--output", "-o", help="How it is printed.")] = Form.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Show the incidents, those first that need somebody; or, with NAME, the story of one.

    Ends with 0 if they are shown and with 2 if they could not be read.
    """
    if watch and output.is_data:
        COMMAND.fail("--watch is for people: leave -o out, or use kubectl get aii --watch -o json")
    if name is not None and all_namespaces:
        COMMAND.fail(
            "-A lists the incidents of every namespace: leave NAME out, or give its namespace with -n"
        )

    async def work(kube: Kube, space: str) -> Exit:
        if name is None:
            return await (_watch_all if watch else _list)(kube, None if all_namespaces else space, output)
        return await (_watch if watch else _one)(kube, space, name, output)

    COMMAND.run(Where(namespace, kubeconfig, context), work)


async def _list(kube: Kube, namespace: str | None, form: Form) -> Exit:
    # Imported late, here and below: `stanch --help` needs none of it.
    from stanch.api.v1alpha1.incident import AIIncident  # noqa: PLC0415
    from stanch.cli.board import Listing  # noqa: PLC0415
    from stanch.kube.resources import AIINCIDENTS  # noqa: PLC0415

    bodies = await kube.list(AIINCIDENTS, namespace)
    listing = Listing(namespace, form is Form.WIDE)
    if form.is_data:
        emit(listed(bodies), form)
    elif bodies:
        incidents = [AIIncident.parse(body) for body in bodies]
        show(listing.table({(each.metadata.namespace, each.metadata.name): each for each in incidents}))
    else:
        typer.echo(listing.nobody, err=True)
    return Exit.YES


async def _watch_all(kube: Kube, namespace: str | None, form: Form) -> Exit:
    from stanch.cli.board import Listing, follow_all  # noqa: PLC0415

    await follow_all(kube, Listing(namespace, form is Form.WIDE))
    return Exit.YES


async def _one(kube: Kube, namespace: str, name: str, form: Form) -> Exit:
    from stanch.api.v1alpha1.incident import AIIncident  # noqa: PLC0415
    from stanch.cli.story import story  # noqa: PLC0415

    body = await read(kube, namespace, name)
    if form.is_data:
        emit(body, form)
    else:
        show(story(AIIncident.parse(body), datetime.now(UTC)))
    return Exit.YES


async def _watch(kube: Kube, namespace: str, name: str, _form: Form) -> Exit:
    from stanch.cli.follow import follow  # noqa: PLC0415
    from stanch.cli.standing import next_of  # noqa: PLC0415

    await read(kube, namespace, name)  # whoever follows what is not there has mistyped it
    ended = await follow(kube, namespace, name)
    if ended is None:
        typer.echo(f"AIIncident {namespace}/{name} is gone")
    elif not can_be_drawn_on() and next_of(ended).told:
        typer.echo(f"Next: {next_of(ended).told}")
    return Exit.YES
