"""Every knob of the operator: flags of `stanch run`, or environment variables with the prefix `STANCH_`."""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from stanch.api.v1alpha1.incident import Severity  # noqa: TC001 - pydantic resolves it at run time
from stanch.api.v1alpha1.policy import Attempts, Storm
from stanch.api.v1alpha1.scalars import Percentage  # noqa: TC001 - as above

POD_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NamespaceName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Port = Annotated[int, Field(ge=0, le=65535)]


def _own_namespace() -> str:
    """The pod's namespace, as the downward API or the mounted token tells it."""
    from_environment = os.environ.get("POD_NAMESPACE", "")
    if from_environment:
        return from_environment
    try:
        return POD_NAMESPACE_FILE.read_text().strip() or "stanch-system"
    except FileNotFoundError:
        return "stanch-system"


def _own_identity() -> str:
    """Unique per process, so that a restarted container is not taken for its predecessor."""
    return f"{os.environ.get('POD_NAME') or socket.gethostname()}_{uuid.uuid4().hex[:12]}"


_LISTS = ("namespaces", "protected_namespaces", "protected_labels", "notification_schemas", "clocks")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="STANCH_", frozen=True, extra="forbid")

    # Which cluster
    kubeconfig: Path | None = Field(
        default=None, description="kubeconfig; default: in-cluster, then $KUBECONFIG"
    )
    context: str | None = Field(default=None, description="context of the kubeconfig")
    request_timeout: Seconds = Field(default=30.0, description="seconds until an API request is given up")
    connect_timeout: Seconds = Field(default=5.0, description="seconds until connecting is given up")

    # Who we are
    namespace: str = Field(default_factory=_own_namespace, description="the operator's own namespace")
    service_account: str = Field(default="stanch", description="the operator's own ServiceAccount")
    identity: str = Field(
        default_factory=_own_identity,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]*$",
        max_length=200,
        description="lease holder identity, unique per process; the audit log has it in the user agent",
    )

    # Leadership: durations as in client-go
    lease_name: str = Field(default="stanch", description="the Lease, in the operator's own namespace")
    lease_seconds: Seconds = Field(default=15.0, description="how long others wait for a silent leader")
    renew_deadline_seconds: Seconds = Field(
        default=10.0, description="a leader that could not renew so long exits"
    )
    retry_seconds: Seconds = Field(default=2.0, description="pause between two looks at the lease")

    # Work
    namespaces: Annotated[tuple[NamespaceName, ...], NoDecode] = Field(
        default=(),
        description="it looks and acts in these alone, and in its own namespace; unset: in the whole cluster",
    )
    sweep_seconds: Seconds = Field(
        default=60.0,
        description="how often every open incident is looked at unasked; more seldom beyond ten a second",
    )
    rejudge_seconds: Seconds = Field(
        default=15.0,
        description="how often a held incident is judged again; more seldom beyond ten of them a second",
    )
    policy_seconds: Seconds = Field(
        default=60.0, description="how often what every policy selects is counted unasked"
    )
    drill_seconds: Seconds = Field(
        default=30.0, description="how often it is looked whether drills of policies are due"
    )
    canary_seconds: Seconds = Field(
        default=60.0, description="how often the hold is proven by trying to break it"
    )
    parallelism: int = Field(default=32, ge=1, le=1000, description="incidents worked on at the same time")
    shutdown_seconds: Seconds = Field(
        default=10.0, description="how long running reconciles may finish on SIGTERM"
    )
    protected_namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("kube-system", "kube-public", "kube-node-lease"),
        description="nothing in these is ever touched; the operator's own namespace is one of them",
    )

    # Guardrails for every policy; where a policy has its own, the stricter holds
    protected_labels: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("stanch.dev/protected=true",),
        description="a workload with any of these labels is never touched",
    )
    scope_label: str | None = Field(
        default=None,
        description="key=value that a namespace has to carry; unset: every namespace is in scope",
    )
    max_concurrent: int | None = Field(
        default=None, ge=1, description="containments at one time that nobody approved; unset: no limit"
    )
    storm_containments: int | None = Field(
        default=None, ge=1, description="containments that may begin unapproved within storm_seconds"
    )
    storm_seconds: Seconds = Field(default=600.0, description="the window of storm_containments")
    attempts_most: int | None = Field(
        default=None, ge=1, description="containments of one workload within attempts_seconds, unrecovered"
    )
    attempts_seconds: Seconds = Field(default=86400.0, description="the window of attempts_most")
    capacity_floor: Percentage | None = Field(
        default=None, description="share of the ready replicas of a policy's workloads that has to stay: 50%"
    )
    approve_from: Severity | None = Field(
        default=None,
        description="plans of this severity and above need a person; unset: as policies say",
    )
    cooldown_seconds: Seconds | None = Field(
        default=None, description="how long after a containment triggers are ignored for its workload"
    )

    # Reporting duties
    clocks: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="reporting duties that concern the organisation: ids, or what several begin with, such "
        "as nis2; unset: those that somebody decided about",
    )
    clocks_file: Path | None = Field(
        default=None, description="YAML: another version of the clocks; unset: this version's"
    )

    # Signals
    signal_credentials_file: Path | None = Field(
        default=None, description="YAML: who may send alerts to the receiver, for which namespaces"
    )
    signal_client_ca_file: Path | None = Field(
        default=None, description="CA whose client certificates the receiver accepts, and demands"
    )
    alertmanager_url: str | None = Field(
        default=None, description="Alertmanager, asked for what a truncated notification left out"
    )
    alertmanager_token_file: Path | None = Field(default=None, description="bearer token for Alertmanager")
    prometheus_url: str | None = Field(
        default=None, description="Prometheus, polled for triggers; unset: alerts come by the receiver alone"
    )
    prometheus_token_file: Path | None = Field(default=None, description="bearer token for Prometheus")
    prometheus_ca_file: Path | None = Field(default=None, description="CA of Prometheus; unset: the system's")
    prometheus_interval_seconds: Seconds = Field(default=15.0, description="how often triggers are evaluated")
    prometheus_timeout_seconds: Seconds = Field(
        default=10.0, description="until one round of queries is given up"
    )

    # Servers
    http_host: str = Field(
        default="0.0.0.0",  # noqa: S104 - probes and Prometheus come from outside the pod
        description="address of probes, metrics and the receiver",
    )
    http_port: Port = Field(default=8080, description="probes and metrics; 0 picks a free port")
    receiver_port: Port | None = Field(
        default=None, description="HTTPS receiver of audit events and alerts; unset: none"
    )
    tls_cert_file: Path | None = Field(default=None, description="certificate of the receiver")
    tls_key_file: Path | None = Field(default=None, description="its key")
    receiver_tls_secret: str | None = Field(
        default=None,
        description="instead of those files: a Secret in the operator's own namespace, whose certificate the "
        "operator makes and renews itself",
    )
    receiver_tls_seconds: Seconds = Field(default=60.0, description="how often that Secret is looked at")
    receiver_token_file: Path | None = Field(
        default=None, description="bearer tokens for audit events, one a line"
    )

    # Evidence. Credentials are no setting: they are in files, or in the store's usual environment variables.
    evidence_url: str | None = Field(
        default=None,
        description="where evidence is stored: file:///directory, s3://bucket/prefix, gs://… or az://…; "
        "unset: none is, and incidents say so",
    )
    evidence_endpoint: str | None = Field(
        default=None, description="URL of an S3-compatible server; unset: Amazon's"
    )
    evidence_region: str | None = Field(default=None, description="S3 region; unset: $AWS_REGION")
    evidence_credentials_dir: Path | None = Field(
        default=None, description="directory with access-key-id, secret-access-key and perhaps session-token"
    )
    evidence_log_bytes: int = Field(
        default=256 * 1024, ge=1024, le=16 * 1024 * 1024, description="newest part of a container's log kept"
    )
    evidence_bytes: int = Field(
        default=32 * 1024 * 1024, ge=1024 * 1024, le=1024 * 1024 * 1024, description="most of one collection"
    )

    # Who is told of incidents. Addresses of notifications are in Secrets that policies name.
    cloudevents_url: str | None = Field(
        default=None, description="where every transition is sent as a CloudEvent; unset: nowhere"
    )
    cloudevents_token_file: Path | None = Field(
        default=None, description="bearer token for cloudevents_url, read again each time"
    )
    cloudevents_ca_file: Path | None = Field(
        default=None, description="CA of cloudevents_url; unset: the system's"
    )
    ocsf_url: str | None = Field(
        default=None, description="where every phase is sent as an OCSF Incident Finding; unset: nowhere"
    )
    ocsf_token_file: Path | None = Field(
        default=None, description="bearer token for ocsf_url, read again each time"
    )
    ocsf_ca_file: Path | None = Field(default=None, description="CA of ocsf_url; unset: the system's")
    sink_timeout_seconds: Annotated[float, Field(gt=0, le=25)] = Field(
        default=10.0, description="until a receiver that does not answer is tried again later"
    )
    notification_schemas: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(
            *("betterstack", "discord", "gchat", "goalerts", "gotifys", "incidentio", "mailtos", "matrixs"),
            *(
                "mmosts",
                "msteams",
                "ntfys",
                "opsgenie",
                "pagerduty",
                "pagertree",
                "rockets",
                "signl4",
                "slack",
            ),
            *("sns", "splunk", "squadcast", "tgram", "twilio", "webex", "workflows", "wxteams", "zulip"),
        ),
        description="which of Apprise's services notifications may use, by the schema of their URLs",
    )

    # Logs
    log_format: Literal["json", "console"] = Field(default="json", description="form of the log")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least that is logged"
    )

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: dict[str, object]) -> dict[str, object]:
        """`STANCH_PROTECTED_NAMESPACES=a,b` is what a person writes in a manifest."""
        lists = {
            name: tuple(part.strip() for part in given.split(",") if part.strip())
            for name in _LISTS
            if isinstance(given := values.get(name), str)
        }
        return values | lists

    @model_validator(mode="after")
    def _check_timings(self) -> Self:
        if not self.retry_seconds < self.renew_deadline_seconds < self.lease_seconds:
            raise ValueError(
                "retry_seconds < renew_deadline_seconds < lease_seconds must hold, got "
                f"{self.retry_seconds} / {self.renew_deadline_seconds} / {self.lease_seconds}: "
                "otherwise two leaders could write at the same time"
            )
        return self

    @model_validator(mode="after")
    def _check_namespaces(self) -> Self:
        if self.namespace in self.namespaces:
            raise ValueError(
                f"namespaces: {self.namespace} is the operator's own, in which nothing is contained; "
                "leave it out"
            )
        if len(set(self.namespaces)) != len(self.namespaces):
            raise ValueError(f"namespaces: one is there twice: {','.join(self.namespaces)}")
        return self

    @model_validator(mode="after")
    def _check_receiver(self) -> Self:
        speaks = self.receiver_token_file or self.signal_credentials_file
        certified = bool(self.tls_cert_file and self.tls_key_file) or self.receiver_tls_secret is not None
        if self.receiver_port is not None and not (certified and speaks):
            raise ValueError(
                "receiver_port needs tls_cert_file and tls_key_file, or receiver_tls_secret; and "
                "receiver_token_file (audit events) or signal_credentials_file (alerts)"
            )
        if self.receiver_tls_secret is not None and (self.tls_cert_file or self.tls_key_file):
            raise ValueError(
                "receiver_tls_secret is instead of tls_cert_file and tls_key_file: unset either, so that "
                "it is clear which certificate is served"
            )
        return self

    @property
    def storm(self) -> Storm | None:
        if self.storm_containments is None:
            return None
        return Storm(containments=self.storm_containments, within=f"{self.storm_seconds:.0f}s")

    @property
    def attempts(self) -> Attempts | None:
        if self.attempts_most is None:
            return None
        return Attempts(most=self.attempts_most, within=f"{self.attempts_seconds:.0f}s")

    @property
    def all_protected_namespaces(self) -> frozenset[str]:
        return frozenset({*self.protected_namespaces, self.namespace})
