"""What was in force around the targets, read within a time. What could not be read is a value, no error."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stanch.evidence import selection
from stanch.evidence.families import Family, read_family
from stanch.evidence.logs import SHARE as LOG_SHARE
from stanch.evidence.logs import read_logs
from stanch.evidence.model import Incomplete, Source, render
from stanch.evidence.reading import Answer, Limits, Reading
from stanch.evidence.redaction import credentials_in, redact_log, redact_object
from stanch.evidence.shapes import Redaction
from stanch.kube import resources as known
from stanch.kube.resources import ObjectRef
from stanch.kube.scope import OUT_OF_SCOPE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from stanch.access.models import Account, RoleKey
    from stanch.kube.client import Kube
    from stanch.kube.resources import Resource

__all__ = ["Collected", "Collection", "Limits", "collect"]

Json = dict[str, Any]

READING_SHARE = 0.75  # of the time; taking the credentials out needs some, too
JSON_TYPE = "application/json"
LOG_TYPE = "text/plain"

# The order of the items in a collection.
(
    _INCIDENT,
    _TARGET,
    _REVISIONS,
    _POD,
    _USED,
    _ACCOUNT,
    _BINDINGS,
    _ROLES,
    _POLICIES,
    _SCALING,
    _EVENTS,
    _LOG,
) = range(12)


@dataclass(frozen=True, slots=True)
class Collected:
    """One item, free of credentials."""

    kind: str
    media_type: str
    body: bytes
    source: Source
    collected_at: datetime
    truncated: bool
    redactions: int


@dataclass(frozen=True, slots=True)
class Collection:
    items: tuple[Collected, ...]
    incomplete: tuple[Incomplete, ...]
    started_at: datetime
    finished_at: datetime


async def collect(  # noqa: PLR0913 - of what, how much, how long
    kube: Kube,
    incident: ObjectRef,
    targets: Sequence[ObjectRef],
    limits: Limits,
    *,
    seconds: float,
    now: Callable[[], datetime],
) -> Collection:
    """Everything around `targets`, which are in the incident's namespace, and the incident itself.

    Only reads. Returns within about `seconds`, with what it has by then. Raises no StanchError.
    """
    started = now()
    deadline = asyncio.get_running_loop().time() + seconds
    reading = Reading(kube, limits, deadline - (1 - READING_SHARE) * seconds, now)
    await _read(reading, incident, tuple(dict.fromkeys(targets)))
    items = await _without_credentials(reading, deadline)
    missing = sorted(reading.incomplete, key=lambda each: (each.what, each.reason))
    return Collection(tuple(items), tuple(missing), started, now())


async def _read(reading: Reading, incident: ObjectRef, targets: Sequence[ObjectRef]) -> None:
    namespace = incident.namespace or ""
    about, around, families = await asyncio.gather(
        reading.get(incident),
        _around(reading, namespace),
        asyncio.gather(*(read_family(reading, target) for target in targets)),
    )
    if about is not None:
        reading.keep(_INCIDENT, about)
    found = [family for family in families if family is not None]
    pods = _keep_families(reading, found)
    whole = len(found) == len(targets) and all(family.whole for family in found)
    _keep_around(reading, namespace, around, _Subjects(targets, found, [about] if about else [], whole=whole))
    accounts = {pod.account for pod in (*pods, *_as_pods(reading, namespace, found))}
    await asyncio.gather(read_logs(reading, pods, _LOG), _access(reading, accounts))


def _keep_families(reading: Reading, families: Sequence[Family]) -> list[selection.Pod]:
    """The pods that are kept, each once."""
    for family in families:
        reading.keep(_TARGET, family.target)
        for made in selection.in_order(family.made):
            reading.keep(_REVISIONS, made)
    targets = {selection.uid_of(family.target) for family in families}
    pods = selection.in_order(pod for family in families for pod in family.pods)
    if len(pods) > reading.limits.pods:
        reading.miss("pods", "TooMany", f"the first {reading.limits.pods} of {len(pods)} by name are kept")
    kept = pods[: reading.limits.pods]
    for pod in kept:
        if selection.uid_of(pod) not in targets:
            reading.keep(_POD, pod)
    if families:
        used = selection.references([*kept, *(family.template for family in families)])
        source = Source(api_version="v1", kind="References")
        reading.answers.append(Answer(_USED, (), "references", used, source, reading.now()))
    parsed = (_pod(reading, body) for body in kept)
    return [pod for pod in parsed if pod is not None]


def _as_pods(reading: Reading, namespace: str, families: Sequence[Family]) -> Iterator[selection.Pod]:
    """The pods that the targets' templates would make, for where there is none."""
    for family in families:
        name = family.target["metadata"]["name"]
        pod = _pod(reading, {**family.template, "metadata": {"name": f"of {name}", "namespace": namespace}})
        if pod is not None:
            yield pod


def _pod(reading: Reading, body: Json) -> selection.Pod | None:
    return reading.understand(f"Pod {body['metadata']['name']}", selection.Pod.model_validate, body)


@dataclass(frozen=True, slots=True)
class _Around:
    """What there is in the namespace; None is what could not be read."""

    events: list[Json] | None
    policies: list[Json] | None
    autoscalers: list[Json] | None
    budgets: list[Json] | None


async def _around(reading: Reading, namespace: str) -> _Around:
    return _Around(
        *await asyncio.gather(
            reading.list(known.EVENTS, namespace),
            reading.list(known.NETWORKPOLICIES, namespace),
            reading.list(known.HPAS, namespace),
            reading.list(known.PDBS, namespace),
        )
    )


@dataclass(frozen=True, slots=True)
class _Subjects:
    """Whom it is about. Unless `whole`, there are more of them than is known."""

    targets: Sequence[ObjectRef]
    families: Sequence[Family]
    others: Sequence[Json]
    whole: bool


def _keep_around(reading: Reading, namespace: str, around: _Around, about: _Subjects) -> None:
    """Of the namespace's objects those that are about the subjects; all, where that cannot be told."""
    if around.policies is not None:
        reading.keep_list(_POLICIES, known.NETWORKPOLICIES, namespace, around.policies)
    autoscalers: list[Json] = []
    if around.autoscalers is not None:
        named = [(target.resource.kind, target.name) for target in about.targets]
        autoscalers = selection.autoscalers_of(around.autoscalers, named)
        reading.keep_list(_SCALING, known.HPAS, namespace, autoscalers)
    if around.budgets is not None:
        labels = [family.labels for family in about.families]
        over = reading.understand("PodDisruptionBudgets", selection.budgets_over, around.budgets, labels)
        budgets = over if over is not None and about.whole else around.budgets
        reading.keep_list(_SCALING, known.PDBS, namespace, budgets)
    if around.events is not None:
        involved = [body for family in about.families for body in family.members]
        uids = [selection.uid_of(body) for body in (*involved, *autoscalers, *about.others)]
        events = selection.events_about(around.events, uids) if about.whole else around.events
        most = reading.limits.events
        if len(events) > most:
            reading.miss("events", "TooMany", f"the newest {most} of {len(events)} are kept")
        newest = selection.newest_events(events, most)
        reading.keep_list(_EVENTS, known.EVENTS, namespace, newest)


async def _access(reading: Reading, accounts: Iterable[Account]) -> None:
    """The pods' accounts, the bindings that name them, also in other namespaces, and the roles of these."""
    ordered = sorted(accounts, key=str)
    if not ordered:
        return
    refs = [ObjectRef(known.SERVICEACCOUNTS, account.namespace, account.name) for account in ordered]
    if not reading.kube.scope.whole:
        reading.miss("rolebindings of other namespaces", OUT_OF_SCOPE, "the operator may not look there")
    of_namespaces, of_cluster, found = await asyncio.gather(
        reading.list(known.ROLEBINDINGS, None),
        reading.list(known.CLUSTERROLEBINDINGS, None),
        asyncio.gather(*(reading.get(ref) for ref in refs)),
    )
    for body in found:
        if body is not None:
            reading.keep(_ACCOUNT, body)
    roles: set[RoleKey] = set()
    for resource, bindings in ((known.ROLEBINDINGS, of_namespaces), (known.CLUSTERROLEBINDINGS, of_cluster)):
        if bindings is not None:
            access = selection.access_of(ordered, bindings)
            reading.keep_list(_BINDINGS, resource, None, access.bindings)
            roles |= access.roles
    await asyncio.gather(
        *(
            _roles(reading, resource, sorted(role for role in roles if role.kind == resource.kind))
            for resource in (known.ROLES, known.CLUSTERROLES)
        )
    )


async def _roles(reading: Reading, resource: Resource, roles: Sequence[RoleKey]) -> None:
    refs = [ObjectRef(resource, role.namespace or None, role.name) for role in roles]
    read = [body for body in await asyncio.gather(*(reading.get(ref) for ref in refs)) if body is not None]
    if read:
        reading.keep_list(_ROLES, resource, None, read)


async def _without_credentials(reading: Reading, deadline: float) -> list[Collected]:
    """The items in their order. What was not freed of credentials in time is not kept at all."""
    clock = asyncio.get_running_loop().time
    answers = sorted(reading.answers, key=lambda answer: (answer.rank, answer.key))
    # Threads, so that the operator goes on with its other incidents.
    secret = await asyncio.to_thread(
        credentials_in, [answer.body for answer in answers if isinstance(answer.body, dict)]
    )
    total = reading.limits.total_bytes
    most = {JSON_TYPE: int(total * (1 - LOG_SHARE)), LOG_TYPE: total}
    size = 0
    items: list[Collected] = []
    for answer in answers:
        if clock() >= deadline:
            reading.miss(
                _what(answer), "Timeout", "read, but there was no time to take credentials out: not kept"
            )
            continue
        item = await asyncio.to_thread(_redacted, answer, secret)
        if size + len(item.body) > most[item.media_type]:
            reading.miss(_what(answer), "TooLarge", f"for its {len(item.body)} bytes there is no room left")
            continue
        size += len(item.body)
        items.append(item)
    return items


def _what(answer: Answer) -> str:
    return f"log of {answer.source}" if answer.kind == "log" else str(answer.source)


def _redacted(answer: Answer, secret: frozenset[str]) -> Collected:
    redaction = Redaction(secret)
    if isinstance(answer.body, bytes):
        media_type, body = LOG_TYPE, redact_log(answer.body, redaction)
    else:
        media_type, body = JSON_TYPE, render(redact_object(answer.body, redaction))
    return Collected(
        answer.kind, media_type, body, answer.source, answer.at, answer.truncated, redaction.count
    )
