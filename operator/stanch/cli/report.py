"""`stanch report`: what an incident was, what was done about it, and what there still is to write."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path  # noqa: TC003 - typer resolves it at run time
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from stanch.api.v1alpha1.incident import AIIncident
from stanch.errors import Rejected, StanchError
from stanch.reports.form import Form

if TYPE_CHECKING:
    from stanch.reports.model import Report
    from stanch.settings import Settings


class Exit(IntEnum):
    WRITTEN = 0
    ALTERED = 1
    NOT_WRITTEN = 2


def report(  # noqa: PLR0913 - one parameter a flag
    name: Annotated[str | None, typer.Argument(help="The AIIncident.")] = None,
    *,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Its namespace.")] = "default",
    form: Annotated[Form, typer.Option("--format", "-o", help="How it is written.")] = Form.MARKDOWN,
    output: Annotated[Path | None, typer.Option(help="The file that it is written to; else stdout.")] = None,
    verify: Annotated[
        Path | None, typer.Option(help="A report to verify instead; with NAME also one that was kept.")
    ] = None,
    endpoint: Annotated[str | None, typer.Option(help="URL of an S3-compatible server.")] = None,
    region: Annotated[str | None, typer.Option(help="S3 region.")] = None,
    credentials_dir: Annotated[
        Path | None, typer.Option(help="Directory with access-key-id and secret-access-key.")
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Kubeconfig; else in-cluster, else $KUBECONFIG.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
) -> None:
    """Write the post-incident report of an incident, with its evidence verified anew.

    Ends with 0 if it is written, with 1 if it is and evidence was altered, and with 2 if it is not. Evidence
    that cannot be read is told in the report. With --verify: 0 if the report is unaltered, 1 if it is not.
    Flags that are not given come from the operator's environment variables, STANCH_EVIDENCE_….
    """
    given = {
        "kubeconfig": kubeconfig,
        "context": context,
        "evidence_endpoint": endpoint,
        "evidence_region": region,
        "evidence_credentials_dir": credentials_dir,
    }

    async def work() -> Exit:
        if verify is not None:
            incident = await _incident(_settings(given), namespace, name) if name is not None else None
            return _verify(verify, incident)
        if name is None:
            _fail("give the name of an AIIncident, or --verify with a report in JSON")
        return await _report(_settings(given), namespace, name, form, output)

    try:
        raise typer.Exit(asyncio.run(work()))
    except (StanchError, OSError, ValueError) as error:
        _fail(str(error))


async def _report(settings: Settings, namespace: str, name: str, form: Form, output: Path | None) -> Exit:
    """Raises StanchError when the incident cannot be read, OSError when the file cannot be written."""
    # Imported late, here and below: `stanch --help` and the other commands need none of it.
    from stanch.evidence.store import StoreOptions  # noqa: PLC0415
    from stanch.reports.compose import compose  # noqa: PLC0415
    from stanch.reports.recheck import recheck  # noqa: PLC0415
    from stanch.reports.render import render  # noqa: PLC0415

    incident = await _incident(settings, namespace, name)
    made = compose(incident, await recheck(incident, StoreOptions.of(settings)), datetime.now(UTC))
    body = render(made, form)
    _write(body, output)
    _tell(made)
    return Exit.ALTERED if made.altered_evidence else Exit.WRITTEN


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
            typer.echo(f"stanch report: evidence at {each.location} was ALTERED: {each.message}", err=True)
        elif each.result == "NotVerified":
            typer.echo(f"stanch report: evidence is not verified: {each.message}", err=True)
    if made.to_be_written:
        typer.echo(f"stanch report: still to be written: {', '.join(made.to_be_written)}", err=True)


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
        typer.echo(f"{file}: {error}")
        return Exit.ALTERED
    typer.echo(f"{file}: unaltered: {digest}")
    return Exit.WRITTEN


def _kept(file: Path, digest: str, incident: AIIncident) -> Exit:
    where = f"{incident.metadata.namespace}/{incident.metadata.name}"
    for record in incident.status.reports:
        if record.digest == digest:
            typer.echo(f"{file}: unaltered: {where} has it at {record.location}")
            return Exit.WRITTEN
    typer.echo(f"{file}: {digest} is none of the {len(incident.status.reports)} reports that {where} has")
    return Exit.ALTERED


async def _incident(settings: Settings, namespace: str, name: str) -> AIIncident:
    from stanch.kube.client import Kube  # noqa: PLC0415
    from stanch.kube.resources import AIINCIDENTS, ObjectRef  # noqa: PLC0415

    ref = ObjectRef(AIINCIDENTS, namespace, name)
    kube = await Kube.connect(settings)
    try:
        body = await kube.get(ref)
    finally:
        await kube.close()
    if body is None:
        raise Rejected("NotFound", f"{ref} does not exist; see kubectl get aii -A")
    return AIIncident.parse(body)


def _settings(given: dict[str, Any]) -> Settings:
    from stanch.settings import Settings  # noqa: PLC0415

    return Settings(**{key: value for key, value in given.items() if value is not None})


def _fail(why: str) -> NoReturn:
    typer.echo(f"stanch report: {why}; no report was written", err=True)
    raise typer.Exit(Exit.NOT_WRITTEN)
