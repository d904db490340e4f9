"""`stanch run`: the operator."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path  # noqa: TC003 - typer resolves it at run time
from typing import Annotated

import typer
from pydantic import ValidationError

from stanch.errors import Rejected
from stanch.settings import Settings

YOUNG_OBJECTS = 10_000
"""How many more than before make the garbage collector look at the newest. One pass makes thousands."""


def run(  # noqa: PLR0913 - one parameter a flag
    *,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Kubeconfig; else in-cluster, else $KUBECONFIG.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
    namespace: Annotated[str | None, typer.Option(help="The operator's own namespace.")] = None,
    namespaces: Annotated[
        str | None, typer.Option(help="Comma-separated; it acts in these alone. Else in the whole cluster.")
    ] = None,
    identity: Annotated[str | None, typer.Option(help="Lease holder identity, unique per process.")] = None,
    lease_seconds: Annotated[
        float | None, typer.Option(help="How long others wait for a silent leader.")
    ] = None,
    renew_deadline_seconds: Annotated[
        float | None, typer.Option(help="A leader that could not renew so long exits.")
    ] = None,
    retry_seconds: Annotated[float | None, typer.Option(help="Pause between two looks at the lease.")] = None,
    sweep_seconds: Annotated[
        float | None, typer.Option(help="How often all incidents are looked at.")
    ] = None,
    rejudge_seconds: Annotated[
        float | None, typer.Option(help="How often a held incident is judged.")
    ] = None,
    policy_seconds: Annotated[
        float | None, typer.Option(help="How often what policies select is counted.")
    ] = None,
    drill_seconds: Annotated[
        float | None, typer.Option(help="How often it is looked whether drills are due.")
    ] = None,
    canary_seconds: Annotated[float | None, typer.Option(help="How often the hold is proven.")] = None,
    protected_namespaces: Annotated[
        str | None, typer.Option(help="Comma-separated; nothing in these is ever touched.")
    ] = None,
    protected_labels: Annotated[
        str | None, typer.Option(help="Comma-separated key=value; a workload with one is never touched.")
    ] = None,
    scope_label: Annotated[
        str | None, typer.Option(help="key=value that a namespace has to carry; else every one is in scope.")
    ] = None,
    max_concurrent: Annotated[
        int | None, typer.Option(help="Containments at one time that nobody approved.")
    ] = None,
    storm_containments: Annotated[
        int | None, typer.Option(help="Containments that may begin unapproved within --storm-seconds.")
    ] = None,
    storm_seconds: Annotated[float | None, typer.Option(help="The window of --storm-containments.")] = None,
    attempts_most: Annotated[
        int | None, typer.Option(help="Containments of one workload within --attempts-seconds.")
    ] = None,
    attempts_seconds: Annotated[float | None, typer.Option(help="The window of --attempts-most.")] = None,
    capacity_floor: Annotated[
        str | None, typer.Option(help="Share of a policy's ready replicas that has to stay, such as 50%.")
    ] = None,
    approve_from: Annotated[
        str | None, typer.Option(help="Plans of this severity and above need a person, such as High.")
    ] = None,
    cooldown_seconds: Annotated[
        float | None, typer.Option(help="How long after a containment triggers are ignored for its workload.")
    ] = None,
    signal_credentials_file: Annotated[
        Path | None, typer.Option(help="YAML: who may send alerts, for which namespaces.")
    ] = None,
    signal_client_ca_file: Annotated[
        Path | None, typer.Option(help="CA of the client certificates that senders of alerts need.")
    ] = None,
    alertmanager_url: Annotated[
        str | None, typer.Option(help="Asked for what a truncated notification left out.")
    ] = None,
    alertmanager_token_file: Annotated[Path | None, typer.Option(help="Bearer token for it.")] = None,
    prometheus_url: Annotated[str | None, typer.Option(help="Polled for triggers; unset: none is.")] = None,
    prometheus_token_file: Annotated[Path | None, typer.Option(help="Bearer token for Prometheus.")] = None,
    prometheus_ca_file: Annotated[
        Path | None, typer.Option(help="CA of Prometheus; else the system's.")
    ] = None,
    prometheus_interval_seconds: Annotated[
        float | None, typer.Option(help="How often triggers are evaluated.")
    ] = None,
    prometheus_timeout_seconds: Annotated[
        float | None, typer.Option(help="Until one round of queries is given up.")
    ] = None,
    cloudevents_url: Annotated[
        str | None, typer.Option(help="Where every transition is sent; unset: nowhere.")
    ] = None,
    cloudevents_token_file: Annotated[Path | None, typer.Option(help="Bearer token for it.")] = None,
    cloudevents_ca_file: Annotated[Path | None, typer.Option(help="Its CA; else the system's.")] = None,
    ocsf_url: Annotated[
        str | None, typer.Option(help="Where every phase is sent as a finding; unset: nowhere.")
    ] = None,
    ocsf_token_file: Annotated[Path | None, typer.Option(help="Bearer token for it.")] = None,
    ocsf_ca_file: Annotated[Path | None, typer.Option(help="Its CA; else the system's.")] = None,
    sink_timeout_seconds: Annotated[
        float | None, typer.Option(help="Until a receiver that does not answer is tried again later.")
    ] = None,
    notification_schemas: Annotated[
        str | None, typer.Option(help="Comma-separated; Apprise's services that notifications may use.")
    ] = None,
    clocks: Annotated[
        str | None, typer.Option(help="Comma-separated; reporting duties that concern the organisation.")
    ] = None,
    clocks_file: Annotated[Path | None, typer.Option(help="YAML: another version of the clocks.")] = None,
    http_host: Annotated[str | None, typer.Option(help="Address of probes and metrics.")] = None,
    http_port: Annotated[int | None, typer.Option(help="Port of probes and metrics.")] = None,
    receiver_port: Annotated[
        int | None, typer.Option(help="HTTPS port for alerts and audit events; unset: none.")
    ] = None,
    tls_cert_file: Annotated[Path | None, typer.Option(help="Certificate of the receiver.")] = None,
    tls_key_file: Annotated[Path | None, typer.Option(help="Key of the receiver.")] = None,
    receiver_tls_secret: Annotated[
        str | None, typer.Option(help="Instead: a Secret of the operator's, which it renews itself.")
    ] = None,
    receiver_tls_seconds: Annotated[
        float | None, typer.Option(help="How often that Secret is looked at.")
    ] = None,
    receiver_token_file: Annotated[
        Path | None, typer.Option(help="Bearer tokens for audit events, one a line.")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="json or console.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Run the operator, in a cluster or against a kubeconfig.

    Every flag may also be given as an environment variable: --http-port is STANCH_HTTP_PORT. A flag wins.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            where = ".".join(str(part) for part in problem["loc"]) or "settings"
            typer.echo(f"stanch run: {where}: {problem['msg']}", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(_operate(settings))


def _operate(settings: Settings) -> int:
    # Imported late: `stanch --help` and the other commands need none of it.
    from stanch.incidents.assembly import prepared  # noqa: PLC0415
    from stanch.main import ExitCode, run  # noqa: PLC0415
    from stanch.observability.logging import configure_logging  # noqa: PLC0415

    configure_logging(settings)
    _keep_what_is_imported()
    try:
        return asyncio.run(run(settings, prepared(settings)))
    except (Rejected, OSError) as error:
        typer.echo(f"stanch run: {error}", err=True)
        return ExitCode.USAGE


def _keep_what_is_imported() -> None:
    """No garbage collection walks again what stays until the end: containment stood still for it meanwhile.

    https://docs.python.org/3/library/gc.html#gc.freeze
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
