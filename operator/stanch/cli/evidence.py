"""`stanch evidence`: what is stored about an incident, and whether it is what was collected."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.evidence import EvidenceRecord
from stanch.api.v1alpha1.meta import ObjectMeta
from stanch.api.v1alpha1.status import DeliveryStatus
from stanch.errors import Rejected, StanchError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from stanch.evidence.timeline import Stored
    from stanch.evidence.verify import Finding, Verdict
    from stanch.settings import Settings

app = typer.Typer(help="What is stored about an incident, and whether it is unaltered.", no_args_is_help=True)

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MANIFEST_SUFFIX = "/manifest.json"

Kubeconfig = Annotated[Path | None, typer.Option(help="Kubeconfig; else in-cluster, else $KUBECONFIG.")]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig.")]


class Exit(IntEnum):
    """Not checked is neither unaltered nor altered."""

    UNALTERED = 0
    ALTERED = 1
    NOT_CHECKED = 2


class _Status(ApiModel):
    evidence: tuple[EvidenceRecord, ...] = ()
    deliveries: tuple[DeliveryStatus, ...] = ()


class _Incident(ApiModel):
    """The part of an AIIncident that this is about."""

    metadata: ObjectMeta
    status: _Status = _Status()


@dataclass(frozen=True)
class _Claim:
    """What has to be at a location. `items` is None when nobody knows how many there were."""

    location: str
    head: str
    items: int | None = None


@app.command("verify")
def verify(  # noqa: PLR0913 - one parameter a flag
    name: Annotated[str | None, typer.Argument(help="The AIIncident.")] = None,
    *,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Its namespace.")] = "default",
    manifest: Annotated[
        str | None, typer.Option(help="URL of a collection, to verify it without a cluster; needs --head.")
    ] = None,
    head: Annotated[str | None, typer.Option(help="The digest it has to end in: sha256:…")] = None,
    endpoint: Annotated[str | None, typer.Option(help="URL of an S3-compatible server.")] = None,
    region: Annotated[str | None, typer.Option(help="S3 region.")] = None,
    credentials_dir: Annotated[
        Path | None, typer.Option(help="Directory with access-key-id and secret-access-key.")
    ] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Read an incident's stored evidence and timeline and compare them with what the incident says they are.

    Ends with 0 if nothing was altered, with 1 if something was, which is named, and with 2 if it could not be
    checked. Flags that are not given come from the operator's environment variables, STANCH_EVIDENCE_….
    """
    given = {
        "kubeconfig": kubeconfig,
        "context": context,
        "evidence_endpoint": endpoint,
        "evidence_region": region,
        "evidence_credentials_dir": credentials_dir,
    }
    if (name is None) == (manifest is None) or (manifest is None) != (head is None):
        _fail("verify", "give the name of an AIIncident, or --manifest with --head")
    if head is not None and not DIGEST.fullmatch(head):
        _fail("verify", f"--head {head}: a digest is sha256: and 64 lower-case hexadecimal digits")

    async def work() -> Exit:
        settings = _settings(given)
        if manifest is not None and head is not None:
            return await _verify([_Claim(manifest.removesuffix(MANIFEST_SUFFIX).rstrip("/"), head)], settings)
        claims, timeline = await _claims(settings, namespace, name or "")
        ends = [await _verify(claims, settings)]
        if timeline is not None:
            ends.append(await _verify_timeline(timeline, settings))
        return max(ends)

    raise typer.Exit(_run("verify", work()))


@app.command("list")
def list_(
    *,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Only of this one; else of all.")
    ] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """What the incidents say about their evidence. Nothing of it is read: see `verify`."""

    async def work() -> Exit:
        incidents = await _incidents(_settings({"kubeconfig": kubeconfig, "context": context}), namespace)
        table = Table(
            "Namespace", "Incident", "Collected", "Items", "Bytes", "Complete", "Location", box=None
        )
        for incident in incidents:
            for record in incident.status.evidence:
                complete = "yes" if record.complete else f"no, {len(record.missing)} missing"
                table.add_row(
                    incident.metadata.namespace,
                    incident.metadata.name,
                    f"{record.collected_at:%Y-%m-%d %H:%M:%SZ}",
                    str(record.items),
                    str(record.size),
                    complete,
                    escape(record.location),
                )
        if table.row_count:
            _console().print(table)
        else:
            typer.echo(f"no incident{f' in {namespace}' if namespace else ''} has evidence")
        return Exit.UNALTERED

    raise typer.Exit(_run("list", work()))


async def _verify(claims: list[_Claim], settings: Settings) -> Exit:
    # Imported late, here and below: `stanch --help` and the other commands need none of it.
    from stanch.evidence.store import Collection, StoreOptions, open_store  # noqa: PLC0415
    from stanch.evidence.verify import verify  # noqa: PLC0415

    options = StoreOptions.of(settings)
    altered = False
    for claim in claims:
        verdict = await verify(
            Collection(open_store(claim.location, options), ""), claim.head, items=claim.items
        )
        _show(claim, verdict)
        altered = altered or not verdict.intact
    return Exit.ALTERED if altered else Exit.UNALTERED


async def _verify_timeline(timeline: Stored, settings: Settings) -> Exit:
    from stanch.evidence.store import Collection, StoreOptions, open_store  # noqa: PLC0415
    from stanch.evidence.timeline import verify  # noqa: PLC0415

    place, claim = open_store(timeline.location, StoreOptions.of(settings)), timeline.claim
    findings = await verify(Collection(place, ""), claim)
    if findings:
        said = f"ALTERED: the first altered entry of the timeline is {findings[0]}"
    else:
        said = f"unaltered: the timeline through entry {claim.through}, chained to {claim.head}"
    console = _console()
    console.print(f"{timeline.location}\n{said}", markup=False, highlight=False, soft_wrap=True)
    return Exit.ALTERED if findings else Exit.UNALTERED


def _show(claim: _Claim, verdict: Verdict) -> None:
    console = _console()
    console.print(f"{claim.location}\n", markup=False, highlight=False, soft_wrap=True)
    if verdict.manifest is not None:
        console.print(_table(verdict), "")
        for missing in verdict.manifest.header.incomplete:
            console.print(f"never collected: {missing}", markup=False, highlight=False, soft_wrap=True)
    first = verdict.first
    if first is None and verdict.manifest is not None:
        said = f"unaltered: {len(verdict.manifest.items)} items, chained to {claim.head}"
    else:
        said = f"ALTERED: the first altered item is {first}"
    console.print(said, markup=False, highlight=False, soft_wrap=True)


def _table(verdict: Verdict) -> Table:
    faults: dict[str, Finding] = {}
    for finding in verdict.findings:
        faults.setdefault(finding.name, finding)
    table = Table("Item", "From", "Bytes", "Collected", "Result", box=None)
    for item in verdict.manifest.items if verdict.manifest else ():
        fault = faults.pop(item.name, None)
        cut = ", the newest part" if item.truncated else ""
        table.add_row(
            item.name,
            escape(f"{item.source}{cut}"),
            str(item.size),
            f"{item.collected_at:%Y-%m-%d %H:%M:%SZ}",
            "unaltered" if fault is None else f"[bold red]{fault.fault.lower()}[/]",
        )
    for fault in faults.values():
        table.add_row(escape(fault.name), "", "", "", f"[bold red]{fault.fault.lower()}[/]")
    return table


async def _claims(settings: Settings, namespace: str, name: str) -> tuple[list[_Claim], Stored | None]:
    """Raises Rejected if the incident has neither evidence nor a stored timeline."""
    from stanch.evidence.timeline import Stored  # noqa: PLC0415
    from stanch.kube.client import Kube  # noqa: PLC0415
    from stanch.kube.resources import AIINCIDENTS, ObjectRef  # noqa: PLC0415

    ref = ObjectRef(AIINCIDENTS, namespace, name)
    kube = await Kube.connect(settings)
    try:
        body = await kube.get(ref)
    finally:
        await kube.close()
    if body is None:
        raise Rejected("NotFound", f"{ref} does not exist; `stanch evidence list` lists those with evidence")
    incident = _Incident.model_validate(body)
    records = incident.status.evidence
    timeline = Stored.of(incident.metadata, incident.status.deliveries)
    if not records and timeline is None:
        raise Rejected("NoEvidence", f"{ref} has no stored evidence; its conditions say why")
    return [_Claim(record.location, record.head, record.items) for record in records], timeline


async def _incidents(settings: Settings, namespace: str | None) -> list[_Incident]:
    from stanch.kube.client import Kube  # noqa: PLC0415
    from stanch.kube.resources import AIINCIDENTS  # noqa: PLC0415

    kube = await Kube.connect(settings)
    try:
        return [_Incident.model_validate(body) for body in await kube.list(AIINCIDENTS, namespace)]
    finally:
        await kube.close()


def _settings(given: dict[str, Any]) -> Settings:
    from stanch.settings import Settings  # noqa: PLC0415

    return Settings(**{key: value for key, value in given.items() if value is not None})


def _run(command: str, work: Coroutine[Any, Any, Exit]) -> int:
    try:
        return asyncio.run(work)
    except (StanchError, OSError, ValueError) as error:
        _fail(command, str(error))


def _fail(command: str, why: str) -> NoReturn:
    typer.echo(f"stanch evidence {command}: {why}", err=True)
    raise typer.Exit(Exit.NOT_CHECKED)


def _console() -> Console:
    return Console(highlight=False)
