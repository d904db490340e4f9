"""Reads what is known of an installation, as the caller. Nothing is changed: what is tried is a dry run."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stanch.actions.isolation_seen import enforcers_of
from stanch.api.crd import KINDS, definition
from stanch.api.v1alpha1.hold import ContainmentHold
from stanch.api.v1alpha1.incident import AIIncident
from stanch.cli.doctor.facts import AdmissionPolicy, Attempt, Crd, Facts, Leader, Operator, Replicas, Unread
from stanch.cli.doctor.installed import ADMISSION
from stanch.cli.doctor.use import VERBS
from stanch.errors import Forbidden, Rejected, StanchError
from stanch.holds.canary import NAME as CANARY
from stanch.kube.resources import (
    AIINCIDENTS,
    CLUSTERCONTAINMENTPOLICIES,
    CONTAINMENTHOLDS,
    CONTAINMENTPOLICIES,
    CRDS,
    DEPLOYMENTS,
    LEASES,
    VALIDATINGADMISSIONPOLICIES,
    VALIDATINGADMISSIONPOLICYBINDINGS,
    ObjectRef,
)
from stanch.kube.rights import may
from stanch.leader.decision import LeaseRecord
from stanch.policies.choose import parse as parse_policy
from stanch.prometheus.client import PromClient
from stanch.prometheus.samples import QueryFailed

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from stanch.kube.client import Kube
    from stanch.kube.resources import Resource
    from stanch.policies.match import Policy

Json = dict[str, Any]
Read = TypeVar("Read")
LEASE = DEPLOYMENT = "stanch"
_FLAG, _VARIABLE = "--prometheus-url", "STANCH_PROMETHEUS_URL"
_ANY = "vector(1)"
"""A query that every Prometheus answers, whatever it scrapes."""
_PATIENCE = 5.0  # seconds for its answer
_HALF_A_SECOND = timedelta(seconds=0.5)
"""The server's clock is told in whole seconds, cut off."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Version(_Frozen):
    major: str
    minor: str


class _PolicySpec(_Frozen):
    failure_policy: str = Field(default="Fail", alias="failurePolicy")


class _Policy(_Frozen):
    spec: _PolicySpec


class _BindingSpec(_Frozen):
    policy_name: str = Field(alias="policyName")
    actions: tuple[str, ...] = Field(default=(), alias="validationActions")


class _Binding(_Frozen):
    spec: _BindingSpec


class _Lease(_Frozen):
    spec: LeaseRecord = LeaseRecord()


class _Variable(_Frozen):
    name: str
    value: str = ""


class _Container(_Frozen):
    args: tuple[str, ...] = ()
    env: tuple[_Variable, ...] = ()


class _PodSpec(_Frozen):
    containers: tuple[_Container, ...] = ()


class _Template(_Frozen):
    spec: _PodSpec = _PodSpec()


class _Wanted(_Frozen):
    replicas: int = 1
    template: _Template = _Template()

    @property
    def prometheus(self) -> str | None:
        """A flag counts before a variable, as for the operator itself."""
        containers = self.template.spec.containers
        said = [word for each in containers for word in each.args]
        for word, after in zip(said, [*said, ""][1:], strict=True):
            if word == _FLAG or word.startswith(f"{_FLAG}="):
                return after if word == _FLAG else word.partition("=")[2]
        return next((one.value for each in containers for one in each.env if one.name == _VARIABLE), None)


class _Ready(_Frozen):
    ready: int = Field(default=0, alias="readyReplicas")


class _Deployment(_Frozen):
    spec: _Wanted = _Wanted()
    status: _Ready = _Ready()


async def gather(kube: Kube, namespace: str, operator: str, *, ask_prometheus: bool) -> Facts:
    """One after the other. `operator`: the namespace that Stanch runs in. `ask_prometheus`: from here, too.

    Raises StanchError when the API server is not to be reached: then nothing is known.
    """
    before = datetime.now(UTC)
    there = await kube.clock()
    here = before + (datetime.now(UTC) - before) / 2
    everywhere = await _everywhere(kube)
    scope = None if everywhere else namespace
    deployment = await _read(_deployment(kube, operator))
    url = deployment.prometheus if isinstance(deployment, Operator) else None
    return Facts(
        namespace=namespace,
        operator=operator,
        version=await _read(_version(kube)),
        skew=(here - there - _HALF_A_SECOND).total_seconds(),
        crds=await _read(_crds(kube)),
        admission=await _read(_admission(kube)),
        attempt=await _read(_attempt(kube, operator)),
        leader=await _read(_leader(kube, operator)),
        deployment=deployment,
        prometheus=await _read(_answer(url)) if url and ask_prometheus else None,
        asked_prometheus=bool(url and ask_prometheus),
        rights=await _read(_rights(kube, namespace)),
        policies=await _read(_policies(kube, scope)),
        incidents=await _read(_incidents(kube, scope)),
        holds=await _read(_holds(kube, scope)),
        enforcers=await _read(enforcers_of(kube)),
        everywhere=everywhere,
    )


async def _read(reading: Coroutine[Any, Any, Read]) -> Read | Unread:
    try:
        return await reading
    except StanchError as error:
        return Unread(error.message)
    except ValidationError as error:
        return Unread(f"it is none that this version understands: {error.errors()[0]['msg']}")


async def _everywhere(kube: Kube) -> bool:
    """Whether the caller may list the incidents of all namespaces, or of all that STANCH_NAMESPACES names."""
    asked = [ObjectRef(AIINCIDENTS, each, "") for each in kube.scope.namespaces or (None,)]
    try:
        return all([await may(kube, "list", ref) for ref in asked])
    except StanchError:
        return True  # what cannot be asked is told by every check


async def _version(kube: Kube) -> tuple[int, int]:
    version = _Version.model_validate(await kube.raw("/version"))
    return int(version.major), int("".join(filter(str.isdecimal, version.minor)))


async def _crds(kube: Kube) -> dict[str, Crd]:
    return {wanted["metadata"]["name"]: await _compared(kube, wanted) for wanted in map(definition, KINDS)}


async def _compared(kube: Kube, wanted: Json) -> Crd:
    found = await kube.get(ObjectRef(CRDS, None, wanted["metadata"]["name"]))
    if found is None:
        return Crd.ABSENT
    return Crd.SAME if _schemas(found) == _schemas(wanted) else Crd.OTHER


def _schemas(crd: Json) -> dict[str, Any]:
    return {version["name"]: version["schema"] for version in crd["spec"]["versions"]}


async def _admission(kube: Kube) -> dict[str, AdmissionPolicy]:
    bindings = [_Binding.model_validate(body) for body in await kube.list(VALIDATINGADMISSIONPOLICYBINDINGS)]
    denied = {each.spec.policy_name for each in bindings if "Deny" in each.spec.actions}
    found = {}
    for name in ADMISSION:
        body = await kube.get(ObjectRef(VALIDATINGADMISSIONPOLICIES, None, name))
        closed = body is not None and _Policy.model_validate(body).spec.failure_policy == "Fail"
        found[name] = AdmissionPolicy(body is not None, fails_closed=closed, denies=name in denied)
    return found


async def _attempt(kube: Kube, operator: str) -> Attempt:
    """Raises StanchError where it was not the hold that decided."""
    ref = ObjectRef(DEPLOYMENTS, operator, CANARY)
    canary = await kube.get(ref)
    if canary is None:
        raise Rejected("NotFound", f"{ref} is missing; apply manifests/default again")
    scale_up = [{"op": "add", "path": "/spec/replicas", "value": 1}]
    version = canary["metadata"]["resourceVersion"]
    try:
        await kube.json_patch(ref, scale_up, resource_version=version, subresource="scale", dry_run=True)
    except Forbidden as error:
        if f"held by AIIncident {CANARY}" in error.message:
            return Attempt.DENIED
        raise
    return Attempt.WENT_THROUGH


async def _leader(kube: Kube, operator: str) -> Leader | None:
    """By the server's clock: this machine's may be another."""
    now = await kube.clock()
    body = await kube.get(ObjectRef(LEASES, operator, LEASE))
    if body is None:
        return None
    record = _Lease.model_validate(body).spec
    renewed = datetime.fromisoformat(record.renewed) if record.renewed else None
    ago = None if renewed is None else max((now - renewed) / timedelta(seconds=1), 0.0)
    return Leader(record.holder, ago, record.duration)


async def _deployment(kube: Kube, operator: str) -> Operator | None:
    body = await kube.get(ObjectRef(DEPLOYMENTS, operator, DEPLOYMENT))
    if body is None:
        return None
    found = _Deployment.model_validate(body)
    return Operator(Replicas(found.status.ready, found.spec.replicas), found.spec.prometheus)


async def _answer(url: str) -> None:
    """Raises Rejected when it does not come. The operator's token and CA are not here, nor asked for."""
    client = PromClient(url, token_file=None, ca_file=None, timeout=_PATIENCE)
    try:
        await client.query(_ANY)
    except QueryFailed as failed:
        raise Rejected(failed.reason, str(failed)) from failed


async def _rights(kube: Kube, namespace: str) -> dict[str, bool]:
    ref = ObjectRef(AIINCIDENTS, namespace, "")
    return dict(zip(VERBS, await asyncio.gather(*(may(kube, verb, ref) for verb in VERBS)), strict=True))


async def _policies(kube: Kube, namespace: str | None) -> tuple[Policy, ...]:
    listed = await asyncio.gather(
        kube.list(CONTAINMENTPOLICIES, namespace), _cluster_wide(kube, CLUSTERCONTAINMENTPOLICIES)
    )
    return tuple(parse_policy(body) for bodies in listed for body in bodies)


async def _cluster_wide(kube: Kube, resource: Resource) -> list[Json]:
    """None of them where a role of one namespace does not reach."""
    try:
        return await kube.list(resource)
    except Forbidden:
        return []


async def _incidents(kube: Kube, namespace: str | None) -> tuple[AIIncident, ...]:
    return tuple(AIIncident.parse(body) for body in await kube.list(AIINCIDENTS, namespace))


async def _holds(kube: Kube, namespace: str | None) -> tuple[ContainmentHold, ...]:
    bodies = await kube.list(CONTAINMENTHOLDS, namespace)
    return tuple(ContainmentHold.model_validate(body) for body in bodies)
