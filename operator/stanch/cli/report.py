"""`stanch report`: what an incident was, what was done about it, and what there still is to write."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - typer resolves it at run time
from typing import TYPE_CHECKING, Annotated

import typer

from stanch.cli.ending import Exit
from stanch.cli.screen import plain, progress
from stanch.cli.session import (
    Command,
    Context,
    CredentialsDirectory,
    Endpoint,
    Kubeconfig,
    Namespace,
    OptionalName,
    Region,
    Where,
    evidence_settings,
    read_incident,
)
from stanch.reports.form import Form

if TYPE_CHECKING:
    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.kube.client import Kube
    from stanch.reports.model import Report
    from stanch.settings import Settings

COMMAND = Command("report", "no report was written")


def report(  # noqa: PLR0913 - one parameter a flag
    name: OptionalName = None,
    *,
    namespace: Namespace = None,
    form: Annotated[Form, typer.Option("--format", "-o", help="How it is written.")] = Form.MARKDOWN,
    output: Annotated[Path | None, typer.Option(help="The file that it is written to; else stdout.")] = None,
    verify: Annotated[
        Path | None, typer.Option(help="A report to verify instead; with NAME also one that was kept.")
    ] = None,
    endpoint: Endpoint = None,
    region: Region = None,
    credentials_dir: CredentialsDirectory = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Write the post-incident report of an incident, with its evidence verified anew.

    Ends with 0 if it is written, with 1 if it is and evidence was altered, and with 2 if it is not. Evidence
    that cannot be read is told in the report. With --verify: 0 if the report is unaltered, 1 if it is not.
    Flags that are not given come from the operator's environment variables, STANCH_EVIDENCE_….
    """
    where = Where(namespace, kubeconfig, context, evidence_settings(endpoint, region, credentials_dir))

    async def made(kube: Kube, space: str) -> Exit:
        incident = await read_incident(kube, space, name or "")
        return await _report(where.settings(), incident, form, output)

    async def verified(kube: Kube, space: str) -> Exit:
        assert verify is not None  # noqa: S101 - or this is not asked
        return _verify(verify, await read_incident(kube, space, name or ""))

    async def verified_alone() -> Exit:
        assert verify is not None  # noqa: S101 - or this is not asked
        return _verify(verify, None)

    if name is not None:
        COMMAND.run(where, made if verify is None else verified)
    if verify is None:
        COMMAND.fail("give the name of an AIIncident, or --verify with a report in JSON")
    COMMAND.end(verified_alone)


async def _report(settings: Settings, incident: AIIncident, form: Form, output: Path | None) -> Exit:
    """Raises StanchError when evidence is nowhere, OSError when the file cannot be written."""
    # Imported late, here and below: `stanch --help` and the other commands need none of it.
    from stanch.evidence.store import StoreOptions  # noqa: PLC0415
    from stanch.reports.compose import compose  # noqa: PLC0415
    from stanch.reports.recheck import recheck  # noqa: PLC0415
    from stanch.reports.render import render  # noqa: PLC0415

    with progress("verifying the evidence"):
        found = await recheck(incident, StoreOptions.of(settings))
    made = compose(incident, found, datetime.now(UTC))
    body = render(made, form)
    _write(body, output)
    _tell(made)
    return Exit.NO if made.altered_evidence else Exit.YES


def _write(body: bytes, output: Path | None) -> None:
    if output is None:
        typer.echo(body, nl=False)
    else:
        output.write_bytes(body)


def _tell(made: Report) -> None:
    """What whoever made the report has to know, beside it."""
    stored = (made.stored_timeline,) if made.stored_timeline else ()
    for each in (*made.evidence, *stored):
        if each.result == "Altered":
            _beside(f"evidence at {each.location} was ALTERED: {each.message}")
        elif each.result == "NotVerified":
            _beside(f"evidence is not verified: {each.message}")
    if made.to_be_written:
        _beside(f"still to be written: {', '.join(made.to_be_written)}")


def _beside(text: str) -> None:
    typer.echo(plain(f"stanch report: {text}"), err=True)


def _verify(file: Path, incident: AIIncident | None) -> Exit:
    """Against the digest within a report in JSON; and, of a kept one in any form, against the incident's."""
    from stanch.evidence.model import digest_of_bytes  # noqa: PLC0415
    from stanch.reports.digest import digest_in  # noqa: PLC0415

    body = file.read_bytes()
    if incident is not None:
        return _kept(file, digest_of_bytes(body), incident)
    try:
        digest = digest_in(body)
    except ValueError as error:
        typer.echo(plain(f"{file}: {error}"))
        return Exit.NO
    typer.echo(f"{file}: unaltered: {digest}")
    return Exit.YES


def _kept(file: Path, digest: str, incident: AIIncident) -> Exit:
    where = f"{incident.metadata.namespace}/{incident.metadata.name}"
    for record in incident.status.reports:
        if record.digest == digest:
            typer.echo(plain(f"{file}: unaltered: {where} has it at {record.location}"))
            return Exit.YES
    typer.echo(f"{file}: {digest} is none of the {len(incident.status.reports)} reports that {where} has")
    return Exit.NO
