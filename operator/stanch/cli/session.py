"""What every command does the same way: which cluster, which namespace, as whom, and how an error is told."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError

from stanch.cli.completion import names
from stanch.cli.ending import Exit
from stanch.cli.screen import lines
from stanch.errors import Forbidden, Rejected, StanchError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef
    from stanch.settings import Settings

Json = dict[str, Any]
Seen = TypeVar("Seen")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The AIIncident.", autocompletion=names)]
OptionalName = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="The AIIncident.", autocompletion=names)
]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Its namespace; else that of the context.")
]
Kubeconfig = Annotated[Path | None, typer.Option(help="Kubeconfig; else in-cluster, else $KUBECONFIG.")]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig.")]
Endpoint = Annotated[str | None, typer.Option(help="URL of an S3-compatible server.")]
Region = Annotated[str | None, typer.Option(help="S3 region.")]
CredentialsDirectory = Annotated[
    Path | None, typer.Option(help="Directory with access-key-id and secret-access-key.")
]

_RBAC = re.compile(r'cannot (?P<verb>\w+) resource "(?P<resource>[\w./]+)" in API group "stanch\.dev"')
_ROLES = {
    **dict.fromkeys(("get", "list", "watch"), "stanch-viewer"),
    "create": "stanch-reporter",
    **dict.fromkeys(("patch", "update"), "stanch-responder or stanch-approver"),
    "delete": "stanch-responder",
}


@dataclass(frozen=True)
class Where:
    """Which cluster and namespace a command is about, as far as its flags say."""

    namespace: str | None = None
    kubeconfig: Path | None = None
    context: str | None = None
    more: Mapping[str, object] = field(default_factory=dict)
    """Other settings that the command has flags for; None: not given."""

    def settings(self) -> Settings:
        """Raises pydantic.ValidationError."""
        from stanch.settings import Settings  # noqa: PLC0415 - `stanch --help` needs none of it

        given = {"kubeconfig": self.kubeconfig, "context": self.context, **self.more}
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]  # each value is its setting's

    def in_cluster(self) -> bool:
        """Whether it is the cluster of the pod that this runs in."""
        from stanch.kube.credentials import InClusterCredentials, find_credentials  # noqa: PLC0415

        return isinstance(find_credentials(self.settings()), InClusterCredentials)

    def in_namespace(self) -> str:
        """Raises Rejected if the kubeconfig cannot be read."""
        from stanch.kube.credentials import namespace_of_context  # noqa: PLC0415

        return self.namespace or namespace_of_context(self.settings()) or "default"


@dataclass(frozen=True)
class Command:
    """How a command that fails is told of."""

    name: str
    undone: str
    """What its failure means: `nothing was approved`."""
    refused: Exit = Exit.UNKNOWN
    """How it ends when the cluster says no."""

    def run(self, where: Where, work: Callable[[Kube, str], Coroutine[Any, Any, Exit]]) -> NoReturn:
        """Do `work` with a connection and the namespace, and end with what it says."""

        async def connected() -> Exit:
            from stanch.kube.client import Kube  # noqa: PLC0415

            namespace = where.in_namespace()
            kube = await Kube.connect(where.settings())
            try:
                return await work(kube, namespace)
            finally:
                await kube.close()

        self.end(connected)

    def end(self, work: Callable[[], Coroutine[Any, Any, Exit]]) -> NoReturn:
        """As `run`, for what may need no cluster."""
        try:
            raise typer.Exit(asyncio.run(work()))
        except (StanchError, OSError, ValueError) as error:
            self.fail(told(error), self.refused if isinstance(error, Rejected) else Exit.UNKNOWN)

    async def after(self, done: str, namespace: str, name: str, looking: Awaitable[Seen]) -> Seen:
        """What `looking` says of an incident. Something was `done` to it: failing now takes nothing back."""
        try:
            return await looking
        except (StanchError, ValueError) as error:
            see = f"see: kubectl stanch status -n {namespace} {name}"
            typer.echo(
                lines(f"stanch {self.name}: {done}; what came of it is not known: {told(error)}; {see}"),
                err=True,
            )
            raise typer.Exit(Exit.UNKNOWN) from error

    def fail(self, why: str, code: Exit = Exit.UNKNOWN) -> NoReturn:
        undone = f"; {self.undone}" if self.undone else ""
        typer.echo(lines(f"stanch {self.name}: {why}{undone}"), err=True)
        raise typer.Exit(code)


def evidence_settings(
    endpoint: str | None, region: str | None, credentials_dir: Path | None
) -> dict[str, object]:
    """What the flags about the store of evidence set."""
    return {
        "evidence_endpoint": endpoint,
        "evidence_region": region,
        "evidence_credentials_dir": credentials_dir,
    }


def told(error: Exception) -> str:
    """What happened and, where a role is missing, which."""
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}"
            for each in error.errors(include_url=False)
        )
    return f"{error}{missing_role(error)}" if isinstance(error, Forbidden) else str(error)


def missing_role(refusal: Forbidden) -> str:
    """Which ClusterRole has the right that RBAC misses. Stanch's own admission policies say so themselves."""
    found = _RBAC.search(refusal.message)
    if found is None:
        return ""
    role = _ROLES.get(found["verb"], "stanch-responder")
    return f"; you need the verb {found['verb']} on {found['resource']}: ClusterRole {role} has it"


def incident_ref(namespace: str, name: str) -> ObjectRef:
    from stanch.kube.resources import AIINCIDENTS, ObjectRef  # noqa: PLC0415

    return ObjectRef(AIINCIDENTS, namespace, name)


async def read(kube: Kube, namespace: str, name: str) -> Json:
    """The incident as it is stored. Raises Rejected if there is none, StanchError if it cannot be read."""
    ref = incident_ref(namespace, name)
    body = await kube.get(ref)
    if body is None:
        raise Rejected("NotFound", f"{ref} does not exist; see kubectl get aii -A")
    return body


async def read_incident(kube: Kube, namespace: str, name: str) -> AIIncident:
    """As `read`, parsed. Raises pydantic.ValidationError too."""
    from stanch.api.v1alpha1.incident import AIIncident  # noqa: PLC0415

    return AIIncident.parse(await read(kube, namespace, name))
