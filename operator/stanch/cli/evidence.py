"""`stanch evidence`: what is stored about an incident, and whether it is what was collected."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.evidence import EvidenceRecord
from stanch.api.v1alpha1.meta import ObjectMeta
from stanch.api.v1alpha1.status import DeliveryStatus
from stanch.cli.ending import Exit
from stanch.cli.screen import cell, plain, progress, show, table
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
    incident_ref,
)
from stanch.errors import Rejected

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from stanch.evidence.timeline import Stored
    from stanch.evidence.verify import Finding, Verdict
    from stanch.kube.client import Kube
    from stanch.settings import Settings

app = typer.Typer(help="What is stored about an incident, and whether it is unaltered.", no_args_is_help=True)

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MANIFEST_SUFFIX = "/manifest.json"

VERIFY = Command("evidence verify", "")
LIST = Command("evidence list", "")


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
    name: OptionalName = None,
    *,
    namespace: Namespace = None,
    manifest: Annotated[
        str | None, typer.Option(help="URL of a collection, to verify it without a cluster; needs --head.")
    ] = None,
    head: Annotated[str | None, typer.Option(help="The digest it has to end in: sha256:…")] = None,
    endpoint: Endpoint = None,
    region: Region = None,
    credentials_dir: CredentialsDirectory = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Read an incident's stored evidence and timeline and compare them with what the incident says they are.

    Ends with 0 if nothing was altered, with 1 if something was, which is named, and with 2 if it could not be
    checked. Flags that are not given come from the operator's environment variables, STANCH_EVIDENCE_….
    """
    if (name is None) == (manifest is None) or (manifest is None) != (head is None):
        VERIFY.fail("give the name of an AIIncident, or --manifest with --head")
    if head is not None and not DIGEST.fullmatch(head):
        VERIFY.fail(f"--head {head}: a digest is sha256: and 64 lower-case hexadecimal digits")
    where = Where(namespace, kubeconfig, context, evidence_settings(endpoint, region, credentials_dir))

    async def alone() -> Exit:
        assert manifest is not None and head is not None  # noqa: PT018, S101 - or this is not asked
        claim = _Claim(manifest.removesuffix(MANIFEST_SUFFIX).rstrip("/"), head)
        return await _verify([claim], where.settings())

    async def of_incident(kube: Kube, space: str) -> Exit:
        claims, timeline = await _claims(kube, space, name or "")
        ends = [await _verify(claims, where.settings())]
        if timeline is not None:
            ends.append(await _verify_timeline(timeline, where.settings()))
        return max(ends)

    if manifest is not None:
        VERIFY.end(alone)
    VERIFY.run(where, of_incident)


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

    async def work(kube: Kube, _space: str) -> Exit:
        from stanch.kube.resources import AIINCIDENTS  # noqa: PLC0415

        incidents = [_Incident.model_validate(body) for body in await kube.list(AIINCIDENTS, namespace)]
        rows = [_record(one, record) for one in incidents for record in one.status.evidence]
        if rows:
            heads = ("Namespace", "Incident", "Collected", "Items", "Bytes", "Complete", "Location")
            show(table(heads, rows))
        else:
            typer.echo(f"no incident{f' in {namespace}' if namespace else ''} has evidence")
        return Exit.YES

    LIST.run(Where(namespace, kubeconfig, context), work)


def _record(incident: _Incident, record: EvidenceRecord) -> tuple[str, ...]:
    return (
        incident.metadata.namespace,
        incident.metadata.name,
        f"{record.collected_at:%Y-%m-%d %H:%M:%SZ}",
        str(record.items),
        str(record.size),
        "yes" if record.complete else f"no, {len(record.missing)} missing",
        record.location,
    )


async def _verify(claims: list[_Claim], settings: Settings) -> Exit:
    # Imported late, here and below: `stanch --help` and the other commands need none of it.
    from stanch.evidence.store import Collection, StoreOptions, open_store  # noqa: PLC0415
    from stanch.evidence.verify import verify  # noqa: PLC0415

    options = StoreOptions.of(settings)
    altered = False
    for claim in claims:
        with progress("reading the collection"):
            verdict = await verify(
                Collection(open_store(claim.location, options), ""), claim.head, items=claim.items
            )
        _show(claim, verdict)
        altered = altered or not verdict.intact
    return Exit.NO if altered else Exit.YES


async def _verify_timeline(timeline: Stored, settings: Settings) -> Exit:
    from stanch.evidence.store import Collection, StoreOptions, open_store  # noqa: PLC0415
    from stanch.evidence.timeline import verify  # noqa: PLC0415

    place, claim = open_store(timeline.location, StoreOptions.of(settings)), timeline.claim
    findings = await verify(Collection(place, ""), claim)
    if findings:
        said = f"ALTERED: the first altered entry of the timeline is {findings[0]}"
    else:
        said = f"unaltered: the timeline through entry {claim.through}, chained to {claim.head}"
    typer.echo(f"{plain(timeline.location)}\n{plain(said)}")
    return Exit.NO if findings else Exit.YES


def _show(claim: _Claim, verdict: Verdict) -> None:
    typer.echo(f"{plain(claim.location)}\n")
    if verdict.manifest is not None:
        show(_table(verdict))
        typer.echo()
        for missing in verdict.manifest.header.incomplete:
            typer.echo(plain(f"never collected: {missing}"))
    first = verdict.first
    if first is None and verdict.manifest is not None:
        said = f"unaltered: {len(verdict.manifest.items)} items, chained to {claim.head}"
    else:
        said = f"ALTERED: the first altered item is {first}"
    typer.echo(plain(said))


def _table(verdict: Verdict) -> Table:
    faults: dict[str, Finding] = {}
    for finding in verdict.findings:
        faults.setdefault(finding.name, finding)
    rows: list[tuple[Text | str, ...]] = []
    for item in verdict.manifest.items if verdict.manifest else ():
        fault = faults.pop(item.name, None)
        cut = ", the newest part" if item.truncated else ""
        rows.append(
            (
                item.name,
                f"{item.source}{cut}",
                str(item.size),
                f"{item.collected_at:%Y-%m-%d %H:%M:%SZ}",
                "unaltered" if fault is None else _fault(fault),
            )
        )
    rows += [(fault.name, "", "", "", _fault(fault)) for fault in faults.values()]
    return table(("Item", "From", "Bytes", "Collected", "Result"), rows)


def _fault(fault: Finding) -> Text:
    return cell(fault.fault.lower(), "bold red")


async def _claims(kube: Kube, namespace: str, name: str) -> tuple[list[_Claim], Stored | None]:
    """Raises Rejected if the incident has neither evidence nor a stored timeline."""
    from stanch.evidence.timeline import Stored  # noqa: PLC0415

    ref = incident_ref(namespace, name)
    body = await kube.get(ref)
    if body is None:
        raise Rejected("NotFound", f"{ref} does not exist; `stanch evidence list` lists those with evidence")
    incident = _Incident.model_validate(body)
    records = incident.status.evidence
    timeline = Stored.of(incident.metadata, incident.status.deliveries)
    if not records and timeline is None:
        raise Rejected("NoEvidence", f"{ref} has no stored evidence; its conditions say why")
    return [_Claim(record.location, record.head, record.items) for record in records], timeline
